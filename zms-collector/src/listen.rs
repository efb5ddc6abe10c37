//! Connections of agents: up to a bound, with deadlines, and only with a certificate of our authority.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::tls::Peer;

/// Most connections at once: a host keeps one.
const CONNECTIONS: usize = 10_000;
/// A handshake is over by then, and the head of each request has come.
const WAIT: Duration = Duration::from_secs(10);
/// An idle connection is closed after this; agents push each 10 s.
const IDLE: Duration = Duration::from_secs(90);
/// Rest after a connection could not be accepted.
const REST: Duration = Duration::from_millis(100);

/// Serves until the future is dropped. Requests carry their [`Peer`].
pub async fn serve(listener: TcpListener, config: Arc<ServerConfig>, router: Router) {
    let acceptor = TlsAcceptor::from(config);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = room.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            if let Err(why) = connection(stream, acceptor, router).await {
                tracing::debug!(%address, why, "a connection ended early");
            }
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) -> Result<(), String> {
    let handshake = tokio::time::timeout(WAIT, acceptor.accept(stream)).await;
    let stream = handshake.map_err(|_| "no handshake in time".to_owned())?.map_err(|error| error.to_string())?;
    let peer = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(|der| Peer::read(der));
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(IDLE).keep_alive_timeout(WAIT).max_concurrent_streams(8);
    let service = service_fn(move |request| answer(router.clone(), request, peer.clone()));
    let served = pin!(http.serve_connection(TokioIo::new(stream), service));
    served.await.map_err(|error| error.to_string())
}

async fn answer(router: Router, request: Request<Incoming>, peer: Option<Peer>) -> Result<Response, Infallible> {
    let Some(peer) = peer else {
        return Ok((StatusCode::FORBIDDEN, "the certificate has to name one host, zms://host/<id>\n").into_response());
    };
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    router.oneshot(request).await
}

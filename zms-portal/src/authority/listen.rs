//! Connections: accepted up to a bound, each with a deadline for its handshake and for the head of each request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::peer::PeerCertificate;
use crate::app::now_ms;

/// Most connections at once; further ones wait in the queue of the kernel.
const CONNECTIONS: usize = 10_000;
/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// Most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// Rest after a connection could not be accepted (no file descriptors left, mostly).
const REST: Duration = Duration::from_millis(100);

/// Deadlines of a listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// A handshake is over by then.
    pub(super) handshake: Duration,
    /// The first request has come by then, and over HTTP/1 the head of each further one.
    pub(super) head: Duration,
    /// How long requests under way may take at the end.
    pub(super) last_words: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        let ten = Duration::from_secs(10);
        Self { handshake: ten, head: ten, last_words: ten }
    }
}

/// Serves `router` until `stop` says so, then lets requests under way end (10 s at most). Requests carry the peer's address as
/// [`ConnectInfo`], and its [`PeerCertificate`] where client certificates are required.
pub async fn serve_tls(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    serve(listener, config, router, stop, Waits::default()).await;
    Ok(())
}

/// [`serve_tls`] with other deadlines.
pub(super) async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    mut stop: watch::Receiver<bool>,
    waits: Waits,
) {
    let acceptor = TlsAcceptor::from(config);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let http = http(waits.head);
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await.expect("nobody closes the semaphore");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            // A closed channel means the same: everything is ending.
            _ = stop.wait_for(|ended| *ended) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let (acceptor, router, http, watcher) = (acceptor.clone(), router.clone(), http.clone(), graceful.watcher());
        tokio::spawn(async move {
            if let Err(why) = connection((stream, address), acceptor, router, (http, waits), watcher).await {
                tracing::debug!(%address, why, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(waits.last_words, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the listener ended");
    }
}

fn http(head: Duration) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(head);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING).max_concurrent_streams(STREAMS);
    http
}

async fn connection(
    (stream, address): (TcpStream, SocketAddr),
    acceptor: TlsAcceptor,
    router: Router,
    (http, waits): (Builder<TokioExecutor>, Waits),
    watcher: Watcher,
) -> Result<(), String> {
    // Small answers to long polls must not wait for more to send.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let handshake = tokio::time::timeout(waits.handshake, acceptor.accept(stream)).await;
    let stream = handshake.map_err(|_| "no handshake in time".to_owned())?.map_err(|error| error.to_string())?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|der| Arc::<[u8]>::from(der.as_ref()));
    let first = Arc::new(Notify::new());
    let service = service_fn({
        let first = first.clone();
        move |request| {
            first.notify_one();
            answer(router.clone(), request, address, certificate.clone())
        }
    });
    let mut served = pin!(watcher.watch(http.serve_connection(TokioIo::new(stream), service)));
    // The deadline for heads begins when the version of HTTP is known; a peer that never says a word needs one too.
    tokio::select! {
        ended = &mut served => return ended.map_err(|error| error.to_string()),
        begun = tokio::time::timeout(waits.head, first.notified()) => begun.map_err(|_| "no request in time".to_owned())?,
    }
    served.await.map_err(|error| error.to_string())
}

/// The certificate is read for each request: it may expire while a connection is kept.
async fn answer(
    router: Router,
    request: Request<Incoming>,
    address: SocketAddr,
    certificate: Option<Arc<[u8]>>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(address));
    if let Some(der) = certificate {
        match PeerCertificate::read(der, now_ms()) {
            Ok(peer) => request.extensions_mut().insert(peer),
            Err(why) => return Ok((StatusCode::FORBIDDEN, format!("{why}\n")).into_response()),
        };
    }
    router.oneshot(request).await
}

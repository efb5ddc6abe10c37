//! The portal of the tests: it keeps what it saw and answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zms_core::host::{DesiredState, JoinReply, JoinRequest, Question, RenewReply, RenewRequest, SyncReply, SyncRequest};

use crate::portal::{now_ms, request};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a request, for a span in milliseconds since 1970.
    pub fn sign(&self, csr: &str, (from_ms, until_ms): (i64, i64)) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        let at = |ms: i64| OffsetDateTime::from_unix_timestamp(ms / 1000).unwrap();
        (request.params.not_before, request.params.not_after) = (at(from_ms), at(until_ms));
        request.signed_by(&self.issuer).unwrap().pem()
    }

    fn server(&self, (from_ms, until_ms): (i64, i64)) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let at = |ms: i64| OffsetDateTime::from_unix_timestamp(ms / 1000).unwrap();
        (params.not_before, params.not_after) = (at(from_ms), at(until_ms));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain = vec![certificate.der().clone()];
        let mut config = builder.with_client_cert_verifier(Arc::new(Anybody)).with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

/// Lets everybody in: what a certificate is worth is judged where the test can see it.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 is expected".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a join comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinAct {
    Answer,
    Refuse,
    /// The host is joined and never hears of it.
    LoseAnswer,
}

/// What the portal saw and how it answers.
pub struct Book {
    pub joins: Vec<JoinRequest>,
    /// What joins come to, then `Answer`.
    pub join_acts: VecDeque<JoinAct>,
    replies: BTreeMap<String, JoinReply>,
    /// With the certificate that was shown.
    pub syncs: Vec<(SyncRequest, Vec<u8>)>,
    pub renewals: Vec<RenewRequest>,
    /// Sent while it is another generation than the agent has.
    pub desired: Option<DesiredState>,
    pub questions: Vec<Question>,
    /// The next reply asks for everything.
    pub full: bool,
    /// Certificates that are turned away.
    pub unwanted: Vec<Vec<u8>>,
    /// All syncs fail with this.
    pub failing: Option<StatusCode>,
    pub archive: Vec<u8>,
    /// Transfers are cut after so many bytes.
    pub cut_after: Option<usize>,
    pub ignore_range: bool,
    pub ranges: Vec<Option<String>>,
    pub secrets: BTreeMap<String, String>,
    pub hold: Duration,
    /// How far its clock is ahead of ours.
    pub ahead_ms: i64,
}

#[derive(Clone)]
struct Shared {
    book: Arc<Mutex<Book>>,
    changed: watch::Sender<()>,
    authority: Arc<Authority>,
    url: String,
}

/// See the module. It ends when it is dropped.
pub struct Fake {
    pub url: String,
    pub authority: Arc<Authority>,
    shared: Shared,
    task: JoinHandle<()>,
}

/// The certificate a client showed; empty for none.
#[derive(Clone)]
struct Peer(Vec<u8>);

impl Fake {
    pub async fn start() -> Self {
        Self::certified(-1, 7).await
    }

    /// One whose own certificate holds from and until so many days from now.
    pub async fn certified(from_days: i64, until_days: i64) -> Self {
        let span = (now_ms() + from_days * super::DAY_MS, now_ms() + until_days * super::DAY_MS);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let authority = Arc::new(Authority::new());
        let book = Book {
            joins: vec![],
            join_acts: VecDeque::new(),
            replies: BTreeMap::new(),
            syncs: vec![],
            renewals: vec![],
            desired: None,
            questions: vec![],
            full: false,
            unwanted: vec![],
            failing: None,
            archive: vec![],
            cut_after: None,
            ignore_range: false,
            ranges: vec![],
            secrets: BTreeMap::new(),
            hold: Duration::from_secs(25),
            ahead_ms: 0,
        };
        let shared = Shared {
            book: Arc::new(Mutex::new(book)),
            changed: watch::Sender::new(()),
            authority: authority.clone(),
            url: url.clone(),
        };
        let router = Router::new()
            .route("/join/v1", post(join))
            .route("/agent/v1/sync", post(sync))
            .route("/agent/v1/renew", post(renew))
            .route("/agent/v1/packages/{sha512}", get(package))
            .route("/agent/v1/secrets/{reference}", get(secret))
            .with_state(shared.clone());
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(authority.server(span)));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                    let peer = Peer(shown.map(|certificate| certificate.to_vec()).unwrap_or_default());
                    let service = TowerToHyperService::new(router.layer(Extension(peer)));
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, authority, shared, task }
    }

    /// What it saw and how it answers; a change of the latter needs [`wake`](Self::wake).
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap()
    }

    /// Changes how it answers and looks at the held requests again.
    pub fn tell(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book());
        self.shared.changed.send_replace(());
    }

    /// The certificate as a test has it and as the portal sees it.
    pub fn der(certificate: &str) -> Vec<u8> {
        x509_parser::pem::parse_x509_pem(certificate.as_bytes()).unwrap().1.contents
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A body that breaks off after `bytes`.
fn cut(bytes: Vec<u8>) -> Body {
    let parts = [Ok(bytes), Err(std::io::Error::other("cut"))];
    // The pause lets the first part reach the client before the connection is reset.
    let parts = futures::stream::unfold(parts.into_iter(), |mut parts| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((parts.next()?, parts))
    });
    Body::from_stream(parts)
}

async fn join(State(shared): State<Shared>, Json(request): Json<JoinRequest>) -> Response {
    let mut book = shared.book.lock().unwrap();
    book.joins.push(request.clone());
    let act = book.join_acts.pop_front().unwrap_or(JoinAct::Answer);
    if act == JoinAct::Refuse {
        return (StatusCode::FORBIDDEN, "{}").into_response();
    }
    let span = (now_ms(), now_ms() + 7 * super::DAY_MS);
    let reply = book.replies.entry(request.enrolment.clone()).or_insert_with(|| JoinReply {
        host: super::HOST.parse().unwrap(),
        certificate: shared.authority.sign(&request.csr, span),
        agent_url: shared.url.clone(),
    });
    if act == JoinAct::LoseAnswer { cut(b"{".to_vec()).into_response() } else { Json(reply.clone()).into_response() }
}

async fn sync(
    State(shared): State<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    Json(request): Json<SyncRequest>,
) -> Response {
    let mut changed = shared.changed.subscribe();
    let hold = {
        let mut book = shared.book.lock().unwrap();
        book.syncs.push((request.clone(), peer.clone()));
        let expired = x509_parser::parse_x509_certificate(&peer).map_or(true, |(_, c)| !c.validity().is_valid());
        if let Some(status) = book.failing {
            return (status, [(header::RETRY_AFTER, "0")], "{}").into_response();
        }
        if expired || book.unwanted.contains(&peer) {
            return (StatusCode::FORBIDDEN, r#"{"detail":"this certificate is not wanted"}"#).into_response();
        }
        book.hold
    };
    let end = tokio::time::Instant::now() + hold;
    loop {
        {
            let mut book = shared.book.lock().unwrap();
            book.questions.retain(|question| !request.answers.iter().any(|answer| answer.id == question.id));
            let desired = book.desired.clone().filter(|desired| desired.generation != request.have);
            let full = std::mem::take(&mut book.full);
            if desired.is_some()
                || full
                || !request::is_empty(&request)
                || !book.questions.is_empty()
                || tokio::time::Instant::now() >= end
            {
                let clock_ms = u64::try_from(now_ms() + book.ahead_ms).unwrap();
                return Json(SyncReply { clock_ms, desired, questions: book.questions.clone(), pause_ms: 0, full })
                    .into_response();
            }
        }
        let _ = tokio::time::timeout_at(end, changed.changed()).await;
    }
}

async fn renew(
    State(shared): State<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    Json(request): Json<RenewRequest>,
) -> Response {
    let mut book = shared.book.lock().unwrap();
    book.renewals.push(request.clone());
    if peer.is_empty() || book.unwanted.contains(&peer) {
        return (StatusCode::FORBIDDEN, "{}").into_response();
    }
    Json(RenewReply { certificate: shared.authority.sign(&request.csr, (now_ms(), now_ms() + 7 * super::DAY_MS)) })
        .into_response()
}

async fn package(State(shared): State<Shared>, Path(_sha512): Path<String>, headers: HeaderMap) -> Response {
    let mut book = shared.book.lock().unwrap();
    let range = headers.get(header::RANGE).map(|value| value.to_str().unwrap().to_owned());
    book.ranges.push(range.clone());
    if book.archive.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let from: usize = range
        .filter(|_| !book.ignore_range)
        .map_or(0, |r| r.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap());
    let bytes = book.archive[from..].to_vec();
    let body = match book.cut_after.take() {
        Some(count) => cut(bytes[..count].to_vec()),
        None => Body::from(bytes),
    };
    if from == 0 {
        return body.into_response();
    }
    let length = book.archive.len();
    (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, format!("bytes {from}-{}/{length}", length - 1))], body)
        .into_response()
}

async fn secret(State(shared): State<Shared>, Path(reference): Path<String>) -> Response {
    let book = shared.book.lock().unwrap();
    book.secrets.get(&reference).map_or_else(|| StatusCode::NOT_FOUND.into_response(), |value| value.clone().into_response())
}

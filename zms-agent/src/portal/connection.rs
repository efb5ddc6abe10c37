//! One portal as one client sees it: which authority is trusted, which certificate is shown, and the calls.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, Url, header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zms_core::host::{JoinReply, JoinRequest, RenewReply, RenewRequest, SyncRequest};
use zms_core::names::Sha512;

use super::Waits;
use super::error::CallError;
use super::pki::Identity;

/// Largest answer to a sync, in bytes: a desired state with all its files.
const SYNC_LIMIT: usize = 8 << 20;
/// Largest other answer.
const ANSWER_LIMIT: usize = 256 << 10;
/// Largest secret.
const SECRET_LIMIT: usize = 64 << 10;
/// Longest sentence of a refusal that is shown, in characters.
const REASON_LIMIT: usize = 300;
/// A transfer of an archive is cut after this time; the next one goes on where it stopped.
const TRANSFER: Duration = Duration::from_secs(3600);
/// A portal cannot make us wait longer than this with `Retry-After`.
const LONGEST_AGAIN: Duration = Duration::from_secs(300);

/// Everything that can be asked of a portal.
#[derive(Debug, Clone, Copy)]
enum Call<'a> {
    Join,
    Sync,
    Renew,
    Package(&'a Sha512),
    Secret(&'a str),
}

impl<'a> Call<'a> {
    fn segments(self) -> Vec<&'a str> {
        match self {
            Self::Join => vec!["join", "v1"],
            Self::Sync => vec!["agent", "v1", "sync"],
            Self::Renew => vec!["agent", "v1", "renew"],
            Self::Package(sha512) => vec!["agent", "v1", "packages", sha512.as_str()],
            Self::Secret(reference) => vec!["agent", "v1", "secrets", reference],
        }
    }
}

/// A reply to a sync whose parts are read one by one: what a newer portal says of one thing must not hide the rest.
#[derive(Debug, Deserialize)]
pub struct Reply {
    /// The portal's clock, milliseconds since 1970.
    pub clock_ms: u64,
    /// A [`zms_core::host::DesiredState`].
    #[serde(default)]
    pub desired: Option<Box<RawValue>>,
    /// Each a [`zms_core::host::Question`].
    #[serde(default)]
    pub questions: Vec<Box<RawValue>>,
    /// Wait this long before the next request, milliseconds.
    #[serde(default)]
    pub pause_ms: u64,
    /// Send everything again.
    #[serde(default)]
    pub full: bool,
}

/// What a refusal may say (RFC 9457).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
}

/// A client for one portal.
#[derive(Debug, Clone)]
pub struct Connection {
    http: reqwest::Client,
    url: Url,
    waits: Waits,
}

impl Connection {
    /// A client that trusts this authority alone and shows this identity. Nothing is dialled yet. Goes through a proxy where
    /// `HTTPS_PROXY` names one; TLS is with the portal also then.
    pub fn new(url: &str, authority: &str, identity: Option<&Identity>, waits: Waits) -> anyhow::Result<Self> {
        let url = portal_url(url)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(authority, identity)?)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(waits.connect)
            .tcp_keepalive(Duration::from_secs(15))
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(waits.answer)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("zms-agent/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, url, waits })
    }

    /// Where it goes.
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Asks to be one of the portal's hosts.
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinReply, CallError> {
        self.post(Call::Join, request, self.waits.answer, ANSWER_LIMIT).await
    }

    /// Says what was found; returns when something is new, or after the portal's hold.
    pub async fn sync(&self, request: &SyncRequest) -> Result<Reply, CallError> {
        self.post(Call::Sync, request, self.waits.hold + self.waits.answer, SYNC_LIMIT).await
    }

    /// Asks for another certificate.
    pub async fn renew(&self, request: &RenewRequest) -> Result<RenewReply, CallError> {
        self.post(Call::Renew, request, self.waits.answer, ANSWER_LIMIT).await
    }

    /// A secret that this host's desired state names.
    pub async fn secret(&self, reference: &str) -> Result<String, CallError> {
        let request = self.request(Method::GET, Call::Secret(reference)).timeout(self.waits.answer);
        let response = self.send(request).await?;
        let bytes = self.body(response, SECRET_LIMIT).await?;
        String::from_utf8(bytes).map_err(|_| CallError::Garbled(format!("secret {reference} is no text")))
    }

    /// An archive from byte `from` on: the answer with its body still to come, and whether it begins at `from` (else at 0).
    pub async fn package(&self, sha512: &Sha512, from: u64) -> Result<(Response, bool), CallError> {
        let mut request = self.request(Method::GET, Call::Package(sha512)).timeout(TRANSFER);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let late = || CallError::Unreachable { url: self.url().to_owned(), why: "no answer in time".to_owned() };
        let response = tokio::time::timeout(self.waits.answer, self.send(request)).await.map_err(|_| late())??;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok((response, false));
        }
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if range.strip_prefix("bytes ").and_then(|rest| rest.split('-').next()) != Some(from.to_string().as_str()) {
            return Err(CallError::Garbled(format!("bytes {from} and on were asked for, {range:?} came")));
        }
        Ok((response, true))
    }

    /// Longest silence within a body.
    pub fn silence(&self) -> Duration {
        self.waits.silence
    }

    fn request(&self, method: Method, call: Call<'_>) -> reqwest::RequestBuilder {
        let mut url = self.url.clone();
        url.path_segments_mut().expect("an https address has a path").clear().extend(call.segments());
        self.http.request(method, url)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        body: &impl Serialize,
        deadline: Duration,
        limit: usize,
    ) -> Result<T, CallError> {
        let response = self.send(self.request(Method::POST, call).json(body).timeout(deadline)).await?;
        let bytes = self.body(response, limit).await?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Garbled(error.to_string()))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, CallError> {
        let response = request.send().await.map_err(|error| CallError::of(self.url(), &error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, response: Response) -> CallError {
        let status = response.status();
        let again = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let again = again.map(|seconds| Duration::from_secs(seconds).min(LONGEST_AGAIN));
        let body = self.body(response, ANSWER_LIMIT).await.unwrap_or_default();
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        let why = if problem.detail.is_empty() { problem.title } else { problem.detail };
        let why: String = why.chars().filter(|c| !c.is_control()).take(REASON_LIMIT).collect();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CallError::Denied(why),
            other => CallError::Refused { status: other.as_u16(), why, again },
        }
    }

    async fn body(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, CallError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| CallError::of(self.url(), &error))? {
            if bytes.len() + chunk.len() > limit {
                return Err(CallError::Garbled(format!("it has more than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// Checks a portal's address; the error says what would be right.
pub fn portal_url(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.host_str().is_some() && url.path() == "/");
    url.ok_or_else(|| anyhow::anyhow!("portal address {text:?}: must be like https://portal.example:8443"))
}

/// Trusts this authority alone and shows this identity.
pub(crate) fn tls(authority: &str, identity: Option<&Identity>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.map_err(|error| anyhow::anyhow!("the portal's authority: {error}"))?)?;
    }
    anyhow::ensure!(!roots.is_empty(), "the portal's authority: no certificate in it");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

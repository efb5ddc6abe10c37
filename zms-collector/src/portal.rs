//! What is asked of the portal and told to it.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::Deserialize;
use zms_core::collect::{FENCE_HEADER, Orders, Snapshot};

use crate::orders::LARGEST;
use crate::tls::Tls;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The portal, as this collector reaches it.
#[derive(Debug)]
pub struct Portal {
    http: reqwest::Client,
    url: Url,
}

/// Why the portal did not do it.
#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    /// It was not reached, or said nothing in time.
    #[error("the portal is not reached: {0}")]
    Away(String),
    /// It said no.
    #[error("the portal answered {status}: {why}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its reason.
        why: String,
    },
    /// It has heard of a later leader.
    #[error("the portal answered 409: {why}")]
    Led {
        /// The fence of that one, if the portal says it.
        fence: Option<u64>,
        /// Its reason.
        why: String,
    },
    /// Not an answer of a portal.
    #[error("the portal's answer cannot be read: {0}")]
    Garbled(String),
}

impl Portal {
    /// Nothing is dialled yet.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(url: &str, tls: &Tls) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "https" && url.host_str().is_some());
        let url = parsed.ok_or_else(|| anyhow::anyhow!("portal address {url:?}: must be like https://portal.example:8444"))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.client()?)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("zms-collector/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, url })
    }

    /// Orders; `None` if they are still those of revision `known`.
    ///
    /// # Errors
    /// [`PortalError`].
    pub async fn orders(&self, known: Option<u64>) -> Result<Option<Orders>, PortalError> {
        let mut url = self.at("collector/v1/orders");
        if let Some(known) = known {
            url.query_pairs_mut().append_pair("known", &known.to_string());
        }
        let response = self.http.get(url).send().await.map_err(|error| away(&error))?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let body = body(accepted(response).await?).await?;
        serde_json::from_slice(&body).map(Some).map_err(|error| PortalError::Garbled(error.to_string()))
    }

    /// Tells what was seen.
    ///
    /// # Errors
    /// [`PortalError`]; [`PortalError::Led`]: another collector leads, or led with another metadata store.
    pub async fn snapshot(&self, snapshot: &Snapshot) -> Result<(), PortalError> {
        let request = self.http.post(self.at("collector/v1/snapshot")).json(snapshot);
        accepted(request.send().await.map_err(|error| away(&error))?).await.map(drop)
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }
}

fn away(error: &reqwest::Error) -> PortalError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    PortalError::Away(text)
}

async fn accepted(response: reqwest::Response) -> Result<reqwest::Response, PortalError> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Problem {
        title: String,
        detail: String,
    }
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let fence = response.headers().get(FENCE_HEADER).and_then(|fence| fence.to_str().ok()?.parse().ok());
    let problem: Problem = body(response).await.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    let why = if problem.detail.is_empty() { problem.title } else { problem.detail };
    let why: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
    if status == StatusCode::CONFLICT {
        return Err(PortalError::Led { fence, why });
    }
    Err(PortalError::Refused { status: status.as_u16(), why })
}

async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, PortalError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| away(&error))? {
        if (bytes.len() + chunk.len()) as u64 > LARGEST {
            return Err(PortalError::Garbled(format!("it has more than {LARGEST} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

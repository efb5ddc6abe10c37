//! What an instance says of itself, asked on this host only.

use std::collections::BTreeMap;
use std::time::Duration;

use zms_core::collect::Jolokia;

/// Largest answer that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// For all instances; never through a proxy.
pub(super) fn client(answer: Duration) -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.connect_timeout(answer).timeout(answer).pool_max_idle_per_host(1).build()
}

/// One request for everything that is wanted.
pub(super) async fn ask(http: &reqwest::Client, wanted: &Jolokia) -> Result<BTreeMap<String, f64>, String> {
    let url = format!("http://127.0.0.1:{}/jolokia/", wanted.port);
    let why = |error: reqwest::Error| format!("{url}: {}", error.without_url());
    let mut response = http.post(&url).json(&wanted.request()).send().await.map_err(why)?;
    if !response.status().is_success() {
        return Err(format!("{url} answered {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(why)? {
        if body.len() + chunk.len() > LIMIT {
            return Err(format!("{url} answered more than {LIMIT} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    wanted.numbers(&body).map_err(|error| format!("{url}: {error}"))
}

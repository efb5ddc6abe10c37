use std::time::Duration;

use reqwest::{RequestBuilder, Response, Url, header, redirect};

use super::MetricError;
use super::answer::Reply;

/// No answer that we ask for is longer; a longer one would fill memory.
const LONGEST_ANSWER: usize = 16 << 20;

const CONNECT: Duration = Duration::from_secs(3);

/// An address as it may be shown: without the user that somebody may have written into it.
pub(super) fn shown(url: &str) -> &str {
    if url.contains('@') { "[has a user in it]" } else { url }
}

/// One server, as one user.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    user: String,
    password: String,
    deadline: Duration,
}

impl Client {
    pub(super) fn new(url: &str, user: &str, password: &str, deadline: Duration) -> Result<Self, MetricError> {
        let base = address(url)?;
        // The deadline is that of a whole call, so no wait below needs one of its own.
        let http = reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none()).pool_max_idle_per_host(2);
        let http = http.connect_timeout(CONNECT.min(deadline)).timeout(deadline).build();
        let http = http.map_err(|error| MetricError::Refused { why: format!("no HTTP client: {}", innermost(error)) })?;
        Ok(Self { http, base, user: user.to_owned(), password: password.to_owned(), deadline })
    }

    /// Posts lines.
    pub(super) async fn write(&self, pairs: &[(&str, &str)], lines: &str) -> Result<Reply, MetricError> {
        let mut url = self.at("write");
        url.query_pairs_mut().extend_pairs(pairs);
        self.send(self.http.post(url).body(lines.to_owned())).await
    }

    /// Posts a statement.
    pub(super) async fn query(&self, pairs: &[(&str, &str)]) -> Result<Reply, MetricError> {
        self.send(self.http.post(self.at("query")).form(pairs)).await
    }

    /// An error without our password, in case that somebody on the way repeats what we send.
    pub(super) fn hide(&self, error: MetricError) -> MetricError {
        error.without(&self.password)
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(path);
        }
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<Reply, MetricError> {
        let request = request.basic_auth(&self.user, Some(&self.password)).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(|error| self.away(error))?;
        let (status, after) = (response.status().as_u16(), after(&response));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.away(error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(self.endless(&response));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, after, body })
    }

    fn away(&self, error: reqwest::Error) -> MetricError {
        let why = match (error.is_timeout(), error.is_connect()) {
            (true, true) => format!("not reached within {:?}", CONNECT.min(self.deadline)),
            (true, false) => format!("no answer within {:?}", self.deadline),
            (false, _) => innermost(error),
        };
        MetricError::Away { why: format!("{}: {why}", self.base.as_str().trim_end_matches('/')) }
    }

    fn endless(&self, response: &Response) -> MetricError {
        if response.headers().contains_key("x-influxdb-version") {
            return MetricError::TooLarge;
        }
        MetricError::Answer { why: format!("{}: more than {LONGEST_ANSWER} bytes", self.base.as_str().trim_end_matches('/')) }
    }
}

fn address(url: &str) -> Result<Url, MetricError> {
    let refused = |why: &str| MetricError::Refused { why: format!("address {:?}: {why}", shown(url)) };
    let base = Url::parse(url).map_err(|_| refused("http://host:port would be right"))?;
    if !base.username().is_empty() || base.password().is_some() || url.contains('@') {
        return Err(refused("the user is a setting of its own"));
    }
    if !matches!(base.scheme(), "http" | "https") || base.query().is_some() || base.fragment().is_some() {
        return Err(refused("http://host:port would be right"));
    }
    Ok(base)
}

/// When it wants to be asked again; a date is not understood.
fn after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The outer ones only say that a request failed.
fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_never_shows_a_user() {
        for right in ["http://127.0.0.1:8086", "http://h:1/", "https://h/influx"] {
            assert!(address(right).is_ok(), "{right}");
        }
        for wrong in
            ["", "h:1", "ftp://h", "http://h/?u=a&p=b", "http://u:geheim@h:1", "http://u@h", "http://:geheim@h", "geheim@"]
        {
            let error = address(wrong).unwrap_err();
            assert!(matches!(error, MetricError::Refused { .. }), "{wrong}");
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
    }

    #[test]
    fn a_path_before_ours_is_kept() {
        let at = |url: &str| Client::new(url, "u", "p", CONNECT).unwrap().at("write").to_string();
        assert_eq!(at("http://h:1"), "http://h:1/write");
        assert_eq!(at("http://h:1/influx/"), "http://h:1/influx/write");
    }
}

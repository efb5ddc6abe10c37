//! Answers to programs outside the pages and the API: `problem+json` (RFC 9457) and files that can be gone on with.

use std::io::SeekFrom;
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::error::Error;
use crate::web::messages::Messages;

/// A body is there by then.
const BODY: Duration = Duration::from_secs(15);
/// Bytes of a file that are in memory at a time.
const PIECE: usize = 64 << 10;

/// A refusal, in a sentence.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    detail: String,
    again_s: Option<u32>,
}

impl Refused {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), again_s: None }
    }

    pub fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank", "title": self.status.canonical_reason().unwrap_or_default(), "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        let mut response = (self.status, headers, body.to_string()).into_response();
        if let Some(seconds) = self.again_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl<E: Into<Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        let error = error.into();
        match &error {
            Error::Internal(cause) => {
                tracing::error!(error = format!("{cause:#}"), "a request of a host failed");
                Self {
                    again_s: Some(5),
                    ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "a fault of the portal; its log has the cause")
                }
            }
            Error::Unavailable(text) | Error::TooMany(text) => {
                Self { again_s: Some(5), ..Self::new(error.status(), text.say(Messages::ENGLISH)) }
            }
            Error::Conflict(text) | Error::Malformed(_, text) => Self::new(error.status(), text.say(Messages::ENGLISH)),
            Error::SignIn | Error::Forbidden | Error::NotFound | Error::Invalid(_) => {
                Self::new(error.status(), error.status().canonical_reason().unwrap_or_default())
            }
        }
    }
}

/// Reads a JSON body of at most `limit` bytes.
pub(crate) async fn json<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Refused> {
    let late = |_| Refused::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    let bytes = tokio::time::timeout(BODY, axum::body::to_bytes(body, limit)).await.map_err(late)?;
    let bytes: Bytes =
        bytes.map_err(|_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {limit} bytes")))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}")))
}

/// The file at `path`, whose content never changes and is named by `tag`; from where `Range: bytes=N-` says on.
pub(crate) async fn file(path: &Path, tag: &str, headers: &HeaderMap) -> Result<Response, Refused> {
    let about = |error: std::io::Error| Error::from(anyhow::Error::new(error).context(format!("reading {}", path.display())));
    let mut file = File::open(path).await.map_err(about)?;
    let size = file.metadata().await.map_err(about)?.len();
    let tag = format!("\"{}\"", &tag[..32.min(tag.len())]);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let wanted = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|known| known == tag));
    let (status, from) = match wanted.map(|range| start(range, size)) {
        None | Some(Start::Whole) => (StatusCode::OK, 0),
        Some(Start::At(from)) => (StatusCode::PARTIAL_CONTENT, from),
        Some(Start::Beyond) => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    file.seek(SeekFrom::Start(from)).await.map_err(about)?;
    // Not more than was promised, whatever happens to the file meanwhile.
    let pieces = futures::stream::try_unfold(file.take(size - from), |mut rest| async move {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut rest).take(PIECE as u64).read_to_end(&mut piece).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), rest)))
    });
    let mut response = (status, Body::from_stream(pieces)).into_response();
    let mut set = |name: header::HeaderName, value: String| {
        response.headers_mut().insert(name, value.try_into().expect("numbers and digits are a header's value"));
    };
    set(header::CONTENT_TYPE, "application/octet-stream".to_owned());
    set(header::CONTENT_LENGTH, (size - from).to_string());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::ETAG, tag);
    if status == StatusCode::PARTIAL_CONTENT {
        set(header::CONTENT_RANGE, format!("bytes {from}-{}/{size}", size - 1));
    }
    Ok(response)
}

/// Where an answer begins.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    Whole,
    At(u64),
    Beyond,
}

/// Only the form that goes on with a download; others may be ignored (RFC 9110, 14.2).
fn start(range: &str, size: u64) -> Start {
    let from = range.strip_prefix("bytes=").and_then(|rest| rest.strip_suffix('-')).and_then(|from| from.parse::<u64>().ok());
    match from {
        None => Start::Whole,
        Some(from) if from < size => Start::At(from),
        Some(_) => Start::Beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_goes_on_where_a_download_stopped_and_others_are_ignored() {
        for (range, expected) in [
            ("bytes=0-", Start::At(0)),
            ("bytes=9-", Start::At(9)),
            ("bytes=10-", Start::Beyond),
            ("bytes=5-7", Start::Whole),
            ("bytes=-5", Start::Whole),
            ("bytes=1-,3-", Start::Whole),
            ("lines=1-", Start::Whole),
            ("", Start::Whole),
        ] {
            assert_eq!(start(range, 10), expected, "{range}");
        }
    }

    #[tokio::test]
    async fn a_file_comes_whole_from_a_byte_on_and_whole_again_when_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let content: Vec<u8> = (0..PIECE * 2 + 7).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let tag = "ab".repeat(64);
        let ask = async |headers: &[(header::HeaderName, &str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            let response = file(&path, &tag, &headers).await.unwrap();
            let (status, length) = (response.status(), response.headers().get(header::CONTENT_LENGTH).cloned());
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (status.as_u16(), length.map(|length| length.to_str().unwrap().to_owned()), bytes)
        };
        let whole = (200, Some(content.len().to_string()), Bytes::from(content.clone()));
        let rest = (206, Some((content.len() - 70_000).to_string()), Bytes::from(content[70_000..].to_vec()));
        let etag = format!("\"{}\"", &tag[..32]);
        assert_eq!(ask(&[]).await, whole);
        assert_eq!(ask(&[(header::RANGE, "bytes=70000-")]).await, rest);
        assert_eq!(ask(&[(header::RANGE, "bytes=70000-"), (header::IF_RANGE, &etag)]).await, rest);
        assert_eq!(ask(&[(header::RANGE, "bytes=70000-"), (header::IF_RANGE, "\"other\"")]).await, whole);
        assert_eq!(ask(&[(header::RANGE, &format!("bytes={}-", content.len()))]).await.0, 416);
    }
}

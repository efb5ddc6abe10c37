//! What comes in: forms, JSON, paths and queries, each refused with a sentence instead of the framework's own words.

use axum::extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::StatusCode;

use crate::error::{Error, Problem, Text};

/// A form, at most as large as the body limit.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::extract::Form), rejection(Error))]
pub struct Form<T>(pub T);

/// A JSON body.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::extract::Json), rejection(Error))]
pub struct Json<T>(pub T);

/// Parts of the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Error))]
pub struct Path<T>(pub T);

/// Parameters behind the `?`.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Error))]
pub struct Query<T>(pub T);

impl<T: serde::Serialize> axum::response::IntoResponse for Json<T> {
    fn into_response(self) -> axum::response::Response {
        axum::Json(self.0).into_response()
    }
}

impl From<FormRejection> for Error {
    fn from(rejection: FormRejection) -> Self {
        refused(rejection.status(), rejection.body_text())
    }
}

impl From<JsonRejection> for Error {
    fn from(rejection: JsonRejection) -> Self {
        refused(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Error {
    fn from(_: PathRejection) -> Self {
        Self::NotFound
    }
}

impl From<QueryRejection> for Error {
    fn from(rejection: QueryRejection) -> Self {
        refused(rejection.status(), rejection.body_text())
    }
}

fn refused(status: StatusCode, detail: String) -> Error {
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return Error::Malformed(StatusCode::UNSUPPORTED_MEDIA_TYPE, Text::new(|m| m.error_media_type().to_owned()));
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Error::Malformed(status, Text::new(|m| m.error_too_large().to_owned()));
    }
    // Serde's words name the field and what was expected.
    Error::Invalid(vec![Problem::new("body", move |m| m.error_malformed(&detail))])
}

/// Percent-encodes one part of a path or one value of a query.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Undoes [`encode`]; what is not UTF-8 afterwards becomes replacement characters.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped =
            (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_plain_and_comes_back(text: String) {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte)));
            prop_assert_eq!(decode(&encoded), text);
        }

        #[test]
        fn nothing_breaks_decoding(text in "[%0-9a-fA-Fx\u{4e2d}]{0,12}") {
            decode(&text);
        }
    }
}

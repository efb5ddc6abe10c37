//! One error for pages and API: a kind with a sentence for the visitor, and the cause for the log.

use std::fmt;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::db;
use crate::web::messages::Messages;

/// A sentence in the reader's language, made when it is shown.
#[derive(Clone)]
pub struct Text(Arc<dyn Fn(Messages) -> String + Send + Sync>);

impl Text {
    /// For example `Text::new(move |m| m.environments_name_taken(&name))`.
    pub fn new(say: impl Fn(Messages) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(say))
    }

    /// The sentence in the language of `m`.
    pub fn say(&self, m: Messages) -> String {
        (self.0)(m)
    }
}

/// Two that say the same.
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.say(Messages::ENGLISH) == other.say(Messages::ENGLISH)
    }
}

impl Eq for Text {}

/// Programs read English.
impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.say(Messages::ENGLISH))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.say(Messages::ENGLISH))
    }
}

/// What is wrong with one field of a form or of a JSON body.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The field's name in form and JSON.
    pub field: String,
    /// What would be right.
    pub text: Text,
}

impl Problem {
    /// A problem of `field`.
    pub fn new(field: impl Into<String>, say: impl Fn(Messages) -> String + Send + Sync + 'static) -> Self {
        Self { field: field.into(), text: Text::new(say) }
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone)]
pub enum Error {
    /// Nobody is signed in (401; a page sends the browser to the sign-in).
    SignIn,
    /// Signed in, and not allowed (403).
    Forbidden,
    /// There is no such thing, or not for this person (404).
    NotFound,
    /// It contradicts what is there (409).
    Conflict(Text),
    /// Fields are wrong (422); nothing was changed.
    Invalid(Vec<Problem>),
    /// It cannot be read at all: wrong media type, too large (415, 413).
    Malformed(StatusCode, Text),
    /// Too many tries (429).
    TooMany(Text),
    /// Something that it needs is away (503).
    Unavailable(Text),
    /// A fault of ours (500). The cause goes to the log, not to the visitor.
    Internal(Arc<anyhow::Error>),
}

/// What handlers and use cases return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// One wrong field.
    pub fn invalid(field: &str, say: impl Fn(Messages) -> String + Send + Sync + 'static) -> Self {
        Self::Invalid(vec![Problem::new(field, say)])
    }

    /// A contradiction.
    pub fn conflict(say: impl Fn(Messages) -> String + Send + Sync + 'static) -> Self {
        Self::Conflict(Text::new(say))
    }

    /// The HTTP status that says it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Malformed(status, _) => *status,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<sqlx::Error>() {
            Ok(error) if db::is_unavailable(&error) => error.into(),
            Ok(error) => Self::Internal(Arc::new(error.into())),
            Err(error) => Self::Internal(Arc::new(error)),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => Self::NotFound,
            away if db::is_unavailable(&away) => {
                tracing::warn!(cause = %away, "the database is away or busy");
                Self::Unavailable(Text::new(|m| m.error_database_busy().to_owned()))
            }
            other => Self::Internal(Arc::new(other.into())),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(Arc::new(anyhow::Error::new(error).context("reading or writing JSON of our own")))
    }
}

/// The status alone, with the error attached: the layer of the pages makes a page of it, the layer of the API a
/// `problem+json` (RFC 9457), each in the reader's language.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

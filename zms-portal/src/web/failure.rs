//! What a visitor gets when a request comes to nothing: a page, or `problem+json` (RFC 9457), in their language.

use std::time::Duration;

use askama::Template;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, OriginalUri, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::timeout;

use super::chrome::{Chrome, messages};
use super::form::encode;
use super::links::Link;
use super::messages::Messages;
use crate::app::{App, new_id};
use crate::error::{Error, Problem, Text};

/// Longest sentence of the framework that is passed on, in bytes.
const FOREIGN_SENTENCE: usize = 4 << 10;

/// An error page gets its menu if that takes no longer.
const FRAME_WITHIN: Duration = Duration::from_secs(2);

/// Carries the number of a failed request, as its page and the log name it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    chrome: Chrome,
    status: u16,
    title: &'static str,
    detail: String,
    problems: Vec<String>,
    request: String,
}

/// Around pages: errors become pages, "sign in" a redirect.
pub(super) async fn pages(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // The frame of the error page is made from the same request.
    let again = parts.clone();
    let (error, headers) = match caught(next.run(Request::from_parts(parts, body)).await).await {
        Ok(response) => return response,
        Err(failure) => failure,
    };
    if again.uri.path().starts_with("/api/") {
        return problem(&error, &headers, &again);
    }
    if matches!(error, Error::SignIn) && again.method == Method::GET && navigates(&again.headers) {
        return to_sign_in(&again);
    }
    let id = logged(&error, &again);
    let (status, chrome) = (error.status(), frame(&app, again).await);
    let Words { title, detail, .. } = words(&error, chrome.m);
    let problems = fields(&error).iter().map(|problem| problem.text.say(chrome.m)).collect();
    let page = ErrorPage { status: status.as_u16(), title, detail, problems, request: id.clone(), chrome };
    let answer = super::page_with(status, page).unwrap_or_else(|cause| {
        tracing::error!(?cause, request = id, "rendering the error page");
        status.into_response()
    });
    with(answer, &headers, &id)
}

/// Around the API.
pub(super) async fn api(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let again = parts.clone();
    match caught(next.run(Request::from_parts(parts, body)).await).await {
        Ok(response) => response,
        Err((error, headers)) => problem(&error, &headers, &again),
    }
}

/// Demands JSON of every state change of the API: a form of another site cannot send it.
pub(super) async fn json_only(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let json = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if changes && !json {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    next.run(request).await
}

/// The error that a response stands for, with its headers; or the response, if it stands for none. The framework refuses with a bare
/// status or a line of text, we by [`Error`].
async fn caught(response: Response) -> Result<Response, (Error, HeaderMap)> {
    let (mut parts, body) = response.into_parts();
    if let Some(error) = parts.extensions.remove::<Error>() {
        return Err((error, parts.headers));
    }
    let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !(parts.status.is_client_error() || parts.status.is_server_error())
        || !kind.is_none_or(|kind| kind.starts_with(b"text/plain"))
    {
        return Ok(Response::from_parts(parts, body));
    }
    let error = match parts.status {
        StatusCode::UNAUTHORIZED => Error::SignIn,
        StatusCode::FORBIDDEN => Error::Forbidden,
        StatusCode::NOT_FOUND => Error::NotFound,
        StatusCode::REQUEST_TIMEOUT => Error::Unavailable(Text::new(|m| m.error_timeout().to_owned())),
        status @ StatusCode::METHOD_NOT_ALLOWED => Error::Malformed(status, Text::new(|m| m.error_method().to_owned())),
        status @ StatusCode::PAYLOAD_TOO_LARGE => Error::Malformed(status, Text::new(|m| m.error_too_large().to_owned())),
        status @ StatusCode::UNSUPPORTED_MEDIA_TYPE => Error::Malformed(status, Text::new(|m| m.error_media_type().to_owned())),
        status if status.is_server_error() => anyhow::anyhow!("a bare {status}: {}", sentence(body).await).into(),
        status => {
            let said = sentence(body).await;
            Error::Malformed(status, Text::new(move |m| m.error_unreadable(&said)))
        }
    };
    Err((error, parts.headers))
}

async fn sentence(body: Body) -> String {
    let bytes = to_bytes(body, FOREIGN_SENTENCE).await.unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Does a person open a page, or does a script of ours fetch a part of one? A script cannot follow to the sign-in.
pub(super) fn navigates(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_none_or(|mode| mode.as_bytes() == b"navigate")
}

fn to_sign_in(request: &Parts) -> Response {
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    if target == "/" {
        return super::see_other(Link::SignIn);
    }
    super::see_other(format!("{}?next={}", Link::SignIn, encode(target)))
}

fn problem(error: &Error, headers: &HeaderMap, request: &Parts) -> Response {
    let id = logged(error, request);
    let m = messages(&request.headers, None);
    let Words { code, title, detail } = words(error, m);
    let errors: Vec<(&str, String)> = fields(error).iter().map(|problem| (problem.field.as_str(), problem.text.say(m))).collect();
    let summary: Vec<String> = errors.iter().map(|(field, text)| format!("{field}: {text}")).collect();
    let body = json!({
        "type": "about:blank",
        "title": title,
        "status": error.status().as_u16(),
        "detail": if summary.is_empty() { detail } else { summary.join("; ") },
        "code": code,
        "errors": errors.iter().map(|(field, text)| json!({ "field": field, "detail": text })).collect::<Vec<_>>(),
        "request": id,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    with((error.status(), kind, Json(body)).into_response(), headers, &id)
}

/// Keeps what an error's headers say to the client, and names the request.
fn with(mut answer: Response, headers: &HeaderMap, id: &str) -> Response {
    for name in [header::ALLOW, header::RETRY_AFTER, header::SET_COOKIE, header::WWW_AUTHENTICATE] {
        for value in headers.get_all(&name) {
            answer.headers_mut().append(name.clone(), value.clone());
        }
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

/// A number for the request; the cause of a fault of ours goes to the log under it.
fn logged(error: &Error, request: &Parts) -> String {
    let id = new_id();
    if let Error::Internal(cause) = error {
        let path = request.extensions.get::<OriginalUri>().map_or(request.uri.path(), |uri| uri.path());
        tracing::error!(method = %request.method, path, request = id, cause = format!("{cause:#}"), "a request failed");
    }
    id
}

async fn frame(app: &App, mut request: Parts) -> Chrome {
    let bare = Chrome::bare(&request);
    // It asks the database, whose absence may be what the page is about.
    let whole = timeout(FRAME_WITHIN, Chrome::from_request_parts(&mut request, app)).await;
    whole.ok().and_then(Result::ok).unwrap_or(bare)
}

fn fields(error: &Error) -> &[Problem] {
    match error {
        Error::Invalid(problems) => problems,
        _ => &[],
    }
}

/// An error for people, and its name for programs.
struct Words {
    code: &'static str,
    title: &'static str,
    detail: String,
}

fn words(error: &Error, m: Messages) -> Words {
    let (code, title, detail) = match error {
        Error::SignIn => ("sign_in", m.error_sign_in(), m.error_sign_in_detail().to_owned()),
        Error::Forbidden => ("forbidden", m.error_forbidden(), m.error_forbidden_detail().to_owned()),
        Error::NotFound => ("not_found", m.error_not_found(), m.error_not_found_detail().to_owned()),
        Error::Conflict(text) => ("conflict", m.error_conflict(), text.say(m)),
        Error::Invalid(_) => ("invalid", m.error_invalid(), m.error_invalid_detail().to_owned()),
        Error::Malformed(_, text) => ("malformed", m.error_malformed_title(), text.say(m)),
        Error::TooMany(text) => ("too_many", m.error_too_many(), text.say(m)),
        Error::Unavailable(text) => ("unavailable", m.error_unavailable(), text.say(m)),
        Error::Internal(_) => ("internal", m.error_internal(), m.error_internal_detail().to_owned()),
    };
    Words { code, title, detail }
}

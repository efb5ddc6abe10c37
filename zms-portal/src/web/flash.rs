//! A sentence that the next page shows once: what came of a form, after its redirect.

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use axum_extra::extract::CookieJar;

use super::form::{decode, encode};

/// Cookie of the sentence. The prefix makes browsers refuse it from any other host, so nobody else can put words into our pages.
const COOKIE: &str = "__Host-zms-flash";
const ATTRIBUTES: &str = "Path=/; SameSite=Lax; Secure; HttpOnly";

/// Longest sentence, in characters: a cookie holds 4 KiB, percent-encoded.
const LONGEST: usize = 300;

/// Puts the sentence on an answer that redirects. It is shown as text, so it needs no trust.
pub fn with(mut response: Response, sentence: &str) -> Response {
    let sentence: String = sentence.chars().take(LONGEST).collect();
    set(&mut response, &format!("{COOKIE}={}; Max-Age=60; {ATTRIBUTES}", encode(&sentence)));
    response
}

/// The sentence that a request brings; empty if none.
pub(super) fn read(headers: &HeaderMap) -> String {
    CookieJar::from_headers(headers).get(COOKIE).map(|cookie| decode(cookie.value())).unwrap_or_default()
}

/// Forgets the sentence once a page has shown it. A part that a script fetches in between shows none.
pub(super) async fn shown(request: Request, next: Next) -> Response {
    let brought = !read(request.headers()).is_empty() && super::failure::navigates(request.headers());
    let mut response = next.run(request).await;
    let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if brought && is_page {
        set(&mut response, &format!("{COOKIE}=; Max-Age=0; {ATTRIBUTES}"));
    }
    response
}

fn set(response: &mut Response, cookie: &str) {
    let value = HeaderValue::from_str(cookie).expect("a percent-encoded sentence is ASCII");
    response.headers_mut().append(SET_COOKIE, value);
}

//! Language and theme, kept in cookies, also before anybody has signed in.

use axum::Router;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;

use super::chrome::{LANGUAGE, THEME};
use super::links::Link;
use super::messages::Language;
use super::{Form, see_other};
use crate::access::{Actor, Address, Visitor};
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::users;

pub(super) fn pages() -> Router<App> {
    Router::new().route(&Link::Preferences.to_string(), post(choose))
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Choice {
    language: String,
    theme: String,
    back: String,
}

impl Default for Choice {
    fn default() -> Self {
        Self { language: String::new(), theme: String::new(), back: "/".to_owned() }
    }
}

async fn choose(
    Visitor(user): Visitor,
    address: Address,
    State(app): State<App>,
    Form(choice): Form<Choice>,
) -> Result<Response> {
    const YEAR: &str = "Path=/; Max-Age=31536000; SameSite=Lax; Secure; HttpOnly";
    let mut cookies = Vec::new();
    if let Some(language) = Language::parse(&choice.language) {
        // What a person chose in their account beats the cookie, so it changes with it.
        if let Some(user) = user.as_ref().filter(|user| !user.language.is_empty()) {
            users::set_language(&app.db, Actor { user, address: &address.0 }, language.tag(), now_ms()).await?;
        }
        cookies.push((SET_COOKIE, format!("{LANGUAGE}={}; {YEAR}", language.tag())));
    }
    match choice.theme.as_str() {
        theme @ ("light" | "dark") => cookies.push((SET_COOKIE, format!("{THEME}={theme}; {YEAR}"))),
        "auto" => cookies.push((SET_COOKIE, format!("{THEME}=; Path=/; Max-Age=0; SameSite=Lax; Secure; HttpOnly"))),
        _ => {}
    }
    Ok((AppendHeaders(cookies), see_other(local(&choice.back))).into_response())
}

/// Only a path of our own; `//host` and `/\host` lead elsewhere.
pub fn local(back: &str) -> &str {
    let bytes = back.as_bytes();
    let ours =
        bytes.first() == Some(&b'/') && !matches!(bytes.get(1), Some(b'/' | b'\\')) && !bytes.iter().any(u8::is_ascii_control);
    if ours { back } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn a_way_back_never_leads_elsewhere() {
        for (back, expected) in
            [("/e/dev", "/e/dev"), ("//evil", "/"), ("/\\evil", "/"), ("https://evil", "/"), ("", "/"), ("/a\nb", "/")]
        {
            assert_eq!(local(back), expected, "{back:?}");
        }
    }
}

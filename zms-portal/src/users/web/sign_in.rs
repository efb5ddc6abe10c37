//! Sign-in and sign-out.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use crate::access::session::{self, Limits};
use crate::access::throttle::Throttle;
use crate::access::{Address, Visitor};
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::setup;
use crate::users::{self, Credentials};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Problems, Query};

#[derive(Template)]
#[template(path = "users/sign_in.html")]
struct SignInPage {
    chrome: Chrome,
    next: String,
    name: String,
    problems: Problems,
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

pub(super) async fn show(chrome: Chrome, State(app): State<App>, Query(Next { next }): Query<Next>) -> Result<Response> {
    if chrome.user.is_some() {
        return Ok(web::see_other(local(&next)));
    }
    if !setup::done(&app.db).await? {
        return Ok(web::see_other(Link::Setup));
    }
    web::page(SignInPage { chrome, next: local(&next).to_owned(), name: String::new(), problems: Problems::default() })
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn sign_in(
    chrome: Chrome,
    address: Address,
    State(app): State<App>,
    headers: HeaderMap,
    Form(SignInForm { name, password, next }): Form<SignInForm>,
) -> Result<Response> {
    let throttle = Throttle::open(&app).await?;
    let before = session::cookie_of(&headers);
    let credentials = Credentials { name: name.clone(), password };
    match users::sign_in(&app.db, &throttle, Limits::of(&app.config), credentials, before.as_ref(), &address.0, now_ms()).await {
        Ok(token) => {
            let mut response = web::see_other(local(&next));
            session::set_cookie(response.headers_mut(), &token);
            Ok(response)
        }
        Err(error) => {
            let (status, problems) = Problems::of_error(error, chrome.m)?;
            // Somebody who tries another name is shown the form, not the pages of the one who is still signed in.
            let chrome = Chrome { user: None, ..chrome };
            web::page_with(status, SignInPage { chrome, next: local(&next).to_owned(), name, problems })
        }
    }
}

pub(super) async fn sign_out(
    Visitor(user): Visitor,
    address: Address,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response> {
    if let Some(token) = session::cookie_of(&headers) {
        users::sign_out(&app.db, user.as_ref(), &token, &address.0, now_ms()).await?;
    }
    let mut response = web::see_other(Link::SignIn);
    session::clear_cookie(response.headers_mut());
    Ok(response)
}

/// Only a path of this portal: browsers read `//host`, `/\host` and a path with a tab in it as another site.
fn local(next: &str) -> &str {
    let bytes = next.as_bytes();
    let ours = bytes.first() == Some(&b'/')
        && !matches!(bytes.get(1), Some(b'/' | b'\\'))
        && bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    if ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::local;

    #[test]
    fn a_sign_in_never_leads_to_another_site() {
        for next in ["/", "/e/dev/services?sort=name&dir=asc", "/settings/users", "/e/%E6%B5%8B"] {
            assert_eq!(local(next), next);
        }
        for next in [
            "",
            "e/dev",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "/a\r\nSet-Cookie: b",
            " /a",
            "/中",
        ] {
            assert_eq!(local(next), "/", "{next:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_a_path_that_a_header_can_carry(next: String) {
            let to = local(&next);
            prop_assert!(to.starts_with('/') && !to.starts_with("//") && axum::http::HeaderValue::from_str(to).is_ok());
        }
    }
}

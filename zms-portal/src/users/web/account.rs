//! What everybody sees of themselves.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::access::session::{self, Limits};
use crate::access::throttle::Throttle;
use crate::access::{Actor, Address, User};
use crate::app::{App, now_ms};
use crate::error::{Error, Result};
use crate::users::{self, PasswordChange};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Problems};

#[derive(Template)]
#[template(path = "users/account.html")]
struct AccountPage {
    chrome: Chrome,
    problems: Problems,
}

pub(super) async fn show(chrome: Chrome, _: User) -> Result<Response> {
    web::page(AccountPage { chrome, problems: Problems::default() })
}

#[derive(Deserialize)]
pub(super) struct PasswordForm {
    #[serde(default)]
    present: String,
    #[serde(default)]
    new: String,
    #[serde(default)]
    again: String,
}

pub(super) async fn change_password(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(PasswordForm { present, new, again }): Form<PasswordForm>,
) -> Result<Response> {
    let changed = if new == again {
        let throttle = Throttle::open(&app).await?;
        let actor = Actor { user: &user, address: &address.0 };
        users::change_password(&app.db, &throttle, Limits::of(&app.config), actor, PasswordChange { present, new }, now_ms())
            .await
    } else {
        Err(Error::invalid("again", |m| m.users_again_wrong().to_owned()))
    };
    match changed {
        Ok(token) => {
            let mut response = web::flash::with(web::see_other(Link::Account), chrome.m.users_password_changed());
            session::set_cookie(response.headers_mut(), &token);
            Ok(response)
        }
        Err(error) => {
            let (status, problems) = Problems::of_error(error, chrome.m)?;
            web::page_with(status, AccountPage { chrome, problems })
        }
    }
}

#[derive(Deserialize)]
pub(super) struct LanguageForm {
    #[serde(default)]
    language: String,
}

pub(super) async fn choose_language(
    user: User,
    address: Address,
    State(app): State<App>,
    Form(LanguageForm { language }): Form<LanguageForm>,
) -> Result<Response> {
    users::set_language(&app.db, Actor { user: &user, address: &address.0 }, &language, now_ms()).await?;
    Ok(web::see_other(Link::Account))
}

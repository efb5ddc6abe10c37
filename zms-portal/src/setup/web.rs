//! The page of the first start.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::FirstAdministrator;
use crate::access::Address;
use crate::access::session::{self, Limits};
use crate::access::throttle::Throttle;
use crate::app::{App, now_ms};
use crate::error::{Error, Problem, Result};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Problems};

/// Pages.
pub fn pages() -> Router<App> {
    Router::new().route(&Link::Setup.to_string(), get(show).post(finish))
}

#[derive(Template)]
#[template(path = "setup/setup.html")]
struct SetupPage {
    chrome: Chrome,
    code: String,
    name: String,
    problems: Problems,
}

#[derive(Deserialize)]
struct SetupForm {
    #[serde(default)]
    code: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

async fn show(chrome: Chrome, State(app): State<App>) -> Result<Response> {
    if super::done(&app.db).await? {
        return Err(Error::NotFound);
    }
    web::page(SetupPage { chrome, code: String::new(), name: String::new(), problems: Problems::default() })
}

async fn finish(chrome: Chrome, address: Address, State(app): State<App>, Form(form): Form<SetupForm>) -> Result<Response> {
    let SetupForm { code, name, password, again } = form;
    let done = if password == again {
        let first = FirstAdministrator { code: code.clone(), name: name.clone(), password };
        let throttle = Throttle::open(&app).await?;
        super::finish(&app.db, &throttle, Limits::of(&app.config), first, &address.0, now_ms()).await
    } else if super::done(&app.db).await? {
        Err(Error::NotFound)
    } else {
        Err(Error::Invalid(vec![Problem::new("again", |m| m.users_again_wrong().to_owned())]))
    };
    match done {
        Ok(token) => {
            let mut response = web::see_other(Link::Overview);
            session::set_cookie(response.headers_mut(), &token);
            Ok(response)
        }
        Err(error) => {
            let (status, problems) = Problems::of_error(error, chrome.m)?;
            web::page_with(status, SetupPage { chrome, code, name, problems })
        }
    }
}

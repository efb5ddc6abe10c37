//! The page of an import.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::plan::{Origin, Plan};
use super::{SUBJECT, begin, look};
use crate::access::{Address, Role, User};
use crate::app::{App, now_ms};
use crate::engine::web::Steps;
use crate::environments::Actor;
use crate::error::{Error, Result};
use crate::web;
use crate::web::chrome::Chrome;
use crate::web::links::Link;

/// Rows of each kind on the page; all of them are in the API.
const SHOWN: usize = 300;

/// Pages.
pub fn pages() -> Router<App> {
    Router::new().route("/e/{env}/import", get(page).post(confirm))
}

#[derive(Template)]
#[template(path = "import/page.html")]
struct ImportPage {
    chrome: Chrome,
    env: String,
    plan: std::result::Result<Plan, String>,
    flows: Vec<Steps>,
}

impl ImportPage {
    /// How many of a list do not fit.
    fn more(&self, all: usize) -> usize {
        all.saturating_sub(SHOWN)
    }
}

async fn page(chrome: Chrome, user: User, address: Address, State(app): State<App>) -> Result<Response> {
    user.require(Role::Operator)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    let plan = match look(&app, actor, &environment, now_ms()).await {
        Ok(plan) => Ok(plan),
        Err(Error::Unavailable(why)) => Err(why.say(chrome.m)),
        Err(error) => return Err(error),
    };
    let flows = app.engine.of_subject(Some(&environment.id), SUBJECT).await?;
    let flows = flows.into_iter().take(1).map(|flow| Steps::of(&app.engine, flow, chrome.m, now_ms())).collect();
    web::page(ImportPage { env: environment.name, chrome, plan, flows })
}

async fn confirm(chrome: Chrome, user: User, address: Address, State(app): State<App>) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    let flow = begin(&app, actor, &environment, now_ms()).await?;
    Ok(web::see_other(Link::Flow(&flow)))
}

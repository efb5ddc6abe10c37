//! The page of an import.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::plan::{Origin, Plan};
use super::{SUBJECT, begin, look};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::engine::web::Steps;
use crate::error::{Error, Result};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Problems};

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
    protected: bool,
    plan: std::result::Result<Plan, String>,
    flows: Vec<Steps>,
    /// About the confirmation.
    problems: Problems,
}

impl ImportPage {
    /// How many of a list do not fit.
    fn more(&self, all: usize) -> usize {
        all.saturating_sub(SHOWN)
    }
}

impl ImportPage {
    async fn load(app: &App, chrome: Chrome, actor: Actor<'_>) -> Result<Self> {
        let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
        let plan = match look(app, actor, &environment, now_ms()).await {
            Ok(plan) => Ok(plan),
            Err(Error::Unavailable(why)) => Err(why.say(chrome.m)),
            Err(error) => return Err(error),
        };
        let flows = app.engine.of_subject(Some(&environment.id), SUBJECT).await?;
        let flows = flows.into_iter().take(1).map(|flow| Steps::of(&app.engine, flow, chrome.m, now_ms())).collect();
        let (env, protected) = (environment.name, environment.protected);
        Ok(Self { env, protected, chrome, plan, flows, problems: Problems::default() })
    }
}

async fn page(chrome: Chrome, user: User, address: Address, State(app): State<App>) -> Result<Response> {
    user.require(Role::Operator)?;
    web::page(ImportPage::load(&app, chrome, Actor { user: &user, address: &address.0 }).await?)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfirmForm {
    confirm: String,
}

async fn confirm(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(form): Form<ConfirmForm>,
) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    match begin(&app, actor, &environment, form.confirm.trim(), now_ms()).await {
        Ok(flow) => Ok(web::see_other(Link::Flow(&flow))),
        Err(Error::Invalid(problems)) => {
            let problems = Problems::new(&problems, chrome.m);
            let page = ImportPage::load(&app, chrome, actor).await?;
            web::page_with(StatusCode::UNPROCESSABLE_ENTITY, ImportPage { problems, ..page })
        }
        Err(error) => Err(error),
    }
}

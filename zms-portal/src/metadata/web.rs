//! The page of an environment's metadata store.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;

use super::external::{self, External, Found, NewExternal, Rights, Tree};
use super::heartbeat::Told;
use super::rights::{self, Mode};
use super::{Way, client_file};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::engine::web::Steps;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{self, Form, Problems, timestamp};

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .merge(client_file::pages())
        .route("/e/{env}/metadata", get(page).post(save))
        .route("/e/{env}/metadata/try", post(attempt))
        .route("/e/{env}/metadata/forget", post(forget))
        .route("/e/{env}/metadata/rights", post(switch))
}

#[derive(Template)]
#[template(path = "metadata/page.html")]
struct StorePage {
    chrome: Chrome,
    env: String,
    operator: bool,
    way: Option<Way>,
    external: Option<External>,
    mode: Mode,
    beat: Told,
    now: i64,
    switches: Vec<Steps>,
    form: NewExternal,
    problems: Problems,
    found: Option<Found>,
}

impl StorePage {
    async fn load(app: &App, chrome: Chrome, environment: Environment, operator: bool) -> Result<Self> {
        let external = external::find(&app.db, &environment.id).await?;
        let form = external.clone().map(|known| NewExternal {
            addresses: known.addresses,
            authority: known.authority,
            user: known.user,
            password: String::new(),
        });
        let flows = app.engine.of_subject(Some(&environment.id), rights::SUBJECT).await?;
        let switches = flows.into_iter().take(1).map(|flow| Steps::of(&app.engine, flow, chrome.m, now_ms())).collect();
        Ok(Self {
            way: app.metadata.way(&environment.id).await?,
            mode: rights::mode(&app.db, &environment.id).await?,
            beat: app.metadata.heartbeat(&environment.id),
            now: now_ms(),
            env: environment.name,
            chrome,
            operator,
            external,
            switches,
            form: form.unwrap_or_default(),
            problems: Problems::default(),
            found: None,
        })
    }

    /// The same page with what was typed, but for the password.
    fn with(self, typed: NewExternal) -> Self {
        Self { form: NewExternal { password: String::new(), ..typed }, ..self }
    }
}

fn beat_text(beat: &Told, now_ms: i64, m: &Messages) -> String {
    match (beat.n, beat.age_s(now_ms)) {
        (Some(n), Some(seconds)) => m.metadata_heartbeat_of(n, seconds),
        _ => m.metadata_heartbeat_none().to_owned(),
    }
}

/// What was found, in words.
fn tree_text(tree: &Tree, m: &Messages) -> String {
    match tree {
        Tree::Absent => m.metadata_found_absent().to_owned(),
        Tree::Ours => m.metadata_found_ours().to_owned(),
        Tree::Other { id } => m.metadata_found_other(id),
        Tree::First { topics, groups } => m.metadata_found_first(topics, groups),
    }
}

async fn page(chrome: Chrome, user: User, State(app): State<App>) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    web::page(StorePage::load(&app, chrome, environment, user.may(Role::Operator)).await?)
}

/// The page that says what is wrong with what somebody sent; what no form can mend is an error still.
async fn again(app: &App, chrome: Chrome, environment: Environment, error: Error) -> Result<StorePage> {
    let Error::Invalid(problems) = error else { return Err(error) };
    let problems = Problems::new(&problems, chrome.m);
    Ok(StorePage { problems, ..StorePage::load(app, chrome, environment, true).await? })
}

async fn save(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(typed): Form<NewExternal>,
) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    match external::choose(&app, actor, &environment, typed.clone(), now_ms()).await {
        Ok(_) => Ok(web::see_other(Link::Metadata(&environment.name))),
        Err(error) => {
            let page = again(&app, chrome, environment, error).await?.with(typed);
            web::page_with(StatusCode::UNPROCESSABLE_ENTITY, page)
        }
    }
}

async fn attempt(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(typed): Form<NewExternal>,
) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    match external::attempt(&app, actor, &environment, typed.clone(), now_ms()).await {
        Ok(found) => {
            let page = StorePage::load(&app, chrome, environment, true).await?.with(typed);
            web::page(StorePage { found: Some(found), ..page })
        }
        Err(error) => {
            let page = again(&app, chrome, environment, error).await?.with(typed);
            web::page_with(StatusCode::UNPROCESSABLE_ENTITY, page)
        }
    }
}

async fn forget(chrome: Chrome, user: User, address: Address, State(app): State<App>) -> Result<Response> {
    let environment = chrome.environment.ok_or(Error::NotFound)?;
    external::forget(&app, Actor { user: &user, address: &address.0 }, &environment, now_ms()).await?;
    Ok(web::see_other(Link::Metadata(&environment.name)))
}

#[derive(Debug, Deserialize)]
struct SwitchForm {
    mode: Mode,
    #[serde(default)]
    confirm: String,
}

async fn switch(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(wanted): Form<SwitchForm>,
) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    match rights::switch(&app, actor, &environment, (wanted.mode, wanted.confirm.trim()), now_ms()).await {
        Ok(flow) => Ok(web::see_other(Link::Flow(&flow))),
        Err(error) => {
            let page = again(&app, chrome, environment, error).await?;
            web::page_with(StatusCode::UNPROCESSABLE_ENTITY, page)
        }
    }
}

//! Pages of environments, and the first page of all.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;

use super::overview::{self, FirstSteps, Glance, Need};
use super::{COLOURS, Environment, EnvironmentChange, NewEnvironment};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::engine::{FlowSummary, view};
use crate::error::{Error, Problem, Result};
use crate::metadata::rights;
use crate::metrics::Trend;
use crate::services::{self, PURPOSES};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{self, Form, Path, Problems, Query, thousands};

/// Flows on the page of an environment.
const RECENT: i64 = 8;

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/", get(overview))
        .route("/overview/part", get(overview_part))
        .route("/environments/new", get(new).post(create))
        .route("/e/{env}", get(one))
        .route("/e/{env}/part", get(one_part))
        .route("/e/{env}/edit", get(edit).post(change))
        .route("/e/{env}/stores", post(choose_stores))
        .route("/e/{env}/networks", get(edit_networks).post(change_networks))
}

#[derive(Template)]
#[template(path = "environments/overview.html")]
struct OverviewPage {
    chrome: Chrome,
    operator: bool,
    part: OverviewPart,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "environments/overview_part.html")]
struct OverviewPart {
    m: Messages,
    glances: Vec<Glance>,
    first: Option<FirstSteps>,
    needs: Vec<Need>,
    /// Where a first host joins and a first service is installed.
    at: String,
}

async fn overview(chrome: Chrome, user: User, State(app): State<App>) -> Result<Response> {
    let part = load_overview(&app, &chrome, &user).await?;
    let operator = user.may(Role::Operator);
    web::page(OverviewPage { chrome, operator, part })
}

async fn overview_part(chrome: Chrome, user: User, State(app): State<App>) -> Result<Response> {
    web::page(load_overview(&app, &chrome, &user).await?)
}

async fn load_overview(app: &App, chrome: &Chrome, user: &User) -> Result<OverviewPart> {
    user.require(Role::Viewer)?;
    let mut glances = Vec::new();
    for environment in super::list(&app.db).await? {
        glances.push(Glance::load(app, environment, now_ms()).await?);
    }
    let first = FirstSteps::of(&glances, user);
    // The checklist says it already.
    let needs = if first.is_some() { Vec::new() } else { overview::needs(&glances) };
    let at = glances.iter().find(|glance| !glance.hosts.is_empty()).or(glances.first());
    let at = at.map(|glance| glance.environment.name.clone()).unwrap_or_default();
    Ok(OverviewPart { m: chrome.m, glances, first, needs, at })
}

#[derive(Template)]
#[template(path = "environments/form.html")]
struct FormPage {
    chrome: Chrome,
    /// The environment that is changed; none makes a new one.
    edited: Option<String>,
    form: EnvironmentForm,
    problems: Problems,
}

/// What is typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct EnvironmentForm {
    name: String,
    title: String,
    colour: String,
    /// Present when ticked.
    protected: Option<String>,
    /// `adopt`: what was wanted first, and is next. Nothing: the environment's page.
    then: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NewQuery {
    then: String,
}

async fn new(chrome: Chrome, user: User, Query(query): Query<NewQuery>) -> Result<Response> {
    user.require(Role::Operator)?;
    let form = EnvironmentForm { colour: COLOURS[0].to_owned(), then: query.then, ..EnvironmentForm::default() };
    web::page(FormPage { chrome, edited: None, form, problems: Problems::default() })
}

async fn create(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(form): Form<EnvironmentForm>,
) -> Result<Response> {
    let actor = Actor { user: &user, address: &address.0 };
    let EnvironmentForm { name, title, colour, protected, then } = form.clone();
    let new = NewEnvironment { name, title, colour, protected: protected.is_some() };
    match super::create(&app.db, actor, new, now_ms()).await {
        Ok(environment) if then == "adopt" => Ok(web::see_other(Link::ClusterAdopt(&environment.name))),
        Ok(environment) => Ok(web::see_other(Link::Environment(&environment.name))),
        Err(Error::Invalid(problems)) => again(chrome, None, form, &problems),
        Err(error) => Err(error),
    }
}

async fn edit(chrome: Chrome, user: User) -> Result<Response> {
    user.require(Role::Operator)?;
    let Environment { name, title, colour, protected, .. } = chrome.environment.clone().ok_or(Error::NotFound)?;
    let protected = protected.then(|| "true".to_owned());
    let form = EnvironmentForm { name: name.clone(), title, colour, protected, then: String::new() };
    web::page(FormPage { chrome, edited: Some(name), form, problems: Problems::default() })
}

async fn change(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Form(form): Form<EnvironmentForm>,
) -> Result<Response> {
    let actor = Actor { user: &user, address: &address.0 };
    let change = EnvironmentChange {
        title: Some(form.title.clone()),
        colour: Some(form.colour.clone()),
        protected: Some(form.protected.is_some()),
    };
    match super::change(&app.db, actor, &env, change, now_ms()).await {
        Ok(environment) => Ok(web::see_other(Link::Environment(&environment.name))),
        Err(Error::Invalid(problems)) => again(chrome, Some(env), form, &problems),
        Err(error) => Err(error),
    }
}

fn again(chrome: Chrome, edited: Option<String>, form: EnvironmentForm, problems: &[Problem]) -> Result<Response> {
    let problems = Problems::new(problems, chrome.m);
    web::page_with(StatusCode::UNPROCESSABLE_ENTITY, FormPage { chrome, edited, form, problems })
}

/// Where a lag leads to, for people.
fn trend_text(trend: &Trend, m: &Messages) -> String {
    match *trend {
        Trend::Shrinks(seconds) if seconds < 90.0 => m.environments_pulse_shrinks(m.environments_pulse_seconds(whole(seconds))),
        Trend::Shrinks(seconds) if seconds < 5_400.0 => {
            m.environments_pulse_shrinks(m.environments_pulse_minutes(whole(seconds / 60.0)))
        }
        Trend::Shrinks(seconds) => m.environments_pulse_shrinks(m.environments_pulse_hours(thousands(seconds / 3600.0))),
        Trend::Grows(rate) => m.environments_pulse_grows(thousands(rate)),
        Trend::Stays => m.environments_pulse_stays().to_owned(),
        Trend::Unknown => "–".to_owned(),
    }
}

/// Rounded up: what takes half a second is not done in none.
fn whole(number: f64) -> String {
    format!("{:.0}", number.ceil())
}

fn colour_text(colour: &str, m: &Messages) -> &'static str {
    match colour {
        "green" => m.environments_green(),
        "blue" => m.environments_blue(),
        "purple" => m.environments_purple(),
        "orange" => m.environments_orange(),
        "red" => m.environments_red(),
        _ => m.environments_grey(),
    }
}

#[derive(Template)]
#[template(path = "environments/one.html")]
struct OnePage {
    chrome: Chrome,
    operator: bool,
    part: OnePart,
    choices: Vec<StoreChoice>,
    /// Whom the rights of its metadata do not keep out.
    warning: Option<&'static str>,
    /// Where its brokers may be.
    networks: String,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "environments/one_part.html")]
struct OnePart {
    m: Messages,
    glance: Glance,
    needs: Vec<Need>,
    /// Newest first, each with its title.
    flows: Vec<(String, FlowSummary)>,
}

/// Which services could be a store, and which is.
struct StoreChoice {
    purpose: &'static str,
    title: &'static str,
    services: Vec<(String, bool)>,
}

async fn one(chrome: Chrome, user: User, State(app): State<App>) -> Result<Response> {
    let part = load_one(&app, &chrome, &user).await?;
    let choices = PURPOSES.map(|(purpose, kind)| {
        let chosen = part.glance.stores.get(purpose);
        let services = part.glance.services.iter().filter(|service| service.kind == kind);
        StoreChoice {
            purpose,
            title: if purpose == "metadata" { chrome.m.environments_metadata() } else { chrome.m.environments_metrics() },
            services: services.map(|service| (service.name.clone(), Some(&service.name) == chosen)).collect(),
        }
    });
    let operator = user.may(Role::Operator);
    let mode = rights::mode(&app.db, &part.glance.environment.id).await?;
    let warning = rights::warning(mode, app.metadata.way(&part.glance.environment.id).await?.as_ref(), &chrome.m);
    let networks = super::networks(&app.db, &part.glance.environment.id).await?.to_string();
    web::page(OnePage { chrome, operator, part, choices: choices.into(), warning, networks })
}

async fn one_part(chrome: Chrome, user: User, State(app): State<App>) -> Result<Response> {
    web::page(load_one(&app, &chrome, &user).await?)
}

async fn load_one(app: &App, chrome: &Chrome, user: &User) -> Result<OnePart> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let query = view::Query { environment: &environment.name, subject: "", status: "", before: "", limit: RECENT };
    let flows = view::list(&app.db, &query).await?;
    let flows = flows.into_iter().map(|flow| (app.engine.title(&flow.kind, chrome.m), flow)).collect();
    let glance = Glance::load(app, environment, now_ms()).await?;
    let needs = overview::needs(std::slice::from_ref(&glance));
    Ok(OnePart { m: chrome.m, glance, needs, flows })
}

async fn choose_stores(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(form): Form<std::collections::BTreeMap<String, String>>,
) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    services::choose_stores(&app, actor, &environment, &form, now_ms()).await?;
    Ok(web::see_other(Link::Environment(&environment.name)))
}

#[derive(Template)]
#[template(path = "environments/networks.html")]
struct NetworksPage {
    chrome: Chrome,
    env: String,
    networks: String,
    problems: Problems,
}

#[derive(Deserialize)]
struct NetworksForm {
    #[serde(default)]
    networks: String,
}

async fn edit_networks(chrome: Chrome, user: User, State(app): State<App>) -> Result<Response> {
    user.require(Role::Operator)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let networks = super::networks(&app.db, &environment.id).await?.to_string().replace(", ", "\n");
    web::page(NetworksPage { chrome, env: environment.name, networks, problems: Problems::default() })
}

async fn change_networks(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(form): Form<NetworksForm>,
) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    let texts: Vec<String> =
        form.networks.split([',', ' ', '\t', '\r', '\n']).filter(|t| !t.is_empty()).map(str::to_owned).collect();
    match super::set_networks(&app.db, actor, &environment, &texts, now_ms()).await {
        Ok(_) => Ok(web::see_other(Link::Environment(&environment.name))),
        Err(Error::Invalid(problems)) => {
            let problems = Problems::new(&problems, chrome.m);
            let page = NetworksPage { chrome, env: environment.name, networks: form.networks, problems };
            web::page_with(StatusCode::UNPROCESSABLE_ENTITY, page)
        }
        Err(error) => Err(error),
    }
}

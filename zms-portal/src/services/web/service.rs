//! One service: how it is, its instances, its history.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::status::{InstanceState, ServiceStatus, ServiceView};
use super::super::stores::stores;
use super::super::{find, resource};
use super::environment;
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::engine::{FlowView, web::Steps};
use crate::error::Result;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{self, Path};

/// What every tab has above its content.
pub(super) struct Head {
    pub env: String,
    pub name: String,
    pub tab: &'static str,
    pub status: ServiceStatus,
    pub operator: bool,
}

impl Head {
    pub(super) fn new(env: &str, service: &ServiceView, tab: &'static str, user: &User) -> Self {
        Self { env: env.to_owned(), name: service.name.clone(), tab, status: service.status, operator: user.may(Role::Operator) }
    }

    /// Tabs, in their order.
    pub(super) fn tabs(&self, m: &Messages) -> [(&'static str, &'static str); 5] {
        [
            ("status", m.services_tab_status()),
            ("instances", m.services_tab_instances()),
            ("config", m.services_tab_config()),
            ("history", m.services_tab_history()),
            ("logs", m.services_tab_logs()),
        ]
    }
}

/// The service's link leads to its first tab.
pub(super) async fn first(Path((env, name)): Path<(String, String)>) -> Response {
    web::see_other(Link::Service(&env, &name, "status"))
}

#[derive(Template)]
#[template(path = "services/status.html")]
struct StatusPage {
    chrome: Chrome,
    head: Head,
    part: StatusPart,
    /// Why a removal was not begun; empty without one.
    confirm_problem: String,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "services/status_part.html")]
struct StatusPart {
    m: Messages,
    env: String,
    operator: bool,
    service: ServiceView,
    /// Purpose for which the environment uses it.
    store: Option<&'static str>,
    /// What is under way.
    steps: Option<Steps>,
}

pub(super) async fn status(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    status_with(&app, chrome, &user, &name, String::new()).await
}

/// The first tab, with what was wrong with the form of a removal.
pub(super) async fn status_with(app: &App, chrome: Chrome, user: &User, name: &str, confirm_problem: String) -> Result<Response> {
    let part = load_status(app, &chrome, user, name).await?;
    let head = Head::new(&part.env, &part.service, "status", user);
    let status = if confirm_problem.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    web::page_with(status, StatusPage { chrome, head, part, confirm_problem })
}

pub(super) async fn status_part(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    web::page(load_status(&app, &chrome, &user, &name).await?)
}

async fn load_status(app: &App, chrome: &Chrome, user: &User, name: &str) -> Result<StatusPart> {
    user.require(Role::Viewer)?;
    let environment = environment(chrome)?;
    let service = find(app, &environment, name, now_ms()).await?;
    let store = super::super::purpose_of(&service.kind);
    let chosen = stores(app, &environment).await?;
    let steps = match &service.flow {
        Some(flow) => Some(Steps::of(&app.engine, app.engine.view(&flow.id).await?, chrome.m, now_ms())),
        None => None,
    };
    Ok(StatusPart {
        m: chrome.m,
        env: environment.name,
        operator: user.may(Role::Operator),
        store: store.filter(|purpose| chosen.get(*purpose).is_some_and(|chosen| chosen == name)),
        service,
        steps,
    })
}

#[derive(Template)]
#[template(path = "services/instances.html")]
struct InstancesPage {
    chrome: Chrome,
    head: Head,
    part: InstancesPart,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "services/instances_part.html")]
struct InstancesPart {
    m: Messages,
    env: String,
    operator: bool,
    service: ServiceView,
}

pub(super) async fn instances(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    let part = load_instances(&app, &chrome, &user, &name).await?;
    let head = Head::new(&part.env, &part.service, "instances", &user);
    web::page(InstancesPage { chrome, head, part })
}

pub(super) async fn instances_part(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    web::page(load_instances(&app, &chrome, &user, &name).await?)
}

async fn load_instances(app: &App, chrome: &Chrome, user: &User, name: &str) -> Result<InstancesPart> {
    user.require(Role::Viewer)?;
    let environment = environment(chrome)?;
    let service = find(app, &environment, name, now_ms()).await?;
    Ok(InstancesPart { m: chrome.m, env: environment.name, operator: user.may(Role::Operator), service })
}

#[derive(Template)]
#[template(path = "services/history.html")]
struct HistoryPage {
    chrome: Chrome,
    head: Head,
    flows: Vec<(FlowView, Steps)>,
}

pub(super) async fn history(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = environment(&chrome)?;
    let service = find(&app, &environment, &name, now_ms()).await?;
    let head = Head::new(&environment.name, &service, "history", &user);
    let flows = app.engine.of_subject(Some(&environment.id), &resource(&name)).await?;
    let with_steps = |flow: FlowView| (flow.clone(), Steps::of(&app.engine, flow, chrome.m, now_ms()));
    let flows = flows.into_iter().map(with_steps).collect();
    web::page(HistoryPage { chrome, head, flows })
}

//! All services of an environment.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::ServiceView;
use super::environment;
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery};
use crate::web::messages::Messages;
use crate::web::{self, Query};

const SORTED_BY: [&str; 4] = ["name", "kind", "status", "healthy"];

#[derive(Template)]
#[template(path = "services/list.html")]
struct ListPage {
    chrome: Chrome,
    env: String,
    may_install: bool,
    part: Part,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "services/rows.html")]
struct Part {
    m: Messages,
    env: String,
    may_install: bool,
    list: List,
    rows: list::Rows<ServiceView>,
}

pub(super) async fn page(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    let part = load(&chrome, &user, &app, &query).await?;
    if part.list.csv {
        return Ok(csv(&part));
    }
    web::page(ListPage { env: part.env.clone(), may_install: part.may_install, chrome, part })
}

pub(super) async fn rows(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    web::page(load(&chrome, &user, &app, &query).await?)
}

async fn load(chrome: &Chrome, user: &User, app: &App, query: &ListQuery) -> Result<Part> {
    user.require(Role::Viewer)?;
    let environment = environment(chrome)?;
    let services = crate::services::list(app, &environment, now_ms()).await?;
    let list = List::new(query, &SORTED_BY);
    let rows = list.apply(services, searched, |key, a, b| match key {
        "kind" => (&a.kind, &a.name).cmp(&(&b.kind, &b.name)),
        "status" => (a.status.as_str(), &a.name).cmp(&(b.status.as_str(), &b.name)),
        // The worst first: by how many instances are missing.
        "healthy" => (b.wanted - b.healthy).cmp(&(a.wanted - a.healthy)).then_with(|| a.name.cmp(&b.name)),
        _ => a.name.cmp(&b.name),
    });
    Ok(Part { m: chrome.m, env: environment.name, may_install: user.may(Role::Operator), list, rows })
}

/// What a row is searched in.
fn searched(service: &ServiceView) -> String {
    let hosts: Vec<&str> = service.instances.iter().map(|instance| instance.host_name.as_str()).collect();
    format!("{} {} {} {} {}", service.name, service.kind, service.version, service.status.as_str(), hosts.join(" "))
}

fn csv(part: &Part) -> Response {
    let mut text = list::csv_row(["name", "kind", "version", "status", "healthy", "wanted", "hosts"]);
    for service in &part.rows.rows {
        let hosts: Vec<&str> = service.instances.iter().map(|instance| instance.host_name.as_str()).collect();
        let (healthy, wanted) = (service.healthy.to_string(), service.wanted.to_string());
        let status = service.status.as_str();
        text.push_str(&list::csv_row([
            &service.name,
            &service.kind,
            &service.version,
            status,
            &healthy,
            &wanted,
            &hosts.join(" "),
        ]));
    }
    list::csv(&format!("services-{}", part.env), text)
}

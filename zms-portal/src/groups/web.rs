//! Pages of consumer groups.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use zms_core::metadata::ConsumeFrom;

use super::Group;
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::clusters;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::metrics::{Chart, ChartView, RangeQuery};
use crate::topics::users::About;
use crate::topics::{self, ClientsPart, GroupLag, Topic, group_state_text, state_class, state_text};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery};
use crate::web::messages::Messages;
use crate::web::{self, Path, Query};

const SORTED_BY: [&str; 5] = ["name", "topic", "lag", "owner", "state"];

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/e/{env}/groups", get(all))
        .route("/e/{env}/groups/{name}", get(one))
        .route("/e/{env}/groups/{name}/clients/part", get(clients_part))
}

struct Row {
    group: Group,
    topics: Vec<String>,
    /// As the collector last saw; absent where it is not known.
    lag: Option<i64>,
}

#[derive(Template)]
#[template(path = "groups/list.html")]
struct ListPage {
    chrome: Chrome,
    env: String,
    list: List,
    rows: list::Rows<Row>,
}

async fn all(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let topics = topics::list(&app.db, &environment.id).await?;
    let names: BTreeMap<&str, &str> = topics.iter().map(|topic| (topic.id.as_str(), topic.name.as_str())).collect();
    let told = app.metrics.snapshots.fresh(&environment.id, now_ms());
    let lags = told.as_ref().map(|told| told.lags()).unwrap_or_default();
    let row = |group: Group| {
        let topics = group.topics.iter().filter_map(|id| names.get(id.as_str())).map(|name| (*name).to_owned());
        Row { topics: topics.collect(), lag: lags.get(group.name.as_str()).copied().flatten(), group }
    };
    let rows: Vec<Row> = super::list(&app.db, &environment.id).await?.into_iter().map(row).collect();
    let list = List::new(&query, &SORTED_BY);
    let searched = |row: &Row| format!("{} {} {} {}", row.group.name, row.topics.join(" "), row.group.owner, row.group.about);
    let rows = list.apply(rows, searched, |key, a, b| {
        let by_name = || a.group.name.cmp(&b.group.name);
        match key {
            "topic" => a.topics.cmp(&b.topics).then_with(by_name),
            "lag" => a.lag.cmp(&b.lag).then_with(by_name),
            "owner" => a.group.owner.cmp(&b.group.owner).then_with(by_name),
            "state" => a.group.state.as_str().cmp(b.group.state.as_str()).then_with(by_name),
            _ => by_name(),
        }
    });
    if list.csv {
        let mut text = list::csv_row(["name", "topics", "lag", "owner", "state"]);
        for Row { group, topics, lag } in &rows.rows {
            let lag = lag.map(|lag| lag.to_string()).unwrap_or_default();
            text.push_str(&list::csv_row([group.name.as_str(), &topics.join(" "), &lag, &group.owner, group.state.as_str()]));
        }
        return Ok(list::csv(&format!("groups-{}", environment.name), text));
    }
    web::page(ListPage { chrome, env: environment.name, list, rows })
}

/// A topic of the group, and how far the group is on it.
struct On {
    topic: Topic,
    lag: std::result::Result<Option<GroupLag>, String>,
}

#[derive(Template)]
#[template(path = "groups/one.html")]
struct OnePage {
    chrome: Chrome,
    env: String,
    group: Group,
    on: Vec<On>,
    clients: ClientsPart,
    charts: Vec<ChartView>,
}

async fn one(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let group = super::find(&app.db, &environment.id, &name).await?;
    // All topics of a group live in one place outside of a migration.
    let (mut on, mut home) = (Vec::new(), None);
    for id in &group.topics {
        let topic = topics::by_id(&app.db, id).await?;
        let cluster = clusters::by_id(&app.db, &topic.cluster_id).await?;
        if home.is_none() {
            home = Some(cluster.name.to_string());
        }
        let live = topics::live(&app, &cluster, &topic).await;
        let lag = live.map(|live| live.groups.into_iter().find(|found| found.group == group.name.as_str()));
        on.push(On { topic, lag });
    }
    let charts = home.iter().map(|cluster| {
        let subject = [("cluster", cluster.as_str()), ("group", group.name.as_str())];
        let shown = [Chart::GroupLag, Chart::GroupRate];
        ChartView::new(chrome.m, (&environment.name, &chrome.path), &query.range, &shown, &subject)
    });
    let charts = charts.collect();
    let clients = clients_of(&app, &environment, &group, chrome.m).await;
    web::page(OnePage { env: environment.name, chrome, group, on, clients, charts })
}

/// Who consumes with a group.
async fn clients_of(app: &App, environment: &Environment, group: &Group, m: Messages) -> ClientsPart {
    let about = About { topic: None, groups: vec![group.name.as_str()] };
    let address = format!("{}/clients/part", Link::Group(&environment.name, group.name.as_str()));
    ClientsPart::load(app, &environment.id, &about, address, m).await
}

async fn clients_part(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.ok_or(Error::NotFound)?;
    let group = super::find(&app.db, &environment.id, &name).await?;
    web::page(clients_of(&app, &environment, &group, chrome.m).await)
}

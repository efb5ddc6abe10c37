//! Pages of clusters.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use zms_drivers::broker::{Broker, BrokerError, BrokerId};

use super::{Cluster, store, subject};
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::engine::web::Steps;
use crate::error::{Error, Result};
use crate::metrics::{Chart, ChartView, RangeQuery};
use crate::services::kind_icon;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery};
use crate::web::{self, Path, Query};

/// A page waits no longer for brokers.
const DEADLINE: Duration = Duration::from_secs(4);
const SORTED_BY: [&str; 3] = ["name", "kind", "topics"];

/// Pages.
pub fn pages() -> Router<App> {
    Router::new().route("/e/{env}/clusters", get(all)).route("/e/{env}/clusters/{name}", get(one))
}

struct Row {
    cluster: Cluster,
    topics: i64,
}

#[derive(Template)]
#[template(path = "clusters/list.html")]
struct ListPage {
    chrome: Chrome,
    env: String,
    list: List,
    rows: list::Rows<Row>,
}

async fn all(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let counts: BTreeMap<String, i64> = store::topics_by_cluster(app.db.read(), &environment.id).await?.into_iter().collect();
    let row = |cluster: Cluster| Row { topics: counts.get(&cluster.id).copied().unwrap_or_default(), cluster };
    let rows: Vec<Row> = super::list(&app.db, &environment.id).await?.into_iter().map(row).collect();
    let list = List::new(&query, &SORTED_BY);
    let searched = |row: &Row| format!("{} {} {}", row.cluster.name, row.cluster.broker, row.cluster.addresses.join(" "));
    let rows = list.apply(rows, searched, |key, a, b| match key {
        "kind" => (a.cluster.broker, &a.cluster.name).cmp(&(b.cluster.broker, &b.cluster.name)),
        "topics" => (a.topics, &a.cluster.name).cmp(&(b.topics, &b.cluster.name)),
        _ => a.cluster.name.cmp(&b.cluster.name),
    });
    if list.csv {
        let mut text = list::csv_row(["name", "kind", "addresses", "epoch", "topics"]);
        for Row { cluster, topics } in &rows.rows {
            let (epoch, topics) = (cluster.epoch.to_string(), topics.to_string());
            text.push_str(&list::csv_row([
                cluster.name.as_str(),
                cluster.broker.as_str(),
                &cluster.addresses.join(","),
                &epoch,
                &topics,
            ]));
        }
        return Ok(list::csv(&format!("clusters-{}", environment.name), text));
    }
    web::page(ListPage { chrome, env: environment.name, list, rows })
}

struct BrokerRow {
    broker: Broker,
    leaders: usize,
    replicas: usize,
    under_replicated: usize,
}

/// What the brokers say now.
struct Live {
    controller: Option<BrokerId>,
    brokers: Vec<BrokerRow>,
    topics: usize,
    partitions: usize,
    under_replicated: usize,
    offline: usize,
}

#[derive(Template)]
#[template(path = "clusters/one.html")]
struct OnePage {
    chrome: Chrome,
    env: String,
    cluster: Cluster,
    live: std::result::Result<Live, String>,
    steps: Option<Steps>,
    charts: ChartView,
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
    let cluster = super::find(&app.db, &environment.id, &name).await?;
    let late = || Err(format!("no answer within {} s", DEADLINE.as_secs()));
    let live = tokio::time::timeout(DEADLINE, look(&app, &cluster)).await;
    let live = live.map_or_else(|_| late(), |said| said.map_err(|error| error.to_string()));
    let flows = app.engine.of_subject(Some(&environment.id), &subject(&cluster.name)).await?;
    let steps = flows.into_iter().next().map(|flow| Steps::of(&app.engine, flow, chrome.m, now_ms()));
    let (shown, subject) =
        ([Chart::ClusterRate, Chart::ClusterBytes, Chart::ClusterRequests], [("cluster", cluster.name.as_str())]);
    let charts = ChartView::new(chrome.m, (&environment.name, &chrome.path), &query.range, &shown, &subject);
    web::page(OnePage { env: environment.name, chrome, cluster, live, steps, charts })
}

async fn look(app: &App, cluster: &Cluster) -> std::result::Result<Live, BrokerError> {
    let admin = app.brokers.admin(cluster)?;
    let (view, topics) = (admin.describe().await?, admin.topics().await?);
    let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
    let brokers = view.brokers.into_iter().map(|broker| BrokerRow {
        leaders: partitions().filter(|partition| partition.leader.as_ref() == Some(&broker.id)).count(),
        replicas: partitions().filter(|partition| partition.replicas.contains(&broker.id)).count(),
        under_replicated: partitions().filter(|p| p.replicas.contains(&broker.id) && !p.isr.contains(&broker.id)).count(),
        broker,
    });
    Ok(Live {
        controller: view.controller,
        brokers: brokers.collect(),
        topics: topics.len(),
        partitions: partitions().count(),
        under_replicated: topics.iter().map(zms_drivers::broker::Topic::under_replicated).sum(),
        offline: partitions().filter(|partition| partition.leader.is_none()).count(),
    })
}

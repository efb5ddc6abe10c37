//! Pages of clusters: this file the list and the first tabs of one; `adopt` forms; `lists` topics and groups; `physical` one of them;
//! `takeover`.

mod adopt;
mod lists;
mod physical;
mod takeover;

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use zms_drivers::broker::{Broker, BrokerError, BrokerId, not_internal};

use super::{Cluster, State as TakenOver, TakeOver, store, subject};
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::engine::Machine as _;
use crate::engine::web::Steps;
use crate::error::{Error, Result};
use crate::metrics::{Chart, ChartView, RangeQuery};
use crate::services::kind_icon;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery};
use crate::web::messages::Messages;
use crate::web::{self, Path, Query};

/// A page waits no longer for brokers.
const DEADLINE: Duration = Duration::from_secs(4);
const SORTED_BY: [&str; 3] = ["name", "kind", "topics"];

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/e/{env}/clusters", get(all))
        .route("/e/{env}/clusters/adopt", get(adopt::new).post(adopt::create))
        .route("/e/{env}/clusters/{name}", get(overview))
        .route("/e/{env}/clusters/{name}/brokers", get(brokers))
        .route("/e/{env}/clusters/{name}/topics", get(lists::topics))
        .route("/e/{env}/clusters/{name}/groups", get(lists::groups))
        .route("/e/{env}/clusters/{name}/topics/{topic}", get(physical::topic))
        .route("/e/{env}/clusters/{name}/groups/{group}", get(physical::group))
        .route("/e/{env}/clusters/{name}/change", get(adopt::edit).post(adopt::change))
        .route("/e/{env}/clusters/{name}/take-over", get(takeover::choose).post(takeover::begin))
        .route("/e/{env}/clusters/{name}/act/publish", post(adopt::publish))
        .route("/e/{env}/clusters/{name}/act/let-go", post(adopt::let_go))
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
        let mut text = list::csv_row(["name", "kind", "addresses", "epoch", "topics", "adopted"]);
        for Row { cluster, topics } in &rows.rows {
            let (epoch, topics) = (cluster.epoch.to_string(), topics.to_string());
            text.push_str(&list::csv_row([
                cluster.name.as_str(),
                cluster.broker.as_str(),
                &cluster.addresses.join(","),
                &epoch,
                &topics,
                if cluster.is_adopted() { "yes" } else { "no" },
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

/// What all pages of one cluster begin with.
struct Head {
    env: String,
    cluster: Cluster,
    tab: &'static str,
    operator: bool,
}

const TABS: [&str; 4] = ["overview", "brokers", "topics", "groups"];

impl Head {
    async fn load(app: &App, chrome: &Chrome, user: &User, name: &str, tab: &'static str) -> Result<Self> {
        user.require(Role::Viewer)?;
        let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
        let cluster = super::find(&app.db, &environment.id, name).await?;
        Ok(Self { env: environment.name, cluster, tab, operator: user.may(Role::Operator) })
    }

    fn name(&self) -> &str {
        self.cluster.name.as_str()
    }

    fn tabs(&self, m: &Messages) -> [(&'static str, &'static str, String); 4] {
        TABS.map(|tab| {
            let (title, link) = match tab {
                "overview" => (m.clusters_tab_overview(), Link::Cluster(&self.env, self.name()).to_string()),
                "brokers" => (m.clusters_tab_brokers(), Link::ClusterTab(&self.env, self.name(), tab).to_string()),
                "topics" => (m.clusters_tab_topics(), Link::ClusterTab(&self.env, self.name(), tab).to_string()),
                _ => (m.clusters_tab_groups(), Link::ClusterTab(&self.env, self.name(), tab).to_string()),
            };
            (tab, title, link)
        })
    }
}

#[derive(Template)]
#[template(path = "clusters/one.html")]
struct OnePage {
    chrome: Chrome,
    head: Head,
    live: std::result::Result<Live, String>,
    steps: Option<Steps>,
    charts: ChartView,
    /// What the last take-over left: how many are governed, and what is not and why.
    taken: Option<(usize, BTreeMap<String, String>)>,
}

async fn overview(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Response> {
    one(chrome, &user, &app, (&name, TABS[0]), &query).await
}

async fn brokers(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Response> {
    one(chrome, &user, &app, (&name, TABS[1]), &query).await
}

async fn one(chrome: Chrome, user: &User, app: &App, (name, tab): (&str, &'static str), query: &RangeQuery) -> Result<Response> {
    let head = Head::load(app, &chrome, user, name, tab).await?;
    let cluster = &head.cluster;
    let late = || Err(format!("no answer within {} s", DEADLINE.as_secs()));
    let live = tokio::time::timeout(DEADLINE, look(app, cluster)).await;
    let live = live.map_or_else(|_| late(), |said| said.map_err(|error| error.to_string()));
    let flow = app.engine.of_subject(Some(&cluster.environment_id), &subject(&cluster.name)).await?.into_iter().next();
    let taken = flow.as_ref().filter(|flow| flow.kind == TakeOver::KIND).and_then(|flow| {
        match serde_json::from_value(flow.state.clone()).ok()? {
            TakenOver::Done { taken, failed } => Some((taken, failed)),
            TakenOver::Topics { .. } | TakenOver::Groups { .. } => None,
        }
    });
    let steps = flow.map(|flow| Steps::of(&app.engine, flow, chrome.m, now_ms()));
    let subject = [("cluster", cluster.name.as_str())];
    let charts = ChartView::new(chrome.m, (&head.env, &chrome.path), &query.range, Chart::of_cluster(cluster.broker), &subject);
    web::page(OnePage { chrome, head, live, steps, charts, taken })
}

async fn look(app: &App, cluster: &Cluster) -> std::result::Result<Live, BrokerError> {
    let admin = app.brokers.admin(cluster)?;
    let (view, topics) = (admin.describe().await?, admin.topics().await?);
    let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
    let (of_people, their_partitions) = not_internal(&topics);
    let brokers = view.brokers.into_iter().map(|broker| BrokerRow {
        leaders: partitions().filter(|partition| partition.leader.as_ref() == Some(&broker.id)).count(),
        replicas: partitions().filter(|partition| partition.replicas.contains(&broker.id)).count(),
        under_replicated: partitions().filter(|p| p.replicas.contains(&broker.id) && !p.isr.contains(&broker.id)).count(),
        broker,
    });
    Ok(Live {
        controller: view.controller,
        brokers: brokers.collect(),
        topics: of_people,
        partitions: their_partitions,
        under_replicated: topics.iter().map(zms_drivers::broker::Topic::under_replicated).sum(),
        offline: partitions().filter(|partition| partition.leader.is_none()).count(),
    })
}

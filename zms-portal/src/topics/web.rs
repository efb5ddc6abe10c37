//! Pages of topics.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;

use super::messages::{By, Found, Search, may_look};
use super::{Live, State, Topic, users};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::clusters::{self, Cluster};
use crate::engine::web::Steps;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::groups::{self, Group};
use crate::metrics::{Chart, ChartView, RangeQuery, Told};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery};
use crate::web::messages::Messages;
use crate::web::{self, Form, Path, Problems, Query, thousands, timestamp};

const SORTED_BY: [&str; 7] = ["name", "cluster", "partitions", "rate", "owner", "state", "created"];
const TABS: [&str; 6] = ["overview", "partitions", "groups", "clients", "messages", "history"];

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/e/{env}/topics", get(all))
        .route("/e/{env}/topics/{name}", get(to_overview))
        .route("/e/{env}/topics/{name}/{tab}", get(one))
        .route("/e/{env}/topics/{name}/messages", get(messages).post(search))
        .route("/e/{env}/topics/{name}/clients/part", get(clients_part))
}

struct Row {
    topic: Topic,
    cluster: String,
    /// Messages a second, as the collector last saw.
    rate: Option<f64>,
}

#[derive(Template)]
#[template(path = "topics/list.html")]
struct ListPage {
    chrome: Chrome,
    env: String,
    list: List,
    rows: list::Rows<Row>,
}

async fn all(chrome: Chrome, user: User, Shared(app): Shared<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let clusters = clusters::list(&app.db, &environment.id).await?;
    let names: BTreeMap<&str, &str> = clusters.iter().map(|cluster| (cluster.id.as_str(), cluster.name.as_str())).collect();
    let told = app.metrics.snapshots.fresh(&environment.id, now_ms());
    let rates: BTreeMap<(&str, &str), f64> = told.iter().flat_map(Told::rates).collect();
    let row = |topic: Topic| {
        let cluster = (*names.get(topic.cluster_id.as_str()).unwrap_or(&"")).to_owned();
        Row { rate: rates.get(&(cluster.as_str(), topic.name.as_str())).copied(), cluster, topic }
    };
    let rows: Vec<Row> = super::list(&app.db, &environment.id).await?.into_iter().map(row).collect();
    let list = List::new(&query, &SORTED_BY);
    let searched = |row: &Row| {
        format!("{} {} {} {} {}", row.topic.name, row.cluster, row.topic.owner, row.topic.state.as_str(), row.topic.about)
    };
    let rows = list.apply(rows, searched, |key, a, b| {
        let by_name = || a.topic.name.cmp(&b.topic.name);
        match key {
            "cluster" => a.cluster.cmp(&b.cluster).then_with(by_name),
            "partitions" => a.topic.partitions.cmp(&b.topic.partitions).then_with(by_name),
            "rate" => a.rate.unwrap_or(-1.0).total_cmp(&b.rate.unwrap_or(-1.0)).then_with(by_name),
            "owner" => a.topic.owner.cmp(&b.topic.owner).then_with(by_name),
            "state" => a.topic.state.as_str().cmp(b.topic.state.as_str()).then_with(by_name),
            "created" => a.topic.created_at.cmp(&b.topic.created_at).then_with(by_name),
            _ => by_name(),
        }
    });
    if list.csv {
        let mut text = list::csv_row(["name", "cluster", "partitions", "replicas", "rate_in", "owner", "state"]);
        for Row { topic, cluster, rate } in &rows.rows {
            let rate = rate.map(|rate| rate.to_string()).unwrap_or_default();
            let known = |number: i32| if number > 0 { number.to_string() } else { String::new() };
            let (partitions, replicas) = (known(topic.partitions), known(i32::from(topic.replicas)));
            text.push_str(&list::csv_row([
                topic.name.as_str(),
                cluster,
                &partitions,
                &replicas,
                &rate,
                &topic.owner,
                topic.state.as_str(),
            ]));
        }
        return Ok(list::csv(&format!("topics-{}", environment.name), text));
    }
    web::page(ListPage { chrome, env: environment.name, list, rows })
}

async fn to_overview(Path((env, name)): Path<(String, String)>) -> Response {
    Redirect::to(&Link::Topic(&env, &name, TABS[0]).to_string()).into_response()
}

/// Who sends and who consumes; refreshes itself.
#[derive(Template)]
#[template(path = "topics/clients_part.html")]
pub(crate) struct ClientsPart {
    m: Messages,
    /// Where it comes from when it refreshes.
    address: String,
    said: std::result::Result<users::Users, String>,
}

impl ClientsPart {
    pub(crate) async fn load(app: &App, environment_id: &str, about: &users::About<'_>, address: String, m: Messages) -> Self {
        Self { m, address, said: users::of(app, environment_id, about, now_ms()).await }
    }

    async fn of_topic(app: &App, environment: &Environment, topic: &Topic, bound: &[Group], m: Messages) -> Self {
        let groups = bound.iter().map(|group| group.name.as_str()).collect();
        let about = users::About { topic: Some(topic.name.as_str()), groups };
        let address = format!("{}/part", Link::Topic(&environment.name, topic.name.as_str(), "clients"));
        Self::load(app, &environment.id, &about, address, m).await
    }
}

#[derive(Template)]
#[template(path = "topics/one.html")]
struct OnePage {
    chrome: Chrome,
    env: String,
    tab: &'static str,
    topic: Topic,
    cluster: Cluster,
    bound: Vec<Group>,
    /// Where the tab needs it.
    live: Option<std::result::Result<Live, String>>,
    clients: Option<ClientsPart>,
    charts: Option<ChartView>,
    flows: Vec<Steps>,
    messages: Option<MessagesPart>,
}

/// A search for messages and what was found.
struct MessagesPart {
    may_look: bool,
    search: Search,
    /// After a search.
    found: Option<Vec<Found>>,
    problems: Problems,
}

impl OnePage {
    fn retention(&self) -> Option<u64> {
        self.topic
            .config
            .get(clusters::RETENTION)
            .filter(|_| self.cluster.chooses_retention())?
            .parse::<u64>()
            .ok()
            .map(|ms| ms / 3_600_000)
    }

    fn is_bound(&self, group: &str) -> bool {
        self.bound.iter().any(|bound| bound.name.as_str() == group)
    }

    fn tab_text(&self, tab: &str, m: &Messages) -> &'static str {
        match tab {
            "overview" => m.topics_tab_overview(),
            "partitions" => m.topics_tab_partitions(),
            "groups" => m.topics_tab_groups(),
            "clients" => m.topics_tab_clients(),
            "messages" => m.topics_tab_messages(),
            _ => m.topics_tab_history(),
        }
    }
}

/// Groups that consume a topic.
async fn bound_to(app: &App, topic: &Topic, environment: &Environment) -> Result<Vec<Group>> {
    let mut groups = groups::list(&app.db, &environment.id).await?;
    groups.retain(|group| group.topics.contains(&topic.id));
    Ok(groups)
}

/// A state in words.
pub(crate) fn state_text(state: &State, m: &Messages) -> &'static str {
    match *state {
        State::Creating => m.topics_state_creating(),
        State::Active => m.topics_state_active(),
        State::Removing => m.topics_state_removing(),
    }
}

/// A consumer group's state, as the API and brokers name it, in words.
pub(crate) fn group_state_text<'a>(state: &'a str, m: &Messages) -> &'a str {
    match state {
        "stable" => m.topics_group_stable(),
        "rebalancing" => m.topics_group_rebalancing(),
        "empty" => m.topics_group_empty(),
        "dead" => m.topics_group_dead(),
        "unknown" => m.topics_unknown(),
        other => other,
    }
}

/// The style of a state.
pub(crate) const fn state_class(state: &State) -> &'static str {
    match *state {
        State::Creating | State::Removing => "working",
        State::Active => "healthy",
    }
}

async fn one(
    chrome: Chrome,
    user: User,
    Shared(app): Shared<App>,
    Path((_, name, tab)): Path<(String, String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let tab = TABS.into_iter().find(|known| *known == tab).ok_or(Error::NotFound)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let (topic, cluster) = super::find_with_cluster(&app.db, &environment.id, &name).await?;
    let bound = bound_to(&app, &topic, &environment).await?;
    let live = match tab {
        "overview" | "partitions" | "groups" => Some(super::live(&app, &cluster, &topic).await),
        _ => None,
    };
    let mut clients = None;
    if tab == "clients" {
        clients = Some(ClientsPart::of_topic(&app, &environment, &topic, &bound, chrome.m).await);
    }
    let subject = [("cluster", cluster.name.as_str()), ("topic", topic.name.as_str())];
    let shown: &[Chart] = match tab {
        "overview" => &[Chart::TopicRate, Chart::TopicLag],
        "clients" => &[Chart::TopicSends, Chart::TopicLatency, Chart::TopicHandling],
        _ => &[],
    };
    let charts =
        (!shown.is_empty()).then(|| ChartView::new(chrome.m, (&environment.name, &chrome.path), &query.range, shown, &subject));
    let mut flows = Vec::new();
    if tab == "history" {
        for flow in app.engine.of_subject(Some(&environment.id), &format!("topic/{}", topic.name)).await? {
            flows.push(Steps::of(&app.engine, flow, chrome.m, now_ms()));
        }
    }
    web::page(OnePage { env: environment.name, chrome, tab, topic, cluster, bound, live, clients, charts, flows, messages: None })
}

async fn messages_page(
    (chrome, app): (Chrome, &App),
    environment: Environment,
    (topic, cluster): (Topic, Cluster),
    part: MessagesPart,
) -> Result<OnePage> {
    let bound = bound_to(app, &topic, &environment).await?;
    let (live, clients, charts, flows) = (None, None, None, Vec::new());
    let messages = Some(part);
    Ok(OnePage { env: environment.name, chrome, tab: "messages", topic, cluster, bound, live, clients, charts, flows, messages })
}

async fn messages(
    chrome: Chrome,
    user: User,
    Shared(app): Shared<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let of = super::find_with_cluster(&app.db, &environment.id, &name).await?;
    let part =
        MessagesPart { may_look: may_look(&user, &of.0), search: Search::default(), found: None, problems: Problems::default() };
    web::page(messages_page((chrome, &app), environment, of, part).await?)
}

async fn search(
    chrome: Chrome,
    user: User,
    address: Address,
    Shared(app): Shared<App>,
    Path((_, name)): Path<(String, String)>,
    Form(search): Form<Search>,
) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let (topic, cluster) = super::find_with_cluster(&app.db, &environment.id, &name).await?;
    let actor = Actor { user: &user, address: &address.0 };
    let (status, found, problems) =
        match super::messages::search(&app, actor, &environment, &topic, &cluster, &search, now_ms()).await {
            Ok(found) => (StatusCode::OK, Some(found), Problems::default()),
            Err(error) => {
                let (status, problems) = Problems::of_error(error, chrome.m)?;
                (status, None, problems)
            }
        };
    let part = MessagesPart { may_look: true, search, found, problems };
    web::page_with(status, messages_page((chrome, &app), environment, (topic, cluster), part).await?)
}

async fn clients_part(
    chrome: Chrome,
    user: User,
    Shared(app): Shared<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = chrome.environment.ok_or(Error::NotFound)?;
    let topic = super::find(&app.db, &environment.id, &name).await?;
    let bound = bound_to(&app, &topic, &environment).await?;
    web::page(ClientsPart::of_topic(&app, &environment, &topic, &bound, chrome.m).await)
}

//! Pages of topics.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use zms_core::metadata::Presence;
use zms_core::metadata::path::Path as Znode;

use super::{Live, State, Topic};
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::clusters::{self, Cluster};
use crate::engine::web::Steps;
use crate::error::{Error, Result};
use crate::groups::{self, Group};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery};
use crate::web::messages::Messages;
use crate::web::{self, Path, Query, timestamp};

/// A page waits no longer for the metadata.
const DEADLINE: Duration = Duration::from_secs(4);
const SORTED_BY: [&str; 6] = ["name", "cluster", "partitions", "owner", "state", "created"];
const TABS: [&str; 5] = ["overview", "partitions", "groups", "clients", "history"];

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/e/{env}/topics", get(all))
        .route("/e/{env}/topics/{name}", get(to_overview))
        .route("/e/{env}/topics/{name}/{tab}", get(one))
}

struct Row {
    topic: Topic,
    cluster: String,
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
    let row = |topic: Topic| Row { cluster: (*names.get(topic.cluster_id.as_str()).unwrap_or(&"")).to_owned(), topic };
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
            "owner" => a.topic.owner.cmp(&b.topic.owner).then_with(by_name),
            "state" => a.topic.state.as_str().cmp(b.topic.state.as_str()).then_with(by_name),
            "created" => a.topic.created_at.cmp(&b.topic.created_at).then_with(by_name),
            _ => by_name(),
        }
    });
    if list.csv {
        let mut text = list::csv_row(["name", "cluster", "partitions", "replicas", "owner", "state"]);
        for Row { topic, cluster } in &rows.rows {
            let (partitions, replicas) = (topic.partitions.to_string(), topic.replicas.to_string());
            text.push_str(&list::csv_row([
                topic.name.as_str(),
                cluster,
                &partitions,
                &replicas,
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

/// An application that is connected.
pub(crate) struct Client {
    /// What it says of itself.
    pub presence: Presence,
    /// It sends to the topic.
    pub sends: bool,
    /// It consumes with one of these groups.
    pub consumes: bool,
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
    clients: Option<std::result::Result<Vec<Client>, String>>,
    flows: Vec<Steps>,
}

impl OnePage {
    fn retention(&self) -> Option<u64> {
        self.topic.config.get("retention.ms")?.parse::<u64>().ok().map(|ms| ms / 3_600_000)
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
            _ => m.topics_tab_history(),
        }
    }
}

/// A state in words.
pub(crate) fn state_text(state: &State, m: &Messages) -> &'static str {
    match *state {
        State::Creating => m.topics_state_creating(),
        State::Active => m.topics_state_active(),
        State::Removing => m.topics_state_removing(),
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
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let tab = TABS.into_iter().find(|known| *known == tab).ok_or(Error::NotFound)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let topic = super::find(&app.db, &environment.id, &name).await?;
    let cluster = clusters::by_id(&app.db, &topic.cluster_id).await?;
    let bound: Vec<Group> =
        groups::list(&app.db, &environment.id).await?.into_iter().filter(|group| group.topics.contains(&topic.id)).collect();
    let live = match tab {
        "overview" | "partitions" | "groups" => Some(super::live(&app, &cluster, &topic).await),
        _ => None,
    };
    let clients = if tab == "clients" { Some(clients(&app, &environment.id, &topic, &bound).await) } else { None };
    let mut flows = Vec::new();
    if tab == "history" {
        for flow in app.engine.of_subject(Some(&environment.id), &format!("topic/{}", topic.name)).await? {
            flows.push(Steps::of(&app.engine, flow, chrome.m, now_ms()));
        }
    }
    web::page(OnePage { env: environment.name, chrome, tab, topic, cluster, bound, live, clients, flows })
}

/// Who says that it uses the topic; a sentence when it cannot be read.
async fn clients(app: &App, environment_id: &str, topic: &Topic, bound: &[Group]) -> std::result::Result<Vec<Client>, String> {
    let store = app.metadata.store(environment_id).await.map_err(|error| match error {
        Error::Unavailable(text) => text.say(Messages::ENGLISH),
        other => format!("{other:?}"),
    })?;
    let mut tree = store.tree(&Znode::Clients.to_string());
    let listed = tokio::time::timeout(DEADLINE, tree.wait_for(Option::is_some)).await;
    let tree = match listed {
        Ok(Ok(tree)) => tree.clone().unwrap_or_default(),
        Ok(Err(_)) | Err(_) => return Err(format!("ZooKeeper did not answer within {} s", DEADLINE.as_secs())),
    };
    let name = topic.name.as_str();
    let found = tree.iter().filter(|(_, node)| node.ephemeral).filter_map(|(_, node)| Presence::parse(&node.data).ok());
    let mut clients: Vec<Client> = found
        .map(|presence| Client {
            sends: presence.topics.contains_key(name),
            consumes: bound.iter().any(|group| presence.groups.contains_key(group.name.as_str())),
            presence,
        })
        .filter(|client| client.sends || client.consumes)
        .collect();
    clients
        .sort_by(|a, b| (&a.presence.application, a.presence.started_ms).cmp(&(&b.presence.application, b.presence.started_ms)));
    Ok(clients)
}

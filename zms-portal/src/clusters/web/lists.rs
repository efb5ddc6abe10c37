//! What is on a cluster, as lists: topics, groups.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::picture::{Look, PhysicalGroup, PhysicalTopic, Picture, look};
use super::super::{Governed, Register};
use super::Head;
use crate::access::User;
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::topics::group_state_text;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery};
use crate::web::{self, Path, Query, thousands};

const TOPICS_BY: [&str; 6] = ["name", "partitions", "under", "kept", "rate", "governed"];
const GROUPS_BY: [&str; 5] = ["lag", "name", "state", "members", "governed"];

struct TopicRow {
    topic: PhysicalTopic,
    governed: Governed,
}

#[derive(Template)]
#[template(path = "clusters/topics.html")]
struct TopicsPage {
    chrome: Chrome,
    head: Head,
    look: Look,
    list: List,
    rows: list::Rows<TopicRow>,
}

/// An empty one where nothing is known; the page says why.
fn picture(look: &Look) -> Arc<Picture> {
    look.seen.clone().unwrap_or_default()
}

const fn rank(governed: &Governed) -> u8 {
    match governed {
        Governed::Yes => 0,
        Governed::Free => 1,
        Governed::Ungoverned { .. } | Governed::NoTopics => 2,
        Governed::Taken { .. } => 3,
        Governed::NotAllowed => 4,
        Governed::Reserved | Governed::Internal => 5,
    }
}

fn number<T: ToString>(number: Option<T>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

pub(super) async fn topics(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<ListQuery>,
) -> Result<Response> {
    let head = Head::load(&app, &chrome, &user, &name, "topics").await?;
    let look = look(&app, &head.cluster, now_ms()).await;
    let picture = picture(&look);
    let register = Register::load(&app, &head.cluster.environment_id).await?.with(&picture);
    let row = |topic: &PhysicalTopic| TopicRow { governed: register.topic(&head.cluster, &topic.name), topic: topic.clone() };
    let rows: Vec<TopicRow> = picture.topics.iter().map(row).collect();
    let list = List::new(&query, &TOPICS_BY);
    let searched = |row: &TopicRow| row.topic.name.to_string();
    let rows = list.apply(rows, searched, |key, a, b| {
        // The brokers' own would hide the others.
        let by_name = || (a.topic.internal, &a.topic.name).cmp(&(b.topic.internal, &b.topic.name));
        match key {
            "partitions" => a.topic.partitions.cmp(&b.topic.partitions).then_with(by_name),
            "under" => a.topic.under_replicated.cmp(&b.topic.under_replicated).then_with(by_name),
            "kept" => a.topic.kept.cmp(&b.topic.kept).then_with(by_name),
            "rate" => a.topic.rate_in.unwrap_or(-1.0).total_cmp(&b.topic.rate_in.unwrap_or(-1.0)).then_with(by_name),
            "governed" => rank(&a.governed).cmp(&rank(&b.governed)).then_with(by_name),
            _ => by_name(),
        }
    });
    if list.csv {
        let columns = ["name", "partitions", "replicas", "under_replicated", "offline", "kept", "rate_in", "governed", "why_not"];
        let mut text = list::csv_row(columns);
        for TopicRow { topic, governed } in &rows.rows {
            let why = governed.reason(&chrome.m).unwrap_or_default();
            text.push_str(&list::csv_row([
                topic.name.as_str(),
                &topic.partitions.to_string(),
                &topic.replicas.to_string(),
                &topic.under_replicated.to_string(),
                &topic.offline.to_string(),
                &number(topic.kept),
                &number(topic.rate_in),
                if *governed == Governed::Yes { "yes" } else { "no" },
                &why,
            ]));
        }
        return Ok(list::csv(&format!("topics-{}-{}", head.env, head.name()), text));
    }
    web::page(TopicsPage { chrome, head, look, list, rows })
}

struct GroupRow {
    group: PhysicalGroup,
    governed: Governed,
}

#[derive(Template)]
#[template(path = "clusters/groups.html")]
struct GroupsPage {
    chrome: Chrome,
    head: Head,
    look: Look,
    list: List,
    rows: list::Rows<GroupRow>,
}

pub(super) async fn groups(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Query(mut query): Query<ListQuery>,
) -> Result<Response> {
    let head = Head::load(&app, &chrome, &user, &name, "groups").await?;
    let look = look(&app, &head.cluster, now_ms()).await;
    let picture = picture(&look);
    let register = Register::load(&app, &head.cluster.environment_id).await?.with(&picture);
    let (_, governed) = register.of(&head.cluster, &picture);
    let row = |(group, (_, governed)): (&PhysicalGroup, (_, Governed))| GroupRow { group: group.clone(), governed };
    let rows: Vec<GroupRow> = picture.groups.iter().zip(governed).map(row).collect();
    // The worst first, where nobody said otherwise.
    if query.sort.is_empty() && query.dir.is_empty() {
        "desc".clone_into(&mut query.dir);
    }
    let list = List::new(&query, &GROUPS_BY);
    let searched = |row: &GroupRow| {
        let topics: Vec<&str> = row.group.on.iter().map(|on| on.topic.as_str()).collect();
        format!("{} {} {}", row.group.name, row.group.state, topics.join(" "))
    };
    let rows = list.apply(rows, searched, |key, a, b| {
        let by_name = || a.group.name.cmp(&b.group.name);
        match key {
            "name" => by_name(),
            "state" => a.group.state.cmp(&b.group.state).then_with(by_name),
            "members" => a.group.members.cmp(&b.group.members).then_with(by_name),
            "governed" => rank(&a.governed).cmp(&rank(&b.governed)).then_with(by_name),
            _ => a.group.lag.cmp(&b.group.lag).then_with(by_name),
        }
    });
    if list.csv {
        let mut text = list::csv_row(["group", "state", "members", "topic", "lag", "partitions_without_commit", "governed"]);
        for GroupRow { group, governed } in &rows.rows {
            let (members, yes) = (number(group.members), if *governed == Governed::Yes { "yes" } else { "no" });
            let mut line = |topic: &str, lag: &str, unknown: &str| {
                text.push_str(&list::csv_row([group.name.as_str(), &group.state, &members, topic, lag, unknown, yes]));
            };
            for on in &group.on {
                line(on.topic.as_str(), &number(on.lag), &on.unknown.to_string());
            }
            if group.on.is_empty() {
                line("", "", "");
            }
        }
        return Ok(list::csv(&format!("groups-{}-{}", head.env, head.name()), text));
    }
    web::page(GroupsPage { chrome, head, look, list, rows })
}

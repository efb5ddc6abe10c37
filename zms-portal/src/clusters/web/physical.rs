//! One topic, one group, as their brokers have them now.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::StreamExt as _;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerError, Ends, Group};

use super::super::{Cluster, Governed, Register};
use super::{DEADLINE, Head};
use crate::access::User;
use crate::app::App;
use crate::error::{Error, Result};
use crate::metrics::{Chart, ChartView, RangeQuery};
use crate::topics::{self, GroupLag, Live, group_state_text, lag_of};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Path, Query};

/// Topics of a group whose offsets are asked for.
const MOST_TOPICS: usize = 50;
/// Of them at once.
const AT_ONCE: usize = 8;

#[derive(Template)]
#[template(path = "clusters/topic.html")]
struct TopicPage {
    chrome: Chrome,
    head: Head,
    topic: PhysicalName,
    governed: Governed,
    live: std::result::Result<Live, String>,
    charts: ChartView,
}

pub(super) async fn topic(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name, topic)): Path<(String, String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Response> {
    let head = Head::load(&app, &chrome, &user, &name, "topics").await?;
    let topic = PhysicalName::new(topic).map_err(|_| Error::NotFound)?;
    let mut live = topics::live_of(&app, &head.cluster, &topic).await;
    if let Ok(live) = &mut live {
        live.groups.sort_by_key(|group| std::cmp::Reverse(group.lag.unwrap_or(i64::MIN)));
    }
    let internal = live.as_ref().is_ok_and(|live| live.internal).then_some(&topic);
    let register = Register::load(&app, &head.cluster.environment_id).await?.with_internal(internal);
    let governed = register.topic(&head.cluster, &topic);
    let subject = [("cluster", head.name()), ("topic", topic.as_str())];
    let shown = [Chart::TopicRate, Chart::TopicLag];
    let charts = ChartView::new(chrome.m, (&head.env, &chrome.path), &query.range, &shown, &subject);
    web::page(TopicPage { chrome, head, topic, governed, live, charts })
}

/// A group as its coordinator has it.
struct Seen {
    group: Group,
    /// By topic.
    on: Vec<(PhysicalName, GroupLag)>,
    /// Topics that were not asked for.
    more: usize,
}

#[derive(Template)]
#[template(path = "clusters/group.html")]
struct GroupPage {
    chrome: Chrome,
    head: Head,
    group: PhysicalName,
    governed: Governed,
    seen: std::result::Result<Seen, String>,
    charts: ChartView,
}

pub(super) async fn group(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name, group)): Path<(String, String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Response> {
    let head = Head::load(&app, &chrome, &user, &name, "groups").await?;
    let group = PhysicalName::new(group).map_err(|_| Error::NotFound)?;
    let late = || Err(format!("no answer within {} s", DEADLINE.as_secs()));
    let seen = tokio::time::timeout(DEADLINE.max(Duration::from_secs(1)), ask(&app, &head.cluster, &group)).await;
    let seen = seen.map_or_else(|_| late(), |said| said.map_err(|error| error.to_string()));
    let register = Register::load(&app, &head.cluster.environment_id).await?;
    let on: Vec<&PhysicalName> = seen.iter().flat_map(|seen| seen.on.iter().map(|(topic, _)| topic)).collect();
    let governed = register.group(&head.cluster, &group, &on, |topic| register.topic(&head.cluster, topic) == Governed::Free);
    let subject = [("cluster", head.name()), ("group", group.as_str())];
    let shown = [Chart::GroupLag, Chart::GroupRate];
    let charts = ChartView::new(chrome.m, (&head.env, &chrome.path), &query.range, &shown, &subject);
    web::page(GroupPage { chrome, head, group, governed, seen, charts })
}

async fn ask(app: &App, cluster: &Cluster, name: &PhysicalName) -> std::result::Result<Seen, BrokerError> {
    let admin = app.brokers.admin(cluster)?;
    let missing = || BrokerError::Missing { what: format!("group {name} on {}", cluster.name) };
    let names = [name.clone()];
    let (described, committed) = futures::join!(admin.describe_groups(&names), admin.committed(&names));
    let group = described?.into_iter().next().ok_or_else(missing)?;
    let committed = committed?.into_iter().next().ok_or_else(missing)??;
    let topics: Vec<PhysicalName> = committed.keys().take(MOST_TOPICS).cloned().collect();
    let ends: BTreeMap<PhysicalName, Ends> = futures::stream::iter(topics)
        .map(|topic| {
            let admin = admin.clone();
            // A topic that is gone, or whose leaders are silent, leaves its lag unknown.
            async move { (admin.ends(&topic).await.unwrap_or_default(), topic) }
        })
        .buffer_unordered(AT_ONCE)
        .map(|(ends, topic)| (topic, ends))
        .collect()
        .await;
    let (state, members) = (group.summary.state, group.members.len());
    let mut on: Vec<(PhysicalName, GroupLag)> =
        ends.iter().map(|(topic, ends)| (topic.clone(), lag_of(name, state, members, &committed, topic, ends))).collect();
    on.sort_by_key(|(_, lag)| std::cmp::Reverse(lag.lag.unwrap_or(i64::MAX)));
    let more = committed.len().saturating_sub(MOST_TOPICS);
    Ok(Seen { group, on, more })
}

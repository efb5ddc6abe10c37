//! Topics and groups that are on a cluster become governed: chosen by pattern or by name, seen before, then done one by one in one flow.
//!
//! 1. This file: what is chosen, [`preview`] and [`take_over`]. 2. `flow`: the state machine. 3. `perform`: one topic, one group. [`mod@glob`].

mod flow;
mod glob;
mod perform;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use zms_core::metadata::BrokerKind;
use zms_core::names::PhysicalName;

pub use flow::{State, TakeOver};
pub use glob::glob;
pub(super) use perform::Performer;

use super::adopt::target;
use super::governed::{Governed, Register};
use super::picture::look;
use super::{Cluster, store, subject};
use crate::access::{Actor, Role};
use crate::app::App;
use crate::engine::NewFlow;
use crate::environments::Environment;
use crate::error::{Error, Result, Text};

/// Most topics and groups of one flow.
const MOST: usize = 1000;
/// Longest name of an owner, in characters.
const LONGEST_OWNER: usize = 64;

/// What is to be taken over. Names must fit exactly; one that is in `pattern` and in the lists counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TakeOverChoice, example = json!({ "pattern": "*", "topics": [], "groups": [], "owner": "ada" }))]
pub struct Choice {
    /// Topics and groups by a pattern: `*` is any characters, `?` one. Empty: none.
    pub pattern: String,
    /// Topics by name.
    pub topics: Vec<String>,
    /// Groups by name.
    pub groups: Vec<String>,
    /// Name of the user who answers for them.
    pub owner: String,
}

/// One topic or group of a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = TakeOverItem)]
pub struct Item {
    /// Its name there.
    pub name: String,
    /// What would become of it.
    pub governed: Governed,
    /// A group's topics.
    pub on: Vec<String>,
    /// Whether each member of a group gets every message (broadcasting), as those say that were connected when it was looked last. Absent: nobody says it, and it
    /// would be taken over as one whose members share. Absent for topics.
    pub broadcast: Option<bool>,
}

/// What a take-over would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = TakeOverPreview)]
pub struct Preview {
    /// Applications find the cluster; without that nothing is taken over.
    pub published: bool,
    /// Topics that fit: those that can be taken over first, the brokers' own last, each by name; those that are governed already are left out.
    pub topics: Vec<Item>,
    /// Groups that fit.
    pub groups: Vec<Item>,
}

impl Preview {
    fn free(items: &[Item]) -> BTreeSet<String> {
        items.iter().filter(|item| item.governed == Governed::Free).map(|item| item.name.clone()).collect()
    }

    /// How many topics and groups would be taken over.
    pub fn count(&self) -> (usize, usize) {
        (Self::free(&self.topics).len(), Self::free(&self.groups).len())
    }
}

/// What a choice would do. A group fits when it is chosen itself; what it consumes has to be governed already or be chosen too.
///
/// # Errors
/// [`Error::Unavailable`] with the reason when nothing is known of the cluster.
pub async fn preview(app: &App, cluster: &Cluster, choice: &Choice, now_ms: i64) -> Result<Preview> {
    let look = look(app, cluster, now_ms).await;
    let picture = look.seen.map_err(|why| Error::Unavailable(Text::new(move |_| why.clone())))?;
    let register = Register::load(app, &cluster.environment_id).await?.with(&picture);
    let fits = |name: &PhysicalName, named: &[String]| {
        (!choice.pattern.is_empty() && glob(&choice.pattern, name.as_str())) || named.iter().any(|other| other == name.as_str())
    };
    let mut preview = Preview { published: cluster.epoch > 0, ..Preview::default() };
    for topic in picture.topics.iter().filter(|topic| fits(&topic.name, &choice.topics)) {
        let governed = register.topic(cluster, &topic.name);
        preview.topics.push(Item { name: topic.name.to_string(), governed, on: Vec::new(), broadcast: None });
    }
    let chosen = Preview::free(&preview.topics);
    for group in picture.groups.iter().filter(|group| fits(&group.name, &choice.groups)) {
        let on: Vec<&PhysicalName> = group.on.iter().map(|on| &on.topic).collect();
        let governed = register.group(cluster, &group.name, &on, |topic| chosen.contains(topic.as_str()));
        let on = on.iter().map(|topic| topic.to_string()).collect();
        let broadcast = broadcasts(cluster, &group.protocol);
        preview.groups.push(Item { name: group.name.to_string(), governed, on, broadcast });
    }
    for items in [&mut preview.topics, &mut preview.groups] {
        items.retain(|item| item.governed != Governed::Yes);
        items.sort_by_key(|item| (item.governed != Governed::Free, item.governed == Governed::Internal));
    }
    Ok(preview)
}

/// Whether each member of a group gets every message; `None` where nobody says so. On Kafka members always share.
fn broadcasts(cluster: &Cluster, protocol: &str) -> Option<bool> {
    match (cluster.broker, protocol) {
        (BrokerKind::Kafka, _) | (BrokerKind::RocketMq, "clustering") => Some(false),
        (BrokerKind::RocketMq, "broadcasting") => Some(true),
        (BrokerKind::RocketMq, _) => None,
    }
}

/// Takes over what of a choice can be; for operators. The flow's id.
///
/// # Errors
/// [`Error::Conflict`] when applications do not find the cluster, when there is nothing to do, and while another flow holds it;
/// [`Error::Invalid`] with what is wrong; as [`preview`].
pub async fn take_over(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    name: &str,
    choice: &Choice,
    now_ms: i64,
) -> Result<String> {
    let target = target(environment, name);
    actor.require(&app.db, Role::Operator, "cluster.take_over", &target, now_ms).await?;
    let cluster = super::find(&app.db, &environment.id, name).await?;
    if cluster.epoch == 0 {
        return Err(Error::conflict(|m| m.clusters_take_unpublished().to_owned()));
    }
    let owner = choice.owner.trim().to_owned();
    let wrong_owner = owner.is_empty() || owner.chars().count() > LONGEST_OWNER || owner.chars().any(char::is_control);
    if wrong_owner {
        return Err(Error::invalid("owner", |m| m.clusters_bad_owner().to_owned()));
    }
    if !store::is_user(&app.db, &owner).await? {
        return Err(Error::invalid("owner", move |m| m.clusters_no_such_owner(&owner)));
    }
    let preview = preview(app, &cluster, choice, now_ms).await?;
    let (topics, groups) = (Preview::free(&preview.topics), Preview::free(&preview.groups));
    let count = topics.len() + groups.len();
    if count == 0 {
        return Err(Error::conflict(|m| m.clusters_take_nothing().to_owned()));
    }
    if count > MOST {
        return Err(Error::invalid("pattern", move |m| m.clusters_take_too_many(count, MOST)));
    }
    let subject = subject(&cluster.name);
    let next = flow::begin(&cluster.id, cluster.name.as_str(), &owner, topics.clone(), groups.clone());
    let new = NewFlow::<TakeOver> {
        environment_id: Some(&environment.id),
        subject: &subject,
        lock: Some(&subject),
        state: next.state,
        effects: next.effects,
        by: &actor.user.name,
        now_ms,
    };
    let mut tx = app.db.begin().await?;
    let flow = app.engine.start::<TakeOver>(&mut tx, new).await?;
    let detail = json!({ "flow": flow, "owner": owner, "topics": topics, "groups": groups });
    actor.record(&mut tx, "cluster.take_over", &target, detail, now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow)
}

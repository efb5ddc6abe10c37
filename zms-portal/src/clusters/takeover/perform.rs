//! One topic, one group: as they are on their brokers, with a row and a node.

use std::collections::BTreeMap;

use zms_core::metadata::{ConsumeFrom, Order};
use zms_core::names::{GroupName, PhysicalName, TopicName};

use super::super::{Cluster, by_id};
use super::broadcasts;
use super::flow::{Command, Effect, TakeOver};
use crate::app::{App, new_id};
use crate::db::is_taken;
use crate::engine::{EffectContext, Outcome, Perform};
use crate::environments;
use crate::error::Error;
use crate::groups::{self, Group};
use crate::hindrance::Hindrance;
use crate::metadata::Wanted;
use crate::topics::{self, State, Topic};

/// See the module.
pub(in crate::clusters) struct Performer(pub App);

impl Perform<TakeOver> for Performer {
    async fn perform(&self, context: &EffectContext, effect: &Effect) -> Outcome<Command> {
        let (done, settled): (_, Box<dyn Fn(Option<String>) -> Command + Send + Sync>) = match effect {
            Effect::EnsureTopic { cluster, topic, owner, .. } => {
                let name = topic.clone();
                let settled = move |why| Command::Topic { name: name.clone(), why };
                (self.ensure_topic(cluster, topic, owner, context.now_ms).await, Box::new(settled))
            }
            Effect::EnsureGroup { cluster, group, owner, .. } => {
                let name = group.clone();
                let settled = move |why| Command::Group { name: name.clone(), why };
                (self.ensure_group(cluster, group, owner, context.now_ms).await, Box::new(settled))
            }
        };
        match done {
            Ok(()) => Outcome::Done(settled(None)),
            // The failure is this one's alone: the others go on.
            Err(Hindrance::Stuck(why)) => Outcome::Done(settled(Some(why))),
            Err(hindrance) => hindrance.outcome(),
        }
    }
}

fn stuck(why: impl Into<String>) -> Hindrance {
    Hindrance::Stuck(why.into())
}

impl Performer {
    async fn ensure_topic(&self, cluster: &str, name: &str, owner: &str, now_ms: i64) -> Result<(), Hindrance> {
        let app = &self.0;
        let cluster = by_id(&app.db, cluster).await?;
        let topic_name = TopicName::new(name).map_err(|error| stuck(error.to_string()))?;
        let topic = match topics::find(&app.db, &cluster.environment_id, name).await {
            Ok(topic) if topic.cluster_id == cluster.id => topic,
            Ok(_) => return Err(stuck("its name belongs to a topic on another cluster of this environment")),
            Err(Error::NotFound) => self.keep_topic(&cluster, topic_name, owner, now_ms).await?,
            Err(error) => return Err(error.into()),
        };
        let environment = environments::by_id(&app.db, &cluster.environment_id).await?;
        let wanted = Wanted::Topic { name: topic.name.into(), cluster: cluster.name };
        let order = app.metadata.publish(&environment, &wanted, topic.order).await?;
        let mut tx = app.db.begin().await?;
        topics::set_order(&mut tx, &topic.id, order).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn keep_topic(&self, cluster: &Cluster, name: TopicName, owner: &str, now_ms: i64) -> Result<Topic, Hindrance> {
        let app = &self.0;
        let admin = app.brokers.admin(cluster)?;
        let physical = PhysicalName::from(name.clone());
        let there = admin.topic(&physical).await?.ok_or_else(|| stuck("it is not there any more"))?;
        if there.internal {
            return Err(stuck("it is one of the brokers' own"));
        }
        let settings = admin.topic_config(&physical).await?;
        let own = settings.into_iter().filter(|(_, setting)| setting.own);
        let config: BTreeMap<String, String> = own.filter_map(|(key, setting)| Some((key, setting.value?))).collect();
        let topic = Topic {
            id: new_id(),
            environment_id: cluster.environment_id.clone(),
            name,
            cluster_id: cluster.id.clone(),
            partitions: i32::try_from(there.partitions.len()).unwrap_or(i32::MAX),
            replicas: i16::try_from(there.replicas()).unwrap_or(i16::MAX),
            config,
            owner: owner.to_owned(),
            about: String::new(),
            state: State::Active,
            order: Order::default(),
            created_at: now_ms,
        };
        let mut tx = app.db.begin().await?;
        topics::insert(&mut tx, &topic).await.map_err(taken)?;
        tx.commit().await?;
        Ok(topic)
    }

    async fn ensure_group(&self, cluster: &str, name: &str, owner: &str, now_ms: i64) -> Result<(), Hindrance> {
        let app = &self.0;
        let cluster = by_id(&app.db, cluster).await?;
        let group_name = GroupName::new(name).map_err(|error| stuck(error.to_string()))?;
        let group = match groups::find(&app.db, &cluster.environment_id, name).await {
            Ok(group) => group,
            Err(Error::NotFound) => self.keep_group(&cluster, group_name, owner, now_ms).await?,
            Err(error) => return Err(error.into()),
        };
        // Only a group of exactly one topic has a node.
        let [topic] = group.topics.as_slice() else { return Ok(()) };
        let topic = topics::by_id(&app.db, topic).await?;
        if topic.cluster_id != cluster.id {
            return Err(stuck("its name belongs to a group on another cluster of this environment"));
        }
        let environment = environments::by_id(&app.db, &cluster.environment_id).await?;
        let wanted = Wanted::Group {
            name: PhysicalName::from(group.name),
            topic: topic.name.into(),
            cluster: cluster.name,
            from: group.from,
            broadcast: group.broadcast,
        };
        let order = app.metadata.publish(&environment, &wanted, group.order).await?;
        let mut tx = app.db.begin().await?;
        groups::set_order(&mut tx, &group.id, order).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn keep_group(&self, cluster: &Cluster, name: GroupName, owner: &str, now_ms: i64) -> Result<Group, Hindrance> {
        let app = &self.0;
        let (admin, names) = (app.brokers.admin(cluster)?, [PhysicalName::from(name.clone())]);
        let asked = admin.committed(&names).await?;
        let committed = asked.into_iter().next().ok_or_else(|| stuck("it is not there any more"))??;
        let mut bound = Vec::new();
        for topic in committed.keys() {
            match topics::find(&app.db, &cluster.environment_id, topic.as_str()).await {
                Ok(found) if found.cluster_id == cluster.id => bound.push(found.id),
                Ok(_) | Err(Error::NotFound) => return Err(stuck(format!("it consumes {topic}, which is not governed here"))),
                Err(error) => return Err(error.into()),
            }
        }
        if bound.is_empty() {
            return Err(stuck("it committed nothing: nobody knows what it consumes"));
        }
        // Shared out among clients, the messages of a group that broadcasts would be missing at all members but one.
        let said = admin.describe_groups(&names).await?;
        let broadcast = said.first().and_then(|group| broadcasts(cluster, &group.summary.protocol)).unwrap_or(false);
        let group = Group {
            id: new_id(),
            environment_id: cluster.environment_id.clone(),
            name,
            // Its commits say where it stands; on a partition that is added later nothing is left out.
            from: ConsumeFrom::Earliest,
            broadcast,
            owner: owner.to_owned(),
            about: String::new(),
            state: State::Active,
            topics: bound,
            order: Order::default(),
            created_at: now_ms,
        };
        let mut tx = app.db.begin().await?;
        groups::insert(&mut tx, &group).await.map_err(taken)?;
        tx.commit().await?;
        Ok(group)
    }
}

/// Somebody asked for the same name in this moment.
fn taken(error: sqlx::Error) -> Hindrance {
    if is_taken(&error) { Hindrance::Later("its name was taken a moment ago".to_owned()) } else { error.into() }
}

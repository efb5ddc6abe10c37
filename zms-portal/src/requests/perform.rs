//! Does the effects of a creation.

use std::collections::BTreeMap;

use zms_core::names::PhysicalName;
use zms_drivers::broker::{ClusterAdmin, Ensured, GroupWish, TopicWish};

use super::flow::{Command, Create, Effect, Named, Plan};
use super::store;
use crate::app::App;
use crate::engine::{EffectContext, Outcome, Perform};
use crate::error::Error;
use crate::hindrance::Hindrance;
use crate::metadata::Wanted;
use crate::{clusters, environments, groups, topics};

/// See the module.
pub(super) struct Performer(pub App);

impl Perform<Create> for Performer {
    async fn perform(&self, context: &EffectContext, effect: &Effect) -> Outcome<Command> {
        let done = match effect {
            Effect::Look { plan } => self.look(plan).await,
            Effect::EnsureWithdrawn { plan } => self.ensure_withdrawn(context, plan).await,
            Effect::EnsureTopic { topic, .. } => self.ensure_topic(topic).await,
            Effect::EnsureNode { topic } => self.ensure_node(topic).await,
            Effect::EnsureGroup { group } => self.ensure_group(group).await,
            Effect::EnsureActive { plan } => self.ensure_active(plan).await,
        };
        match done {
            Ok(command) => Outcome::Done(command),
            Err(Hindrance::Stuck(why)) => Outcome::Done(Command::Stuck { why }),
            Err(hindrance) => hindrance.outcome(),
        }
    }
}

/// Does somebody consume with this group, or has somebody? Brokers of RocketMQ list a group that nobody ever used, and it is nobody's.
async fn is_used(admin: &dyn ClusterAdmin, group: &PhysicalName) -> Result<bool, Hindrance> {
    let names = std::slice::from_ref(group);
    if admin.describe_groups(names).await?.iter().any(|group| !group.members.is_empty()) {
        return Ok(true);
    }
    for committed in admin.committed(names).await? {
        if committed?.values().any(|offsets| !offsets.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What an earlier attempt deleted has no node any more, and its name may be somebody else's by now.
fn kept<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::NotFound) => Ok(None),
        found => found.map(Some),
    }
}

impl Performer {
    async fn look(&self, plan: &Plan) -> Result<Command, Hindrance> {
        let (mut topics, mut used) = (Vec::new(), Vec::new());
        if let Some(named) = &plan.topic {
            let topic = topics::by_id(&self.0.db, &named.id).await?;
            let cluster = clusters::by_id(&self.0.db, &topic.cluster_id).await?;
            if self.0.brokers.admin(&cluster)?.topic(&topic.name.into()).await?.is_some() {
                topics.push(named.name.clone());
            }
        }
        for named in &plan.groups {
            let group = groups::by_id(&self.0.db, &named.id).await?;
            let name = PhysicalName::from(group.name);
            for topic in &group.topics {
                let topic = topics::by_id(&self.0.db, topic).await?;
                let cluster = clusters::by_id(&self.0.db, &topic.cluster_id).await?;
                if is_used(self.0.brokers.admin(&cluster)?.as_ref(), &name).await? {
                    used.push(named.name.clone());
                    break;
                }
            }
        }
        let nothing = topics.is_empty() && used.is_empty();
        Ok(if nothing { Command::Absent } else { Command::Found { topics, groups: used } })
    }

    /// What was given up may be half done at this moment: only when nobody works at it any more, what is taken away stays away.
    async fn ensure_withdrawn(&self, context: &EffectContext, plan: &Plan) -> Result<Command, Hindrance> {
        if self.0.engine.is_busy_beside(context).await? {
            return Err(Hindrance::Later("a step that was under way has not ended yet".to_owned()));
        }
        if plan.written {
            self.withdraw(plan).await?;
        }
        let ids = |named: &[Named]| named.iter().map(|named| named.id.clone()).collect::<Vec<_>>();
        let mut tx = self.0.db.begin().await?;
        store::delete_creating(&mut tx, &ids(plan.topic.as_slice()), &ids(&plan.groups)).await?;
        tx.commit().await?;
        Ok(Command::Withdrawn)
    }

    /// No nodes: groups first, as they name the topic.
    async fn withdraw(&self, plan: &Plan) -> Result<(), Hindrance> {
        let mut nodes = Vec::new();
        for named in &plan.groups {
            if let Some(group) = kept(groups::by_id(&self.0.db, &named.id).await)? {
                nodes.push((group.environment_id, Wanted::NoGroup(group.name.into())));
            }
        }
        if let Some(named) = &plan.topic
            && let Some(topic) = kept(topics::by_id(&self.0.db, &named.id).await)?
        {
            nodes.push((topic.environment_id, Wanted::NoTopic(topic.name.into())));
        }
        for (environment, wanted) in nodes {
            let environment = environments::by_id(&self.0.db, &environment).await?;
            self.0.metadata.withdraw(&environment, &wanted).await?;
        }
        Ok(())
    }

    async fn ensure_topic(&self, named: &Named) -> Result<Command, Hindrance> {
        let topic = topics::by_id(&self.0.db, &named.id).await?;
        let cluster = clusters::by_id(&self.0.db, &topic.cluster_id).await?;
        let wish = TopicWish {
            name: topic.name.into(),
            partitions: topic.partitions,
            replicas: topic.replicas.max(1),
            config: cluster.settings_of(&topic.config),
        };
        let admin = self.0.brokers.admin(&cluster)?;
        // There from an earlier attempt, whose answer was lost: it is ours, and its settings are to be those that were approved.
        if admin.ensure_topic(&wish).await? == Ensured::There && !wish.config.is_empty() {
            let settings: BTreeMap<_, _> = wish.config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
            admin.ensure_topic_config(&wish.name, &settings).await?;
        }
        if !cluster.chooses_replicas() {
            let there = admin.topic(&wish.name).await?.map_or(0, |there| there.replicas());
            let mut tx = self.0.db.begin().await?;
            topics::set_layout(&mut tx, &topic.id, topic.partitions, i16::try_from(there).unwrap_or(i16::MAX)).await?;
            tx.commit().await?;
        }
        Ok(Command::TopicMade)
    }

    async fn ensure_node(&self, named: &Named) -> Result<Command, Hindrance> {
        let topic = topics::by_id(&self.0.db, &named.id).await?;
        let cluster = clusters::by_id(&self.0.db, &topic.cluster_id).await?;
        if cluster.epoch == 0 {
            return Err(Hindrance::Later(format!("cluster {} is not in the metadata yet", cluster.name)));
        }
        let environment = environments::by_id(&self.0.db, &topic.environment_id).await?;
        let wanted = Wanted::Topic { name: topic.name.into(), cluster: cluster.name };
        let order = self.0.metadata.publish(&environment, &wanted, topic.order).await?;
        let mut tx = self.0.db.begin().await?;
        topics::set_order(&mut tx, &topic.id, order).await?;
        tx.commit().await?;
        Ok(Command::NodeWritten)
    }

    async fn ensure_group(&self, named: &Named) -> Result<Command, Hindrance> {
        let group = groups::by_id(&self.0.db, &named.id).await?;
        let written = || Ok(Command::GroupWritten { group: named.name.clone() });
        let wish = GroupWish { name: group.name.clone().into(), broadcast: group.broadcast, consume_from: group.from };
        let mut on = Vec::with_capacity(group.topics.len());
        for topic in &group.topics {
            let topic = topics::by_id(&self.0.db, topic).await?;
            let cluster = clusters::by_id(&self.0.db, &topic.cluster_id).await?;
            self.0.brokers.admin(&cluster)?.ensure_group(&wish).await?;
            on.push((topic, cluster));
        }
        // Only a group of exactly one topic has a node.
        let Ok([(topic, cluster)]) = <[_; 1]>::try_from(on) else { return written() };
        let environment = environments::by_id(&self.0.db, &group.environment_id).await?;
        let wanted = Wanted::Group {
            name: PhysicalName::from(group.name),
            topic: topic.name.into(),
            cluster: cluster.name,
            from: group.from,
            broadcast: group.broadcast,
        };
        let order = self.0.metadata.publish(&environment, &wanted, group.order).await?;
        let mut tx = self.0.db.begin().await?;
        groups::set_order(&mut tx, &group.id, order).await?;
        tx.commit().await?;
        written()
    }

    async fn ensure_active(&self, plan: &Plan) -> Result<Command, Hindrance> {
        let mut tx = self.0.db.begin().await?;
        if let Some(topic) = &plan.topic {
            topics::set_state(&mut tx, &topic.id, topics::State::Active).await?;
        }
        for group in &plan.groups {
            groups::set_state(&mut tx, &group.id, topics::State::Active).await?;
        }
        tx.commit().await?;
        Ok(Command::Finished)
    }
}

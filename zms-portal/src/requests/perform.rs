//! Does the effects of a creation.

use zms_core::names::PhysicalName;
use zms_drivers::broker::{GroupWish, TopicWish};

use super::flow::{Command, Create, Effect, Named, Plan};
use crate::app::App;
use crate::engine::{EffectContext, Outcome, Perform};
use crate::hindrance::Hindrance;
use crate::metadata::Wanted;
use crate::{clusters, environments, groups, topics};

/// See the module.
pub(super) struct Performer(pub App);

impl Perform<Create> for Performer {
    async fn perform(&self, _: &EffectContext, effect: &Effect) -> Outcome<Command> {
        let done = match effect {
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

impl Performer {
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
        admin.ensure_topic(&wish).await?;
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

//! Does the effects of publishing a cluster.

use std::collections::BTreeMap;

use zms_core::collect::BrokerTls;
use zms_core::metadata::path::Path;
use zms_core::metadata::{ConsumeFrom, Order, Security, TopicNode};
use zms_core::names::{ClusterName, PhysicalName};
use zms_core::statistics::java::{CONSUMER_TOPIC, PRODUCER_TOPIC, Side};
use zms_drivers::broker::{BrokerError, GroupWish, TopicWish};

use super::flow::{Command, Effect, Publish};
use super::{Cluster, RETENTION, environment_of, store};
use crate::app::App;
use crate::engine::{EffectContext, Outcome, Perform};
use crate::environments::Environment;
use crate::error::Error;
use crate::hindrance::Hindrance;
use crate::metadata::{PublishError, Wanted, unavailable};

/// Topics of statistics: of the first ZMS's clients, and of ours. A day of them is enough, whoever reads them is seconds behind.
pub(super) const STATISTICS: [&str; 3] = [PRODUCER_TOPIC, CONSUMER_TOPIC, zms_core::statistics::TOPIC];
/// Partitions of each.
const PARTITIONS: i32 = 3;
/// How long they are kept, milliseconds.
const A_DAY_MS: &str = "86400000";
/// The collectors' groups on them.
pub(super) const GROUPS: [(&str, &str); 3] = [
    (zms_core::statistics::GROUP, zms_core::statistics::TOPIC),
    (Side::Producer.group(), PRODUCER_TOPIC),
    (Side::Consumer.group(), CONSUMER_TOPIC),
];

/// See the module.
pub(super) struct Performer(pub App);

impl Perform<Publish> for Performer {
    async fn perform(&self, _: &EffectContext, effect: &Effect) -> Outcome<Command> {
        let id = match effect {
            Effect::AwaitBrokers { cluster, .. }
            | Effect::EnsureNode { cluster, .. }
            | Effect::EnsureStatistics { cluster, .. } => cluster,
        };
        let cluster = match super::by_id(&self.0.db, id).await {
            Ok(cluster) => cluster,
            Err(Error::NotFound) => return Outcome::Done(Command::Gone),
            Err(error) => return Outcome::Failed(format!("{error:?}")),
        };
        let done = match effect {
            Effect::AwaitBrokers { brokers, .. } => self.await_brokers(&cluster, *brokers).await,
            Effect::EnsureNode { .. } => self.ensure_node(&cluster).await,
            Effect::EnsureStatistics { .. } => self.ensure_statistics(&cluster).await,
        };
        match done {
            Ok(command) => Outcome::Done(command),
            Err(hindrance) => hindrance.outcome(),
        }
    }
}

impl Performer {
    async fn await_brokers(&self, cluster: &Cluster, wanted: usize) -> Result<Command, Hindrance> {
        let view = self.0.brokers.admin(cluster)?.describe().await?;
        if view.brokers.len() < wanted {
            return Err(Hindrance::Later(format!("{} of {wanted} brokers answer", view.brokers.len())));
        }
        Ok(Command::Answered)
    }

    async fn ensure_node(&self, cluster: &Cluster) -> Result<Command, Hindrance> {
        let environment = environment_of(&self.0.db, cluster).await?;
        let boot_addr = cluster.addresses.join(cluster.broker.separator());
        let security = cluster.is_adopted().then(|| Security {
            tls: cluster.way.tls != BrokerTls::Off,
            sasl: cluster.way.login.as_ref().map(|(mechanism, _)| mechanism.of_kafka().to_owned()),
        });
        let wanted = Wanted::Cluster { name: cluster.name.clone(), broker: cluster.broker, boot_addr, security };
        let known = Order { term: 0, epoch: cluster.epoch };
        let order = self.0.metadata.publish(&environment, &wanted, known).await?;
        let mut tx = self.0.db.begin().await?;
        store::set_epoch(&mut tx, &cluster.id, order.epoch).await?;
        tx.commit().await?;
        Ok(Command::Published)
    }

    /// In the environment's first cluster only: applications find them by name, wherever they are. Those that are there stay where they are.
    async fn ensure_statistics(&self, cluster: &Cluster) -> Result<Command, Hindrance> {
        let clusters = super::list(&self.0.db, &cluster.environment_id).await?;
        let environment = environment_of(&self.0.db, cluster).await?;
        let home = home_of(&self.0, &environment, zms_core::statistics::TOPIC).await?;
        if home.is_some_and(|home| home != cluster.name && clusters.iter().any(|known| known.name == home)) {
            return Ok(Command::Prepared);
        }
        if first(&clusters).map(|first| &first.id) != Some(&cluster.id) {
            return Ok(Command::Prepared);
        }
        let name = |text: &str| PhysicalName::new(text).expect("our own names are names");
        for topic in STATISTICS {
            if home_of(&self.0, &environment, topic).await?.is_none() {
                self.ensure_topic(cluster, topic).await?;
                let wanted = Wanted::Topic { name: name(topic), cluster: cluster.name.clone() };
                self.0.metadata.publish(&environment, &wanted, Order::default()).await?;
            }
        }
        for (group, topic) in GROUPS {
            let home = home_of(&self.0, &environment, topic).await?.unwrap_or_else(|| cluster.name.clone());
            if home == cluster.name {
                let wish = GroupWish { name: name(group), broadcast: false, consume_from: ConsumeFrom::Latest };
                self.0.brokers.admin(cluster)?.ensure_group(&wish).await?;
            }
            let wanted = Wanted::Group {
                name: name(group),
                topic: name(topic),
                cluster: home,
                from: ConsumeFrom::Latest,
                broadcast: false,
            };
            self.0.metadata.publish(&environment, &wanted, Order::default()).await?;
        }
        Ok(Command::Prepared)
    }

    async fn ensure_topic(&self, cluster: &Cluster, topic: &str) -> Result<(), Hindrance> {
        let admin = self.0.brokers.admin(cluster)?;
        let brokers = admin.describe().await?.brokers.len();
        let wish = TopicWish {
            name: PhysicalName::new(topic).expect("our own names are names"),
            partitions: PARTITIONS,
            replicas: i16::try_from(brokers.clamp(1, 3)).unwrap_or(1),
            config: cluster.settings_of(&BTreeMap::from([(RETENTION.to_owned(), A_DAY_MS.to_owned())])),
        };
        match admin.ensure_topic(&wish).await {
            // Another layout is as good: they were made by hand, or while the cluster was smaller.
            Ok(_) | Err(BrokerError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where a topic of statistics is, if it is anywhere.
pub(super) async fn home_of(app: &App, environment: &Environment, topic: &str) -> Result<Option<ClusterName>, Hindrance> {
    let store = app.metadata.store(&environment.id).await.map_err(unavailable)?;
    let path = Path::Topic(PhysicalName::new(topic).expect("our own names are names")).to_string();
    let node = store.get(&path).await.map_err(PublishError::from)?;
    // One that cannot be read is written by nobody: publishing says so.
    Ok(node.and_then(|node| TopicNode::parse(&node.data).ok()).map(|node| node.cluster))
}

/// Where an environment's topics of statistics belong, if several clusters begin at once: on the oldest (ids are ULIDs), Kafka before RocketMQ, so that an
/// import does not leave it to chance. An adopted one counts from when applications find it.
pub(super) fn first(clusters: &[Cluster]) -> Option<&Cluster> {
    let counts = |known: &&Cluster| !known.is_adopted() || known.epoch > 0;
    clusters.iter().filter(counts).min_by_key(|cluster| (cluster.broker, &cluster.id))
}

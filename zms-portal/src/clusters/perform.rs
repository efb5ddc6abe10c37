//! Does the effects of publishing a cluster.

use std::collections::BTreeMap;

use zms_core::collect::BrokerTls;
use zms_core::metadata::{ConsumeFrom, Order, Security};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerError, TopicWish};

use super::flow::{Command, Effect, Publish};
use super::{Cluster, environment_of, store};
use crate::app::App;
use crate::engine::{EffectContext, Outcome, Perform};
use crate::error::Error;
use crate::hindrance::Hindrance;
use crate::metadata::Wanted;

/// A cluster that is not ready is looked at again after this, milliseconds.
const LOOK_AGAIN_MS: i64 = 2000;
/// Topics of statistics: of the first ZMS's clients, and of ours. A day of them is enough, whoever reads them is seconds behind.
pub(super) const STATISTICS: [&str; 3] =
    ["statistic_topic_producerinfo", "statistic_topic_consumerinfo", zms_core::statistics::TOPIC];
/// Partitions of each.
const PARTITIONS: i32 = 3;
/// The collectors' group on our own.
pub(super) const GROUP: &str = "zms_collector";

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
            Err(Hindrance::Later(why)) => Outcome::Again { after_ms: LOOK_AGAIN_MS, why },
            Err(Hindrance::Stuck(why) | Hindrance::Failed(why)) => Outcome::Failed(why),
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
        let boot_addr = cluster.addresses.join(",");
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

    /// In the environment's first cluster only: applications find them by name, wherever they are.
    async fn ensure_statistics(&self, cluster: &Cluster) -> Result<Command, Hindrance> {
        let clusters = super::list(&self.0.db, &cluster.environment_id).await?;
        let environment = environment_of(&self.0.db, cluster).await?;
        let home = super::let_go::statistics_home(&self.0, &environment).await?;
        if home.is_some_and(|home| home != cluster.name.as_str() && clusters.iter().any(|known| known.name.as_str() == home)) {
            return Ok(Command::Prepared);
        }
        // Of several that begin at once: the oldest (ids are ULIDs). An adopted one counts from when applications find it.
        let counts = |known: &&Cluster| !known.is_adopted() || known.epoch > 0;
        if clusters.iter().filter(counts).map(|known| &known.id).min() != Some(&cluster.id) {
            return Ok(Command::Prepared);
        }
        let admin = self.0.brokers.admin(cluster)?;
        let brokers = admin.describe().await?.brokers.len();
        let name = |text: &str| PhysicalName::new(text).expect("our own names are names");
        for topic in STATISTICS {
            let wish = TopicWish {
                name: name(topic),
                partitions: PARTITIONS,
                replicas: i16::try_from(brokers.clamp(1, 3)).unwrap_or(1),
                config: BTreeMap::from([("retention.ms".to_owned(), "86400000".to_owned())]),
            };
            match admin.ensure_topic(&wish).await {
                // Another layout is as good: they were made by hand, or while the cluster was smaller.
                Ok(_) | Err(BrokerError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let wanted = Wanted::Topic { name: name(topic), cluster: cluster.name.clone() };
            self.0.metadata.publish(&environment, &wanted, Order::default()).await?;
        }
        let group = Wanted::Group {
            name: name(GROUP),
            topic: name(zms_core::statistics::TOPIC),
            cluster: cluster.name.clone(),
            from: ConsumeFrom::Latest,
            broadcast: false,
        };
        self.0.metadata.publish(&environment, &group, Order::default()).await?;
        Ok(Command::Prepared)
    }
}

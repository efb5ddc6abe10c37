//! What the scrape examples fill a cluster with. May be run again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use zms_core::metadata::BrokerKind;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Outgoing, TopicWish};
use zms_drivers::open::{self, Endpoint};
use zms_kafka_wire::{Cluster, Options};

/// Commits under way at once.
const AT_ONCE: usize = 32;
/// Messages for each partition, more or less.
const MESSAGES: i32 = 3;

/// One topic, a few messages, and many groups with an offset on each of its partitions.
#[derive(Debug, Clone, clap::Args)]
pub struct Filling {
    /// How many groups.
    #[arg(long, default_value_t = 3000)]
    pub groups: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 100)]
    pub partitions: i32,
    /// Name of the topic; groups are called after it.
    #[arg(long, default_value = "scrape-bench")]
    pub topic: String,
}

/// Fills the cluster at `bootstrap`, `host:port,…`. Says on stderr how far it is.
pub async fn fill(bootstrap: &str, filling: &Filling) -> Result<(), Box<dyn std::error::Error>> {
    let Filling { groups, partitions, topic } = filling;
    let endpoint = Endpoint { deadline: Duration::from_secs(60), ..Endpoint::plain("bench", bootstrap.split(',')) };
    let name = PhysicalName::new(topic.clone())?;
    let wish = TopicWish { name: name.clone(), partitions: *partitions, replicas: 1, config: BTreeMap::new() };
    let made = open::admin(BrokerKind::Kafka, &endpoint)?.ensure_topic(&wish).await?;
    eprintln!("topic {name} with {partitions} partitions: {made:?}");

    let producer = open::producer(BrokerKind::Kafka, &endpoint, Duration::from_secs(30))?;
    let sends = stream::iter(0..partitions * MESSAGES).map(|number| {
        let key = Some(Bytes::from(number.to_string()));
        producer.send(Outgoing { key, ..Outgoing::new(name.clone(), "v") })
    });
    let sent = sends.buffer_unordered(AT_ONCE).try_fold(0, |sent, _| async move { Ok(sent + 1) }).await?;
    eprintln!("{sent} messages sent");

    // Not by `ensure_offsets`: it looks at all groups each time.
    let cluster = Cluster::new(Options::plain(bootstrap.split(',')))?;
    let offsets: BTreeMap<i32, i64> = (0..*partitions).map(|id| (id, 1)).collect();
    let (cluster, offsets) = (&cluster, &offsets);
    let commits = stream::iter(0..*groups)
        .map(|number| async move { cluster.offset_commit(&format!("{topic}-{number}"), topic, offsets).await });
    let committed = commits.buffer_unordered(AT_ONCE).try_fold(0, |done, ()| async move { Ok(done + 1) }).await?;
    eprintln!("offsets of {committed} groups committed");
    Ok(())
}

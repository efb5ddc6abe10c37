//! Fills a Kafka cluster for `scrape_bench`: one topic, a few messages, and many groups with an offset on each of its partitions. May be
//! run again.
//!
//! ```text
//! cargo run --release -p zms-drivers --example scrape_fill -- --bootstrap 127.0.0.1:9092 --groups 3000 --partitions 100
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
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

#[derive(Parser)]
struct Arguments {
    /// `host:port` of some brokers, separated by commas.
    #[arg(long)]
    bootstrap: String,
    /// How many groups.
    #[arg(long, default_value_t = 3000)]
    groups: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 100)]
    partitions: i32,
    /// Name of the topic; groups are called after it.
    #[arg(long, default_value = "scrape-bench")]
    topic: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { bootstrap, groups, partitions, topic } = Arguments::parse();
    let endpoint = Endpoint { deadline: Duration::from_secs(60), ..Endpoint::plain("bench", bootstrap.split(',')) };
    let name = PhysicalName::new(topic.clone())?;
    let wish = TopicWish { name: name.clone(), partitions, replicas: 1, config: BTreeMap::new() };
    let made = open::admin(BrokerKind::Kafka, &endpoint)?.ensure_topic(&wish).await?;
    println!("topic {name} with {partitions} partitions: {made:?}");

    let producer = open::producer(BrokerKind::Kafka, &endpoint, Duration::from_secs(30))?;
    let sends = stream::iter(0..partitions * MESSAGES).map(|number| {
        let key = Some(Bytes::from(number.to_string()));
        producer.send(Outgoing { topic: name.clone(), key, value: Some(Bytes::from_static(b"v")), headers: Vec::new() })
    });
    let sent = sends.buffer_unordered(AT_ONCE).try_fold(0, |sent, _| async move { Ok(sent + 1) }).await?;
    println!("{sent} messages sent");

    // Not by `ensure_offsets`: it looks at all groups each time.
    let cluster = Cluster::new(Options::plain(bootstrap.split(',')))?;
    let offsets: BTreeMap<i32, i64> = (0..partitions).map(|id| (id, 1)).collect();
    let (cluster, topic, offsets) = (&cluster, topic.as_str(), &offsets);
    let commits = stream::iter(0..groups)
        .map(|number| async move { cluster.offset_commit(&format!("{topic}-{number}"), topic, offsets).await });
    let committed = commits.buffer_unordered(AT_ONCE).try_fold(0, |done, ()| async move { Ok(done + 1) }).await?;
    println!("offsets of {committed} groups committed");
    Ok(())
}

//! How much of a plain Kafka client's throughput the SDK keeps: `Zms::send` and `FutureProducer::send` of rdkafka take turns on one broker,
//! with the same settings of librdkafka, the same messages, and the same number of senders that each wait for their message.
//!
//! ```text
//! cargo run --release -p zms-sdk --example send_bench
//! ```
//!
//! Starts Kafka and ZooKeeper itself; `scripts/packages` must have been run. Prints one JSON line for each figure. The broker's log takes up to
//! 8 GB of the temporary folder meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tokio::task::{JoinSet, spawn_blocking};
use zms_core::metadata::{BrokerKind, ClusterNode, Order, TopicNode, path};
use zms_core::names::{ClusterName, PhysicalName};
use zms_core::statistics;
use zms_drivers::broker::TopicWish;
use zms_drivers::kafka::KafkaProducer;
use zms_drivers::meta::zookeeper::{Options, ZooKeeper as Store};
use zms_drivers::meta::{Access, Change, Link, MetaStore as _};
use zms_drivers::open::{self, Endpoint};
use zms_sdk::{Message, Waits, Zms};
use zms_testbed::{Against, Figure, Kafka, KafkaWish, ZooKeeper, ZooWish, percentile};

const TOPIC: &str = "send-bench";
const CLUSTER: &str = "bench";
/// Messages of one key go to one partition.
const KEYS: u64 = 1000;
/// The part of the plain client's throughput that the SDK should keep.
const ENOUGH: f64 = 0.95;

#[derive(Parser)]
struct Arguments {
    /// Rounds of each client, for each number of senders.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Length of a round, in milliseconds. Many short ones: a broker's pauses then hit both clients alike.
    #[arg(long, default_value_t = 1000)]
    round_ms: u64,
    /// Senders at once, one number for each figure.
    #[arg(long, value_delimiter = ',', default_value = "1,8,16,64")]
    in_flight: Vec<usize>,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Only one client, for a profiler.
    #[arg(long)]
    only: Option<Client>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Client {
    Sdk,
    Plain,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    tokio::select! {
        done = run(&arguments) => done,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    eprintln!("send: starting ZooKeeper and one Kafka broker");
    let servers = spawn_blocking(|| (Kafka::start(KafkaWish::default()), ZooKeeper::start(ZooWish::default())));
    let (kafka, zookeeper) = servers.await.context("starting servers")?;
    let store = Store::start(Options { addresses: zookeeper.plain(), ..Options::default() });
    make_environment(&store, &kafka).await.context("making the environment")?;

    let waits = Waits::default();
    let builder = Zms::builder().application("send-bench").zookeeper(zookeeper.plain()).without_cache().waits(waits);
    let sdk = builder.connect()?;
    sdk.prepare(TOPIC).await?;
    let endpoint = Endpoint { deadline: waits.call, ..Endpoint::plain(CLUSTER, kafka.plain().split(',')) };
    let plain: FutureProducer = KafkaProducer::settings(&endpoint, waits.delivery).create()?;

    let bench = Bench { sdk, plain, payload: vec![b'x'; arguments.size].into(), delivery: waits.delivery };
    let length = Duration::from_millis(arguments.round_ms);
    for &in_flight in &arguments.in_flight {
        if let Some(client) = arguments.only {
            let rate = bench.round(client, in_flight, length).await?;
            eprintln!("send: {client:?} alone, {in_flight} in flight: {rate:.0} messages/s");
            continue;
        }
        compare(&bench, in_flight, arguments.rounds, length).await?.print();
    }
    bench.sdk.close(Duration::from_secs(10)).await;
    Ok(())
}

/// Both clients in turn; who begins a pair of rounds changes, because what the first leaves to do (writing to disk) slows the second.
async fn compare(bench: &Bench, in_flight: usize, rounds: usize, length: Duration) -> anyhow::Result<Figure> {
    for client in [Client::Plain, Client::Sdk] {
        bench.round(client, in_flight, length / 3).await?;
    }
    let (mut sdk, mut plain) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let order = if round % 2 == 0 { [Client::Sdk, Client::Plain] } else { [Client::Plain, Client::Sdk] };
        for client in order {
            let rate = bench.round(client, in_flight, length).await?;
            match client {
                Client::Sdk => sdk.push(rate),
                Client::Plain => plain.push(rate),
            }
        }
    }
    let show = |rates: &[f64]| {
        let [least, middle, most] = [0, 50, 100].map(|percent| percentile(rates, percent));
        format!("{middle:.0} ({least:.0} to {most:.0})")
    };
    let pairs: Vec<f64> = sdk.iter().zip(&plain).map(|(sdk, plain)| sdk / plain).collect();
    eprintln!(
        "send: {in_flight} in flight, {rounds} rounds each: SDK {}, plain client {} messages/s; ratio of a pair {:.3} to {:.3}, median {:.3}",
        show(&sdk),
        show(&plain),
        percentile(&pairs, 0),
        percentile(&pairs, 100),
        percentile(&pairs, 50),
    );
    Ok(Figure {
        bench: "send",
        what: format!("SDK, {in_flight} in flight, {} B, acks=all", bench.payload.len()),
        value: percentile(&sdk, 50),
        unit: "messages/s",
        against: Against::Peer { value: percentile(&plain, 50), at_least: ENOUGH },
    })
}

struct Bench {
    sdk: Zms,
    plain: FutureProducer,
    payload: Bytes,
    delivery: Duration,
}

impl Bench {
    /// Messages a second of one client in one round.
    async fn round(&self, client: Client, in_flight: usize, length: Duration) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let end = begun + length;
        let mut senders = JoinSet::new();
        for first in (0_u64..).take(in_flight) {
            let (sdk, plain, payload, delivery) = (self.sdk.clone(), self.plain.clone(), self.payload.clone(), self.delivery);
            senders.spawn(async move {
                let mut number = first;
                let mut sent = 0_u64;
                while Instant::now() < end {
                    let key = (number % KEYS).to_string();
                    match client {
                        Client::Sdk => {
                            sdk.send(TOPIC, Message::new(payload.clone()).with_key(key)).await?;
                        }
                        Client::Plain => {
                            let record = FutureRecord::to(TOPIC).payload(payload.as_ref()).key(&key);
                            plain.send(record, Timeout::After(delivery)).await.map_err(|(error, _)| error)?;
                        }
                    }
                    number += 1;
                    sent += 1;
                }
                Ok::<u64, anyhow::Error>(sent)
            });
        }
        let mut sent = 0;
        while let Some(sender) = senders.join_next().await {
            sent += sender??;
        }
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages")]
        Ok(sent as f64 / begun.elapsed().as_secs_f64())
    }
}

/// What the portal would have made: the topic, the one for reports of applications, and their nodes.
async fn make_environment(store: &Store, kafka: &Kafka) -> anyhow::Result<()> {
    let mut link = store.link();
    tokio::time::timeout(Duration::from_secs(20), link.wait_for(|link| matches!(link, Link::Up(_)))).await??;
    let create = |path: String, data: Vec<u8>| Change::Create { path, data, access: Access::Legacy };
    let cluster = ClusterName::new(CLUSTER)?;
    let mut nodes: Vec<Change> = path::skeleton().into_iter().map(|path| create(path, Vec::new())).collect();
    let node = ClusterNode::new(BrokerKind::Kafka, kafka.plain(), kafka.plain());
    nodes.push(create(path::Path::Cluster(cluster.clone()).to_string(), node.to_bytes()));
    let admin = open::admin(BrokerKind::Kafka, &Endpoint::plain(CLUSTER, kafka.plain().split(',')))?;
    for (topic, partitions) in [(TOPIC, 3), (statistics::TOPIC, 1)] {
        let name = PhysicalName::new(topic)?;
        let wish = TopicWish { name: name.clone(), partitions, replicas: 1, config: BTreeMap::new() };
        admin.ensure_topic(&wish).await?;
        let node = TopicNode::new(cluster.clone(), Order { term: 1, epoch: 1 });
        nodes.push(create(path::Path::Topic(name).to_string(), node.to_bytes()));
    }
    store.apply(&nodes).await?;
    Ok(())
}

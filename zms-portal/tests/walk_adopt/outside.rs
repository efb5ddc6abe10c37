//! What a company runs already: Kafka, RocketMQ and two ZooKeepers that ZMS did not start, with topics, messages and groups.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{ClusterAdmin, Consumer, GroupWish, OffsetWish, Outgoing, Producer, Subscription, TopicWish};
use zms_drivers::open::{self, Endpoint};
use zms_testbed::{Kafka, KafkaWish, RocketLine, RocketMq, RocketWish, ZooKeeper, ZooWish};

/// See the module. Everything on 127.0.0.1; dropping it ends them.
pub struct Outside {
    pub kafka: Kafka,
    pub rocketmq: RocketMq,
    /// Empty.
    pub zookeeper: ZooKeeper,
    /// With TLS beside its plain port, for a tree of the first ZMS.
    pub first: ZooKeeper,
}

/// A topic with as long a name as Kafka allows.
pub fn longest() -> String {
    "clickstream_of_the_shop_in_every_country_".chars().cycle().take(249).collect()
}

fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

impl Outside {
    /// Blocks until all of them serve.
    pub fn start() -> Self {
        std::thread::scope(|scope| {
            let kafka = scope.spawn(|| Kafka::start(KafkaWish::default()));
            let rocketmq = scope.spawn(|| RocketMq::start(&RocketWish::one(RocketLine::V5)));
            let zookeeper = scope.spawn(|| ZooKeeper::start(ZooWish::default()));
            let first = ZooKeeper::start(ZooWish { tls: true });
            let (kafka, rocketmq) = (kafka.join().unwrap(), rocketmq.join().unwrap());
            Self { kafka, rocketmq, zookeeper: zookeeper.join().unwrap(), first }
        })
    }

    pub fn kafka(&self) -> Broker {
        Broker::new(BrokerKind::Kafka, self.kafka.plain().split(','))
    }

    pub fn rocketmq(&self) -> Broker {
        Broker::new(BrokerKind::RocketMq, self.rocketmq.name_servers().iter().map(String::as_str))
    }
}

/// One cluster, as its applications use it.
pub struct Broker {
    kind: BrokerKind,
    endpoint: Endpoint,
    admin: Arc<dyn ClusterAdmin>,
    producer: Arc<dyn Producer>,
}

impl Broker {
    fn new<'a>(kind: BrokerKind, addresses: impl Iterator<Item = &'a str>) -> Self {
        let endpoint = Endpoint::plain("outside", addresses);
        let admin = open::admin(kind, &endpoint).unwrap();
        let producer = open::producer(kind, &endpoint, Duration::from_secs(20)).unwrap();
        Self { kind, endpoint, admin, producer }
    }

    /// A topic with so many messages.
    pub async fn topic(&self, topic: &str, partitions: i32, messages: usize) {
        let wish = TopicWish { name: name(topic), partitions, replicas: 1, config: BTreeMap::new() };
        self.admin.ensure_topic(&wish).await.unwrap();
        let send = |n: usize| {
            let key = Some(format!("order {n}").into());
            self.producer.send(Outgoing { key, ..Outgoing::new(name(topic), "something that was bought") })
        };
        futures::future::try_join_all((0..messages).map(send)).await.unwrap();
        // RocketMQ counts what it took into its queues a moment later.
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let ends = self.admin.ends(&name(topic)).await.unwrap();
            let there: i64 = ends.values().flatten().map(|range| range.end).sum();
            if usize::try_from(there) == Ok(messages) {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{topic} has {there} messages, not {messages}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A group that stands in the middle of every partition of a topic; how far it is behind.
    pub async fn half_done(&self, group: &str, topic: &str) -> i64 {
        let ends = self.admin.ends(&name(topic)).await.unwrap();
        let ends = ends.into_iter().map(|(partition, range)| (partition, range.unwrap().end));
        let ends: BTreeMap<_, _> = ends.collect();
        let at: BTreeMap<_, _> = ends.iter().map(|(partition, end)| (partition.clone(), end / 2)).collect();
        let lag = ends.values().sum::<i64>() - at.values().sum::<i64>();
        assert!(lag > 0, "{topic} has messages");
        self.commit(group, topic, &OffsetWish::At(at)).await;
        lag
    }

    /// A group that consumed everything.
    pub async fn all_done(&self, group: &str, topic: &str) {
        self.commit(group, topic, &OffsetWish::Latest).await;
    }

    /// A group that committed on the first partition only.
    pub async fn one_partition_done(&self, group: &str, topic: &str) {
        let ends = self.admin.ends(&name(topic)).await.unwrap();
        let (partition, range) = ends.into_iter().next().unwrap();
        self.commit(group, topic, &OffsetWish::At([(partition, range.unwrap().end)].into())).await;
    }

    async fn commit(&self, group: &str, topic: &str, wish: &OffsetWish) {
        self.known(group).await;
        self.admin.ensure_offsets(&name(group), &name(topic), wish).await.unwrap();
    }

    /// RocketMQ has a list of groups; in Kafka a group is there when somebody uses it.
    pub async fn known(&self, group: &str) {
        let wish = GroupWish { name: name(group), broadcast: false, consume_from: ConsumeFrom::Earliest };
        self.admin.ensure_group(&wish).await.unwrap();
    }

    /// A member that takes a message and never says that it is done with it.
    pub async fn never_commits(&self, group: &str, topic: &str) -> Arc<dyn Consumer> {
        let subscription = Subscription::new(name(group), name(topic), ConsumeFrom::Earliest);
        let consumer = open::consumer(self.kind, &self.endpoint, &subscription).unwrap();
        tokio::time::timeout(Duration::from_secs(30), consumer.receive()).await.expect("it joins within 30 s").unwrap();
        consumer
    }
}

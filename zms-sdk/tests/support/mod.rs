//! An environment in memory.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use zms_core::metadata::{BrokerKind, ClusterNode, ConsumeFrom, GroupNode, Order, Route, TopicNode};
use zms_core::names::{ClusterName, PhysicalName};
use zms_drivers::broker::fake::FakeCluster;
use zms_drivers::broker::{BrokerError, Consumer, Producer, Subscription};
use zms_drivers::meta::fake::FakeMeta;
use zms_sdk::{Brokers, Waits, Zms};

pub const ENVIRONMENT: &str = "0190f5d6-6f9a-7c3e-9a51-3f1f5f1c2b7d";

pub fn waits() -> Waits {
    Waits {
        first_answer: Duration::from_millis(200),
        metadata: Duration::from_secs(5),
        delivery: Duration::from_secs(10),
        call: Duration::from_secs(2),
        switch: Duration::from_secs(5),
        drain: Duration::from_secs(10),
        jitter: Duration::from_millis(5),
        reread: Duration::from_millis(100),
        retry: Duration::from_millis(10),
        retry_longest: Duration::from_millis(50),
        statistics: Duration::from_millis(100),
        ..Waits::default()
    }
}

/// ZooKeeper, clusters `a` and `b`, each with topic `orders`; the topic lives on `a`, group `billing` consumes it.
pub struct World {
    pub meta: Arc<FakeMeta>,
    pub clusters: Arc<Clusters>,
    pub folder: TempDir,
}

pub struct Clusters {
    /// By address, as a client finds them.
    by_address: Mutex<BTreeMap<String, Arc<FakeCluster>>>,
    /// What members were opened with.
    pub subscriptions: Mutex<Vec<Subscription>>,
}

pub fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

pub fn cluster(text: &str) -> ClusterName {
    ClusterName::new(text).unwrap()
}

impl World {
    pub fn new() -> Self {
        let meta = FakeMeta::new();
        let clusters = Arc::new(Clusters { by_address: Mutex::default(), subscriptions: Mutex::default() });
        meta.put("/zms/system/id", ENVIRONMENT);
        for bucket in 0..=255_u8 {
            meta.put(&format!("/zms/client/{bucket:02x}"), "");
        }
        let world = Self { meta, clusters, folder: tempfile::tempdir().unwrap() };
        for at in ["a", "b"] {
            let address = format!("{at}:9092");
            world.clusters.add(&address, FakeCluster::new(at, 1)).make_topic(&name("orders"), 2);
            world.put_cluster(at, &address, 1);
        }
        world.put_topic("orders", "a", 1, 1);
        world.put_group("billing", "orders", 1, false);
        world
    }

    pub fn at(&self, cluster: &str) -> Arc<FakeCluster> {
        Arc::clone(&self.clusters.by_address.lock().unwrap()[&format!("{cluster}:9092")])
    }

    pub fn put_cluster(&self, name: &str, address: &str, epoch: u64) {
        let mut node = ClusterNode::new(BrokerKind::Kafka, address, address);
        node.epoch = epoch;
        self.meta.put(&format!("/zms/cluster/{name}"), node.to_bytes());
    }

    pub fn put_topic(&self, topic: &str, at: &str, term: u64, epoch: u64) {
        let node = TopicNode::new(cluster(at), Order { term, epoch });
        self.meta.put(&format!("/zms/topic/{topic}"), node.to_bytes());
    }

    /// Routes as (cluster, read, write).
    pub fn put_routes(&self, topic: &str, epoch: u64, routes: &[(&str, bool, bool)]) {
        let mut node = TopicNode::new(cluster(routes[0].0), Order { term: 1, epoch });
        node.routes = routes
            .iter()
            .map(|(at, read, write)| Route {
                rid: format!("r-{at}"),
                cluster: cluster(at),
                kind: BrokerKind::Kafka,
                name: name(topic),
                read: *read,
                write: *write,
                gate: None,
                end: None,
            })
            .collect();
        self.meta.put(&format!("/zms/topic/{topic}"), node.to_bytes());
    }

    pub fn put_group(&self, group: &str, topic: &str, epoch: u64, suspend: bool) {
        let mut node = GroupNode::new(cluster("a"), name(topic), ConsumeFrom::Earliest, Order { term: 1, epoch });
        node.suspend = suspend;
        self.meta.put(&format!("/zms/consumergroup/{group}"), node.to_bytes());
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// A process of the application, as its client file says for this environment or without one.
    pub fn process_of(&self, environment: Option<&str>) -> Zms {
        self.process_with(environment, waits())
    }

    pub fn process_with(&self, environment: Option<&str>, waits: Waits) -> Zms {
        let builder = Zms::builder().application("shop").cache(self.cache()).waits(waits);
        let (meta, brokers) = (Arc::clone(&self.meta), Arc::clone(&self.clusters));
        builder.connect_with(meta, brokers, environment.map(str::to_owned)).unwrap()
    }

    pub fn process(&self) -> Zms {
        self.process_of(None)
    }

    /// Values of the topic's messages there.
    pub fn texts(&self, at: &str, topic: &str) -> Vec<String> {
        let text = |value: Option<bytes::Bytes>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
        self.at(at).messages(&name(topic)).into_iter().map(|message| text(message.value)).collect()
    }
}

impl Clusters {
    pub fn add(&self, address: &str, cluster: Arc<FakeCluster>) -> Arc<FakeCluster> {
        self.by_address.lock().unwrap().insert(address.to_owned(), Arc::clone(&cluster));
        cluster
    }

    fn find(&self, node: &ClusterNode) -> Result<Arc<FakeCluster>, BrokerError> {
        let found = self.by_address.lock().unwrap().get(&node.boot_addr).cloned();
        found.ok_or_else(|| BrokerError::Refused { what: "open".into(), why: format!("nothing at {}", node.boot_addr) })
    }
}

impl Brokers for Clusters {
    fn producer(&self, _: &ClusterName, _: BrokerKind, node: &ClusterNode) -> Result<Arc<dyn Producer>, BrokerError> {
        Ok(self.find(node)?.producer(waits().delivery))
    }

    fn consumer(
        &self,
        _: &ClusterName,
        _: BrokerKind,
        node: &ClusterNode,
        subscription: &Subscription,
    ) -> Result<Arc<dyn Consumer>, BrokerError> {
        self.subscriptions.lock().unwrap().push(subscription.clone());
        Ok(self.find(node)?.consumer(subscription.clone()))
    }
}

/// Looks again until it is so.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s: {what}");
}

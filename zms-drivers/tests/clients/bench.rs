//! What a case needs of a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use zms_core::metadata::ConsumeFrom;
use zms_core::names::PhysicalName;
use zms_drivers::broker::fake::FakeCluster;
use zms_drivers::broker::{Consumer, Outgoing, PartitionId, Producer, Subscription};

/// A message is given up after this.
pub const DELIVERY: Duration = Duration::from_secs(20);

/// Kinds of clusters, as far as clients see a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As Kafka, and what RocketMQ can besides.
    Fake,
    Kafka,
    RocketMq {
        /// From 5.0 on: any delay.
        new: bool,
    },
}

impl Kind {
    pub fn is_rocketmq(self) -> bool {
        matches!(self, Self::RocketMq { .. })
    }

    /// Bytes that no broker of this kind takes, unless it is told to.
    pub fn too_large(self) -> usize {
        if self.is_rocketmq() { 5 << 20 } else { 2 << 20 }
    }
}

#[async_trait]
pub trait Bench: Sync {
    /// Makes names different, and says where a case failed.
    fn name(&self) -> &'static str;
    fn kind(&self) -> Kind;
    async fn make_topic(&self, name: &PhysicalName, partitions: usize);
    fn producer(&self, delivery: Duration) -> Arc<dyn Producer>;
    /// Of a cluster that nobody reaches.
    fn lost_producer(&self) -> Arc<dyn Producer>;
    fn consumer(&self, subscription: &Subscription) -> Arc<dyn Consumer>;
    async fn committed(&self, group: &PhysicalName, topic: &PhysicalName) -> BTreeMap<PartitionId, i64>;
    /// As the cluster calls it.
    fn partition(&self, number: i32) -> PartitionId {
        number.into()
    }
    /// The cluster stops answering, or goes on.
    fn freeze(&self, frozen: bool);
}

pub fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

pub fn message(topic: &PhysicalName, key: Option<&str>, value: &str) -> Outgoing {
    let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
    Outgoing {
        topic: topic.clone(),
        key,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
        tag: None,
        delay: None,
    }
}

pub fn subscription(group: &str, topic: &PhysicalName) -> Subscription {
    Subscription::new(name(group), topic.clone(), ConsumeFrom::Earliest)
}

pub struct FakeBench(Arc<FakeCluster>);

impl FakeBench {
    pub fn new() -> Self {
        Self(FakeCluster::new("fake", 3))
    }
}

#[async_trait]
impl Bench for FakeBench {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn kind(&self) -> Kind {
        Kind::Fake
    }

    async fn make_topic(&self, name: &PhysicalName, partitions: usize) {
        self.0.make_topic(name, partitions);
    }

    fn producer(&self, delivery: Duration) -> Arc<dyn Producer> {
        self.0.producer(delivery)
    }

    fn lost_producer(&self) -> Arc<dyn Producer> {
        let lost = FakeCluster::new("lost", 1);
        lost.cut();
        lost.producer(DELIVERY)
    }

    fn consumer(&self, subscription: &Subscription) -> Arc<dyn Consumer> {
        self.0.consumer(subscription.clone())
    }

    async fn committed(&self, group: &PhysicalName, topic: &PhysicalName) -> BTreeMap<PartitionId, i64> {
        self.0.committed_of(group, topic)
    }

    fn freeze(&self, frozen: bool) {
        if frozen {
            self.0.cut();
        } else {
            self.0.heal();
        }
    }
}

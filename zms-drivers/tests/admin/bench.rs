//! What a case needs of a cluster.

use std::sync::Arc;
use std::time::Duration;

use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::PhysicalName;
use zms_drivers::broker::fake::FakeCluster;
use zms_drivers::broker::{BrokerId, ClusterAdmin, Consumer, Outgoing, PartitionId, Producer, Subscription};
use zms_drivers::open::{self, Endpoint};
use zms_testbed::Kafka;

use crate::support::{kafka_endpoint, kafka_name};

pub const DELIVERY: Duration = Duration::from_secs(20);

pub trait Bench: Sync {
    /// Makes names different, and says where a case failed.
    fn name(&self) -> &'static str;
    fn admin(&self) -> Arc<dyn ClusterAdmin>;
    /// Of a cluster that nobody reaches.
    fn lost_admin(&self) -> Arc<dyn ClusterAdmin>;
    fn producer(&self) -> Arc<dyn Producer>;
    fn consumer(&self, group: &PhysicalName, topic: &PhysicalName) -> Arc<dyn Consumer>;

    /// A partition by its number.
    fn partition(&self, number: i32) -> PartitionId {
        number.into()
    }

    /// The one broker.
    fn broker(&self) -> BrokerId {
        1.into()
    }

    fn controller(&self) -> Option<BrokerId> {
        Some(self.broker())
    }

    /// What a group says of itself, with members and without.
    fn protocol(&self, _members: bool) -> &'static str {
        "classic"
    }

    fn knob(&self) -> Knob {
        Knob { name: "retention.ms", default: "604800000", other: "60000" }
    }

    /// Messages are found by key and id.
    fn keeps_an_index(&self) -> bool {
        true
    }

    /// A group is put elsewhere though members are there.
    fn moves_members(&self) -> bool {
        false
    }

    /// Whoever makes a topic says how many replicas it has.
    fn chooses_replicas(&self) -> bool {
        true
    }
}

/// A setting of topics that takes numbers.
pub struct Knob {
    pub name: &'static str,
    pub default: &'static str,
    /// Another value.
    pub other: &'static str,
}

pub fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

pub fn message(topic: &PhysicalName) -> Outgoing {
    Outgoing::new(topic.clone(), "v")
}

pub fn subscription(group: &PhysicalName, topic: &PhysicalName) -> Subscription {
    Subscription::new(group.clone(), topic.clone(), ConsumeFrom::Earliest)
}

pub struct FakeBench(pub Arc<FakeCluster>);

impl FakeBench {
    pub fn new() -> Self {
        Self(FakeCluster::new("fake", 1))
    }
}

impl Bench for FakeBench {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn admin(&self) -> Arc<dyn ClusterAdmin> {
        self.0.clone()
    }

    fn lost_admin(&self) -> Arc<dyn ClusterAdmin> {
        let lost = FakeCluster::new("lost", 1);
        lost.cut();
        lost
    }

    fn producer(&self) -> Arc<dyn Producer> {
        self.0.producer(DELIVERY)
    }

    fn consumer(&self, group: &PhysicalName, topic: &PhysicalName) -> Arc<dyn Consumer> {
        self.0.consumer(subscription(group, topic))
    }
}

pub struct RealBench<'a> {
    kafka: &'a Kafka,
    secure: bool,
}

impl<'a> RealBench<'a> {
    pub fn new(kafka: &'a Kafka, secure: bool) -> Self {
        Self { kafka, secure }
    }

    pub fn endpoint(&self) -> Endpoint {
        kafka_endpoint(self.kafka, self.secure, Duration::from_secs(20))
    }
}

impl Bench for RealBench<'_> {
    fn keeps_an_index(&self) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        kafka_name(self.kafka, self.secure)
    }

    fn admin(&self) -> Arc<dyn ClusterAdmin> {
        open::admin(BrokerKind::Kafka, &self.endpoint()).unwrap()
    }

    fn lost_admin(&self) -> Arc<dyn ClusterAdmin> {
        let nobody = Endpoint::plain("lost", [format!("127.0.0.1:{}", zms_testbed::free_port())]);
        open::admin(BrokerKind::Kafka, &nobody).unwrap()
    }

    fn producer(&self) -> Arc<dyn Producer> {
        open::producer(BrokerKind::Kafka, &self.endpoint(), DELIVERY).unwrap()
    }

    fn consumer(&self, group: &PhysicalName, topic: &PhysicalName) -> Arc<dyn Consumer> {
        open::consumer(BrokerKind::Kafka, &self.endpoint(), &subscription(group, topic)).unwrap()
    }
}

//! RocketMQ. Topics are made and positions are read past the driver, which is not asked about itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zms_core::metadata::BrokerKind;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Consumer, PartitionId, Producer, Subscription};
use zms_drivers::open::{self, Endpoint};
use zms_testbed::RocketMq;

use super::bench::{Bench, DELIVERY, Kind};

/// Number of a queue and the group's position in it, from the list of all positions of a broker: `{"topic@group":{0:3,1:5}}`.
fn positions(all: &str, group: &str, topic: &str) -> BTreeMap<PartitionId, i64> {
    let name = format!("\"{topic}@{group}\":{{");
    let Some(at) = all.find(&name) else { return BTreeMap::new() };
    let list = &all[at + name.len()..];
    let list = &list[..list.find('}').unwrap()];
    let pairs = list.split(',').filter_map(|pair| pair.split_once(':'));
    pairs
        .map(|(number, offset)| {
            (PartitionId::queue("broker-a", number.trim_matches('"').parse().unwrap()), offset.parse().unwrap())
        })
        .collect()
}

/// A cluster of one broker.
pub struct RocketMqBench<'a> {
    pub server: &'a RocketMq,
    pub name: &'static str,
    pub new: bool,
}

impl RocketMqBench<'_> {
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::plain(self.name, self.server.name_servers())
    }
}

#[async_trait]
impl Bench for RocketMqBench<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> Kind {
        Kind::RocketMq { new: self.new }
    }

    async fn make_topic(&self, name: &PhysicalName, partitions: usize) {
        self.server.make_topic(name.as_str(), partitions);
    }

    fn partition(&self, number: i32) -> PartitionId {
        PartitionId::queue("broker-a", number)
    }

    fn producer(&self, delivery: Duration) -> Arc<dyn Producer> {
        open::producer(BrokerKind::RocketMq, &self.endpoint(), delivery).unwrap()
    }

    fn lost_producer(&self) -> Arc<dyn Producer> {
        let mut endpoint = Endpoint::plain("lost", [format!("127.0.0.1:{}", zms_testbed::free_port())]);
        endpoint.deadline = Duration::from_secs(2);
        open::producer(BrokerKind::RocketMq, &endpoint, DELIVERY).unwrap()
    }

    fn consumer(&self, subscription: &Subscription) -> Arc<dyn Consumer> {
        open::consumer(BrokerKind::RocketMq, &self.endpoint(), subscription).unwrap()
    }

    async fn committed(&self, group: &PhysicalName, topic: &PhysicalName) -> BTreeMap<PartitionId, i64> {
        positions(&self.server.positions("broker-a"), group.as_str(), topic.as_str())
    }

    fn freeze(&self, frozen: bool) {
        self.server.freeze("broker-a", 0, frozen);
    }
}

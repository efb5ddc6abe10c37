//! RocketMQ as a bench: one master, `broker-a`.

use std::sync::Arc;
use std::time::Duration;

use zms_core::metadata::BrokerKind;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerId, ClusterAdmin, Consumer, PartitionId, Producer};
use zms_drivers::open::{self, Endpoint};
use zms_testbed::{RocketLine, RocketMq};

use crate::bench::{Bench, DELIVERY, Knob, subscription};

pub struct RocketMqBench<'a> {
    pub server: &'a RocketMq,
    pub name: &'static str,
}

impl RocketMqBench<'_> {
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { deadline: Duration::from_secs(20), ..Endpoint::plain(self.name, self.server.name_servers()) }
    }
}

impl Bench for RocketMqBench<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn admin(&self) -> Arc<dyn ClusterAdmin> {
        open::admin(BrokerKind::RocketMq, &self.endpoint()).unwrap()
    }

    fn lost_admin(&self) -> Arc<dyn ClusterAdmin> {
        let nobody = Endpoint::plain("lost", [format!("127.0.0.1:{}", zms_testbed::free_port())]);
        open::admin(BrokerKind::RocketMq, &nobody).unwrap()
    }

    fn producer(&self) -> Arc<dyn Producer> {
        open::producer(BrokerKind::RocketMq, &self.endpoint(), DELIVERY).unwrap()
    }

    fn consumer(&self, group: &PhysicalName, topic: &PhysicalName) -> Arc<dyn Consumer> {
        open::consumer(BrokerKind::RocketMq, &self.endpoint(), &subscription(group, topic)).unwrap()
    }

    fn partition(&self, number: i32) -> PartitionId {
        PartitionId::queue("broker-a", number)
    }

    fn broker(&self) -> BrokerId {
        BrokerId::named("broker-a", 0)
    }

    fn controller(&self) -> Option<BrokerId> {
        None
    }

    fn protocol(&self, members: bool) -> &'static str {
        if members { "clustering" } else { "" }
    }

    fn knob(&self) -> Knob {
        Knob { name: "perm", default: "6", other: "4" }
    }

    fn moves_members(&self) -> bool {
        self.server.line() == RocketLine::V5
    }

    fn chooses_replicas(&self) -> bool {
        false
    }
}

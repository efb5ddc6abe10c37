//! Which brokers a cluster has, and which of them have a topic's queues.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::broker::{BrokerId, PartitionId};

/// Broker id of a master.
pub const MASTER: i64 = 0;

/// Permission bits of a topic or a broker's part of it.
pub mod perm {
    /// Consumers may read.
    pub const READ: u32 = 4;
    /// Producers may write.
    pub const WRITE: u32 = 2;
}

/// A master with its slaves, as name servers know them now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerSet {
    /// RocketMQ's own name of the cluster that it belongs to.
    pub cluster: String,
    /// Broker id → `host:port`.
    #[serde(rename = "brokerAddrs")]
    pub addresses: BTreeMap<i64, String>,
}

impl BrokerSet {
    /// Address of the master; `None` while it is away.
    pub fn master(&self) -> Option<&str> {
        self.addresses.get(&MASTER).map(String::as_str)
    }

    /// The master, or the slave with the lowest id while it is away: whom consumers read from.
    pub fn reader(&self) -> Option<&str> {
        self.addresses.values().next().map(String::as_str)
    }
}

/// Queues of a topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    /// Name of the broker.
    pub broker: Arc<str>,
    /// Consumers read from queues 0 to this one, exclusive.
    pub read: i32,
    /// Producers write to queues 0 to this one, exclusive.
    pub write: i32,
    /// See [`perm`].
    pub perm: u32,
}

/// Where a topic is (answer to 105).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Brokers that have it, by name.
    pub brokers: BTreeMap<Arc<str>, BrokerSet>,
    /// Its queues, by name of the broker.
    pub queues: Vec<Queues>,
}

/// All brokers (answer to 106).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// By name.
    pub brokers: BTreeMap<Arc<str>, BrokerSet>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RouteBody {
    broker_datas: Vec<BrokerData>,
    queue_datas: Vec<QueueData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BrokerData {
    broker_name: String,
    cluster: String,
    broker_addrs: BTreeMap<i64, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct QueueData {
    broker_name: String,
    read_queue_nums: i32,
    write_queue_nums: i32,
    perm: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClusterBody {
    broker_addr_table: BTreeMap<String, BrokerSet>,
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = RouteBody::deserialize(deserializer)?;
        let set = |data: BrokerData| (data.broker_name.into(), BrokerSet { cluster: data.cluster, addresses: data.broker_addrs });
        let brokers = body.broker_datas.into_iter().map(set).collect();
        let queues = body.queue_datas.into_iter().map(|data| Queues {
            broker: data.broker_name.into(),
            read: data.read_queue_nums,
            write: data.write_queue_nums,
            perm: data.perm,
        });
        let mut queues: Vec<Queues> = queues.collect();
        queues.sort_unstable_by(|a, b| a.broker.cmp(&b.broker));
        Ok(Self { brokers, queues })
    }
}

impl<'de> Deserialize<'de> for ClusterInfo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = ClusterBody::deserialize(deserializer)?.broker_addr_table;
        Ok(Self { brokers: table.into_iter().map(|(name, set)| (name.into(), set)).collect() })
    }
}

impl Route {
    /// Queues that consumers read from, in their order.
    pub fn readable(&self) -> Vec<PartitionId> {
        self.ids(|queues| if queues.perm & perm::READ == 0 { 0 } else { queues.read })
    }

    /// Queues that producers may write to now, in their order: those of brokers whose master is there.
    pub fn writable(&self) -> Vec<PartitionId> {
        self.ids(|queues| {
            let master = self.brokers.get(&queues.broker).and_then(BrokerSet::master);
            if queues.perm & perm::WRITE == 0 || master.is_none() { 0 } else { queues.write }
        })
    }

    fn ids(&self, count: impl Fn(&Queues) -> i32) -> Vec<PartitionId> {
        let ids = |queues: &Queues| {
            let broker = Arc::clone(&queues.broker);
            (0..count(queues)).map(move |number| PartitionId::queue(Arc::clone(&broker), number)).collect::<Vec<_>>()
        };
        self.queues.iter().flat_map(ids).collect()
    }

    /// Address of the master that has a queue; `None` while it is away.
    pub fn master(&self, queue: &PartitionId) -> Option<&str> {
        self.brokers.get(queue.broker.as_ref()?)?.master()
    }
}

impl ClusterInfo {
    /// Names and addresses of masters that are there.
    pub fn masters(&self) -> impl Iterator<Item = (&Arc<str>, &str)> {
        self.brokers.iter().filter_map(|(name, set)| Some((name, set.master()?)))
    }

    /// All brokers with their addresses, in the order of their identities.
    pub fn all(&self) -> impl Iterator<Item = (BrokerId, &str)> {
        self.brokers.iter().flat_map(|(name, set)| {
            set.addresses.iter().map(|(id, address)| (BrokerId::named(Arc::clone(name), *id), address.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    const ROUTE: &[u8] =
        br#"{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:10911",1:"127.0.0.1:10921"},"brokerName":"broker-a","cluster":"c"},
        {"brokerAddrs":{1:"127.0.0.1:10941"},"brokerName":"broker-b","cluster":"c"}],"filterServerTable":{},
        "queueDatas":[{"brokerName":"broker-b","perm":6,"readQueueNums":1,"topicSysFlag":0,"writeQueueNums":1},
        {"brokerName":"broker-a","perm":6,"readQueueNums":3,"topicSynFlag":0,"writeQueueNums":2}]}"#;

    fn texts(ids: &[PartitionId]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_route_has_queues_to_read_and_to_write() {
        let route: Route = json::read(ROUTE).unwrap();
        assert_eq!(texts(&route.readable()), ["broker-a/0", "broker-a/1", "broker-a/2", "broker-b/0"]);
        assert_eq!(texts(&route.writable()), ["broker-a/0", "broker-a/1"], "the master of broker-b is away");
        assert_eq!(route.master(&PartitionId::queue("broker-a", 0)), Some("127.0.0.1:10911"));
        assert_eq!(route.master(&PartitionId::queue("broker-b", 0)), None);
        assert_eq!(route.brokers["broker-b"].reader(), Some("127.0.0.1:10941"));
    }

    #[test]
    fn a_topic_without_permission_has_no_queues() {
        let mut route: Route = json::read(ROUTE).unwrap();
        route.queues.iter_mut().for_each(|queues| queues.perm = perm::READ);
        assert!(route.writable().is_empty() && route.readable().len() == 4);
    }

    #[test]
    fn all_brokers_have_identities() {
        let info: ClusterInfo = json::read(
            br#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"h:1",1:"h:2"},"brokerName":"broker-a","cluster":"c","enableActingMaster":false}},"clusterAddrTable":{"c":["broker-a"]}}"#,
        )
        .unwrap();
        let all: Vec<String> = info.all().map(|(id, address)| format!("{id} {address}")).collect();
        assert_eq!(all, ["broker-a:0 h:1", "broker-a:1 h:2"]);
        assert_eq!(info.masters().map(|(_, address)| address).collect::<Vec<_>>(), ["h:1"]);
    }
}

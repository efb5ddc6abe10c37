//! Where a topic is (105).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::PartitionId;
use crate::rocketmq::queue::Queue;
use crate::rocketmq::route;

/// Addresses of brokers by name, and of each by its id; 0 is the master.
pub(crate) type Addresses = BTreeMap<Arc<str>, BTreeMap<i64, String>>;

/// The queues of a topic, by broker and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Also of brokers that have only a slave now.
    pub readable: Vec<Queue>,
    /// Of brokers that have a master.
    pub writable: Vec<Queue>,
    /// Of all brokers in it.
    pub addresses: Vec<String>,
}

impl Route {
    /// Names of the brokers that it can be read from.
    pub fn brokers(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.readable.iter().map(|queue| Arc::clone(&queue.broker)).collect();
        names.dedup();
        names
    }

    /// From a name server's answer; with it the addresses of its brokers.
    pub fn of(topic: &str, answer: &route::Route) -> (Self, Addresses) {
        let topic: Arc<str> = topic.into();
        let queue = |id: PartitionId| Some(Queue { topic: Arc::clone(&topic), broker: id.broker?, number: id.number });
        let is_there = |queue: &Queue| answer.brokers.get(&queue.broker).is_some_and(|broker| broker.reader().is_some());
        let mut readable: Vec<Queue> = answer.readable().into_iter().filter_map(queue).filter(is_there).collect();
        let mut writable: Vec<Queue> = answer.writable().into_iter().filter_map(queue).collect();
        readable.sort();
        writable.sort();
        let brokers = answer.brokers.iter().map(|(name, broker)| (Arc::clone(name), broker.addresses.clone()));
        let addresses = answer.brokers.values().flat_map(|broker| broker.addresses.values().cloned());
        (Self { readable, writable, addresses: addresses.collect() }, brokers.collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_may_be_read_or_written_is_listed_in_the_order_of_all_clients() {
        let answer = json!({
            "brokerDatas": [
                {"brokerName": "b", "cluster": "c", "brokerAddrs": {"0": "b:1", "1": "b:2"}},
                {"brokerName": "a", "brokerAddrs": {"1": "a:2"}},
                {"brokerName": "c", "brokerAddrs": {"0": "c:1"}},
            ],
            "queueDatas": [
                {"brokerName": "b", "perm": 6, "readQueueNums": 2, "writeQueueNums": 1},
                {"brokerName": "a", "perm": 6, "readQueueNums": 1, "writeQueueNums": 1},
                {"brokerName": "c", "perm": 4, "readQueueNums": 1, "writeQueueNums": 1},
                {"brokerName": "gone", "perm": 6, "readQueueNums": 1, "writeQueueNums": 1},
            ],
        });
        let answer = crate::rocketmq::json::read(answer.to_string().as_bytes()).unwrap();
        let (route, addresses) = Route::of("orders", &answer);
        let names = |queues: &[Queue]| queues.iter().map(|queue| format!("{}{}", queue.broker, queue.number)).collect::<Vec<_>>();
        assert_eq!(names(&route.readable), ["a0", "b0", "b1", "c0"]);
        assert_eq!(names(&route.writable), ["b0"], "a has no master, c may only be read");
        assert_eq!(route.brokers(), ["a", "b", "c"].map(Arc::from));
        assert_eq!(route.addresses, ["a:2", "b:1", "b:2", "c:1"]);
        assert_eq!(addresses["b"], BTreeMap::from([(0, "b:1".to_owned()), (1, "b:2".to_owned())]));
    }
}

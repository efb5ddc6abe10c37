//! Where a topic is (105).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::rocketmq::queue::Queue;

/// Queues may be read.
const READABLE: i64 = 4;
/// Queues may be written.
const WRITABLE: i64 = 2;

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

    /// From a name server's answer.
    ///
    /// # Errors
    /// In words, what is missing.
    pub fn read(topic: &str, answer: &Value) -> Result<(Self, Addresses), String> {
        let list = |name: &str| answer.get(name).and_then(Value::as_array).ok_or_else(|| format!("there is no {name}"));
        let topic: Arc<str> = topic.into();
        let mut addresses = Addresses::new();
        for broker in list("brokerDatas")? {
            let name = broker.get("brokerName").and_then(Value::as_str).ok_or("a broker without brokerName")?;
            let by_id = broker
                .get("brokerAddrs")
                .and_then(Value::as_object)
                .ok_or_else(|| format!("broker {name} without brokerAddrs"))?;
            let by_id = by_id.iter().filter_map(|(id, address)| Some((id.parse().ok()?, address.as_str()?.to_owned())));
            addresses.insert(name.into(), by_id.collect());
        }
        let (mut readable, mut writable) = (Vec::new(), Vec::new());
        for queues in list("queueDatas")? {
            let name = queues.get("brokerName").and_then(Value::as_str).ok_or("queues without brokerName")?;
            let number = |field: &str| queues.get(field).and_then(Value::as_i64).unwrap_or(0);
            let Some((name, known)) = addresses.get_key_value(name) else { continue };
            let queue = |number| Queue { topic: Arc::clone(&topic), broker: Arc::clone(name), number };
            let count = |field: &str| 0..i32::try_from(number(field)).unwrap_or(0);
            let perm = number("perm");
            if perm & READABLE != 0 && !known.is_empty() {
                readable.extend(count("readQueueNums").map(queue));
            }
            if perm & WRITABLE != 0 && known.contains_key(&0) {
                writable.extend(count("writeQueueNums").map(queue));
            }
        }
        readable.sort();
        writable.sort();
        let route =
            Self { readable, writable, addresses: addresses.values().flat_map(|broker| broker.values().cloned()).collect() };
        Ok((route, addresses))
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
        let (route, addresses) = Route::read("orders", &answer).unwrap();
        let names = |queues: &[Queue]| queues.iter().map(|queue| format!("{}{}", queue.broker, queue.number)).collect::<Vec<_>>();
        assert_eq!(names(&route.readable), ["a0", "b0", "b1", "c0"]);
        assert_eq!(names(&route.writable), ["b0"], "a has no master, c may only be read");
        assert_eq!(route.brokers(), ["a", "b", "c"].map(Arc::from));
        assert_eq!(route.addresses, ["a:2", "b:1", "b:2", "c:1"]);
        assert_eq!(addresses["b"], BTreeMap::from([(0, "b:1".to_owned()), (1, "b:2".to_owned())]));
        assert!(Route::read("orders", &json!({})).unwrap_err().contains("brokerDatas"));
    }
}

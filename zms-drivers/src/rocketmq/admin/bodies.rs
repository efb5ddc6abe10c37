//! What brokers answer to operators and collectors. Every field may be missing: versions differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::broker::Counters;
use crate::rocketmq::json;

/// Grows with each change of topics or groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct DataVersion {
    counter: i64,
    timestamp: i64,
    state_version: i64,
}

/// A topic on one broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct TopicConfig {
    pub read_queue_nums: i32,
    pub write_queue_nums: i32,
    pub perm: u32,
    pub topic_filter_type: String,
    pub topic_sys_flag: i32,
    pub order: bool,
    /// From 5.0 on.
    pub attributes: BTreeMap<String, String>,
}

impl TopicConfig {
    /// Queues that exist: while they become fewer or more, reading and writing differ.
    pub fn queues(&self) -> i32 {
        self.read_queue_nums.max(self.write_queue_nums)
    }
}

/// All topics of a broker (21).
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct Topics {
    pub data_version: DataVersion,
    #[serde(rename = "topicConfigTable")]
    pub topics: BTreeMap<String, TopicConfig>,
}

/// A group on one broker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct GroupConfig {
    pub group_name: String,
    pub consume_enable: bool,
    pub consume_broadcast_enable: bool,
    /// Stays as it is when we change the others.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// All groups of a broker (201).
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct Groups {
    pub data_version: DataVersion,
    #[serde(rename = "subscriptionGroupTable")]
    pub groups: BTreeMap<String, GroupConfig>,
}

/// A queue, where it is the key of a map.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::rocketmq) struct QueueKey {
    pub topic: String,
    pub broker: String,
    pub number: i32,
}

impl<'de> Deserialize<'de> for QueueKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Key {
            topic: String,
            broker_name: String,
            queue_id: i32,
        }
        let text = String::deserialize(deserializer)?;
        let key: Key = json::read(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(Self { topic: key.topic, broker: key.broker_name, number: key.queue_id })
    }
}

/// Ends of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct QueueEnds {
    pub min_offset: i64,
    pub max_offset: i64,
    /// When its newest message was stored, milliseconds since 1970; 0 without messages.
    pub last_update_timestamp: i64,
}

/// Ends of a topic's queues on one broker (202).
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct TopicStats {
    pub offset_table: BTreeMap<QueueKey, QueueEnds>,
}

/// Committed offsets of all groups on one broker (43): `topic@group` → queue → offset.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct Offsets {
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Offsets {
    /// Topic, group, offsets.
    pub fn each(&self) -> impl Iterator<Item = (&str, &str, &BTreeMap<i32, i64>)> {
        self.offset_table.iter().filter_map(|(key, offsets)| {
            let (topic, group) = key.split_once('@')?;
            Some((topic, group, offsets))
        })
    }
}

/// A client of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct Client {
    pub client_id: String,
    pub client_addr: String,
}

/// Members of a group that one broker hears (203).
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct Members {
    pub connection_set: Vec<Client>,
    /// `CLUSTERING` or `BROADCASTING`.
    pub message_model: String,
}

/// What a client says of itself (307).
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::rocketmq) struct RunningInfo {
    #[serde(rename = "mqTable")]
    pub queues: BTreeMap<QueueKey, Value>,
}

/// What a broker says of itself (28).
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::rocketmq) struct Runtime {
    pub table: BTreeMap<String, String>,
}

impl Runtime {
    /// Its counters. Brokers write -1 for a share that they do not know.
    pub fn counters(&self) -> Counters {
        fn read<T: std::str::FromStr>(runtime: &Runtime, key: &str) -> Option<T> {
            runtime.table.get(key)?.trim().parse().ok()
        }
        let count = |key| read::<u64>(self, key);
        let share = |key| read::<f64>(self, key).filter(|share| (0.0..=1.0).contains(share));
        Counters {
            stored: count("putMessageTimesTotal"),
            given: count("msgGetTotalTodayNow"),
            failed: count("putMessageFailedTimes"),
            log_end: count("commitLogMaxOffset"),
            log_disk: share("commitLogDiskRatio"),
            index_disk: share("consumeQueueDiskRatio"),
            index_behind: count("dispatchBehindBytes"),
            log_held_ms: count("pageCacheLockTimeMills"),
            sends_waiting: count("sendThreadPoolQueueSize"),
            reads_waiting: count("pullThreadPoolQueueSize"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocketmq::route::{ClusterInfo, Route};
    use crate::rocketmq::version::Version;

    macro_rules! golden {
        ($name:literal) => {
            [
                &include_bytes!(concat!("../../../tests/golden/rocketmq-4/", $name, ".json"))[..],
                &include_bytes!(concat!("../../../tests/golden/rocketmq-5/", $name, ".json"))[..],
            ]
        };
    }

    fn both<T: serde::de::DeserializeOwned>(bodies: [&[u8]; 2]) -> [T; 2] {
        bodies.map(|body| json::read(body).unwrap())
    }

    #[test]
    fn routes_and_brokers_of_both_versions_are_read() {
        for route in both::<Route>(golden!("105-route")) {
            assert_eq!(route.readable().iter().map(ToString::to_string).collect::<Vec<_>>(), ["broker-a/0", "broker-a/1"]);
            assert_eq!(route.brokers["broker-a"].addresses.len(), 2);
        }
        for info in both::<ClusterInfo>(golden!("106-cluster")) {
            let ids: Vec<String> = info.all().map(|(id, _)| id.to_string()).collect();
            assert_eq!(ids, ["broker-a:0", "broker-a:1"]);
        }
    }

    #[test]
    fn topics_and_groups_of_both_versions_are_read() {
        for (topics, groups) in both::<Topics>(golden!("21-topics")).into_iter().zip(both::<Groups>(golden!("201-groups"))) {
            assert_eq!((topics.topics["orders"].queues(), topics.topics["orders"].perm), (2, 6));
            assert!(topics.topics.contains_key("%RETRY%billing") && topics.data_version != DataVersion::default());
            let billing = &groups.groups["billing"];
            assert!(billing.consume_enable && billing.rest.contains_key("retryMaxTimes"), "{billing:?}");
            let text = serde_json::to_string(billing).unwrap();
            assert_eq!(serde_json::from_str::<GroupConfig>(&text).unwrap(), *billing, "what we do not know stays");
        }
    }

    #[test]
    fn offsets_of_both_versions_are_read() {
        for stats in both::<TopicStats>(golden!("202-ends")) {
            let ends: Vec<_> =
                stats.offset_table.iter().map(|(key, ends)| (key.number, ends.min_offset, ends.max_offset)).collect();
            assert_eq!(ends, [(0, 0, 2), (1, 0, 1)]);
            assert!(stats.offset_table.values().all(|ends| ends.last_update_timestamp > 1_700_000_000_000));
        }
        for offsets in both::<Offsets>(golden!("43-committed")) {
            let all: Vec<_> = offsets.each().collect();
            assert_eq!(all, [("orders", "billing", &BTreeMap::from([(0, 1)]))], "queue 1 has no offset: unknown, not 0");
        }
    }

    /// 208 and 317 show 0 for a queue without a committed offset, so lag is never taken from them.
    #[test]
    fn lag_as_brokers_tell_it_does_not_know_what_was_never_committed() {
        for lag in both::<Value>(golden!("208-lag")).into_iter().chain(both::<Value>(golden!("317-lags"))) {
            let text = lag.to_string();
            assert!(text.contains("consumerOffset\":0") && text.contains("brokerOffset\":1"), "{text}");
        }
    }

    #[test]
    fn members_and_runtime_of_both_versions_are_read() {
        for members in both::<Members>(golden!("203-members")) {
            assert_eq!((members.connection_set.len(), members.message_model.as_str()), (1, "CLUSTERING"));
            assert_eq!(members.connection_set[0].client_id, "127.0.0.1@golden");
        }
        let versions =
            both::<Runtime>(golden!("28-runtime")).map(|runtime| runtime.table["brokerVersionDesc"].parse::<Version>());
        assert_eq!(versions, [Ok(Version(4, 9, 7)), Ok(Version(5, 5, 0))]);
    }

    #[test]
    fn counters_of_both_versions_are_read_and_what_is_not_known_is_absent() {
        for (runtime, log_end) in both::<Runtime>(golden!("28-runtime")).into_iter().zip([381, 627]) {
            let zero = Some(0);
            let expected = Counters {
                stored: Some(3),
                given: zero,
                failed: zero,
                log_end: Some(log_end),
                log_disk: Some(0.74),
                index_disk: Some(0.74),
                index_behind: zero,
                log_held_ms: zero,
                sends_waiting: zero,
                reads_waiting: zero,
            };
            assert_eq!(runtime.counters(), expected);
        }
        let odd = [("commitLogDiskRatio", "-1.0"), ("consumeQueueDiskRatio", "NaN"), ("putMessageTimesTotal", "null")];
        let table = odd.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(Runtime { table }.counters(), Counters::default());
    }

    #[test]
    fn what_a_client_says_of_its_queues_is_read() {
        let said = br#"{"mqTable":{{"brokerName":"broker-a","queueId":1,"topic":"orders"}:{"cachedMsgCount":0,"droped":false}},"properties":{}}"#;
        let info: RunningInfo = json::read(said).unwrap();
        let keys: Vec<_> = info.queues.keys().map(|key| (key.topic.as_str(), key.broker.as_str(), key.number)).collect();
        assert_eq!(keys, [("orders", "broker-a", 1)]);
    }
}

//! What belongs to RocketMQ itself.

use crate::rocketmq::route::ClusterInfo;

/// Where messages go that a group could not handle, and where they stay when it never could.
pub(super) const RETRY: &str = "%RETRY%";
pub(super) const DEAD_LETTERS: &str = "%DLQ%";

const TOPICS: [&str; 8] = [
    "TBW102",
    "SCHEDULE_TOPIC_XXXX",
    "SELF_TEST_TOPIC",
    "BenchmarkTest",
    "OFFSET_MOVED_EVENT",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "DefaultHeartBeatSyncerTopic",
];

const GROUPS: [&str; 7] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "__MONITOR_CONSUMER",
    "CLIENT_INNER_PRODUCER",
    "DEFAULT_CONSUMER",
];

/// One of the broker's own topics. Each broker has a topic with its name and one with its cluster's.
pub(in crate::rocketmq) fn is_internal_topic(name: &str, info: &ClusterInfo) -> bool {
    let begins =
        [RETRY, DEAD_LETTERS, "rmq_sys_", "RMQ_SYS_", "%SYS%", "CID_RMQ_SYS_"].iter().any(|begin| name.starts_with(begin));
    let of_brokers = || info.brokers.iter().any(|(broker, set)| name == &**broker || name == set.cluster);
    let reply = || info.brokers.values().any(|set| name.strip_suffix("_REPLY_TOPIC") == Some(set.cluster.as_str()));
    begins || TOPICS.contains(&name) || of_brokers() || reply()
}

/// One of the broker's own groups: every broker lists some that nobody consumes with.
pub(in crate::rocketmq) fn is_internal_group(name: &str) -> bool {
    ["CID_RMQ_SYS_", "CID_ONSAPI_"].iter().any(|begin| name.starts_with(begin)) || GROUPS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::super::bodies::{Groups, Topics};
    use super::*;
    use crate::rocketmq::json;

    #[test]
    fn of_a_new_broker_only_what_was_made_is_not_its_own() {
        let read = |body: &[u8]| json::read::<Topics>(body).unwrap().topics;
        for (cluster, topics, groups) in [
            (
                &include_bytes!("../../../tests/golden/rocketmq-4/106-cluster.json")[..],
                &include_bytes!("../../../tests/golden/rocketmq-4/21-topics.json")[..],
                &include_bytes!("../../../tests/golden/rocketmq-4/201-groups.json")[..],
            ),
            (
                include_bytes!("../../../tests/golden/rocketmq-5/106-cluster.json"),
                include_bytes!("../../../tests/golden/rocketmq-5/21-topics.json"),
                include_bytes!("../../../tests/golden/rocketmq-5/201-groups.json"),
            ),
        ] {
            let info: ClusterInfo = json::read(cluster).unwrap();
            let own: Vec<String> = read(topics).into_keys().filter(|name| !is_internal_topic(name, &info)).collect();
            assert_eq!(own, ["orders"]);
            let groups: Groups = json::read(groups).unwrap();
            let own: Vec<String> = groups.groups.into_keys().filter(|name| !is_internal_group(name)).collect();
            assert_eq!(own, ["billing"]);
        }
    }
}

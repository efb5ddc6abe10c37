//! What a member tells consoles about itself (307).

use serde_json::json;

use super::heard::queue_name;
use super::shared::{Held, Shared};
use crate::rocketmq::queue::Queue;

/// As Java's `ConsumerRunningInfo`, which consoles decode.
pub(super) fn running_info(shared: &Shared) -> String {
    let properties = json!({
        "PROP_CONSUME_TYPE": "CONSUME_PASSIVELY",
        "PROP_CONSUMEORDERLY": shared.ordered.to_string(),
        "PROP_THREADPOOL_CORE_SIZE": "1",
        "PROP_CLIENT_VERSION": concat!("ZMS ", env!("CARGO_PKG_VERSION")),
        "PROP_NAMESERVER_ADDR": shared.net.name_servers().join(";"),
        "PROP_CONSUMER_START_TIMESTAMP": shared.started_ms.to_string(),
    });
    let subscriptions: Vec<_> = shared.interests.iter().map(crate::rocketmq::heartbeat::Interest::json).collect();
    let table = shared.table();
    let queues: Vec<String> = table.iter().map(|(queue, held)| one(queue, held, shared.ordered)).collect();
    format!(
        r#"{{"properties":{properties},"subscriptionSet":{},"mqTable":{{{}}},"statusTable":{{}},"jstack":""}}"#,
        json!(subscriptions),
        queues.join(",")
    )
}

fn one(queue: &Queue, held: &Held, locked: bool) -> String {
    let window = held.window.as_ref();
    let (count, bytes) = window.map_or((0, 0), super::window::Window::held);
    let (first, last) = window.and_then(super::window::Window::bounds).unwrap_or((0, 0));
    let info = json!({
        "commitOffset": window.and_then(super::window::Window::last_committed).unwrap_or(-1),
        "cachedMsgMinOffset": first, "cachedMsgMaxOffset": last, "cachedMsgCount": count, "cachedMsgSizeInMiB": bytes >> 20,
        "transactionMsgMinOffset": 0, "transactionMsgMaxOffset": 0, "transactionMsgCount": 0,
        "locked": locked && window.is_some(), "tryUnlockTimes": 0, "lastLockTimestamp": held.last_pull_ms,
        "droped": false, "lastPullTimestamp": held.last_pull_ms, "lastConsumeTimestamp": held.last_done_ms,
    });
    format!("{}:{info}", queue_name(queue))
}

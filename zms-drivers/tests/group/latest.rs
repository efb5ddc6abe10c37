//! What `latest` means for queues that are made, or can be read, only after a member began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use zms_core::metadata::ConsumeFrom;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Consumer, Delivery, Outgoing, Subscription};
use zms_drivers::rocketmq::Waits;
use zms_testbed::RocketLine;

use super::{Bench, CLOSE, SOON, name, text, until};

const READ_AND_WRITE: u32 = 6;
const ONLY_WRITE: u32 = 2;

fn member(bench: &Bench, topic: &PhysicalName, mode: Delivery) -> Arc<dyn Consumer> {
    let subscription = Subscription { mode, ..Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Latest) };
    // Clocks of one host do not differ.
    let waits = Waits {
        first_rounds: Vec::new(),
        rebalance: Duration::from_secs(2),
        route_age: Duration::from_millis(500),
        clocks: Duration::ZERO,
        ..Waits::default()
    };
    bench.member_with(&subscription, waits)
}

/// Makes a topic on one broker, or changes it; ready when the name server says so.
async fn put(bench: &Bench, broker: &str, topic: &PhysicalName, queues: u32, perm: u32) {
    let fields = json!({
        "topic": topic.as_str(), "defaultTopic": "TBW102", "readQueueNums": queues.to_string(), "writeQueueNums": queues.to_string(),
        "perm": perm.to_string(), "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
    });
    let answer = bench.server.ask(broker, 17, &fields);
    assert!(answer.contains("\"code\":0"), "{answer}");
    let said = format!("\"brokerName\":\"{broker}\",\"perm\":{perm},\"readQueueNums\":{queues},");
    let route = || bench.server.ask_name_servers(105, &json!({"topic": topic.as_str()}));
    until(&format!("the name server says {said}"), || route().iter().all(|route| route.contains(&said))).await;
}

/// Sends through a producer that knows the queues as they are now; says how many messages each got.
async fn send(bench: &Bench, topic: &PhysicalName, texts: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let producer = bench.producer();
    let mut placed = BTreeMap::new();
    for text in texts {
        let there = producer.send(Outgoing::new(topic.clone(), text)).await.unwrap();
        *placed.entry(there.partition.to_string()).or_default() += 1;
    }
    producer.close(CLOSE).await;
    placed
}

fn texts(what: &str, count: usize) -> impl Iterator<Item = String> + '_ {
    (0..count).map(move |number| format!("{what} {number}"))
}

/// Receives until these have come; what came beside them.
async fn receive(consumer: &Arc<dyn Consumer>, mut missing: BTreeSet<String>) -> Vec<String> {
    let mut others = Vec::new();
    let all = async {
        while !missing.is_empty() {
            let message = consumer.receive().await.unwrap();
            if !missing.remove(&text(&message)) {
                others.push(text(&message));
            }
            consumer.done(&message).unwrap();
        }
    };
    let in_time = tokio::time::timeout(SOON, all).await;
    assert!(in_time.is_ok(), "missing after {SOON:?}: {missing:?}");
    others
}

/// A group that begins at the end is there when its topic grows: what is sent before its member sees that is for it.
pub async fn a_latest_group_reads_all_of_queues_that_are_made_later(bench: &Bench) {
    let topic = name("grows");
    put(bench, "broker-a", &topic, 2, READ_AND_WRITE).await;
    send(bench, &topic, texts("before", 8)).await;
    let consumer = member(bench, &topic, Delivery::Clustering);
    until("it reads both queues", || consumer.assigned().len() == 2).await;
    put(bench, "broker-a", &topic, 4, READ_AND_WRITE).await;
    put(bench, "broker-b", &topic, 2, READ_AND_WRITE).await;
    let placed = send(bench, &topic, texts("after", 24)).await;
    assert_eq!(placed.len(), 6, "each queue got some: {placed:?}");
    let others = receive(&consumer, texts("after", 24).collect()).await;
    assert!(others.is_empty(), "{others:?}");
    consumer.close(CLOSE).await.unwrap();
}

/// A queue may hold more than the group wants when it is seen for the first time.
pub async fn of_a_queue_that_is_seen_later_a_latest_group_reads_what_came_since(bench: &Bench) {
    let topic = name("hidden");
    put(bench, "broker-a", &topic, 1, READ_AND_WRITE).await;
    put(bench, "broker-b", &topic, 2, ONLY_WRITE).await;
    send(bench, &topic, texts("before", 30)).await;
    let consumer = member(bench, &topic, Delivery::Clustering);
    until("it reads one queue", || consumer.assigned().len() == 1).await;
    let placed = send(bench, &topic, texts("after", 30)).await;
    assert_eq!(placed.len(), 3, "{placed:?}");
    put(bench, "broker-b", &topic, 2, READ_AND_WRITE).await;
    let others = receive(&consumer, texts("after", 30).collect()).await;
    // 4.9 tells the nearest message of each queue, which may be the last one before.
    assert!(others.len() <= 2, "{others:?}");
    consumer.close(CLOSE).await.unwrap();
}

/// Nobody but the member knows where it stood.
pub async fn a_broadcast_goes_on_where_it_stood(bench: &Bench) {
    let topic = name("stood");
    put(bench, "broker-a", &topic, 1, READ_AND_WRITE).await;
    let consumer = member(bench, &topic, Delivery::Broadcast);
    until("it reads the queue", || consumer.assigned().len() == 1).await;
    send(bench, &topic, texts("first", 4)).await;
    receive(&consumer, texts("first", 4).collect()).await;
    put(bench, "broker-a", &topic, 1, ONLY_WRITE).await;
    until("it gave the queue up", || consumer.assigned().is_empty()).await;
    send(bench, &topic, texts("second", 4)).await;
    put(bench, "broker-a", &topic, 1, READ_AND_WRITE).await;
    let others = receive(&consumer, texts("second", 4).collect()).await;
    assert!(others.is_empty(), "{others:?}");
    consumer.close(CLOSE).await.unwrap();
}

/// What brokers answer when they are asked for the first message since a time (29), on which our client builds.
pub async fn brokers_say_where_a_time_is(bench: &Bench) {
    let topic = name("times");
    put(bench, "broker-a", &topic, 2, READ_AND_WRITE).await;
    // A key has its queue: the other one stays empty.
    let producer = bench.producer();
    let mut full = 0;
    for number in 0..5 {
        let message = Outgoing { key: Some("k".into()), ..Outgoing::new(topic.clone(), number.to_string()) };
        full = producer.send(message).await.unwrap().partition.number;
    }
    producer.close(CLOSE).await;
    let (past, future) = (1_000_i64, 4_102_444_800_000);
    // Nothing is so late: 4.9 tells the nearest, which is the last one.
    let end = if bench.line == RocketLine::V5 { 5 } else { 4 };
    for (queue, time, offset) in [(1 - full, past, 0), (1 - full, future, 0), (full, past, 0), (full, future, end)] {
        let fields = json!({
            "topic": topic.as_str(), "queueId": queue.to_string(), "timestamp": time.to_string(), "boundaryType": "LOWER",
        });
        let said = format!("{{\"offset\":\"{offset}\"}}");
        // 4.9 stores a message some moments before its queue has it.
        let answer = || bench.server.ask("broker-a", 29, &fields);
        until(&format!("of queue {queue} at {time} it says {said}"), || answer().contains(&said)).await;
    }
}

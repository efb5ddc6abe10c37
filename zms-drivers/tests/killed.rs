//! A broker is killed (SIGKILL) while many messages are on their way to it, and is started anew with its data: every message that was acknowledged is
//! there, what failed says what and why, and sending goes on. The same on RocketMQ 5.5.0 and 4.9.7 and on Kafka 4.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, block_in_place};
use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerError, Outgoing, PartitionId, Producer, Subscription, TopicWish};
use zms_drivers::open::{self, Endpoint};
use zms_testbed::{Kafka, KafkaWish, RocketLine, RocketMq, RocketWish};

/// Messages under way at any moment.
const AT_ONCE: usize = 64;
/// Acknowledged before the kill, and again after the start.
const ENOUGH: usize = 1_000;
/// Shorter than a broker needs to start: some messages are given up meanwhile.
const DELIVERY: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(90);

/// What producers were told.
struct Told {
    kept: Mutex<BTreeMap<(PartitionId, i64), String>>,
    failed: Mutex<Vec<BrokerError>>,
    next: AtomicUsize,
    /// With so many sending ends.
    enough: AtomicUsize,
}

impl Told {
    fn new() -> Self {
        let enough = AtomicUsize::new(usize::MAX);
        Self { kept: Mutex::default(), failed: Mutex::default(), next: AtomicUsize::new(0), enough }
    }

    fn kept(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    fn failed(&self) -> usize {
        self.failed.lock().unwrap().len()
    }
}

/// Sends one message after the other.
async fn send(producer: Arc<dyn Producer>, topic: PhysicalName, told: Arc<Told>) {
    while told.kept() < told.enough.load(Ordering::Acquire) {
        let text = told.next.fetch_add(1, Ordering::Relaxed).to_string();
        match producer.send(Outgoing::new(topic.clone(), text.clone())).await {
            Ok(placed) => {
                let before = told.kept.lock().unwrap().insert((placed.partition.clone(), placed.offset), text);
                assert_eq!(before, None, "two messages at {placed:?}");
            }
            Err(error) => told.failed.lock().unwrap().push(error),
        }
    }
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !look() {
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `kill` and `start` block. The topic has all its queues on the broker that is killed.
async fn nothing_acknowledged_is_lost(
    kind: BrokerKind,
    endpoint: &Endpoint,
    topic: &PhysicalName,
    kill_and_start: impl FnOnce(&dyn Fn()),
) {
    let producer = open::producer(kind, endpoint, DELIVERY).unwrap();
    let told = Arc::new(Told::new());
    let mut senders = JoinSet::new();
    for _ in 0..AT_ONCE {
        senders.spawn(send(Arc::clone(&producer), topic.clone(), Arc::clone(&told)));
    }
    until("messages are acknowledged", || told.kept() > ENOUGH).await;
    let dead = || {
        let failing = until("messages fail while there is no broker", || told.failed() >= AT_ONCE / 2);
        tokio::runtime::Handle::current().block_on(failing);
        told.enough.store(told.kept() + ENOUGH, Ordering::Release);
    };
    block_in_place(|| kill_and_start(&dead));
    let going_on = async {
        while let Some(sender) = senders.join_next().await {
            sender.unwrap();
        }
    };
    let went_on = tokio::time::timeout(SOON, going_on).await;
    assert!(went_on.is_ok(), "{} messages were acknowledged after {SOON:?}", told.kept());
    assert_eq!(producer.close(DELIVERY).await, 0);
    for error in told.failed.lock().unwrap().iter() {
        assert!(error.is_passing() && !error.to_string().is_empty(), "{error:?}");
    }
    let kept = told.kept.lock().unwrap().clone();
    let mut missing: BTreeSet<_> = kept.keys().cloned().collect();
    let consumer =
        open::consumer(kind, endpoint, &Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Earliest)).unwrap();
    let all = async {
        while !missing.is_empty() {
            let message = consumer.receive().await.unwrap();
            let place = (message.placed.partition.clone(), message.placed.offset);
            let body = String::from_utf8_lossy(message.value.as_deref().unwrap()).into_owned();
            // Others were kept, though nobody could be told.
            if let Some(said) = kept.get(&place) {
                assert_eq!(*said, body, "at {place:?}");
            }
            missing.remove(&place);
            consumer.done(&message).unwrap();
        }
    };
    let in_time = tokio::time::timeout(SOON, all).await;
    assert!(in_time.is_ok(), "{} of {} acknowledged messages are lost: {:?}", missing.len(), kept.len(), missing.first());
    consumer.close(DELIVERY * 5).await.unwrap();
    let said = told.failed.lock().unwrap().first().map(ToString::to_string);
    println!("{kind}: {} acknowledged and there, {} failed, as: {said:?}", kept.len(), told.failed());
}

async fn on_rocketmq(line: RocketLine) {
    let start = move || RocketMq::start(&RocketWish::one(line));
    let mut server = tokio::task::spawn_blocking(start).await.unwrap();
    let topic = PhysicalName::new("killed").unwrap();
    server.make_topic(topic.as_str(), 4);
    let endpoint = Endpoint::plain("killed", server.name_servers());
    nothing_acknowledged_is_lost(BrokerKind::RocketMq, &endpoint, &topic, |dead| {
        server.kill("broker-a", 0);
        dead();
        server.restart("broker-a", 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmq_5_has_what_it_acknowledged_before_it_was_killed() {
    on_rocketmq(RocketLine::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmq_4_has_what_it_acknowledged_before_it_was_killed() {
    on_rocketmq(RocketLine::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_has_what_it_acknowledged_before_it_was_killed() {
    let mut server = tokio::task::spawn_blocking(|| Kafka::start(KafkaWish::default())).await.unwrap();
    let topic = PhysicalName::new("killed").unwrap();
    let endpoint = Endpoint::plain("killed", server.plain().split(','));
    let wish = TopicWish { name: topic.clone(), partitions: 4, replicas: 1, config: BTreeMap::new() };
    open::admin(BrokerKind::Kafka, &endpoint).unwrap().ensure_topic(&wish).await.unwrap();
    nothing_acknowledged_is_lost(BrokerKind::Kafka, &endpoint, &topic, |dead| {
        server.kill(0);
        dead();
        server.restart(0);
    })
    .await;
}

/// A member that cannot say goodbye must not keep its application from ending.
#[test]
fn an_application_ends_though_the_kafka_of_its_member_is_gone() {
    let mut server = Kafka::start(KafkaWish::default());
    let topic = PhysicalName::new("gone").unwrap();
    let endpoint =
        Endpoint { networks: Some("127.0.0.0/8".parse().unwrap()), ..Endpoint::plain("gone", server.plain().split(',')) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let wish = TopicWish { name: topic.clone(), partitions: 2, replicas: 1, config: BTreeMap::new() };
        open::admin(BrokerKind::Kafka, &endpoint).unwrap().ensure_topic(&wish).await.unwrap();
        let producer = open::producer(BrokerKind::Kafka, &endpoint, SOON).unwrap();
        producer.send(Outgoing::new(topic.clone(), "m")).await.unwrap();
        let member = |group: &str| {
            let group = PhysicalName::new(group).unwrap();
            open::consumer(BrokerKind::Kafka, &endpoint, &Subscription::new(group, topic.clone(), ConsumeFrom::Earliest)).unwrap()
        };
        let (closed, dropped) = (member("closed"), member("dropped"));
        for member in [&closed, &dropped] {
            let message = tokio::time::timeout(SOON, member.receive()).await.unwrap().unwrap();
            member.done(&message).unwrap();
        }
        block_in_place(|| server.kill(0));
        let left = closed.close(Duration::from_secs(1)).await;
        assert!(left.as_ref().is_err_and(BrokerError::is_passing), "{left:?}");
        drop(dropped);
    });
    let ending = Instant::now();
    drop(runtime);
    assert!(ending.elapsed() < Duration::from_secs(10), "it took {:?}", ending.elapsed());
}

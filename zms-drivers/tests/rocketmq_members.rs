//! What happens around a member of a group on RocketMQ: brokers that hang, die and come back, topics that go, places that are set anew, Java's
//! compressed messages, queues that are made later, queues in order that go from member to member. On both lines, with two brokers each.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "group/desk.rs"]
mod desk;
#[path = "group/java.rs"]
#[allow(clippy::disallowed_methods, reason = "it compiles and runs the program that is compared with")]
mod java;
#[path = "group/latest.rs"]
mod latest;
#[path = "group/ordered.rs"]
mod ordered;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use desk::{Desk, work};
use serde_json::json;
use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerError, Consumer, Incoming, OffsetWish, Outgoing, Producer, Subscription};
use zms_drivers::open::{self, Endpoint};
use zms_drivers::rocketmq::{RocketMqConsumer, Waits};
use zms_testbed::{RocketLine, RocketMq, RocketWish};

const SOON: Duration = Duration::from_secs(40);
const CLOSE: Duration = Duration::from_secs(10);

struct Bench {
    server: RocketMq,
    line: RocketLine,
}

fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

fn text(message: &Incoming) -> String {
    String::from_utf8_lossy(message.value.as_deref().unwrap()).into_owned()
}

/// A group of the topic's name reads all of it.
fn earliest(topic: &PhysicalName) -> Subscription {
    Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Earliest)
}

impl Bench {
    async fn start(wish: RocketWish) -> Self {
        let line = wish.line;
        Self { server: tokio::task::spawn_blocking(move || RocketMq::start(&wish)).await.unwrap(), line }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::plain("members", self.server.name_servers())
    }

    fn topic(&self, text: &str, queues: usize) -> PhysicalName {
        self.server.make_topic(text, queues);
        name(text)
    }

    fn producer(&self) -> Arc<dyn Producer> {
        open::producer(BrokerKind::RocketMq, &self.endpoint(), Duration::from_secs(20)).unwrap()
    }

    fn member(&self, topic: &PhysicalName) -> Arc<dyn Consumer> {
        open::consumer(BrokerKind::RocketMq, &self.endpoint(), &earliest(topic)).unwrap()
    }

    /// A member that waits differently.
    fn member_with(&self, subscription: &Subscription, waits: Waits) -> Arc<dyn Consumer> {
        Arc::new(RocketMqConsumer::with_waits(&self.endpoint(), subscription, waits).unwrap())
    }

    async fn send(&self, topic: &PhysicalName, numbers: std::ops::Range<u32>) {
        let producer = self.producer();
        for number in numbers {
            producer.send(Outgoing::new(topic.clone(), number.to_string())).await.unwrap();
        }
        producer.close(CLOSE).await;
    }
}

/// Receives and says done until all of these have come.
async fn receive_all(consumer: &Arc<dyn Consumer>, numbers: std::ops::Range<u32>) {
    let mut missing: BTreeSet<String> = numbers.map(|number| number.to_string()).collect();
    let all = async {
        while !missing.is_empty() {
            let message = consumer.receive().await.unwrap();
            missing.remove(&text(&message));
            consumer.done(&message).unwrap();
        }
    };
    let in_time = tokio::time::timeout(SOON, all).await;
    assert!(in_time.is_ok(), "missing after {SOON:?}: {missing:?}");
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !look() {
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn queues(consumer: &Arc<dyn Consumer>) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for (_, queue) in consumer.assigned() {
        *count.entry(queue.broker.unwrap().to_string()).or_default() += 1;
    }
    count
}

/// Longer than a connection may be silent (10 s) and than a pull is waited for (23 s); a lock of a queue is renewed once meanwhile, in vain.
const HANGS: Duration = Duration::from_secs(25);

async fn a_broker_that_hangs_delays_no_other(bench: &Bench) {
    let topic = bench.topic("hangs", 2);
    bench.send(&topic, 0..8).await;
    // What it gives away of the broker that hangs, it cannot commit: it has committed nothing yet.
    let waits = Waits { commit: HANGS * 2, ..Waits::default() };
    let consumer = bench.member_with(&earliest(&topic), waits);
    receive_all(&consumer, 0..8).await;
    let in_order = Desk::default();
    let alone = ordered::member(bench, &topic, "hangs-in-order");
    let mut working = vec![work(&alone, &in_order, Duration::ZERO)];
    until("it has all that was sent", || in_order.missing(0..8).is_empty()).await;
    bench.server.freeze("broker-b", 0, true);
    let frozen = Instant::now();
    // Its part of the messages takes the time of one try, then it is passed over for a while.
    let producer = bench.producer();
    let (mut number, mut slow) = (8, 0);
    let mut send = async || {
        let placed = producer.send(Outgoing::new(topic.clone(), number.to_string())).await.unwrap();
        assert_eq!(placed.partition.broker.as_deref(), Some("broker-a"));
        number += 1;
        number - 1
    };
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    while frozen.elapsed() < HANGS * 3 / 5 {
        pace.tick().await;
        let begun = Instant::now();
        send().await;
        slow += usize::from(begun.elapsed() > Duration::from_secs(1));
        let got =
            tokio::time::timeout(Duration::from_secs(2), consumer.receive()).await.expect("the other broker goes on").unwrap();
        consumer.done(&got).unwrap();
    }
    assert!(slow <= 3, "{slow} messages waited for the broker that hangs");
    // A member that joins now gets half of the queues, whoever of the two has those that hang.
    let second = bench.member(&topic);
    let shared = Desk::default();
    working.extend([&consumer, &second].map(|member| work(member, &shared, Duration::ZERO)));
    let first_of_both = send().await;
    until("the first member gave two away", || consumer.assigned().len() <= 2).await;
    while frozen.elapsed() < HANGS {
        pace.tick().await;
        send().await;
    }
    bench.server.freeze("broker-b", 0, false);
    let owners = || [&consumer, &second].map(queue_names);
    until("each queue has one owner", || {
        let [one, other] = owners();
        one.len() == 2 && other.len() == 2 && one.is_disjoint(&other)
    })
    .await;
    let last = number + 16;
    bench.send(&topic, number..last).await;
    until("nothing is lost", || shared.missing(first_of_both..last).is_empty() && in_order.missing(0..last).is_empty()).await;
    println!("{} messages in {HANGS:?}, {slow} of them slow", number - 8);
    for member in [second, consumer, alone] {
        member.close(CLOSE).await.unwrap();
    }
    for work in working {
        work.await.unwrap();
    }
    in_order.is_in_order(4);
}

fn queue_names(consumer: &Arc<dyn Consumer>) -> BTreeSet<String> {
    consumer.assigned().into_iter().map(|(_, queue)| queue.to_string()).collect()
}

async fn a_broker_that_died_comes_back(bench: &mut Bench) {
    let topic = bench.topic("dies", 2);
    bench.send(&topic, 0..8).await;
    let consumer = bench.member(&topic);
    receive_all(&consumer, 0..8).await;
    bench.server.kill("broker-b", 0);
    bench.send(&topic, 8..16).await;
    receive_all(&consumer, 8..16).await;
    bench.server.restart("broker-b", 0);
    until("its queues are read again", || queues(&consumer).get("broker-b") == Some(&2)).await;
    // A producer that saw it die sends to it again too.
    let producer = bench.producer();
    let mut brokers = BTreeSet::new();
    for number in 16..24_u32 {
        let placed = producer.send(Outgoing::new(topic.clone(), number.to_string())).await.unwrap();
        brokers.extend(placed.partition.broker.map(|broker| broker.to_string()));
    }
    assert_eq!(brokers.len(), 2);
    receive_all(&consumer, 16..24).await;
    consumer.close(CLOSE).await.unwrap();
}

async fn a_topic_that_goes_is_missing_and_may_come_again(bench: &Bench) {
    let topic = bench.topic("goes", 2);
    bench.send(&topic, 0..8).await;
    let consumer = bench.member(&topic);
    receive_all(&consumer, 0..8).await;
    let fields = json!({"topic": topic.as_str()});
    for broker in ["broker-a", "broker-b"] {
        let answer = bench.server.ask(broker, 215, &fields);
        assert!(answer.contains("\"code\":0"), "{answer}");
    }
    bench.server.ask_name_servers(216, &fields);
    let told = tokio::time::timeout(SOON, consumer.receive()).await.expect("the application is told");
    assert_eq!(told, Err(BrokerError::Missing { what: "topic goes".to_owned() }));
    until("its queues are given up", || consumer.assigned().is_empty()).await;
    bench.topic("goes", 2);
    until("they are taken again", || consumer.assigned().len() == 4).await;
    bench.send(&topic, 100..104).await;
    receive_all(&consumer, 100..104).await;
    consumer.close(CLOSE).await.unwrap();
}

async fn a_group_that_is_set_back_reads_again(bench: &Bench) {
    let topic = bench.topic("reset", 2);
    bench.send(&topic, 0..8).await;
    let consumer = bench.member(&topic);
    receive_all(&consumer, 0..8).await;
    // Before 5.0 a broker refuses while a queue has no position yet.
    let admin = open::admin(BrokerKind::RocketMq, &bench.endpoint()).unwrap();
    let (mut positions, mut looks) = (0, tokio::time::interval(Duration::from_millis(100)));
    for _ in 0..300 {
        looks.tick().await;
        let committed = admin.committed(std::slice::from_ref(&topic)).await.unwrap().remove(0).unwrap();
        positions = committed.get(&topic).map_or(0, BTreeMap::len);
        if positions == 4 {
            break;
        }
    }
    assert_eq!(positions, 4, "every queue has a position");
    for broker in ["broker-a", "broker-b"] {
        let fields =
            json!({"topic": topic.as_str(), "group": topic.as_str(), "timestamp": "1000", "isForce": "true", "isC": "false"});
        let answer = bench.server.ask(broker, 222, &fields);
        assert!(answer.contains("\"code\":0"), "{answer}");
    }
    receive_all(&consumer, 0..8).await;
    consumer.close(CLOSE).await.unwrap();
}

/// A broker that sets offsets itself says so once, to whichever request of a member it answers next: here to the one that looks whether a pull was
/// overlooked, and then to the pull that was given up for it and that the broker still holds.
async fn a_place_is_heeded_whichever_request_hears_of_it(bench: &Bench) {
    let topic = bench.topic("heeded", 1);
    bench.send(&topic, 0..8).await;
    let waits = Waits { overlooked: Duration::from_secs(3), ..Waits::default() };
    let consumer = bench.member_with(&earliest(&topic), waits);
    receive_all(&consumer, 0..8).await;
    let admin = open::admin(BrokerKind::RocketMq, &bench.endpoint()).unwrap();
    admin.ensure_offsets(&topic, &topic, &OffsetWish::Earliest).await.unwrap();
    receive_all(&consumer, 0..8).await;
    admin.ensure_offsets(&topic, &topic, &OffsetWish::Earliest).await.unwrap();
    // These wake up what brokers hold, the oldest first.
    bench.send(&topic, 8..10).await;
    receive_all(&consumer, 0..10).await;
    consumer.close(CLOSE).await.unwrap();
}

/// A topic that is made anew begins at 0, and a group may still stand where the old one ended: what was sent meanwhile must not be passed over.
async fn a_group_that_stands_beyond_the_end_of_a_new_queue_reads_all_of_it(bench: &Bench) {
    let topic = bench.topic("beyond", 2);
    bench.send(&topic, 0..12).await;
    let consumer = bench.member(&topic);
    receive_all(&consumer, 0..12).await;
    consumer.close(CLOSE).await.unwrap();
    for (broker, queue) in [("broker-a", 0), ("broker-a", 1), ("broker-b", 0), ("broker-b", 1)] {
        let fields = json!({"topic": topic.as_str(), "consumerGroup": topic.as_str(), "queueId": queue, "commitOffset": 100});
        let answer = bench.server.ask(broker, 15, &fields);
        assert!(answer.contains("\"code\":0"), "{answer}");
    }
    let consumer = bench.member(&topic);
    receive_all(&consumer, 0..12).await;
    consumer.close(CLOSE).await.unwrap();
}

/// Brokers lose one of two first commits of a group that come at the same moment.
async fn first_commits_of_many_queues_are_kept(bench: &Bench) {
    let admin = open::admin(BrokerKind::RocketMq, &bench.endpoint()).unwrap();
    for round in 0..8 {
        let topic = bench.topic(&format!("first-{round}"), 8);
        bench.send(&topic, 0..64).await;
        let consumer = bench.member(&topic);
        receive_all(&consumer, 0..64).await;
        consumer.close(CLOSE).await.unwrap();
        let committed = admin.committed(std::slice::from_ref(&topic)).await.unwrap().remove(0).unwrap();
        let kept: i64 = committed.get(&topic).into_iter().flat_map(BTreeMap::values).sum();
        assert_eq!(kept, 64, "round {round}: {committed:?}");
    }
}

async fn what_java_compressed_is_read(bench: &Bench) {
    let topic = bench.topic("java", 1);
    let java = java::Java::compile(&bench.server.jars());
    let mut command = java.command("Send", &[&bench.server.name_servers()[0], topic.as_str(), "compress"]);
    // A round in which nothing was sent, because the machine is busy or the topic too new, is asked for again.
    tokio::task::spawn_blocking(move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut rounds = child.stdin.take().unwrap();
        // Among the lines that its library logs.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let sent =
            |line: &str| line.split_once(' ').and_then(|(sent, took)| took.parse::<u64>().ok().and(sent.parse::<u64>().ok()));
        let end = Instant::now() + SOON;
        loop {
            writeln!(rounds, "1 100 10000").unwrap();
            let answer = lines.find(|line| sent(line).is_some() || line.starts_with("failed ")).expect("an answer");
            if sent(&answer).is_some_and(|sent| sent > 0) {
                break;
            }
            assert!(Instant::now() < end, "Java sends nothing: {answer}");
        }
        // It ends without input, and its log lines must not hold it up.
        drop((rounds, lines));
        child.wait().unwrap();
    })
    .await
    .unwrap();
    let consumer = bench.member(&topic);
    let got = tokio::time::timeout(SOON, consumer.receive()).await.expect("what Java sent is read").unwrap();
    assert_eq!(text(&got), "x".repeat(10_000));
    consumer.close(CLOSE).await.unwrap();
}

/// A message that comes while a broker sets a pull aside does not wake it up. Here brokers wake none up at all: without a look of its own the
/// member would have it after the 15 s for which a pull is held.
async fn what_comes_while_a_pull_is_set_aside_is_not_overlooked(line: RocketLine) {
    let settings = vec![("longPollingEnable", "false".to_owned()), ("shortPollingTimeMills", "60000".to_owned())];
    let bench = Bench::start(RocketWish { settings, ..RocketWish::one(line) }).await;
    let topic = bench.topic("overlooked", 1);
    bench.send(&topic, 0..8).await;
    // The message has so long to get into its queue.
    let waits = Waits { overlooked: Duration::from_secs(3), ..Waits::default() };
    let consumer = bench.member_with(&earliest(&topic), waits);
    receive_all(&consumer, 0..8).await;
    let producer = bench.producer();
    for number in 8..10_u32 {
        producer.send(Outgoing::new(topic.clone(), number.to_string())).await.unwrap();
        let got = tokio::time::timeout(Duration::from_secs(9), consumer.receive()).await.expect("it is asked for again").unwrap();
        assert_eq!(text(&got), number.to_string());
        consumer.done(&got).unwrap();
    }
    consumer.close(CLOSE).await.unwrap();
    producer.close(CLOSE).await;
}

/// A broker looks each 5 s which pulls it has held for long enough, so that its answer may come that much later, and the place is in this one answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_heard_after_a_long_silence_on_rocketmq_5() {
    let bench = Bench::start(RocketWish::one(RocketLine::V5)).await;
    let topic = bench.topic("silence", 10);
    // Every queue has been looked at twice before the group is set back, and who gives up too early misses the answer.
    let (overlooked, wait) = (Duration::from_millis(10), Duration::from_secs(6));
    let waits = Waits { overlooked, first_back_off: wait, longest_back_off: wait, ..Waits::default() };
    let consumer = bench.member_with(&earliest(&topic), waits);
    until("the queues are its own", || consumer.assigned().len() == 10).await;
    // A queue after the other begins to be held, at ten times within one of the broker's looks and the next.
    let producer = bench.producer();
    let mut pace = tokio::time::interval(Duration::from_millis(500));
    for number in 0..10_u32 {
        pace.tick().await;
        producer.send(Outgoing::new(topic.clone(), number.to_string())).await.unwrap();
        receive_all(&consumer, number..number + 1).await;
    }
    pace.tick().await;
    open::admin(BrokerKind::RocketMq, &bench.endpoint())
        .unwrap()
        .ensure_offsets(&topic, &topic, &OffsetWish::Earliest)
        .await
        .unwrap();
    receive_all(&consumer, 0..10).await;
    consumer.close(CLOSE).await.unwrap();
    producer.close(CLOSE).await;
}

async fn all(line: RocketLine) {
    let mut bench = Bench::start(RocketWish { masters: 2, ..RocketWish::one(line) }).await;
    println!("RocketMQ {:?}", bench.line);
    what_java_compressed_is_read(&bench).await;
    first_commits_of_many_queues_are_kept(&bench).await;
    a_group_that_is_set_back_reads_again(&bench).await;
    if line == RocketLine::V5 {
        a_place_is_heeded_whichever_request_hears_of_it(&bench).await;
    }
    a_group_that_stands_beyond_the_end_of_a_new_queue_reads_all_of_it(&bench).await;
    a_topic_that_goes_is_missing_and_may_come_again(&bench).await;
    latest::brokers_say_where_a_time_is(&bench).await;
    latest::a_latest_group_reads_all_of_queues_that_are_made_later(&bench).await;
    latest::of_a_queue_that_is_seen_later_a_latest_group_reads_what_came_since(&bench).await;
    latest::a_broadcast_goes_on_where_it_stood(&bench).await;
    ordered::a_queue_in_order_has_one_handler_though_members_come_and_go(&bench).await;
    a_broker_that_hangs_delays_no_other(&bench).await;
    a_broker_that_died_comes_back(&mut bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_pull_is_set_aside_is_not_overlooked_on_rocketmq_5() {
    what_comes_while_a_pull_is_set_aside_is_not_overlooked(RocketLine::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_pull_is_set_aside_is_not_overlooked_on_rocketmq_4() {
    what_comes_while_a_pull_is_set_aside_is_not_overlooked(RocketLine::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_go_on_whatever_happens_around_them_on_rocketmq_5() {
    all(RocketLine::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_go_on_whatever_happens_around_them_on_rocketmq_4() {
    all(RocketLine::V4).await;
}

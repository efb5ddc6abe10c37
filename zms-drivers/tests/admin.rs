//! One contract for what operators do: the same cases on the cluster in memory, on Kafka 4 and 3.9, plain and with TLS and SCRAM-SHA-512, and on
//! RocketMQ 5.5.0 and 4.9.7. What only RocketMQ has (several masters, slaves, name servers) is in `admin/masters.rs`.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[macro_use]
mod support;

#[path = "admin/bench.rs"]
mod bench;
#[path = "admin/cases.rs"]
mod cases;
#[path = "admin/masters.rs"]
mod masters;
#[path = "admin/rocketmq.rs"]
mod rocketmq;

use std::time::Duration;

use bench::{Bench, FakeBench, RealBench};
use rocketmq::RocketMqBench;
use zms_core::metadata::BrokerKind;
use zms_drivers::broker::{BrokerError, Ensured, TopicWish};
use zms_drivers::open;
use zms_testbed::{Kafka, KafkaLine, KafkaWish, RocketLine, RocketMq, RocketWish};

async fn run(bench: &dyn Bench) -> usize {
    run!(cases::ALL, bench)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_kafka_pass_the_same_cases() {
    let on_fake = run(&FakeBench::new()).await;
    println!("contract kafka-admin: {on_fake} cases on fake");
    let kafka = pass_on_kafka(KafkaLine::V4, false).await;
    cases::a_group_of_kip_848_is_described(&RealBench::new(&kafka, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_with_tls_and_scram_passes_them_too() {
    let kafka = pass_on_kafka(KafkaLine::V4, true).await;
    refused_operators_are_told_so(&kafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_3_passes_them_too() {
    drop(pass_on_kafka(KafkaLine::V3, true).await);
}

async fn pass_on_kafka(line: KafkaLine, secure: bool) -> Kafka {
    let wish = KafkaWish { line, secure, ..KafkaWish::default() };
    let kafka = tokio::task::spawn_blocking(move || Kafka::start(wish)).await.unwrap();
    let bench = RealBench::new(&kafka, secure);
    let on_real = run(&bench).await;
    println!("contract kafka-admin: {on_real} cases on {}", bench.name());
    kafka
}

async fn pass_on_rocketmq(line: RocketLine, name: &'static str) {
    let start = move || RocketMq::start(&RocketWish::one(line));
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let on_real = run(&RocketMqBench { server: &server, name }).await;
    println!("contract rocketmq-admin: {on_real} cases on {name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmq_5_passes_them_too() {
    pass_on_rocketmq(RocketLine::V5, "rocketmq-5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmq_4_passes_them_too() {
    pass_on_rocketmq(RocketLine::V4, "rocketmq-4").await;
}

/// What the fake cannot play: wrong credentials, and a broker that nobody vouches for.
async fn refused_operators_are_told_so(kafka: &Kafka) {
    let right = RealBench::new(kafka, true).endpoint();
    let mut wrong_password = right.clone();
    wrong_password.credentials.as_mut().unwrap().password = "wrong".to_owned();
    let mut wrong_authority = right.clone();
    wrong_authority.authority_pem = Some(zms_testbed::Certificates::new().authority_pem);
    for endpoint in [wrong_password, wrong_authority] {
        let seen = open::admin(BrokerKind::Kafka, &endpoint).unwrap().describe().await;
        assert!(matches!(seen, Err(BrokerError::Denied { .. })), "{seen:?}");
    }
}

#[test]
fn a_password_does_not_travel_in_the_open() {
    let mut endpoint = open::Endpoint::plain("main", ["127.0.0.1:9"]);
    let mechanism = open::Mechanism::Plain;
    endpoint.credentials = Some(open::Credentials { mechanism, user: "zms".to_owned(), password: "secret".to_owned() });
    assert!(matches!(open::admin(BrokerKind::Kafka, &endpoint), Err(BrokerError::Refused { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_though_one_of_three_brokers_is_dead() {
    let mut kafka = tokio::task::spawn_blocking(|| Kafka::start(KafkaWish { brokers: 3, ..KafkaWish::default() })).await.unwrap();
    let mut endpoint = RealBench::new(&kafka, false).endpoint();
    endpoint.deadline = Duration::from_secs(60);
    let admin = open::admin(BrokerKind::Kafka, &endpoint).unwrap();
    let wish = |text: &str, replicas| TopicWish { name: bench::name(text), partitions: 6, replicas, config: Default::default() };
    assert_eq!(admin.ensure_topic(&wish("before", 3)).await, Ok(Ensured::Made));
    kafka.kill(2);
    assert_eq!(admin.ensure_topic(&wish("after", 2)).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_topic(&wish("before", 3)).await, Ok(Ensured::There), "with fewer in sync, but as wished");
    // Its partitions get other leaders, each of which hears of that a moment later: until then nobody knows where they end.
    let (before, end) = (bench::name("before"), tokio::time::Instant::now() + Duration::from_secs(60));
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    loop {
        looks.tick().await;
        let ends = admin.ends(&before).await.unwrap();
        if ends.values().all(Option::is_some) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{ends:?}");
    }
    assert_eq!(admin.ensure_topic_gone(&bench::name("after")).await, Ok(Ensured::Made));
    assert_eq!(admin.describe().await.unwrap().brokers.len(), 2);
}

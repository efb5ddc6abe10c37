//! One contract for everything that sends and consumes: the same cases on the cluster in memory, on Kafka 4 and 3.9, plain and with TLS and
//! SCRAM-SHA-512, and on RocketMQ 5.5.0 and 4.9.7. What only some kinds can is in `clients/only.rs`.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[macro_use]
mod support;

#[path = "clients/bench.rs"]
mod bench;
#[path = "clients/cases.rs"]
mod cases;
#[path = "clients/kafka.rs"]
mod kafka;
#[path = "clients/only.rs"]
mod only;
#[path = "clients/rocketmq.rs"]
mod rocketmq;

use std::time::Duration;

use bench::{Bench, FakeBench};
use cases::run;
use kafka::RealBench;
use rocketmq::RocketMqBench;
use zms_drivers::broker::BrokerError;
use zms_testbed::{Kafka, KafkaLine, RocketLine, RocketMq, RocketWish};

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_kafka_pass_the_same_cases() {
    let on_fake = run(&FakeBench::new()).await;
    println!("contract kafka-clients: {on_fake} cases on fake");
    drop(pass_on_kafka(KafkaLine::V4, false).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_with_tls_and_scram_passes_them_too() {
    let server = pass_on_kafka(KafkaLine::V4, true).await;
    refused_clients_are_told_so(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_3_passes_them_too() {
    drop(pass_on_kafka(KafkaLine::V3, true).await);
}

async fn pass_on_kafka(line: KafkaLine, secure: bool) -> Kafka {
    let server = tokio::task::spawn_blocking(move || kafka::start(line)).await.unwrap();
    let bench = RealBench::new(&server, secure);
    let on_real = run(&bench).await;
    println!("contract kafka-clients: {on_real} cases on {}", bench.name());
    server
}

async fn pass_on_rocketmq(line: RocketLine, name: &'static str) {
    let start = move || RocketMq::start(&RocketWish::one(line));
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let on_real = run(&RocketMqBench { server: &server, name, new: line == RocketLine::V5 }).await;
    println!("contract rocketmq-clients: {on_real} cases on {name}");
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
async fn refused_clients_are_told_so(server: &Kafka) {
    let topic = bench::name("refused");
    let right = RealBench::new(server, true);
    right.make_topic(&topic, 1).await;
    let mut wrong_password = right.endpoint();
    wrong_password.credentials.as_mut().unwrap().password = "wrong".to_owned();
    let mut wrong_authority = right.endpoint();
    wrong_authority.authority_pem = Some(zms_testbed::Certificates::new().authority_pem);
    for endpoint in [wrong_password, wrong_authority] {
        let producer = kafka::producer(&endpoint, Duration::from_secs(3));
        let sent = producer.send(bench::message(&topic, Some("k"), "v")).await;
        assert!(matches!(sent, Err(BrokerError::Denied { .. })), "send: {sent:?}");
        let warmed = producer.warm(&topic).await;
        assert!(matches!(warmed, Err(BrokerError::Denied { .. })), "warm: {warmed:?}");
        let consumer = kafka::consumer(&endpoint, &bench::subscription("refused", &topic));
        let received = tokio::time::timeout(Duration::from_secs(20), consumer.receive()).await.expect("refused, not silent");
        assert!(matches!(received, Err(BrokerError::Denied { .. })), "receive: {received:?}");
    }
}

//! One contract for what collectors ask: the same cases on the cluster in memory, on Kafka 4 and 3.9, plain and with TLS and SCRAM-SHA-512, and on
//! RocketMQ 5.5.0 and 4.9.7.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[macro_use]
mod support;

#[path = "admin/bench.rs"]
#[allow(dead_code, reason = "operators need more of it than collectors")]
mod bench;
#[path = "scraper/cases.rs"]
mod cases;
#[path = "scraper/lost.rs"]
mod lost;
#[path = "admin/rocketmq.rs"]
mod rocketmq;
#[path = "scraper/rocketmq_lost.rs"]
mod rocketmq_lost;

use std::time::Duration;

use bench::{FakeBench, RealBench};
use cases::Scraped;
use rocketmq::RocketMqBench;
use zms_core::metadata::BrokerKind;
use zms_drivers::broker::{BrokerError, Scraper};
use zms_drivers::kafka::{KafkaScraper, Pace};
use zms_drivers::open;
use zms_drivers::rocketmq::{Pace as RocketMqPace, RocketMqScraper};
use zms_testbed::{Kafka, KafkaLine, KafkaWish, RocketLine, RocketMq, RocketWish};

impl Scraped for FakeBench {
    fn scraper(&self) -> Box<dyn Scraper> {
        self.0.scraper()
    }

    fn lost_scraper(&self) -> Box<dyn Scraper> {
        let lost = zms_drivers::broker::fake::FakeCluster::new("lost", 1);
        lost.cut();
        lost.scraper()
    }
}

impl Scraped for RealBench<'_> {
    fn scraper(&self) -> Box<dyn Scraper> {
        let mut scraper = KafkaScraper::new(&self.endpoint()).unwrap();
        scraper.pace = Pace { refresh: Duration::ZERO, rarely: 1 };
        Box::new(scraper)
    }

    fn lost_scraper(&self) -> Box<dyn Scraper> {
        let nobody = open::Endpoint::plain("lost", [format!("127.0.0.1:{}", zms_testbed::free_port())]);
        open::scraper(BrokerKind::Kafka, &nobody).unwrap()
    }
}

impl Scraped for RocketMqBench<'_> {
    fn scraper(&self) -> Box<dyn Scraper> {
        let mut scraper = RocketMqScraper::new(&self.endpoint()).unwrap();
        scraper.pace = RocketMqPace { refresh: Duration::ZERO, idle: Duration::ZERO, rarely: 1, ..RocketMqPace::default() };
        Box::new(scraper)
    }

    fn lost_scraper(&self) -> Box<dyn Scraper> {
        let nobody = open::Endpoint::plain("lost", [format!("127.0.0.1:{}", zms_testbed::free_port())]);
        open::scraper(BrokerKind::RocketMq, &nobody).unwrap()
    }

    fn round_trips(&self) -> u32 {
        3
    }
}

async fn run(bench: &dyn Scraped) -> usize {
    run!(cases::ALL, bench)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_kafka_pass_the_same_cases() {
    let on_fake = run(&FakeBench::new()).await;
    let kafka = tokio::task::spawn_blocking(|| Kafka::start(KafkaWish { secure: true, ..KafkaWish::default() })).await.unwrap();
    let mut on_real = 0;
    for secure in [false, true] {
        on_real += run(&RealBench::new(&kafka, secure)).await;
    }
    let plain = RealBench::new(&kafka, false);
    cases::a_steady_tick_has_two_round_trips_and_few_requests(&plain).await;
    cases::a_topic_that_went_is_noticed_before_metadata_is_due(&plain).await;
    on_real += 2;
    println!("contract kafka-scraper: {on_fake} cases on fake, {on_real} on real");
    refused_collectors_are_told_so(&kafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_3_passes_them_too() {
    let wish = KafkaWish { line: KafkaLine::V3, secure: true, ..KafkaWish::default() };
    let kafka = tokio::task::spawn_blocking(move || Kafka::start(wish)).await.unwrap();
    let on_real = run(&RealBench::new(&kafka, true)).await;
    println!("contract kafka-scraper: {on_real} cases on Kafka 3.9");
}

async fn pass_on_rocketmq(line: RocketLine, name: &'static str) {
    let start = move || RocketMq::start(&RocketWish::one(line));
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let bench = RocketMqBench { server: &server, name };
    let on_real = run(&bench).await;
    cases::idle_topics_cost_nothing_and_are_found_when_they_move(&bench).await;
    println!("contract rocketmq-scraper: {} cases on {name}", on_real + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmq_5_passes_them_too() {
    pass_on_rocketmq(RocketLine::V5, "rocketmq-5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmq_4_passes_them_too() {
    pass_on_rocketmq(RocketLine::V4, "rocketmq-4").await;
}

/// What the fake cannot play: wrong credentials.
async fn refused_collectors_are_told_so(kafka: &Kafka) {
    let mut endpoint = RealBench::new(kafka, true).endpoint();
    endpoint.credentials.as_mut().unwrap().password = "wrong".to_owned();
    let seen = open::scraper(BrokerKind::Kafka, &endpoint).unwrap().scrape().await;
    assert!(matches!(seen, Err(BrokerError::Denied { .. })), "{seen:?}");
}

#[tokio::test]
async fn a_silent_broker_of_the_fake_costs_its_partitions_and_groups_only() {
    let bench = FakeBench(zms_drivers::broker::fake::FakeCluster::new("fake", 3));
    let scene = lost::Scene::make(&bench).await;
    let mut scraper = bench.scraper();
    scene.all_is_known(&scraper.scrape().await.unwrap());
    bench.0.silence(3, true);
    scene.broker_3_is_lost(&scraper.scrape().await.unwrap());
    bench.0.silence(3, false);
    scene.all_is_known(&scraper.scrape().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_or_frozen_broker_of_three_costs_its_partitions_and_groups_only() {
    let kafka = tokio::task::spawn_blocking(|| Kafka::start(KafkaWish { brokers: 3, ..KafkaWish::default() })).await.unwrap();
    lost::a_frozen_broker_and_then_a_dead_one(kafka).await;
}

//! What applications report about their sending and consuming.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use zms_core::collect::{ConsumerFigures, MetadataStore, ProducerFigures};
use zms_core::metadata::ClientId;
use zms_core::names::PhysicalName;
use zms_core::series::{Measurement, Point, ZMS_CONSUMER, ZMS_CONSUMER_SUM, ZMS_PRODUCER, ZMS_PRODUCER_SUM};
use zms_core::statistics::{Consuming, Histogram, Producing, Report};
use zms_sdk::{ClientFile, Received, Zms};

use crate::board::{Board, lock};
use crate::news::News;
use crate::now_ms;
use crate::sink::Sink;

/// Collectors read reports with this group, made by the portal.
pub const GROUP: &str = "zms_collector";
/// A client that has not reported for so long does not send or consume any more; reports come each 10 s.
const STALE_MS: i64 = 20_000;
/// Clients that are remembered; more are counted as unreadable.
const MOST: usize = 200_000;
/// Before it is tried again to consume.
const AGAIN: Duration = Duration::from_secs(5);

/// The last report of each client.
#[derive(Debug, Default)]
pub struct Applications {
    windows: BTreeMap<ClientId, Window>,
    unreadable: u64,
    heard: u64,
}

#[derive(Debug)]
struct Window {
    report: Report,
    heard_ms: i64,
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "a window of milliseconds is far below 2^52")]
    fn rate(&self, count: u64) -> f64 {
        count as f64 * 1000.0 / self.report.window_ms.max(1) as f64
    }
}

impl Applications {
    /// A message came; the points that it gives, one a topic. A report that cannot be read is counted.
    pub fn take(&mut self, bytes: &[u8], now_ms: i64) -> Vec<Point> {
        let report = match Report::parse(bytes) {
            Ok(report) if self.windows.len() < MOST || self.windows.contains_key(&report.client) => report,
            Ok(_) => {
                self.unreadable += 1;
                return Vec::new();
            }
            Err(why) => {
                tracing::debug!(why, "a report cannot be read");
                self.unreadable += 1;
                return Vec::new();
            }
        };
        self.heard += 1;
        let window = Window { report, heard_ms: now_ms };
        let points = window.points(now_ms);
        self.windows.insert(window.report.client.clone(), window);
        points
    }

    /// Who sends and who consumes, and how many reports could not be read.
    pub fn figures(&mut self, now_ms: i64) -> (Vec<ProducerFigures>, Vec<ConsumerFigures>, u64) {
        self.windows.retain(|_, window| now_ms - window.heard_ms <= STALE_MS);
        let producers = self.windows.values().flat_map(Window::producers).collect();
        let consumers = self.windows.values().flat_map(Window::consumers).collect();
        (producers, consumers, self.unreadable)
    }

    /// Reports that were read, and that could not be.
    pub const fn counts(&self) -> (u64, u64) {
        (self.heard, self.unreadable)
    }

    /// All clients of an application on a topic together: a point each, at `at_ms`.
    pub fn sums(&self, at_ms: i64, now_ms: i64) -> Vec<Point> {
        let mut producers: BTreeMap<[&str; 3], Sum> = BTreeMap::new();
        let mut consumers: BTreeMap<[&str; 4], Sum> = BTreeMap::new();
        for window in self.windows.values().filter(|window| now_ms - window.heard_ms <= STALE_MS) {
            let application = window.report.application.as_str();
            for one in &window.report.producers {
                let key = [one.cluster.as_str(), one.topic.as_str(), application];
                producers.entry(key).or_default().add(window, one.sent, one.failed, one.bytes, &one.latency_us);
            }
            for one in &window.report.consumers {
                let key = [one.cluster.as_str(), one.topic.as_str(), one.group.as_str(), application];
                consumers.entry(key).or_default().add(window, one.done, one.failed, one.bytes, &one.handle_us);
            }
        }
        let mut points: Vec<Point> = producers.iter().map(|(tags, sum)| sum.point(&ZMS_PRODUCER_SUM, tags, at_ms)).collect();
        points.extend(consumers.iter().map(|(tags, sum)| sum.point(&ZMS_CONSUMER_SUM, tags, at_ms)));
        points
    }
}

/// Windows added up.
#[derive(Debug, Default)]
struct Sum {
    clients: u32,
    rate: f64,
    failed: f64,
    bytes: f64,
    times: Histogram,
}

impl Sum {
    fn add(&mut self, window: &Window, done: u64, failed: u64, bytes: u64, times: &Histogram) {
        self.clients += 1;
        self.rate += window.rate(done);
        self.failed += window.rate(failed);
        self.bytes += window.rate(bytes);
        self.times.merge(times);
    }

    fn point(&self, measurement: &'static Measurement, tags: &[&str], at_ms: i64) -> Point {
        Point::new(measurement, tags, at_ms)
            .with("rate", Some(self.rate))
            .with("failed", Some(self.failed))
            .with("bytes_rate", Some(self.bytes))
            .with("p50_ms", quantile_ms(&self.times, 0.5))
            .with("p95_ms", quantile_ms(&self.times, 0.95))
            .with("p99_ms", quantile_ms(&self.times, 0.99))
            .with("max_ms", quantile_ms(&self.times, 1.0))
            .with_whole("clients", Some(self.clients))
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a call are far below 2^52")]
fn quantile_ms(times: &Histogram, share: f64) -> Option<f64> {
    times.quantile(share).map(|us| us as f64 / 1000.0)
}

impl Window {
    fn producers(&self) -> impl Iterator<Item = ProducerFigures> {
        self.report.producers.iter().filter_map(|one: &Producing| {
            Some(ProducerFigures {
                topic: PhysicalName::new(one.topic.as_str()).ok()?,
                application: self.report.application.clone(),
                client: self.report.client.to_string(),
                ip: self.report.ip.clone(),
                at_ms: self.heard_ms,
                rate: self.rate(one.sent),
                failed: self.rate(one.failed),
                p99_ms: quantile_ms(&one.latency_us, 0.99),
            })
        })
    }

    fn consumers(&self) -> impl Iterator<Item = ConsumerFigures> {
        self.report.consumers.iter().filter_map(|one: &Consuming| {
            Some(ConsumerFigures {
                group: PhysicalName::new(one.group.as_str()).ok()?,
                topic: PhysicalName::new(one.topic.as_str()).ok()?,
                application: self.report.application.clone(),
                client: self.report.client.to_string(),
                ip: self.report.ip.clone(),
                at_ms: self.heard_ms,
                rate: self.rate(one.done),
                failed: self.rate(one.failed),
                p99_ms: quantile_ms(&one.handle_us, 0.99),
            })
        })
    }

    fn points(&self, now_ms: i64) -> Vec<Point> {
        // A clock that is ahead would put points where no chart looks.
        let at_ms = self.report.at_ms.min(now_ms);
        let (application, client) = (self.report.application.as_str(), self.report.client.as_str());
        let times = |point: Point, times: &Histogram| {
            point
                .with("p50_ms", quantile_ms(times, 0.5))
                .with("p95_ms", quantile_ms(times, 0.95))
                .with("p99_ms", quantile_ms(times, 0.99))
                .with("max_ms", quantile_ms(times, 1.0))
        };
        let producer = |one: &Producing| {
            let point = Point::new(&ZMS_PRODUCER, &[&one.cluster, &one.topic, application, client], at_ms)
                .with("rate", Some(self.rate(one.sent)))
                .with("failed", Some(self.rate(one.failed)))
                .with("bytes_rate", Some(self.rate(one.bytes)))
                .with("size_avg", one.size.mean());
            times(point, &one.latency_us)
        };
        let consumer = |one: &Consuming| {
            let point = Point::new(&ZMS_CONSUMER, &[&one.cluster, &one.topic, &one.group, application, client], at_ms)
                .with("rate", Some(self.rate(one.done)))
                .with("failed", Some(self.rate(one.failed)))
                .with("bytes_rate", Some(self.rate(one.bytes)));
            times(point, &one.handle_us)
        };
        self.report.producers.iter().map(producer).chain(self.report.consumers.iter().map(consumer)).collect()
    }
}

/// Consumes reports until the future is dropped.
pub async fn follow(metadata: MetadataStore, folder: &Path, board: Arc<Board>, sink: Sink) {
    let mut news = News::default();
    loop {
        let why = match consume(&metadata, folder, &board, &sink).await {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        };
        // Until the environment has its first cluster there are no reports.
        if news.is_new(&why) {
            tracing::info!(why, "reports of applications are not read yet");
        }
        sleep(AGAIN).await;
    }
}

async fn consume(metadata: &MetadataStore, folder: &Path, board: &Arc<Board>, sink: &Sink) -> Result<Infallible, zms_sdk::Error> {
    let secure = !metadata.authority.is_empty();
    let client = ClientFile {
        environment: None,
        zookeeper: metadata.addresses.clone(),
        authority: secure.then(|| metadata.authority.clone()),
        user: secure.then(|| metadata.login.user.clone()),
        password: secure.then(|| metadata.login.password.clone()),
    };
    let zms =
        Zms::builder().application("zms-collector").client(client).cache(folder.join("sdk")).without_statistics().connect()?;
    let (board, sink) = (board.clone(), sink.clone());
    let handler = move |message: Received| {
        sink.push(lock(&board.applications).take(message.bytes(), now_ms()));
        std::future::ready(Ok::<(), Infallible>(()))
    };
    let consuming = zms.consumer(GROUP)?.handle(handler).await?;
    tracing::info!("reports of applications are read");
    // Until the future is dropped, and with it the client.
    let never = std::future::pending().await;
    drop(consuming);
    Ok(never)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(client: &str, sent: u64) -> Vec<u8> {
        let mut latency_us = Histogram::default();
        latency_us.record(2_000);
        let producing = Producing { topic: "orders".into(), cluster: "main".into(), sent, latency_us, ..Producing::default() };
        let consuming = Consuming {
            group: "billing".into(),
            topic: "orders".into(),
            cluster: "main".into(),
            done: 5,
            ..Consuming::default()
        };
        let mut report: Report =
            serde_json::from_value(serde_json::json!({ "client": client, "at_ms": 1_000, "window_ms": 10_000 })).unwrap();
        (report.application, report.producers, report.consumers) = ("shop".into(), vec![producing], vec![consuming]);
        report.to_bytes()
    }

    const ONE: &str = "01JD8Z3V9Q4M5N6P7R8S9TAVWX";
    const TWO: &str = "01JD8Z3V9Q4M5N6P7R8S9TAVWY";

    #[test]
    fn clients_of_one_application_are_added_up_and_the_last_window_of_each_counts() {
        let mut applications = Applications::default();
        let points = applications.take(&report(ONE, 10), 1_000);
        assert_eq!(points.iter().map(|point| point.measurement.name).collect::<Vec<_>>(), ["zms_producer", "zms_consumer"]);
        applications.take(&report(ONE, 20), 11_000);
        applications.take(&report(TWO, 30), 11_000);
        let sums = applications.sums(20_000, 20_000);
        let field = |name| sums[0].fields.iter().find(|(field, _)| *field == name).map(|(_, number)| *number);
        assert_eq!(field("rate"), Some(zms_core::series::Number::Broken(5.0)));
        assert_eq!(field("clients"), Some(zms_core::series::Number::Whole(2)));
        let (producers, consumers, _) = applications.figures(20_000);
        assert_eq!((producers.len(), consumers.len(), producers[0].rate), (2, 2, 2.0));
    }

    #[test]
    fn who_has_not_reported_for_long_is_gone_and_garbage_is_counted() {
        let mut applications = Applications::default();
        applications.take(&report(ONE, 10), 1_000);
        applications.take(b"garbage", 1_000);
        assert_eq!(applications.figures(1_000 + STALE_MS).0.len(), 1);
        let (producers, consumers, unreadable) = applications.figures(1_001 + STALE_MS);
        assert_eq!((producers.len(), consumers.len(), unreadable), (0, 0, 1));
    }

    #[test]
    fn a_clock_that_is_ahead_is_held_back() {
        let points = Applications::default().take(&report(ONE, 1), 400);
        assert!(points.iter().all(|point| point.at_ms == 400));
    }
}

//! What applications report about their sending and consuming.
//!
//! 1. This file: reports of our SDK, and how all of them are read. 2. `java`: those of the first ZMS's clients; `places`: where those
//!    are. 3. `sum`: an application's clients added up.

mod java;
mod places;
mod sum;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use zms_core::collect::{ConsumerFigures, MetadataStore, ProducerFigures};
use zms_core::metadata::ClientId;
use zms_core::names::PhysicalName;
use zms_core::series::{Point, ZMS_CONSUMER, ZMS_CONSUMER_SUM, ZMS_PRODUCER, ZMS_PRODUCER_SUM};
use zms_core::statistics::java::{JavaReport, Side};
use zms_core::statistics::{Consuming, GROUP, Producing, Report};
use zms_drivers::meta::MetaStore;
use zms_sdk::{ClientFile, Received, Zms};

use crate::board::{Board, lock};
use crate::news::News;
use crate::now_ms;
use crate::sink::Sink;
use java::JavaClients;
use places::{Place, Places};
use sum::{Sum, quantile_ms, times_of, with_times};

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
    java: JavaClients,
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
            Ok(report) if self.len() < MOST || self.windows.contains_key(&report.client) => report,
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

    /// A message of a Java client came, and where that client is; its point. What cannot be read or placed is counted.
    pub fn take_java(&mut self, read: Result<(JavaReport, Place), String>, now_ms: i64) -> Option<Point> {
        let point = match read {
            Ok((report, _)) if report.is_about_reports() => return None,
            Ok((report, place)) if self.len() < MOST => self.java.take(report, place, now_ms),
            Ok(_) => None,
            Err(why) => {
                tracing::debug!(why, "a report of a Java client cannot be read");
                None
            }
        };
        match point {
            Some(_) => self.heard += 1,
            None => self.unreadable += 1,
        }
        point
    }

    fn len(&self) -> usize {
        self.windows.len() + self.java.len()
    }

    /// Who sends and who consumes, and how many reports could not be read.
    pub fn figures(&mut self, now_ms: i64) -> (Vec<ProducerFigures>, Vec<ConsumerFigures>, u64) {
        self.windows.retain(|_, window| now_ms - window.heard_ms <= STALE_MS);
        self.java.forget(now_ms);
        let producers = self.windows.values().flat_map(Window::producers).chain(self.java.producers()).collect();
        let consumers = self.windows.values().flat_map(Window::consumers).chain(self.java.consumers()).collect();
        (producers, consumers, self.unreadable)
    }

    /// Reports that were read, and that could not be.
    pub const fn counts(&self) -> (u64, u64) {
        (self.heard, self.unreadable)
    }

    /// All clients of an application on a topic together: a point each, at `at_ms`.
    pub fn sums(&self, at_ms: i64, now_ms: i64) -> Vec<Point> {
        let mut producers: BTreeMap<[&str; 4], Sum> = BTreeMap::new();
        let mut consumers: BTreeMap<[&str; 5], Sum> = BTreeMap::new();
        for window in self.windows.values().filter(|window| now_ms - window.heard_ms <= STALE_MS) {
            let (application, language) = (window.report.application.as_str(), window.report.language.as_str());
            for one in &window.report.producers {
                let key = [one.cluster.as_str(), one.topic.as_str(), application, language];
                let sum = producers.entry(key).or_default();
                sum.add(Some(window.rate(one.sent)), Some(window.rate(one.failed)), Some(window.rate(one.bytes)));
                sum.took(&one.latency_us);
            }
            for one in &window.report.consumers {
                let key = [one.cluster.as_str(), one.topic.as_str(), one.group.as_str(), application, language];
                let sum = consumers.entry(key).or_default();
                sum.add(Some(window.rate(one.done)), Some(window.rate(one.failed)), Some(window.rate(one.bytes)));
                sum.took(&one.handle_us);
            }
        }
        let mut points: Vec<Point> = producers.iter().map(|(tags, sum)| sum.point(&ZMS_PRODUCER_SUM, tags, at_ms)).collect();
        points.extend(consumers.iter().map(|(tags, sum)| sum.point(&ZMS_CONSUMER_SUM, tags, at_ms)));
        points.extend(self.java.sums(at_ms, now_ms));
        points
    }
}

impl Window {
    fn producers(&self) -> impl Iterator<Item = ProducerFigures> {
        self.report.producers.iter().filter_map(|one: &Producing| {
            Some(ProducerFigures {
                topic: PhysicalName::new(one.topic.as_str()).ok()?,
                application: self.report.application.clone(),
                client: self.report.client.to_string(),
                language: self.report.language.clone(),
                ip: self.report.ip.clone(),
                at_ms: self.heard_ms,
                rate: Some(self.rate(one.sent)),
                failed: Some(self.rate(one.failed)),
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
                language: self.report.language.clone(),
                ip: self.report.ip.clone(),
                at_ms: self.heard_ms,
                rate: Some(self.rate(one.done)),
                failed: Some(self.rate(one.failed)),
                p99_ms: quantile_ms(&one.handle_us, 0.99),
            })
        })
    }

    fn points(&self, now_ms: i64) -> Vec<Point> {
        // A clock that is ahead would put points where no chart looks.
        let at_ms = self.report.at_ms.min(now_ms);
        let (application, client) = (self.report.application.as_str(), self.report.client.as_str());
        let language = self.report.language.as_str();
        let producer = |one: &Producing| {
            let point = Point::new(&ZMS_PRODUCER, &[&one.cluster, &one.topic, application, client, language], at_ms)
                .with("rate", Some(self.rate(one.sent)))
                .with("failed", Some(self.rate(one.failed)))
                .with("bytes_rate", Some(self.rate(one.bytes)))
                .with("size_avg", one.size.mean());
            with_times(point, times_of(&one.latency_us))
        };
        let consumer = |one: &Consuming| {
            let point = Point::new(&ZMS_CONSUMER, &[&one.cluster, &one.topic, &one.group, application, client, language], at_ms)
                .with("rate", Some(self.rate(one.done)))
                .with("failed", Some(self.rate(one.failed)))
                .with("bytes_rate", Some(self.rate(one.bytes)));
            with_times(point, times_of(&one.handle_us))
        };
        self.report.producers.iter().map(producer).chain(self.report.consumers.iter().map(consumer)).collect()
    }
}

/// Consumes reports until the future is dropped.
pub async fn follow(store: Arc<dyn MetaStore>, metadata: MetadataStore, folder: &Path, board: Arc<Board>, sink: Sink) {
    let zms = loop {
        match connect(&metadata, folder) {
            Ok(zms) => break zms,
            Err(error) => tracing::warn!(%error, "reports of applications cannot be read"),
        }
        sleep(AGAIN).await;
    };
    let ours = {
        let (board, sink) = (board.clone(), sink.clone());
        move |message: Received| {
            sink.push(lock(&board.applications).take(message.bytes(), now_ms()));
            std::future::ready(Ok::<(), Infallible>(()))
        }
    };
    let places = Arc::new(Places::new(store));
    let java = |side| {
        let (board, sink, places) = (board.clone(), sink.clone(), places.clone());
        move |message: Received| {
            let (board, sink, places) = (board.clone(), sink.clone(), places.clone());
            async move {
                let read = async {
                    let report = JavaReport::parse(side, message.bytes())?;
                    let place =
                        places.of(&report).await.ok_or_else(|| format!("{} is no group of this environment", report.name))?;
                    Ok((report, place))
                };
                let read = read.await;
                sink.push(lock(&board.applications).take_java(read, now_ms()).into_iter().collect());
                Ok::<(), Infallible>(())
            }
        }
    };
    tokio::join!(
        consume(&zms, GROUP, ours),
        consume(&zms, Side::Producer.group(), java(Side::Producer)),
        consume(&zms, Side::Consumer.group(), java(Side::Consumer)),
    );
}

fn connect(metadata: &MetadataStore, folder: &Path) -> Result<Zms, zms_sdk::Error> {
    let secure = !metadata.authority.is_empty();
    let client = ClientFile {
        environment: None,
        zookeeper: metadata.addresses.clone(),
        authority: secure.then(|| metadata.authority.clone()),
        user: secure.then(|| metadata.login.user.clone()),
        password: secure.then(|| metadata.login.password.clone()),
    };
    Zms::builder().application("zms-collector").client(client).cache(folder.join("sdk")).without_statistics().connect()
}

/// Hands messages of a group to a handler, until the future is dropped.
async fn consume<H, F>(zms: &Zms, group: &str, handler: H)
where
    H: Fn(Received) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Infallible>> + Send + 'static,
{
    let mut news = News::default();
    loop {
        let begun = async { zms.consumer(group)?.handle(handler.clone()).await };
        match begun.await {
            Ok(consuming) => {
                tracing::info!(group, "reports of applications are read");
                // Until the future is dropped, and with it the client.
                std::future::pending::<()>().await;
                drop(consuming);
            }
            Err(error) => {
                // Until the environment has its first cluster there are no reports.
                if news.is_new(&error.to_string()) {
                    tracing::info!(group, why = %error, "reports of applications are not read yet");
                }
                sleep(AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use zms_core::statistics::Histogram;

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
        assert_eq!((producers.len(), consumers.len(), producers[0].rate), (2, 2, Some(2.0)));
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
    fn reports_of_java_clients_stand_beside_ours_and_those_about_reports_do_not() {
        let mut applications = Applications::default();
        applications.take(&report(ONE, 10), 1_000);
        let sample = include_str!("../../../zms-core/tests/golden/java_statistics/producer-kafka.json");
        let java = JavaReport::parse(Side::Producer, sample.as_bytes()).unwrap();
        let place = || Place { topic: PhysicalName::new("orders").unwrap(), cluster: "main".to_owned() };
        let point = applications.take_java(Ok((java.clone(), place())), 1_000).unwrap();
        assert_eq!((point.measurement.name, point.tags.last().map(String::as_str)), ("zms_producer", Some("java")));
        let about = JavaReport { name: PhysicalName::new("zms_statistics").unwrap(), ..java };
        assert!(applications.take_java(Ok((about, place())), 1_000).is_none());
        assert!(applications.take_java(Err("garbage".to_owned()), 1_000).is_none());
        let (producers, _, unreadable) = applications.figures(1_000);
        let seen: Vec<_> = producers.iter().map(|one| (one.application.as_str(), one.language.as_str(), one.rate)).collect();
        assert_eq!((seen, unreadable), (vec![("shop", "", Some(1.0)), ("DEFAULT_PRODUCER", "java", Some(38.5))], 1));
        assert_eq!(applications.sums(1_000, 1_000).len(), 3);
    }

    #[test]
    fn a_clock_that_is_ahead_is_held_back() {
        let points = Applications::default().take(&report(ONE, 1), 400);
        assert!(points.iter().all(|point| point.at_ms == 400));
    }
}

//! What applications report about their sending and consuming.
//!
//! 1. This file: reports of our SDK. 2. `java`: those of the first ZMS's clients; `places`: where those are. 3. `sum`: an application's
//!    clients added up. 4. `bounds`: what all of them may take. 5. [`Reading`]: how all of them are read.

mod bounds;
mod java;
mod places;
mod read;
mod sum;

use std::collections::BTreeMap;

use zms_core::collect::{ConsumerFigures, ProducerFigures};
use zms_core::metadata::ClientId;
use zms_core::names::PhysicalName;
use zms_core::series::{Point, ZMS_CONSUMER, ZMS_CONSUMER_SUM, ZMS_PRODUCER, ZMS_PRODUCER_SUM};
use zms_core::statistics::java::JavaReport;
use zms_core::statistics::{Consuming, Producing, Report};

use bounds::{MOST_BYTES, MOST_CLIENTS, MOST_ENTRIES, Series, cut};
use java::JavaClients;
use places::Place;
pub use read::Reading;
use sum::{Sum, quantile_ms, times_of, with_times};

/// A client that has not reported for so long does not send or consume any more; reports come each 10 s.
const STALE_MS: i64 = 20_000;

/// The last report of each client.
#[derive(Debug, Default)]
pub struct Applications {
    windows: BTreeMap<ClientId, Window>,
    /// Topics and groups in `windows`, and bytes of the messages that they came in.
    held: (usize, usize),
    java: JavaClients,
    series: Series,
    counts: Counts,
}

/// Reports since the collector started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Read.
    pub heard: u64,
    /// Not read: they are no reports.
    pub unreadable: u64,
    /// Clients, topics and groups of them that were left out, as they were too many.
    pub over: u64,
    /// Not sent, as the clients say that were heard later.
    pub dropped: u64,
}

#[derive(Debug)]
struct Window {
    report: Report,
    heard_ms: i64,
    /// Of the message that it came in.
    bytes: usize,
    /// Reports that the client could not send, since it was first heard.
    dropped: u64,
}

impl Window {
    fn entries(&self) -> usize {
        self.report.producers.len() + self.report.consumers.len()
    }

    #[expect(clippy::cast_precision_loss, reason = "a window of milliseconds is far below 2^52")]
    fn rate(&self, count: u64) -> f64 {
        count as f64 * 1000.0 / self.report.window_ms.max(1) as f64
    }
}

impl Applications {
    /// A message came; the points that it gives, one a topic. A report that cannot be read is counted, and so is what is left out of it.
    pub fn take(&mut self, bytes: &[u8], now_ms: i64) -> Vec<Point> {
        let (report, left_out) = match Report::parse(bytes).and_then(cut) {
            Ok(read) => read,
            Err(why) => {
                tracing::debug!(why, "a report cannot be read");
                self.counts.unreadable += 1;
                return Vec::new();
            }
        };
        self.counts.over += left_out;
        self.counts.dropped = self.counts.dropped.saturating_add(report.dropped);
        let before = self.windows.remove(&report.client);
        let mut dropped = report.dropped;
        if let Some(before) = before {
            self.held = (self.held.0 - before.entries(), self.held.1 - before.bytes);
            dropped = dropped.saturating_add(before.dropped);
        }
        let window = Window { report, heard_ms: now_ms, bytes: bytes.len(), dropped };
        let (entries, held) = (self.entries() + window.entries(), self.held.1 + window.bytes);
        if self.len() >= MOST_CLIENTS || entries > MOST_ENTRIES || held > MOST_BYTES {
            self.counts.over += window.entries().max(1) as u64;
            return Vec::new();
        }
        self.counts.heard += 1;
        self.held = (self.held.0 + window.entries(), held);
        let points = window.points(now_ms);
        self.windows.insert(window.report.client.clone(), window);
        self.admitted(points, now_ms)
    }

    /// A message of a Java client came, and where that client is; its point. What cannot be read or placed is counted.
    pub fn take_java(&mut self, read: Result<(JavaReport, Place), String>, now_ms: i64) -> Option<Point> {
        let (report, place) = match read {
            Ok((report, _)) if report.is_about_reports() => return None,
            Ok(read) => read,
            Err(why) => {
                tracing::debug!(why, "a report of a Java client cannot be read");
                self.counts.unreadable += 1;
                return None;
            }
        };
        let room = self.len() < MOST_CLIENTS && self.entries() < MOST_ENTRIES;
        let Some(point) = self.java.take(report, place, now_ms, room) else {
            self.counts.over += 1;
            return None;
        };
        self.counts.heard += 1;
        self.admitted(vec![point], now_ms).pop()
    }

    /// Those of series that reports may write.
    fn admitted(&mut self, mut points: Vec<Point>, now_ms: i64) -> Vec<Point> {
        let made = points.len();
        points.retain(|point| self.series.admit(point, now_ms));
        self.counts.over += (made - points.len()) as u64;
        points
    }

    fn len(&self) -> usize {
        self.windows.len() + self.java.len()
    }

    fn entries(&self) -> usize {
        self.held.0 + self.java.len()
    }

    /// Who sends and who consumes, and how many reports could not be read.
    pub fn figures(&mut self, now_ms: i64) -> (Vec<ProducerFigures>, Vec<ConsumerFigures>, u64) {
        self.windows.retain(|_, window| now_ms - window.heard_ms <= STALE_MS);
        let add = |(entries, bytes), window: &Window| (entries + window.entries(), bytes + window.bytes);
        self.held = self.windows.values().fold((0, 0), add);
        self.java.forget(now_ms);
        let producers = self.windows.values().flat_map(Window::producers).chain(self.java.producers()).collect();
        let consumers = self.windows.values().flat_map(Window::consumers).chain(self.java.consumers()).collect();
        (producers, consumers, self.counts.unreadable)
    }

    /// Reports since the collector started.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// All clients of an application on a topic together: a point each, at `at_ms`.
    pub fn sums(&mut self, at_ms: i64, now_ms: i64) -> Vec<Point> {
        let points = self.summed(at_ms, now_ms);
        self.admitted(points, now_ms)
    }

    fn summed(&self, at_ms: i64, now_ms: i64) -> Vec<Point> {
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
                dropped: Some(self.dropped),
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
                dropped: Some(self.dropped),
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

#[cfg(test)]
mod tests {
    use zms_core::statistics::Histogram;
    use zms_core::statistics::java::Side;

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

    fn of(client: usize, change: impl FnOnce(&mut Report)) -> Vec<u8> {
        let client = format!("01JD8Z3V9Q4M5N6P7R8S{client:06}");
        let mut one = Report::parse(&report(&client, 1)).unwrap();
        change(&mut one);
        one.to_bytes()
    }

    #[test]
    fn what_a_report_has_too_much_of_is_left_out_and_counted_and_the_rest_counts() {
        let mut applications = Applications::default();
        let many = of(1, |report| {
            let one = report.producers[0].clone();
            report.producers = (0..2_000).map(|n| Producing { topic: format!("t{n}"), ..one.clone() }).collect();
        });
        let points = applications.take(&many, 1_000);
        assert_eq!((points.len(), applications.counts().over), (bounds::MOST_OF_ONE, 1_001), "one of them a consumer");
        let strange = of(2, |report| {
            let one = report.producers[0].clone();
            report.producers.push(Producing { topic: "a/b".to_owned(), ..one.clone() });
            report.producers.push(Producing { cluster: "c".repeat(500), ..one });
        });
        assert_eq!((applications.take(&strange, 1_000).len(), applications.counts().over), (2, 1_003));
        for change in [
            (|report| report.application = "x".repeat(101)) as fn(&mut Report),
            |report| report.ip = "1".repeat(65),
            |report| report.language = "r\nust".to_owned(),
        ] {
            assert!(applications.take(&of(3, change), 1_000).is_empty());
        }
        assert_eq!(applications.counts().unreadable, 3);
        assert_eq!(applications.figures(1_000).0.len(), bounds::MOST_OF_ONE + 1);
    }

    #[test]
    fn a_flood_of_reports_takes_no_more_than_its_room_and_who_was_there_before_goes_on() {
        let mut applications = Applications::default();
        assert_eq!(applications.take(&report(ONE, 10), 1_000).len(), 2);
        let full = |client| {
            of(client, |report| {
                let one = Producing { latency_us: Histogram::default(), ..report.producers[0].clone() };
                report.producers =
                    (0..bounds::MOST_OF_ONE).map(|n| Producing { topic: format!("t{n}"), ..one.clone() }).collect();
                report.consumers.clear();
            })
        };
        for client in 0..MOST_ENTRIES / bounds::MOST_OF_ONE + 10 {
            applications.take(&full(client), 1_000);
        }
        let over = applications.counts().over;
        assert_eq!(over, 11 * bounds::MOST_OF_ONE as u64, "the first one took a little of the room");
        let (producers, consumers, _) = applications.figures(1_000);
        assert!(producers.len() + consumers.len() <= MOST_ENTRIES);
        assert_eq!(applications.take(&report(ONE, 20), 2_000).len(), 2, "who has a place keeps it");
        assert_eq!(applications.counts().over, over);
        // When those are gone there is room again.
        applications.figures(1_001 + STALE_MS);
        assert_eq!(applications.take(&full(1), 2_000 + STALE_MS).len(), bounds::MOST_OF_ONE);
    }

    #[test]
    fn reports_that_a_client_could_not_send_add_up_and_a_java_client_says_nothing_of_it() {
        let mut applications = Applications::default();
        for (dropped, at) in [(0, 1_000), (2, 11_000), (0, 21_000), (1, 31_000)] {
            applications.take(&of(1, |report| report.dropped = dropped), at);
        }
        assert_eq!(applications.figures(31_000).0[0].dropped, Some(3));
        assert_eq!(applications.counts().dropped, 3);
        let sample = include_str!("../../../zms-core/tests/golden/java_statistics/producer-kafka.json");
        let java = JavaReport::parse(Side::Producer, sample.as_bytes()).unwrap();
        let place = Place { topic: PhysicalName::new("orders").unwrap(), cluster: "main".to_owned() };
        applications.take_java(Ok((java, place)), 31_000).unwrap();
        assert_eq!(applications.figures(31_000).0[1].dropped, None, "not 0");
    }
}

//! Clients of the first ZMS: one report a producer or consumer each 10 s. They do not say which process they are; those of one address
//! and one name are told apart by what they count, which only grows within a process.

use std::collections::BTreeMap;

use zms_core::collect::{ConsumerFigures, ProducerFigures};
use zms_core::metadata::java_client;
use zms_core::names::PhysicalName;
use zms_core::series::{Point, ZMS_CONSUMER, ZMS_CONSUMER_SUM, ZMS_PRODUCER, ZMS_PRODUCER_SUM};
use zms_core::statistics::java::{EVERY_MS, JavaReport, Side};

use super::STALE_MS;
use super::places::Place;
use super::sum::{Sum, with_times};

/// How the language is marked.
const LANGUAGE: &str = "java";
/// A process does not report twice within so long.
const APART_MS: i64 = EVERY_MS / 2;
/// Processes of one address and name that are told apart.
const MOST_ALIKE: usize = 256;

/// The last report of each.
#[derive(Debug, Default)]
pub(super) struct JavaClients {
    known: BTreeMap<Key, Vec<Process>>,
    len: usize,
}

type Key = (Side, PhysicalName, String, String);

#[derive(Debug)]
struct Process {
    number: u32,
    report: JavaReport,
    place: Place,
    at_ms: i64,
    heard_ms: i64,
    rate: Option<f64>,
    failed: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "messages of ten seconds are far below 2^52")]
fn per_second(count: u64, ms: i64) -> f64 {
    count as f64 * 1000.0 / ms.max(1) as f64
}

impl JavaClients {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// A report came; its point. `None`: another process, and there is no `room`, or there are too many of this address and name.
    pub(super) fn take(&mut self, report: JavaReport, place: Place, now_ms: i64, room: bool) -> Option<Point> {
        // A clock that is ahead would put points where no chart looks.
        let at_ms = report.at_ms.unwrap_or(now_ms).min(now_ms);
        let key = (report.side, report.name.clone(), report.ip.clone(), report.instance.clone());
        if !room && !self.known.contains_key(&key) {
            return None;
        }
        let alike = self.known.entry(key).or_default();
        let continues = |one: &Process| {
            let apart = at_ms - one.at_ms;
            let grown = [(report.done, one.report.done), (report.failed, one.report.failed)];
            apart >= APART_MS && grown.iter().all(|(now, then)| now >= then)
        };
        let nearest = |one: &&mut Process| {
            let grown = report.done.unwrap_or_default().saturating_sub(one.report.done.unwrap_or_default());
            ((at_ms - one.at_ms - EVERY_MS).abs(), grown)
        };
        let process = if let Some(process) = alike.iter_mut().filter(|one| continues(one)).min_by_key(nearest) {
            let ms = at_ms - process.at_ms;
            let grown = |now: Option<u64>, then: Option<u64>| Some(per_second(now?.checked_sub(then?)?, ms));
            process.rate = grown(report.done, process.report.done);
            process.failed = grown(report.failed, process.report.failed);
            (process.at_ms, process.heard_ms, process.place, process.report) = (at_ms, now_ms, place, report);
            process
        } else {
            if !room || alike.len() >= MOST_ALIKE {
                return None;
            }
            let number = (1..).find(|number| alike.iter().all(|one| one.number != *number))?;
            self.len += 1;
            let failed = report.tried.zip(report.sent).map(|(tried, sent)| per_second(tried.saturating_sub(sent), EVERY_MS));
            alike.push(Process { number, report, place, at_ms, heard_ms: now_ms, rate: None, failed });
            alike.last_mut()?
        };
        match process.report.side {
            // What it says of this window is exact, also in its first report.
            Side::Producer => {
                process.rate = process.report.sent.map(|sent| per_second(sent, EVERY_MS)).or(process.rate);
            }
            // On Kafka it never counts, and a count that stays 0 cannot be told from that.
            Side::Consumer if process.report.done.unwrap_or_default() == 0 => (process.rate, process.failed) = (None, None),
            Side::Consumer => {}
        }
        Some(process.point())
    }

    /// Leaves out who has not reported for long.
    pub(super) fn forget(&mut self, now_ms: i64) {
        self.known.retain(|_, alike| {
            alike.retain(|one| now_ms - one.heard_ms <= STALE_MS);
            !alike.is_empty()
        });
        self.len = self.known.values().map(Vec::len).sum();
    }

    pub(super) fn producers(&self) -> impl Iterator<Item = ProducerFigures> {
        self.of(Side::Producer).map(|one| ProducerFigures {
            topic: one.place.topic.clone(),
            application: one.report.instance.clone(),
            client: one.id(),
            language: LANGUAGE.to_owned(),
            ip: one.report.ip.clone(),
            at_ms: one.heard_ms,
            dropped: None,
            rate: one.rate,
            failed: one.failed,
            p99_ms: one.report.times.p99_ms,
        })
    }

    pub(super) fn consumers(&self) -> impl Iterator<Item = ConsumerFigures> {
        self.of(Side::Consumer).map(|one| ConsumerFigures {
            group: one.report.name.clone(),
            topic: one.place.topic.clone(),
            application: one.report.instance.clone(),
            client: one.id(),
            language: LANGUAGE.to_owned(),
            ip: one.report.ip.clone(),
            at_ms: one.heard_ms,
            dropped: None,
            rate: one.rate,
            failed: one.failed,
            p99_ms: one.report.times.p99_ms,
        })
    }

    /// All of one name on a topic together: a point each, at `at_ms`.
    pub(super) fn sums(&self, at_ms: i64, now_ms: i64) -> Vec<Point> {
        let mut producers: BTreeMap<[&str; 4], Sum> = BTreeMap::new();
        let mut consumers: BTreeMap<[&str; 5], Sum> = BTreeMap::new();
        for one in self.known.values().flatten().filter(|one| now_ms - one.heard_ms <= STALE_MS) {
            let [cluster, topic, group, application] = one.tags();
            let sum = match one.report.side {
                Side::Producer => producers.entry([cluster, topic, application, LANGUAGE]).or_default(),
                Side::Consumer => consumers.entry([cluster, topic, group, application, LANGUAGE]).or_default(),
            };
            sum.add(one.rate, one.failed, None);
            sum.took_at_most(one.report.times);
        }
        let mut points: Vec<Point> = producers.iter().map(|(tags, sum)| sum.point(&ZMS_PRODUCER_SUM, tags, at_ms)).collect();
        points.extend(consumers.iter().map(|(tags, sum)| sum.point(&ZMS_CONSUMER_SUM, tags, at_ms)));
        points
    }

    fn of(&self, side: Side) -> impl Iterator<Item = &Process> {
        self.known.values().flatten().filter(move |one| one.report.side == side)
    }
}

impl Process {
    fn id(&self) -> String {
        java_client(&self.report.ip, &self.report.instance, self.number)
    }

    /// Cluster, topic, group, application.
    fn tags(&self) -> [&str; 4] {
        [&self.place.cluster, self.place.topic.as_str(), self.report.name.as_str(), &self.report.instance]
    }

    fn point(&self) -> Point {
        let ([cluster, topic, group, application], client) = (self.tags(), self.id());
        let point = match self.report.side {
            Side::Producer => Point::new(&ZMS_PRODUCER, &[cluster, topic, application, &client, LANGUAGE], self.at_ms),
            Side::Consumer => Point::new(&ZMS_CONSUMER, &[cluster, topic, group, application, &client, LANGUAGE], self.at_ms),
        };
        with_times(point.with("rate", self.rate).with("failed", self.failed), self.report.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(at_ms: i64, done: u64, failed: u64, sent: u64) -> JavaReport {
        let text = format!(
            r#"{{"clientInfo":{{"clientName":"orders","ip":"10.0.0.1","zmsName":"DEFAULT_PRODUCER"}},"timestamp":{at_ms},
            "meters":[{{"type":"messageSuccessRate","count":{done}}},{{"type":"messageFailureRate","count":{failed}}}],
            "timers":[{{"type":"sendCostRate","percent99":{sent}.0}}],
            "distributions":[{{"type":"distribution","lessThan1Ms":{sent}}},{{"type":"msgBody","lessThan1Ms":{sent}}}]}}"#
        );
        JavaReport::parse(Side::Producer, text.as_bytes()).unwrap()
    }

    fn consumer(at_ms: i64, done: u64) -> JavaReport {
        let text = format!(
            r#"{{"clientInfo":{{"clientName":"billing","ip":"10.0.0.2","zmsName":"DEFAULT_CONSUMER"}},"timestamp":{at_ms},
            "meters":[{{"type":"consumeSuccessRate","count":{done}}},{{"type":"consumeFailureRate","count":0}}],
            "timers":[{{"type":"userCostTimeMs","percent99":7.0}}]}}"#
        );
        JavaReport::parse(Side::Consumer, text.as_bytes()).unwrap()
    }

    fn place() -> Place {
        Place { topic: PhysicalName::new("orders").unwrap(), cluster: "k1".to_owned() }
    }

    #[test]
    fn processes_of_one_address_are_told_apart_by_what_they_count() {
        let mut clients = JavaClients::default();
        for (at, done, failed, sent) in
            [(1_000, 1_000, 0, 100), (4_000, 50, 0, 50), (11_000, 1_200, 10, 200), (14_000, 100, 0, 50), (21_000, 5, 0, 5)]
        {
            clients.take(producer(at, done, failed, sent), place(), at, true).unwrap();
        }
        let found: Vec<_> = clients.producers().map(|one| (one.client, one.rate, one.failed)).collect();
        let id = |n| format!("10.0.0.1||DEFAULT_PRODUCER||{n}");
        assert_eq!(
            found,
            [(id(1), Some(20.0), Some(1.0)), (id(2), Some(5.0), Some(0.0)), (id(3), Some(0.5), Some(0.0))],
            "the third began anew"
        );
        assert_eq!(clients.len(), 3);
        clients.forget(31_001);
        assert_eq!(clients.producers().map(|one| one.client).collect::<Vec<_>>(), [id(2), id(3)]);
        clients.take(producer(41_000, 3, 0, 3), place(), 41_000, true).unwrap();
        assert!(clients.producers().any(|one| one.client == id(1)), "a number is free again");
    }

    #[test]
    fn a_consumer_that_does_not_count_has_no_rate() {
        let mut clients = JavaClients::default();
        clients.take(consumer(1_000, 0), place(), 1_000, true).unwrap();
        let point = clients.take(consumer(11_000, 0), place(), 11_000, true).unwrap();
        assert_eq!(point.tags, ["k1", "orders", "billing", "DEFAULT_CONSUMER", "10.0.0.2||DEFAULT_CONSUMER||1", "java"]);
        assert_eq!(point.fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["p99_ms"]);
        let one = clients.consumers().next().unwrap();
        assert_eq!((one.rate, one.failed, one.p99_ms, one.language.as_str()), (None, None, Some(7.0), "java"));
        clients.take(consumer(21_000, 30), place(), 21_000, true).unwrap();
        assert_eq!(clients.consumers().next().unwrap().rate, Some(3.0));
    }

    #[test]
    fn sums_are_of_one_language_and_times_those_of_the_slowest() {
        let mut clients = JavaClients::default();
        clients.take(producer(1_000, 100, 0, 100), place(), 1_000, true).unwrap();
        clients.take(producer(2_000, 30, 0, 30), place(), 2_000, true).unwrap();
        let sums = clients.sums(10_000, 10_000);
        assert_eq!(sums[0].tags, ["k1", "orders", "DEFAULT_PRODUCER", "java"]);
        let field = |name| sums[0].fields.iter().find(|(field, _)| *field == name).map(|(_, number)| *number);
        use zms_core::series::Number::{Broken, Whole};
        assert_eq!((field("rate"), field("p99_ms"), field("clients")), (Some(Broken(13.0)), Some(Broken(100.0)), Some(Whole(2))));
        assert_eq!(field("bytes_rate"), None);
    }

    #[test]
    fn somebody_who_floods_makes_no_more_than_so_many_and_a_clock_ahead_is_held_back() {
        let mut clients = JavaClients::default();
        let taken =
            (0..1_000_u64).filter(|n| clients.take(producer(1_000, 1_000 - n, 0, 1), place(), 1_000, true).is_some()).count();
        assert_eq!((taken, clients.len()), (MOST_ALIKE, MOST_ALIKE));
        let point = JavaClients::default().take(producer(9_000, 1, 0, 1), place(), 400, true).unwrap();
        assert_eq!(point.at_ms, 400);
    }
}

//! From what a cluster said in a tick, and in the one before, to figures and points. Pure.
//!
//! Rates are differences of offsets, so a message that was sent is counted once whatever the ticks' lengths: the sum of rate × time is
//! the number of messages. What cannot be known (first tick, a silent leader, a topic that was made again) is absent.

mod groups;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use zms_core::collect::{Attempt, ClusterFigures, GroupFigures, Reach, TopicFigures};
use zms_core::metadata::BrokerKind;
use zms_core::names::{ClusterName, PhysicalName};
use zms_core::series::{CLUSTER, Point, ROCKETMQ_BROKER, TOPIC};
use zms_drivers::broker::{BrokerError, BrokerId, Counters, Ends, PartitionId, Scrape, Topic, not_internal};

/// What a tick leaves for the next one.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// Time of the tick, milliseconds since 1970.
    at_ms: i64,
    /// Log ends of all topics; `None` for a partition whose leader was silent.
    ends: BTreeMap<PhysicalName, BTreeMap<PartitionId, Option<i64>>>,
    /// Group → topic → partition → committed offset.
    committed: BTreeMap<PhysicalName, BTreeMap<PhysicalName, BTreeMap<PartitionId, i64>>>,
    /// What brokers count themselves.
    counters: BTreeMap<BrokerId, Counters>,
}

/// What came of a tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The cluster.
    pub cluster: ClusterFigures,
    /// Its topics, by name.
    pub topics: Vec<TopicFigures>,
    /// A line for each topic of each group.
    pub groups: Vec<GroupFigures>,
    /// For the metric store.
    pub points: Vec<Point>,
}

/// Figures of one tick. `at_ms`: its time; `before`: the tick before, replaced when the cluster said something.
pub fn tick(
    cluster: &ClusterName,
    kind: BrokerKind,
    at_ms: i64,
    said: Result<Scrape, BrokerError>,
    before: &mut Option<Before>,
) -> Outcome {
    match said {
        Ok(scrape) => whole(cluster, kind, at_ms, scrape, before),
        Err(error) => away(cluster, kind, at_ms, &error),
    }
}

fn away(cluster: &ClusterName, kind: BrokerKind, at_ms: i64, error: &BrokerError) -> Outcome {
    let figures = ClusterFigures {
        cluster: cluster.clone(),
        kind,
        reach: Reach::Away(error.to_string()),
        attempt: Attempt::default(),
        brokers: None,
        controller: None,
        topics: None,
        partitions: None,
        under_replicated: None,
        offline: None,
        groups: None,
        rate_in: None,
        quiet: Vec::new(),
    };
    let point = Point::new(&CLUSTER, &[cluster.as_str()], at_ms).with_whole("reach", Some(0));
    Outcome { cluster: figures, topics: Vec::new(), groups: Vec::new(), points: vec![point] }
}

fn whole(cluster: &ClusterName, kind: BrokerKind, at_ms: i64, scrape: Scrape, before: &mut Option<Before>) -> Outcome {
    let earlier = before.as_ref().filter(|before| before.at_ms < at_ms);
    let seconds = earlier.map(|before| seconds(at_ms - before.at_ms));
    let mut topics = Vec::with_capacity(scrape.topics.len());
    let mut points = Vec::with_capacity(scrape.topics.len() + 2 * scrape.groups.len() + 1);
    for (topic, ends) in &scrape.topics {
        let grown = earlier.and_then(|before| grown(before.ends.get(&topic.name), ends));
        let rate_in = grown.zip(seconds).map(|(messages, seconds)| messages / seconds);
        let figures = topic_figures(cluster, topic, ends, rate_in);
        points.push(topic_point(&figures, at_ms));
        topics.push(figures);
    }
    let groups = groups::figures(cluster, &scrape, earlier.map(|before| &before.committed), seconds);
    points.extend(groups::points(cluster, &scrape, &groups, at_ms));
    let figures = cluster_figures((cluster, kind), &scrape, &topics, &groups);
    points.push(cluster_point(&figures, &groups, at_ms));
    for (id, counters) in &scrape.counters {
        let last = earlier.and_then(|before| before.counters.get(id));
        points.push(broker_point(cluster, id, counters, last.zip(seconds), at_ms));
    }

    let mut now = Before { at_ms, counters: scrape.counters.into_iter().collect(), ..Before::default() };
    for (topic, ends) in scrape.topics {
        now.ends.insert(topic.name, ends.into_iter().map(|(id, range)| (id, range.map(|range| range.end))).collect());
    }
    for group in scrape.groups {
        if let Ok(committed) = group.committed {
            now.committed.insert(group.summary.name, committed);
        }
    }
    *before = Some(now);
    Outcome { cluster: figures, topics, groups, points }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds between two ticks are far below 2^52")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "messages of one tick are far below 2^52")]
fn messages(count: i64) -> f64 {
    count as f64
}

/// Messages that came since the tick before; `None` where it is not known. A topic or partition that was not there then has all of its
/// messages from since then.
fn grown(before: Option<&BTreeMap<PartitionId, Option<i64>>>, ends: &Ends) -> Option<f64> {
    let mut sum = 0;
    for (id, range) in ends {
        let range = range.as_ref()?;
        let earlier = match before.and_then(|before| before.get(id)) {
            Some(Some(end)) => *end,
            // Its leader was silent then: when its messages came is not known.
            Some(None) => return None,
            None => range.start,
        };
        let new = range.end.checked_sub(earlier)?;
        // It was made again meanwhile.
        if new < 0 {
            return None;
        }
        sum += new;
    }
    Some(messages(sum))
}

fn topic_figures(cluster: &ClusterName, topic: &Topic, ends: &Ends, rate_in: Option<f64>) -> TopicFigures {
    let all = |of: fn(&zms_drivers::broker::Range) -> i64| ends.values().map(|range| range.as_ref().map(of)).sum::<Option<i64>>();
    TopicFigures {
        cluster: cluster.clone(),
        topic: topic.name.clone(),
        internal: topic.internal,
        partitions: count(topic.partitions.len()),
        replicas: count(topic.replicas()),
        under_replicated: count(topic.under_replicated()),
        offline: count(topic.partitions.iter().filter(|partition| partition.leader.is_none()).count()),
        end: all(|range| range.end).filter(|_| !ends.is_empty()),
        kept: all(|range| range.end - range.start).filter(|_| !ends.is_empty()),
        rate_in: rate_in.filter(|_| !ends.is_empty()),
    }
}

fn topic_point(figures: &TopicFigures, at_ms: i64) -> Point {
    Point::new(&TOPIC, &[figures.cluster.as_str(), figures.topic.as_str()], at_ms)
        .with_whole("partitions", Some(figures.partitions))
        .with_whole("under_replicated", Some(figures.under_replicated))
        .with_whole("offline", Some(figures.offline))
        .with_whole("end", figures.end)
        .with_whole("kept", figures.kept)
        .with("rate_in", figures.rate_in)
}

fn cluster_figures(
    (cluster, kind): (&ClusterName, BrokerKind),
    scrape: &Scrape,
    topics: &[TopicFigures],
    lines: &[GroupFigures],
) -> ClusterFigures {
    let reach = match scrape.silent.as_slice() {
        [] => Reach::Whole,
        silent => Reach::Partly(silent.iter().map(|(id, why)| format!("broker {id}: {why}")).collect::<Vec<_>>().join("; ")),
    };
    let sum = |of: fn(&TopicFigures) -> u32| topics.iter().map(of).sum::<u32>();
    let (of_people, partitions) = not_internal(scrape.topics.iter().map(|(topic, _)| topic));
    let rates: Vec<f64> = topics.iter().filter_map(|topic| topic.rate_in).collect();
    ClusterFigures {
        cluster: cluster.clone(),
        kind,
        reach,
        attempt: Attempt {
            took_ms: u64::try_from(scrape.cost.took.as_millis()).unwrap_or(u64::MAX),
            requests: scrape.cost.requests + scrape.cost.rare_requests,
            bytes: scrape.cost.bytes,
        },
        brokers: Some(count(scrape.view.brokers.len())),
        controller: scrape.view.controller.as_ref().and_then(BrokerId::plain),
        topics: Some(count(of_people)),
        partitions: Some(count(partitions)),
        under_replicated: Some(sum(|topic| topic.under_replicated)),
        offline: Some(sum(|topic| topic.offline)),
        groups: Some(count(scrape.groups.len())),
        rate_in: (!rates.is_empty()).then(|| rates.iter().sum()),
        quiet: groups::quiet(scrape, lines),
    }
}

fn cluster_point(figures: &ClusterFigures, groups: &[GroupFigures], at_ms: i64) -> Point {
    let rates: Vec<f64> = groups.iter().filter_map(|group| group.rate_out).collect();
    let lags: Vec<i64> = groups.iter().filter_map(|group| group.lag).collect();
    Point::new(&CLUSTER, &[figures.cluster.as_str()], at_ms)
        .with_whole("brokers", figures.brokers)
        .with_whole("controller", figures.controller)
        .with_whole("topics", figures.topics)
        .with_whole("partitions", figures.partitions)
        .with_whole("groups", figures.groups)
        .with_whole("under_replicated", figures.under_replicated)
        .with_whole("offline", figures.offline)
        .with_whole("reach", Some(if figures.reach == Reach::Whole { 2 } else { 1 }))
        .with("rate_in", figures.rate_in)
        .with("rate_out", (!rates.is_empty()).then(|| rates.iter().sum()))
        .with_whole("lag", (!lags.is_empty()).then(|| lags.iter().sum::<i64>()))
        .with_whole("scrape_ms", Some(figures.attempt.took_ms))
        .with_whole("requests", Some(figures.attempt.requests))
        .with_whole("bytes", Some(figures.attempt.bytes))
}

/// A master of RocketMQ: others do not tell their counters in a tick. `last`: what it told a tick ago, and how many seconds that is.
fn broker_point(cluster: &ClusterName, id: &BrokerId, now: &Counters, last: Option<(&Counters, f64)>, at_ms: i64) -> Point {
    let rate = |of: fn(&Counters) -> Option<u64>| {
        let (last, seconds) = last?;
        // A counter that went back began anew.
        let grown = of(now)?.checked_sub(of(last)?)?;
        Some(messages(i64::try_from(grown).ok()?) / seconds)
    };
    Point::new(&ROCKETMQ_BROKER, &[cluster.as_str(), &id.to_string(), "master"], at_ms)
        .with("put_rate", rate(|counters| counters.stored))
        .with("get_rate", rate(|counters| counters.given))
        .with_whole("put_failed", now.failed)
        .with_whole("commit_log_max", now.log_end)
        .with("commit_log_disk", now.log_disk)
        .with("consume_queue_disk", now.index_disk)
        .with_whole("dispatch_behind", now.index_behind)
        .with_whole("page_cache_lock_ms", now.log_held_ms)
        .with_whole("send_queue", now.sends_waiting)
        .with_whole("pull_queue", now.reads_waiting)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

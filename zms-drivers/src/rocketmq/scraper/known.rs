//! What a scraper keeps of each broker between ticks, and what it makes of answers. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::admin::bodies::{Offsets, QueueEnds, TopicConfig, TopicStats};
use super::super::remoting::RemotingError;
use super::super::route::ClusterInfo;
use crate::broker::{Counters, Ends, PartitionId, Range, Topic};

/// A master, with what its slaves are.
#[derive(Debug)]
pub(super) struct KnownBroker {
    pub topics: BTreeMap<String, TopicConfig>,
    /// As it lists them.
    pub groups: BTreeSet<String>,
    /// Broker ids that were ever seen with its name: those that are not there now are missed.
    pub ids: BTreeSet<i64>,
    /// Ends by topic, as asked last.
    pub stats: BTreeMap<String, Stats>,
    /// As asked last; kept while it is silent, so that lag there is unknown and not too small.
    pub offsets: Offsets,
    puts: Puts,
    /// Its counters are on their way.
    pub counting: Option<JoinHandle<Result<Counters, RemotingError>>>,
    /// When a name server listed it last.
    listed: Instant,
    /// When topics and groups were read last; `None`: to be read in the next tick.
    pub read: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Stats {
    pub ends: BTreeMap<i32, QueueEnds>,
    asked: Instant,
    /// Messages came between the last two times.
    moving: bool,
}

/// A message is in its queue some moments after a broker has counted it (4.9: a millisecond or more, later under load).
const DISPATCH: Duration = Duration::from_secs(5);

/// Messages that a broker stored, against those that were seen in its topics: what is missing went to a topic that seemed idle.
#[derive(Debug, Clone, Copy, Default)]
struct Puts {
    total: Option<i64>,
    /// Seen in topics beyond what was counted: they came after the broker had told its count. Below 0: counted, and seen nowhere.
    ahead: i64,
    /// Seen since the count that is on its way was asked for: no more than that can be ahead of it.
    since_asked: i64,
    /// Since when messages are counted and seen nowhere.
    owed: Option<Instant>,
}

impl Puts {
    /// Whether messages were counted that were seen in no topic; after a restart of the broker, some. `counted`: false if `total` is the last one.
    fn unseen(&mut self, total: Option<i64>, counted: bool, seen: i64, now: Instant) -> bool {
        self.since_asked += seen;
        let (before, after) = (std::mem::replace(&mut self.total, total), total);
        let grown = match (before, after) {
            (Some(before), Some(after)) if after >= before => after - before,
            // Nothing to compare with: all is looked at.
            _ => {
                (self.ahead, self.owed) = (0, None);
                return true;
            }
        };
        self.ahead += seen - grown;
        if counted {
            self.ahead = self.ahead.min(self.since_asked);
        }
        self.owed = (self.ahead < 0).then(|| self.owed.unwrap_or(now));
        self.owed.is_some()
    }

    /// All topics were looked at, and `seen` messages found in those that seemed idle. What is still missing is looked for again, as it may not be in
    /// its queue yet, but not for ever: it may be in a topic that is gone.
    fn looked(&mut self, seen: i64, now: Instant) {
        self.since_asked += seen;
        let Some(owed) = self.owed else { return };
        self.ahead += seen;
        if self.ahead >= 0 {
            self.owed = None;
        } else if now.duration_since(owed) >= DISPATCH {
            (self.ahead, self.owed) = (0, None);
        }
    }
}

impl KnownBroker {
    fn new(now: Instant) -> Self {
        Self {
            topics: BTreeMap::new(),
            groups: BTreeSet::new(),
            ids: BTreeSet::new(),
            stats: BTreeMap::new(),
            offsets: Offsets::default(),
            puts: Puts::default(),
            counting: None,
            listed: now,
            read: None,
        }
    }

    /// Topics that are asked for first: those that move, new ones, and those asked for too long ago.
    pub fn due(&self, now: Instant, idle: Duration) -> Vec<String> {
        let due =
            |name: &&String| self.stats.get(*name).is_none_or(|stats| stats.moving || now.duration_since(stats.asked) >= idle);
        self.topics.keys().filter(due).cloned().collect()
    }

    /// Topics that must be asked for too, after the others grew by `seen` messages: all the rest when the broker stored more, and those whose
    /// groups stand beyond the end that is known. `counters`: `None` if the broker has not counted yet.
    pub fn rest(&mut self, begun: Instant, counters: Option<&Counters>, seen: i64) -> Vec<String> {
        let total = match counters {
            Some(counters) => counters.stored.and_then(|stored| i64::try_from(stored).ok()),
            // As if it had stored nothing: what was seen meanwhile is taken off when it has counted.
            None => self.puts.total,
        };
        let all = self.puts.unseen(total, counters.is_some(), seen, begun);
        let mut beyond = BTreeSet::new();
        for (topic, _, offsets) in self.offsets.each() {
            let Some(stats) = self.stats.get(topic) else { continue };
            let passed = |(queue, offset): (&i32, &i64)| stats.ends.get(queue).is_some_and(|ends| *offset > ends.max_offset);
            if offsets.iter().any(passed) {
                beyond.insert(topic);
            }
        }
        let old = self.stats.iter().filter(|(name, stats)| stats.asked < begun && (all || beyond.contains(name.as_str())));
        old.map(|(name, _)| name.clone()).collect()
    }

    /// The topics of [`rest`](Self::rest) were asked for, and had grown by `seen` messages.
    pub fn looked(&mut self, begun: Instant, seen: i64) {
        self.puts.looked(seen, begun);
    }

    /// The broker is asked for its counters now.
    pub fn counts_from_now(&mut self) {
        self.puts.since_asked = 0;
    }

    /// New ends of a topic. How many messages came since last time; nothing is known of that the first time.
    pub fn read_stats(&mut self, topic: &str, stats: TopicStats, now: Instant) -> i64 {
        let ends: BTreeMap<i32, QueueEnds> = stats.offset_table.into_iter().map(|(key, ends)| (key.number, ends)).collect();
        let before = self.stats.get(topic);
        let grown = |before: &Stats| {
            ends.iter().map(|(id, ends)| ends.max_offset - before.ends.get(id).map_or(0, |ends| ends.max_offset)).sum::<i64>()
        };
        let grown = before.map_or(0, grown);
        self.stats.insert(topic.to_owned(), Stats { ends, asked: now, moving: grown != 0 });
        // A topic that was made anew begins with less.
        grown.max(0)
    }

    /// New lists.
    pub fn read_lists(&mut self, topics: BTreeMap<String, TopicConfig>, groups: BTreeSet<String>, now: Instant) {
        // One that was made anew in between is asked for again in any case: its broker stored nothing that was seen.
        self.stats.retain(|name, _| topics.contains_key(name));
        self.topics = topics;
        self.groups = groups;
        self.read = Some(now);
    }
}

/// All brokers, by name.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub info: ClusterInfo,
    pub brokers: BTreeMap<Arc<str>, KnownBroker>,
}

impl Known {
    /// A new list of brokers. One that is missing is kept for `forget`: it may be dead, and its queues are missed.
    pub fn read_cluster(&mut self, info: ClusterInfo, now: Instant, forget: Duration) {
        for (name, set) in &info.brokers {
            let known = self.brokers.entry(Arc::clone(name)).or_insert_with(|| KnownBroker::new(now));
            known.listed = now;
            known.ids.extend(set.addresses.keys());
        }
        self.brokers.retain(|_, known| now.duration_since(known.listed) < forget);
        self.info = info;
    }

    /// The list of brokers, with those that are kept though nobody lists them.
    pub fn all(&self) -> ClusterInfo {
        let mut info = self.info.clone();
        for name in self.brokers.keys() {
            info.brokers.entry(Arc::clone(name)).or_default();
        }
        info
    }

    /// Ends of a topic's queues; `None` on brokers that are `silent`.
    pub fn ends(&self, topic: &Topic, silent: impl Fn(&str) -> bool) -> Ends {
        let range = |id: &PartitionId| {
            let broker = id.broker.as_deref().filter(|broker| !silent(broker))?;
            let ends = self.brokers.get(broker)?.stats.get(topic.name.as_str())?.ends.get(&id.number)?;
            Some(Range { start: ends.min_offset, end: ends.max_offset })
        };
        topic.partitions.iter().map(|partition| (partition.id.clone(), range(&partition.id))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::admin::bodies::QueueKey;
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn stats(max_offset: i64) -> TopicStats {
        let key = QueueKey { topic: "orders".to_owned(), broker: "a".to_owned(), number: 0 };
        let ends = QueueEnds { min_offset: 0, max_offset, last_update_timestamp: 1 };
        TopicStats { offset_table: BTreeMap::from([(key, ends)]) }
    }

    fn stored(messages: u64) -> Counters {
        Counters { stored: Some(messages), ..Counters::default() }
    }

    fn known(now: Instant, ends: &[(&str, i64)]) -> KnownBroker {
        let mut known = KnownBroker::new(now);
        let config = TopicConfig { read_queue_nums: 1, write_queue_nums: 1, perm: 6, ..TopicConfig::default() };
        known.read_lists(ends.iter().map(|(name, _)| ((*name).to_owned(), config.clone())).collect(), BTreeSet::new(), now);
        for (name, end) in ends {
            assert_eq!(known.read_stats(name, stats(*end), now), 0, "nothing is known of before");
        }
        known
    }

    #[test]
    fn topics_that_move_are_asked_for_each_time_and_idle_ones_rarely() {
        let begun = Instant::now();
        let mut known = known(begun, &[("idle", 5), ("orders", 5)]);
        assert!(known.due(begun, IDLE).is_empty());
        let next = begun + Duration::from_secs(10);
        assert_eq!(known.read_stats("orders", stats(8), next), 3);
        assert_eq!(known.due(next, IDLE), ["orders"]);
        assert_eq!(known.read_stats("orders", stats(8), next), 0);
        assert!(known.due(next, IDLE).is_empty());
        assert_eq!(known.due(begun + IDLE, IDLE), ["idle"]);
    }

    #[test]
    fn an_idle_topic_that_gets_messages_is_found_by_what_the_broker_stored() {
        let begun = Instant::now();
        let mut known = known(begun, &[("idle", 5), ("orders", 5)]);
        let tick = |n: u64| begun + Duration::from_secs(n);
        known.rest(tick(0), Some(&stored(100)), 0);
        known.read_stats("orders", stats(8), tick(1));
        assert!(known.rest(tick(1), Some(&stored(103)), 3).is_empty(), "three were stored, three were seen");
        // Two more came between the broker's count and the look at the topic: they are counted in the next tick.
        known.read_stats("orders", stats(10), tick(2));
        assert!(known.rest(tick(2), Some(&stored(103)), 2).is_empty());
        known.read_stats("orders", stats(10), tick(3));
        assert!(known.rest(tick(3), Some(&stored(105)), 0).is_empty());
        known.read_stats("orders", stats(11), tick(4));
        assert_eq!(known.rest(tick(4), Some(&stored(107)), 1), ["idle"], "one of two was seen");
        let found = known.read_stats("idle", stats(6), tick(4));
        known.looked(tick(4), found);
        known.read_stats("orders", stats(11), tick(5));
        assert!(known.rest(tick(5), Some(&stored(107)), 0).is_empty());
        known.counts_from_now();
        assert!(known.rest(tick(6), None, 2).is_empty(), "it has not counted yet");
        assert!(known.rest(tick(7), Some(&stored(109)), 0).is_empty(), "two were stored, and seen a tick before");
        assert_eq!(known.rest(tick(8), Some(&stored(3)), 0).len(), 2, "the broker was started again");
    }

    #[test]
    fn a_message_that_is_counted_before_it_is_in_its_queue_is_looked_for_again() {
        let begun = Instant::now();
        let mut known = known(begun, &[("idle", 5), ("orders", 5)]);
        let tick = |tenths: u64| begun + Duration::from_millis(100 * tenths);
        known.rest(tick(0), Some(&stored(100)), 0);
        let mut look = |tenths: u64, total: u64, idle: i64| {
            known.counts_from_now();
            let rest = known.rest(tick(tenths), Some(&stored(total)), 0);
            if !rest.is_empty() {
                let found = known.read_stats("idle", stats(idle), tick(tenths));
                known.looked(tick(tenths), found);
            }
            rest.len()
        };
        assert_eq!(look(1, 101, 5), 2, "it is counted, and in no queue yet");
        assert_eq!(look(2, 101, 5), 2);
        assert_eq!(look(3, 101, 6), 2, "there it is");
        assert_eq!(look(4, 101, 6), 0);
        assert_eq!(look(5, 102, 6), 2, "one that went to a topic which is gone");
        assert_eq!(look(54, 102, 6), 2);
        assert_eq!(look(56, 102, 6), 2, "is looked for once more after 5 s");
        assert_eq!(look(57, 102, 6), 0, "and is given up");
        assert_eq!(look(58, 103, 7), 2, "without hiding another");
        assert_eq!(look(59, 103, 7), 0);
    }

    #[test]
    fn what_was_seen_without_being_counted_hides_nothing_later() {
        let begun = Instant::now();
        let mut known = known(begun, &[("idle", 5), ("orders", 5)]);
        let tick = |n: u64| begun + Duration::from_secs(n);
        known.rest(tick(0), Some(&stored(100)), 0);
        known.counts_from_now();
        assert!(known.rest(tick(1), Some(&stored(100)), 7).is_empty());
        known.counts_from_now();
        assert!(known.rest(tick(2), Some(&stored(100)), 0).is_empty());
        assert_eq!(known.rest(tick(3), Some(&stored(101)), 0).len(), 2, "one was stored, and none seen");
    }

    #[test]
    fn a_topic_that_was_made_anew_hides_nothing_and_is_no_debt() {
        let begun = Instant::now();
        let mut known = known(begun, &[("idle", 5), ("orders", 5)]);
        known.rest(begun, Some(&stored(100)), 0);
        let next = begun + Duration::from_secs(1);
        let seen = known.read_stats("orders", stats(0), next);
        assert_eq!(seen, 0);
        assert!(known.rest(next, Some(&stored(100)), seen).is_empty());
        assert_eq!(known.due(next, IDLE), ["orders"], "it changed");
    }

    #[test]
    fn a_topic_whose_group_stands_beyond_its_end_is_asked_for() {
        let begun = Instant::now();
        let mut known = known(begun, &[("idle", 5), ("orders", 5)]);
        known.rest(begun, Some(&stored(1)), 0);
        known.offsets.offset_table.insert("idle@billing".to_owned(), BTreeMap::from([(0, 6)]));
        assert_eq!(known.rest(begun + Duration::from_secs(1), Some(&stored(1)), 0), ["idle"]);
    }

    #[test]
    fn a_broker_that_nobody_lists_is_missed_for_a_while() {
        let now = Instant::now();
        let info: ClusterInfo = crate::rocketmq::json::read(
            br#"{"brokerAddrTable":{"a":{"brokerAddrs":{0:"h:1",1:"h:2"},"cluster":"c"},"b":{"brokerAddrs":{0:"h:3"},"cluster":"c"}}}"#,
        )
        .unwrap();
        let (mut known, forget) = (Known::default(), Duration::from_secs(3600));
        known.read_cluster(info, now, forget);
        let later = now + Duration::from_secs(10);
        let info: ClusterInfo =
            crate::rocketmq::json::read(br#"{"brokerAddrTable":{"a":{"brokerAddrs":{1:"h:2"},"cluster":"c"}}}"#).unwrap();
        known.read_cluster(info.clone(), later, forget);
        assert_eq!((known.brokers.len(), known.brokers["a"].ids.len(), known.info.brokers.len()), (2, 2, 1));
        assert!(known.all().brokers["b"].master().is_none());
        known.read_cluster(info, now + forget, forget);
        assert_eq!(known.brokers.keys().map(|name| &**name).collect::<Vec<_>>(), ["a"]);
    }
}

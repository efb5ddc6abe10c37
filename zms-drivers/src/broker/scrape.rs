//! Everything that a collector wants of a cluster in one tick.

use std::time::Duration;

use async_trait::async_trait;

use super::{BrokerError, BrokerId, ClusterView, Committed, Ends, GroupSummary, Topic};

/// What a cluster said in one tick. Committed offsets are older than log ends: lag is never too small by the order of asking.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// Who is there.
    pub view: ClusterView,
    /// All topics, by name, and the ends of their partitions; `None` for a partition whose leader did not answer.
    pub topics: Vec<(Topic, Ends)>,
    /// All groups, by name.
    pub groups: Vec<ScrapedGroup>,
    /// What brokers count themselves, by id.
    pub counters: Vec<(BrokerId, Counters)>,
    /// Brokers that did not answer in time, or that hold replicas and are not there, by id, each with the reason.
    pub silent: Vec<(BrokerId, String)>,
    /// What it cost.
    pub cost: Cost,
}

/// A group as a tick sees it.
#[derive(Debug, Clone)]
pub struct ScrapedGroup {
    /// Name, state, protocol.
    pub summary: GroupSummary,
    /// Members, as counted last: they are asked for more rarely than offsets. `None` where nobody has counted them yet.
    pub members: Option<u32>,
    /// Its committed offsets, or why they are not known.
    pub committed: Result<Committed, BrokerError>,
}

/// What a broker counts itself, `None` where it does not say. Masters of RocketMQ tell it in each tick; Kafka's brokers tell the agent of their
/// host.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// Messages stored since it started.
    pub stored: Option<u64>,
    /// Messages given out since it started.
    pub given: Option<u64>,
    /// Messages that it could not store since it started.
    pub failed: Option<u64>,
    /// Bytes: end of the log of all messages.
    pub log_end: Option<u64>,
    /// Share of the disk that is in use where that log is.
    pub log_disk: Option<f64>,
    /// The same where the queues' indexes are.
    pub index_disk: Option<f64>,
    /// Bytes of the log that consumers cannot see yet.
    pub index_behind: Option<u64>,
    /// For how long the newest write has held the log, milliseconds.
    pub log_held_ms: Option<u64>,
    /// Sends that wait for a thread.
    pub sends_waiting: Option<u64>,
    /// Reads that wait for a thread.
    pub reads_waiting: Option<u64>,
}

/// What a scrape cost. What is asked rarely (metadata, lists of groups, coordinators) is counted apart from the round trips of each tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Wall clock.
    pub took: Duration,
    /// Requests of the steady round trips. Kafka: offset fetches and list offsets. RocketMQ: brokers, offsets, counters, ends of topics.
    pub requests: u64,
    /// Round trips one after the other for them. Kafka: two, and one more for each time that leaders or coordinators turned out to have
    /// moved. RocketMQ: three, two when no topic moves, four when one moved that seemed idle.
    pub round_trips: u32,
    /// All other requests: metadata, lists of topics and groups, first offsets, members, opening of connections.
    pub rare_requests: u64,
    /// Bytes received.
    pub bytes: u64,
}

/// One cluster, asked again and again. Keeps what changes rarely (topics, groups, coordinators) and refreshes it by itself.
#[async_trait]
pub trait Scraper: Send + 'static {
    /// One tick. A silent broker costs its partitions and groups, not the scrape.
    ///
    /// # Errors
    /// Only when nothing could be had.
    async fn scrape(&mut self) -> Result<Scrape, BrokerError>;
}

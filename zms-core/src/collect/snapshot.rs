use serde::{Deserialize, Serialize};

use crate::metadata::BrokerKind;
use crate::names::{ClusterName, HostId, PhysicalName};

/// What the leading collector saw in one tick. A figure that could not be had is absent, never 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Fencing number of the leader: a lower one than seen before is refused.
    pub fence: u64,
    /// Time of the tick, milliseconds since 1970.
    pub at_ms: i64,
    /// Clusters of the environment.
    #[serde(default)]
    pub clusters: Vec<ClusterFigures>,
    /// Topics, by cluster and name.
    #[serde(default)]
    pub topics: Vec<TopicFigures>,
    /// A line for each topic of each group.
    #[serde(default)]
    pub groups: Vec<GroupFigures>,
    /// Who sends, as it says itself.
    #[serde(default)]
    pub producers: Vec<ProducerFigures>,
    /// Who consumes, as it says itself.
    #[serde(default)]
    pub consumers: Vec<ConsumerFigures>,
    /// Hosts whose frames came to the leader since it started.
    #[serde(default)]
    pub hosts: Vec<HostFrames>,
    /// How it goes with writing figures.
    #[serde(default)]
    pub sink: Sink,
}

/// Frames of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFrames {
    /// Which one.
    pub host: HostId,
    /// When the last ones came, milliseconds since 1970.
    pub at_ms: i64,
    /// Frames that its agent gave up since it started, because this collector did not take them for too long.
    pub dropped: u64,
}

/// Was a cluster reached?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Every broker answered.
    Whole,
    /// Some did not; what they lead is absent.
    Partly(String),
    /// None did.
    Away(String),
}

/// What a scrape cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Milliseconds.
    pub took_ms: u64,
    /// Requests to brokers.
    pub requests: u64,
    /// Bytes of their answers.
    pub bytes: u64,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterFigures {
    /// Which one.
    pub cluster: ClusterName,
    /// What runs there.
    pub kind: BrokerKind,
    /// Was it reached?
    pub reach: Reach,
    /// What the scrape cost.
    pub attempt: Attempt,
    /// Brokers that are up.
    pub brokers: Option<u32>,
    /// The controller's id.
    pub controller: Option<i32>,
    /// Topics; the brokers' own are not counted.
    pub topics: Option<u32>,
    /// Their partitions.
    pub partitions: Option<u32>,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated: Option<u32>,
    /// Partitions without a leader.
    pub offline: Option<u32>,
    /// Consumer groups.
    pub groups: Option<u32>,
    /// Messages a second into all of its topics.
    pub rate_in: Option<f64>,
    /// Groups without a line of figures: they committed nothing on a topic that is there, or their commits are not known.
    #[serde(default)]
    pub quiet: Vec<QuietGroup>,
}

/// A group without figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietGroup {
    /// Its name there.
    pub group: PhysicalName,
    /// As the broker calls it: stable, empty …
    pub state: String,
    /// Its members.
    #[serde(default)]
    pub members: Option<u32>,
    /// Why its commits are not known; absent where there are none.
    #[serde(default)]
    pub why: Option<String>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicFigures {
    /// Where.
    pub cluster: ClusterName,
    /// Its name there.
    pub topic: PhysicalName,
    /// One of the brokers' own. Older collectors do not say it.
    #[serde(default)]
    pub internal: bool,
    /// Partitions.
    pub partitions: u32,
    /// Replicas of each.
    pub replicas: u32,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated: u32,
    /// Partitions without a leader.
    pub offline: u32,
    /// Sum of the log end offsets.
    pub end: Option<i64>,
    /// Messages still there: sum of end minus start.
    pub kept: Option<i64>,
    /// Messages a second since the tick before; absent in the first tick and after a reset.
    pub rate_in: Option<f64>,
}

/// A group on one of its topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupFigures {
    /// Where.
    pub cluster: ClusterName,
    /// Its name there.
    pub group: PhysicalName,
    /// The topic.
    pub topic: PhysicalName,
    /// As the broker calls it: stable, empty …
    pub state: String,
    /// Members of the whole group.
    pub members: Option<u32>,
    /// As those members say that were counted last: `clustering` or `broadcasting` on RocketMQ; empty where nobody says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Messages not consumed yet: sum of end minus committed, over partitions with a commit; negative when a topic was made again.
    pub lag: Option<i64>,
    /// Of the partition that is furthest behind.
    pub lag_max: Option<i64>,
    /// Partitions without a commit: their lag is unknown.
    pub unknown: u32,
    /// Messages a second committed since the tick before.
    pub rate_out: Option<f64>,
}

/// One application's process sending to one topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProducerFigures {
    /// The topic.
    pub topic: PhysicalName,
    /// Application.
    pub application: String,
    /// Client id (ULID); of Java clients that of [`java_client`](crate::metadata::java_client).
    pub client: String,
    /// What it is written in: `rust`, `java`; empty if a collector did not say.
    #[serde(default)]
    pub language: String,
    /// Its address.
    pub ip: String,
    /// End of its last report, milliseconds since 1970 by its clock.
    pub at_ms: i64,
    /// Messages a second; absent where the client does not say.
    pub rate: Option<f64>,
    /// Failed sends a second; absent where the client does not say.
    pub failed: Option<f64>,
    /// 99th percentile of the time of a send, milliseconds.
    pub p99_ms: Option<f64>,
    /// Reports that it could not send since it was first heard; absent where the client does not say.
    #[serde(default)]
    pub dropped: Option<u64>,
}

/// One application's process consuming one topic with one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsumerFigures {
    /// The group.
    pub group: PhysicalName,
    /// The topic.
    pub topic: PhysicalName,
    /// Application.
    pub application: String,
    /// Client id (ULID); of Java clients that of [`java_client`](crate::metadata::java_client).
    pub client: String,
    /// What it is written in: `rust`, `java`; empty if a collector did not say.
    #[serde(default)]
    pub language: String,
    /// Its address.
    pub ip: String,
    /// End of its last report, milliseconds since 1970 by its clock.
    pub at_ms: i64,
    /// Messages a second; absent where the client does not count them.
    pub rate: Option<f64>,
    /// Failures of its handler a second; absent where the client does not count them.
    pub failed: Option<f64>,
    /// 99th percentile of the time of its handler, milliseconds.
    pub p99_ms: Option<f64>,
    /// Reports that it could not send since it was first heard; absent where the client does not say.
    #[serde(default)]
    pub dropped: Option<u64>,
}

/// How it goes with writing figures to InfluxDB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sink {
    /// Lines written since the collector started.
    pub written: u64,
    /// Lines that wait.
    pub queued: u64,
    /// Lines given up since the collector started: the queue was full, or the store refused them.
    pub dropped: u64,
    /// What the store said last, if it was no success.
    pub problem: Option<String>,
    /// Reports of applications that could not be read.
    pub unreadable: u64,
    /// Clients, topics and groups of reports that were left out, as they were too many; absent: an older collector does not count them.
    pub over: Option<u64>,
    /// Reports that applications could not send, as they said later; absent: an older collector does not count them.
    pub lost: Option<u64>,
}

//! What operators do to a cluster, and what they look at.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zms_core::broker::{BrokerId, PartitionId};
use zms_core::metadata::ConsumeFrom;
use zms_core::names::PhysicalName;

use super::{BrokerError, Incoming};

/// A broker of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// Its identity.
    pub id: BrokerId,
    /// As it advertises itself.
    pub host: String,
    /// As it advertises itself.
    pub port: u16,
    /// Where it stands, if it says so.
    pub rack: Option<String>,
}

/// A cluster, seen from one of its brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster's own id.
    pub id: String,
    /// Broker that answers for the controller; `None` when there is none now.
    pub controller: Option<BrokerId>,
    /// Those that are up, by id.
    pub brokers: Vec<Broker>,
}

/// A partition; RocketMQ: a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its identity.
    pub id: PartitionId,
    /// `None`: offline. RocketMQ: the master.
    pub leader: Option<BrokerId>,
    /// Preferred leader first. RocketMQ: all brokers of its name.
    pub replicas: Vec<BrokerId>,
    /// In-sync replicas (ISR). RocketMQ: those that are registered.
    pub isr: Vec<BrokerId>,
}

/// A topic with its partitions by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its name there.
    pub name: PhysicalName,
    /// One of the broker's own (`__consumer_offsets`).
    pub internal: bool,
    /// By id.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// Replicas of its first partition.
    pub fn replicas(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.replicas.len())
    }

    /// Partitions with fewer in-sync replicas than replicas.
    pub fn under_replicated(&self) -> usize {
        self.partitions.iter().filter(|partition| partition.isr.len() < partition.replicas.len()).count()
    }
}

/// Topics that are not the brokers' own, and their partitions: RocketMQ has a dozen with a thousand queues before anybody makes one.
pub fn not_internal<'a>(topics: impl IntoIterator<Item = &'a Topic>) -> (usize, usize) {
    let of_people = topics.into_iter().filter(|topic| !topic.internal);
    of_people.fold((0, 0), |(topics, partitions), topic| (topics + 1, partitions + topic.partitions.len()))
}

/// First offset still there and the next one to be written, for each partition by id; `None` where the leader did not answer.
pub type Ends = BTreeMap<PartitionId, Option<Range>>;

/// Offsets of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Of the oldest message still there.
    pub start: i64,
    /// Of the next message to be written (log end offset).
    pub end: i64,
}

/// A setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its value; `None` when the broker hides it.
    pub value: Option<String>,
    /// Set for this topic, not taken from the broker's default.
    pub own: bool,
    /// Cannot be changed.
    pub read_only: bool,
}

/// A topic that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicWish {
    /// Its name there.
    pub name: PhysicalName,
    /// At least 1. RocketMQ: queues on all masters together, spread as evenly as may be.
    pub partitions: i32,
    /// At least 1, at most the number of brokers. RocketMQ: not chosen for a topic, and not looked at; it is what slaves its masters have.
    pub replicas: i16,
    /// Settings that differ from the broker's defaults.
    pub config: BTreeMap<String, String>,
}

/// A consumer group that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupWish {
    /// Its name there.
    pub name: PhysicalName,
    /// Every member gets every message, and keeps its offsets itself.
    pub broadcast: bool,
    /// Where a group without offsets begins. Brokers of RocketMQ before 5.0 leave that to the client.
    pub consume_from: ConsumeFrom,
}

/// Whether something had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ensured {
    /// It was not there and is now.
    Made,
    /// It was as wanted already.
    There,
}

/// State of a consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// Members consume.
    Stable,
    /// Partitions are being given out.
    Rebalancing,
    /// No members; offsets are kept.
    Empty,
    /// Gone, or never there.
    Dead,
    /// Something newer than this program.
    Unknown,
}

impl GroupState {
    /// In the words of pages, API and snapshots.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Rebalancing => "rebalancing",
            Self::Empty => "empty",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Its name there.
    pub name: PhysicalName,
    /// What it does.
    pub state: GroupState,
    /// Kafka: `classic`, `consumer`, `share` … RocketMQ: `clustering`, `broadcasting` as its members say; empty when nobody says.
    pub protocol: String,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Made by the broker or the client.
    pub id: String,
    /// As the client calls itself.
    pub client_id: String,
    /// Address that it comes from.
    pub host: String,
    /// Topic → partitions.
    pub assigned: BTreeMap<PhysicalName, Vec<PartitionId>>,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Name, state, protocol.
    pub summary: GroupSummary,
    /// Those that are connected.
    pub members: Vec<Member>,
}

/// Committed offsets of one group: topic → partition → offset. A partition without one is absent: unknown, not 0.
pub type Committed = BTreeMap<PhysicalName, BTreeMap<PartitionId, i64>>;

/// Where a group should stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetWish {
    /// At the oldest message still there.
    Earliest,
    /// After the newest message.
    Latest,
    /// At the first message with this time or a later one (milliseconds since 1970); after the newest if there is none.
    Time(i64),
    /// At these offsets: partition → offset.
    At(BTreeMap<PartitionId, i64>),
}

/// By what a message is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// The id that its producer gave it, or that its broker answered with.
    Id(String),
    /// One of its keys.
    Key(String),
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMessage {
    /// As its producer named it, if it did.
    pub id: Option<String>,
    /// The message; without a value where that cannot be read.
    pub message: Incoming,
    /// Why its value cannot be read.
    pub unreadable: Option<String>,
}

/// Most messages that are found.
pub const MOST_FOUND: usize = 64;

/// Clients of RocketMQ ask for routes each 30 s (`pollNameServerInterval`); with some time for the name servers to hear.
pub const ROUTES_KNOWN: Duration = Duration::from_secs(35);

/// What operators do to a cluster. Every call has a deadline inside; every `ensure_…` may be done again.
#[async_trait]
pub trait ClusterAdmin: Send + Sync + 'static {
    /// Who is there.
    async fn describe(&self) -> Result<ClusterView, BrokerError>;

    /// All topics with their partitions, by name.
    async fn topics(&self) -> Result<Vec<Topic>, BrokerError>;
    /// One topic; `None` if it is not there.
    async fn topic(&self, name: &PhysicalName) -> Result<Option<Topic>, BrokerError>;
    /// Offsets of one topic's partitions. [`BrokerError::Missing`] if it is not there.
    async fn ends(&self, name: &PhysicalName) -> Result<Ends, BrokerError>;
    /// Settings of one topic. [`BrokerError::Missing`] if it is not there.
    async fn topic_config(&self, name: &PhysicalName) -> Result<BTreeMap<String, Setting>, BrokerError>;

    /// The topic is there as wanted, and every broker that leads a partition knows it when this returns.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] if it is there with another number of partitions or replicas: nothing is changed then.
    async fn ensure_topic(&self, wish: &TopicWish) -> Result<Ensured, BrokerError>;
    /// The topic has at least so many partitions; never fewer than before.
    async fn ensure_partitions(&self, name: &PhysicalName, partitions: i32) -> Result<Ensured, BrokerError>;
    /// These settings have these values; `None` takes one back to the broker's default; all others stay.
    async fn ensure_topic_config(
        &self,
        name: &PhysicalName,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Ensured, BrokerError>;
    /// The topic is not there.
    async fn ensure_topic_gone(&self, name: &PhysicalName) -> Result<Ensured, BrokerError>;

    /// All groups, by name.
    async fn groups(&self) -> Result<Vec<GroupSummary>, BrokerError>;
    /// These groups with their members, in the same order; one that is not there is [`GroupState::Dead`] without members.
    async fn describe_groups(&self, names: &[PhysicalName]) -> Result<Vec<Group>, BrokerError>;
    /// Committed offsets of these groups, in the same order; an error belongs to its group alone.
    async fn committed(&self, names: &[PhysicalName]) -> Result<Vec<Result<Committed, BrokerError>>, BrokerError>;
    /// The group may be consumed with. Kafka makes groups of their own accord: [`Ensured::There`].
    async fn ensure_group(&self, wish: &GroupWish) -> Result<Ensured, BrokerError>;
    /// A group stands there, on every partition of the topic; made if it was not there. Where brokers of RocketMQ set offsets themselves (by default
    /// from 5.1.4 on) members may be there: they go on from there with their next request, which they may hold back for half a minute.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] if it has members, and the broker does not move those: stop them first.
    async fn ensure_offsets(&self, group: &PhysicalName, topic: &PhysicalName, wish: &OffsetWish) -> Result<(), BrokerError>;
    /// The group is not there. [`BrokerError::Conflict`] if it has members.
    async fn ensure_group_gone(&self, name: &PhysicalName) -> Result<Ensured, BrokerError>;

    /// Messages of a topic, the newest first, [`MOST_FOUND`] at most; none if there is none. Of what is older than the broker's index nothing is found.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] where brokers keep no such index: Kafka's do not.
    async fn find_messages(&self, topic: &PhysicalName, by: &Lookup) -> Result<Vec<FoundMessage>, BrokerError>;

    /// Clients are told to send to other brokers, before this one stops; until it is started again. They hear it when they ask for routes
    /// the next time, Java's within [`ROUTES_KNOWN`]; what comes until then is taken. Brokers of Kafka hand over what they lead when they
    /// are stopped, so there is nothing to do: [`Ensured::There`].
    async fn ensure_no_sends(&self, broker: &BrokerId) -> Result<Ensured, BrokerError>;
}

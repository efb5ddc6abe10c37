//! Sending and consuming.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use zms_core::metadata::ConsumeFrom;
use zms_core::names::PhysicalName;

use super::{BrokerError, PartitionId};

/// A message on its way to a topic.
///
/// RocketMQ keeps text only: a key, tag or header value that is no UTF-8, or is empty, a header name that is there twice or that RocketMQ uses
/// itself, is refused there. It has no tombstones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub topic: PhysicalName,
    /// Messages of one key keep their order.
    pub key: Option<Bytes>,
    /// The message; `None` is a tombstone: it takes its key out of a compacted topic.
    pub value: Option<Bytes>,
    /// In their order; a name may be there twice.
    pub headers: Vec<(String, Bytes)>,
    /// By which consumers may choose. RocketMQ's brokers filter by it; in Kafka it is the header [`TAG_HEADER`], and consumers filter.
    pub tag: Option<String>,
    /// Not delivered before this time has passed. RocketMQ only: before 5.0 one of eighteen steps (1 s to 2 h), from 5.0 on any.
    pub delay: Option<Duration>,
}

impl Outgoing {
    /// Without key, headers, tag and delay.
    pub fn new(topic: PhysicalName, value: impl Into<Bytes>) -> Self {
        Self { topic, key: None, value: Some(value.into()), headers: Vec::new(), tag: None, delay: None }
    }
}

/// The header that is a message's tag in Kafka.
pub const TAG_HEADER: &str = "zms-tag";

/// Where a broker put a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Placed {
    /// Partition.
    pub partition: PartitionId,
    /// Offset in it; of a delayed message, where it waits.
    pub offset: i64,
}

/// A message from a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Where from.
    pub topic: PhysicalName,
    /// Where it stood.
    pub placed: Placed,
    /// Milliseconds since 1970 by the producer or the broker; `None` if the broker has none.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Bytes>,
    /// The message; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// In their order; in RocketMQ, which keeps none, by name.
    pub headers: Vec<(String, Bytes)>,
    /// Its tag.
    pub tag: Option<String>,
    /// How often it was delivered before: 0 at first, one more each time it comes again after [`Consumer::failed`].
    pub attempt: u32,
    /// With which giving of its partition to this member it came: a partition that went away and came back has another one.
    pub generation: u64,
}

impl Incoming {
    /// Key and value together, in bytes.
    pub fn size(&self) -> usize {
        [&self.key, &self.value].into_iter().flatten().map(Bytes::len).sum()
    }
}

/// Sends to one cluster. All calls may run side by side; dropping one does not take back what was sent.
#[async_trait]
pub trait Producer: Send + Sync + 'static {
    /// Ends when the message is kept as its cluster is set to keep it, or with the reason why not; the driver retries passing states within
    /// its own delivery deadline. Kafka: every in-sync replica has it. RocketMQ: its master has it, with `SYNC_MASTER` also a slave if
    /// one is in reach, with `SYNC_FLUSH` the master's disk; an `ASYNC_MASTER` that is lost takes with it what its slaves had not copied yet.
    async fn send(&self, message: Outgoing) -> Result<Placed, BrokerError>;
    /// Learns a topic's leaders and dials them, so that the first send does not wait.
    async fn warm(&self, topic: &PhysicalName) -> Result<(), BrokerError>;
    /// Waits at most so long for what is under way; says how many messages were given up.
    async fn close(&self, deadline: Duration) -> usize;
}

/// How to consume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Consumer group.
    pub group: PhysicalName,
    /// The topics.
    pub topics: Vec<PhysicalName>,
    /// For a group without a committed offset.
    pub from: ConsumeFrom,
    /// Who gets a message.
    pub mode: Delivery,
    /// Only messages with one of these tags; none: all messages. All members of a group must name the same.
    pub tags: Vec<String>,
    /// RocketMQ: the next message of a partition comes only after this one was done, and a partition has one owner at any moment, for which
    /// brokers keep locks: one that goes to another member goes when the message that the application has of it is done or failed, within a minute,
    /// or within half of the deadline of [`Consumer::close`]. In Kafka a partition's messages come in order in any case.
    pub ordered: bool,
}

impl Subscription {
    /// To all messages of one topic, each for one member.
    pub fn new(group: PhysicalName, topic: PhysicalName, from: ConsumeFrom) -> Self {
        Self { group, topics: vec![topic], from, mode: Delivery::Clustering, tags: Vec::new(), ordered: false }
    }

    /// Whether a message with this tag is asked for.
    pub fn wants(&self, tag: Option<&str>) -> bool {
        self.tags.is_empty() || tag.is_some_and(|tag| self.tags.iter().any(|wanted| wanted == tag))
    }
}

/// Who gets a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// One member of the group.
    #[default]
    Clustering,
    /// Every member. Positions are kept in the member's memory alone: it begins where [`Subscription::from`] says each time it is made.
    Broadcast,
}

/// A member of a consumer group on one cluster.
///
/// At least once: a position is committed only after [`done`](Consumer::done), and everything done is committed before partitions
/// go to another member and at [`close`](Consumer::close).
///
/// Its memory is bounded: a partition of which 256 messages or 4 MiB are received and not handled is not read on until there are less; other
/// partitions go on.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// The next message; waits for one. Passing states are waited out inside; what is returned as an error needs a person. An error is about
    /// what it names: the member goes on with everything else, so ask again. A call that is dropped takes no message with it.
    async fn receive(&self) -> Result<Incoming, BrokerError>;
    /// This message was handled. Its partition's position is committed within a second or so, up to the first message that is not
    /// handled; messages may be done in any order. Nothing happens if the partition went to another member meanwhile.
    fn done(&self, message: &Incoming) -> Result<(), BrokerError>;
    /// This message was not handled: it comes again later, with a higher [`Incoming::attempt`], and counts as handled meanwhile where the broker
    /// keeps it (RocketMQ: after 16 attempts in `%DLQ%<group>`). Kafka's brokers keep nothing: the member itself delivers it again, and its
    /// position waits; it counts as not handled, so that a partition of which all fail is not read on.
    ///
    /// In a broadcast of RocketMQ, and in Kafka with [`Subscription::ordered`], nobody delivers again: [`BrokerError::Unsupported`].
    async fn failed(&self, message: &Incoming) -> Result<(), BrokerError>;
    /// The message is this member's to handle: it is not done, and its partition has stayed here since it came. If not, it comes again, to whoever
    /// has its partition now.
    fn is_open(&self, message: &Incoming) -> bool;
    /// Partitions that it has now, with their topics.
    fn assigned(&self) -> Vec<(PhysicalName, PartitionId)>;
    /// Commits what is done and leaves the group.
    async fn close(&self, deadline: Duration) -> Result<(), BrokerError>;
}

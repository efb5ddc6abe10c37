use std::time::Duration;

use bytes::Bytes;
use zms_core::names::{ClusterName, PhysicalName};
use zms_drivers::broker::{Incoming, Outgoing, PartitionId};

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
    tag: Option<String>,
    delay: Option<Duration>,
}

impl Message {
    /// With this value.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// Takes a key out of a compacted topic.
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Messages of one key keep their order.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header; a name may be there twice.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// By which consumers may choose ([`ConsumerBuilder::only_tags`](crate::ConsumerBuilder::only_tags)).
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Not delivered before this time has passed. Clusters of Kafka cannot, and refuse it; those of RocketMQ before 5.0 know eighteen steps
    /// from 1 s to 2 h, and name them when another one is asked for.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Key and value together, in bytes.
    pub fn size(&self) -> usize {
        [&self.key, &self.value].into_iter().flatten().map(Bytes::len).sum()
    }

    pub(crate) fn to(&self, topic: &PhysicalName) -> Outgoing {
        let Self { key, value, headers, tag, delay } = self.clone();
        Outgoing { topic: topic.clone(), key, value, headers, tag, delay }
    }
}

impl From<&'static str> for Message {
    fn from(value: &'static str) -> Self {
        Self::new(value)
    }
}

impl From<String> for Message {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<Vec<u8>> for Message {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value)
    }
}

/// Where a message stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// On which cluster.
    pub cluster: ClusterName,
    /// In which partition.
    pub partition: PartitionId,
    /// At which offset.
    pub offset: i64,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The topic's name, whatever it is called on its cluster.
    pub topic: PhysicalName,
    /// Where it stood.
    pub cluster: ClusterName,
    /// Where it stood.
    pub partition: PartitionId,
    /// Where it stood.
    pub offset: i64,
    /// Milliseconds since 1970 by its producer or broker.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Bytes>,
    /// The message; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// In their order.
    pub headers: Vec<(String, Bytes)>,
    /// Its tag.
    pub tag: Option<String>,
    /// 1 for the first time that the handler gets it, 2 after it failed once …
    pub attempt: u32,
}

impl Received {
    pub(crate) fn new(topic: &PhysicalName, cluster: &ClusterName, message: &Incoming, attempt: u32) -> Self {
        Self {
            topic: topic.clone(),
            cluster: cluster.clone(),
            partition: message.placed.partition.clone(),
            offset: message.placed.offset,
            timestamp_ms: message.timestamp_ms,
            key: message.key.clone(),
            value: message.value.clone(),
            headers: message.headers.clone(),
            tag: message.tag.clone(),
            attempt,
        }
    }

    /// The value, empty for a tombstone.
    pub fn bytes(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }
}

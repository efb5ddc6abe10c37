//! Which partition.

use std::fmt;
use std::sync::Arc;

/// A partition of a topic. In RocketMQ it is a queue, and each broker counts its own from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// Name of the broker that has it; `None` where numbers count for the whole topic (Kafka).
    pub broker: Option<Arc<str>>,
    /// From 0.
    pub number: i32,
}

impl PartitionId {
    /// A queue of a broker.
    pub fn queue(broker: impl Into<Arc<str>>, number: i32) -> Self {
        Self { broker: Some(broker.into()), number }
    }
}

impl From<i32> for PartitionId {
    fn from(number: i32) -> Self {
        Self { broker: None, number }
    }
}

/// `3`, or `broker-a/3`.
impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.broker {
            Some(broker) => write!(f, "{broker}/{}", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_shown_with_its_broker_where_it_has_one() {
        assert_eq!(PartitionId::from(3).to_string(), "3");
        assert_eq!(PartitionId::queue("broker-a", 3).to_string(), "broker-a/3");
    }
}

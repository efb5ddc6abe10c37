//! A queue: what a partition is in RocketMQ.

use std::sync::Arc;

/// One queue of a topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Queue {
    pub topic: Arc<str>,
    /// The broker's name; its master, or a slave while there is no master.
    pub broker: Arc<str>,
    pub number: i32,
}

impl std::fmt::Display for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "queue {} of topic {} on broker {}", self.number, self.topic, self.broker)
    }
}

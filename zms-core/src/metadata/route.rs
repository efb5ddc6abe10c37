//! Several places of one topic, and which of two values is the newer.

use serde::{Deserialize, Serialize};

use super::BrokerKind;
use crate::names::{ClusterName, PhysicalName};

/// Which of two values of one node in one environment is the newer: first the term (who writes), then the epoch (how often).
/// A value whose order is lower than one already seen is ignored, from whatever source it comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Order {
    /// Grows when another portal takes over the environment.
    pub term: u64,
    /// Grows with each write.
    pub epoch: u64,
}

impl Order {
    /// What the next write carries: above both what the database and what the node says.
    pub fn next(self, other: Self) -> Self {
        let highest = self.max(other);
        Self { epoch: highest.epoch + 1, ..highest }
    }
}

/// A cluster on which a topic is read or written. Present while a migration or a gray release runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Names the route within its topic, for example `r7`.
    pub rid: String,
    /// Where.
    pub cluster: ClusterName,
    /// What runs there.
    pub kind: BrokerKind,
    /// The topic's name there.
    pub name: PhysicalName,
    /// Consumers read from it.
    pub read: bool,
    /// Producers write to it.
    pub write: bool,
    /// What must happen before it is read; null when nothing. Read by the migration alone.
    #[serde(default)]
    pub gate: Option<serde_json::Value>,
    /// Where it ends: partition → offset; null while it may still grow. Read by the migration alone.
    #[serde(default)]
    pub end: Option<serde_json::Value>,
}

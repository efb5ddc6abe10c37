//! Where topics live, as applications read it from ZooKeeper: the contract with every client, ours and those of the first ZMS.
//!
//! 1. [`path`]: where nodes stand. 2. [`text`]: the form of their values. 3. [`ClusterNode`], [`TopicNode`], [`GroupNode`]: what the
//!    values say. 4. [`Route`]: several places of one topic. 5. [`system`]: whose tree it is. 6. [`Presence`]: who is connected,
//!    [`java`]: clients of the first ZMS.
//!
//! Values are Java-properties text, so that Java applications on the client of the first ZMS go on working. Keys that we do not know
//! survive a rewrite in their place.

mod cluster;
mod fields;
mod group;
pub mod java;
pub mod path;
mod presence;
mod route;
pub mod system;
pub mod text;
mod topic;

pub use cluster::{BrokerKind, ClusterNode, Security};
pub use fields::NodeError;
pub use group::{ConsumeFrom, GroupNode};
pub use java::{JavaPresence, java_client};
pub use presence::{ClientId, Presence};
pub use route::{Order, Route};
pub use topic::TopicNode;

//! ZooKeeper, where applications read where topics live.
//!
//! [`MetaStore`] is what we need of it; [`zookeeper`] the real one, `fake` one in memory. A watch of ZooKeeper is a hint that may be
//! lost; what [`MetaStore::node`] and [`MetaStore::tree`] give is the truth, at most a moment old: each one lists again after every
//! reconnect and on a timer, so a reader compares what it sees with what it saw and cannot miss a change that lasts.

mod error;
#[cfg(feature = "fake")]
pub mod fake;
pub mod zookeeper;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

pub use error::MetaError;

/// A node as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its value.
    pub data: Arc<[u8]>,
    /// Grows with each change of the value; what compare-and-set compares.
    pub version: i32,
    /// Id of the transaction that last changed the value: orders changes within one ensemble.
    pub mzxid: i64,
    /// Goes with the session that made it.
    pub ephemeral: bool,
}

/// What is known of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seen {
    /// Never read yet.
    #[default]
    NotYet,
    /// It is not there.
    Absent,
    /// It is there.
    There(Node),
    /// We have no right to read it.
    Denied,
}

/// A subtree: full path → node. The prefix itself is part of it.
pub type Tree = BTreeMap<String, Node>;

/// One step of [`MetaStore::apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Goes on only if the node has this version.
    Check {
        /// Full path.
        path: String,
        /// Its version.
        version: i32,
    },
    /// Makes a node with its value; its parent must be there.
    Create {
        /// Full path.
        path: String,
        /// Its value.
        data: Vec<u8>,
        /// Who may do what with it.
        access: Access,
    },
    /// Changes a value.
    Set {
        /// Full path.
        path: String,
        /// The new value.
        data: Vec<u8>,
        /// Its version before; `None`: whatever it is.
        version: Option<i32>,
    },
    /// Deletes a node without children.
    Delete {
        /// Full path.
        path: String,
        /// Its version before; `None`: whatever it is.
        version: Option<i32>,
    },
}

/// Rights on a node. The portal always has all of them; how the others are named is a setting of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nobody else.
    Portal,
    /// Applications, collector and backup read.
    Read,
    /// Applications also make nodes below it: buckets of `/zms/client`.
    ReadCreate,
    /// The collector makes, changes and deletes nodes below it: its lease.
    Lease,
    /// Everybody reads, creates and deletes below it: topics and groups while Java clients are served.
    Legacy,
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not yet, or not any more, with the reason.
    Down(String),
    /// Connected; counts the connections of this store.
    Up(u64),
}

/// What we need of ZooKeeper. Every call has a deadline inside and is refused at once while there is no connection.
#[async_trait]
pub trait MetaStore: Send + Sync + 'static {
    /// A node; `None` if it is not there.
    async fn get(&self, path: &str) -> Result<Option<Node>, MetaError>;
    /// Names of a node's children, sorted; `None` if it is not there.
    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, MetaError>;
    /// All or nothing, in one transaction; the versions after it, one a step (0 for a created node, −1 for a deleted one and a check).
    async fn apply(&self, changes: &[Change]) -> Result<Vec<i32>, MetaError>;
    /// Gives a node these rights if it has others; `false`: it had them. Needs the right to administer it.
    async fn ensure_access(&self, path: &str, access: Access) -> Result<bool, MetaError>;

    /// Follows one node until the receiver is dropped.
    fn node(&self, path: &str) -> watch::Receiver<Seen>;
    /// Follows a subtree until the receiver is dropped; `None` until it was listed for the first time.
    fn tree(&self, prefix: &str) -> watch::Receiver<Option<Arc<Tree>>>;
    /// Keeps an ephemeral node with this value there, also across sessions, until what is returned is dropped. Sending another value changes it.
    fn ephemeral(&self, path: &str, data: Vec<u8>) -> watch::Sender<Vec<u8>>;
    /// How the connection is.
    fn link(&self) -> watch::Receiver<Link>;
    /// Ends the session, and with it the ephemeral nodes.
    async fn close(&self);
}

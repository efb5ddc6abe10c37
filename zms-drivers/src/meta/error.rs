/// Why a call did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// No connection; nothing was sent. Trying again later is right.
    #[error("ZooKeeper is not connected: {0}")]
    Unavailable(String),
    /// The connection was lost or the deadline passed while a call was under way: whether it was done is open. Read before doing it again.
    #[error("ZooKeeper did not answer in time; whether {0} was done is open")]
    Unknown(String),
    /// No right. With digest identities a wrong password looks the same.
    #[error("no right to {what} {path} in ZooKeeper; a wrong password looks the same")]
    Denied {
        /// read, change, create …
        what: &'static str,
        /// Of which node.
        path: String,
    },
    /// A node that should be made is there already.
    #[error("node {0} is there already")]
    Exists(String),
    /// A node, or its parent, is not there.
    #[error("node {0} is not there")]
    Missing(String),
    /// Somebody else changed the node meanwhile.
    #[error("node {0} was changed by somebody else meanwhile")]
    Changed(String),
    /// A node that should be deleted has children.
    #[error("node {0} has children")]
    HasChildren(String),
    /// Too large for one request.
    #[error("{size} bytes are more than one request to ZooKeeper may have ({limit})")]
    Large {
        /// In bytes.
        size: usize,
        /// In bytes.
        limit: usize,
    },
    /// Anything else, as the client library says it.
    #[error("ZooKeeper: {what}: {why}")]
    Other {
        /// What was asked.
        what: String,
        /// What it says.
        why: String,
    },
}

impl MetaError {
    /// The same call may succeed later without anybody changing anything.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unknown(_))
    }
}

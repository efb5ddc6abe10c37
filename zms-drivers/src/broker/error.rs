/// Why a broker did not do what it was asked; classified once, where the broker's answer is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// No broker of the cluster could be reached; nothing was done. Trying again later is right.
    #[error("{cluster}: not reachable: {why}")]
    Unreachable {
        /// Which cluster.
        cluster: String,
        /// What was tried.
        why: String,
    },
    /// No answer within the deadline: whether it was done is open. Look before doing it again.
    #[error("{cluster}: {what}: no answer within {seconds} s")]
    Timeout {
        /// Which cluster.
        cluster: String,
        /// What was asked.
        what: String,
        /// The deadline.
        seconds: u64,
    },
    /// Wrong credentials, or no right.
    #[error("{cluster}: {what}: denied: {why}")]
    Denied {
        /// Which cluster.
        cluster: String,
        /// What was asked.
        what: String,
        /// What the broker says.
        why: String,
    },
    /// The topic or group is not there.
    #[error("{what} is not there")]
    Missing {
        /// Which one.
        what: String,
    },
    /// It is there, but otherwise than asked.
    #[error("{what}: {why}")]
    Conflict {
        /// Which one.
        what: String,
        /// What is there, and what was asked.
        why: String,
    },
    /// The broker does not take it: a setting, a size, a number. Trying again as it is is wrong.
    #[error("{what}: refused: {why}")]
    Refused {
        /// What was asked.
        what: String,
        /// What the broker says.
        why: String,
    },
    /// Leaderless, rebalancing, loading: a passing state of the cluster. Trying again soon is right.
    #[error("{what}: not now: {why}")]
    Passing {
        /// What was asked.
        what: String,
        /// What the broker says.
        why: String,
    },
    /// The answer could not be understood.
    #[error("{cluster}: {what}: not understood: {why}")]
    Garbled {
        /// Which cluster.
        cluster: String,
        /// What was asked.
        what: String,
        /// Where it ended.
        why: String,
    },
    /// What this broker, in its version, cannot do.
    #[error("{cluster}: cannot {what}")]
    Unsupported {
        /// Which cluster.
        cluster: String,
        /// What was asked.
        what: String,
    },
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

impl BrokerError {
    /// The same call may succeed later without anybody changing anything.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Passing { .. })
    }
}

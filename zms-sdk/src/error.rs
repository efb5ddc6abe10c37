use std::sync::Arc;
use std::time::Duration;

use zms_drivers::broker::BrokerError;

/// Why something was not done. Cheap to clone: senders that failed for one reason share it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A setting or name that cannot be right.
    #[error("{0}")]
    Setting(String),
    /// The environment has no such topic or group.
    #[error("{what} is not in this environment: apply for it in the portal, and look at the name")]
    Unknown {
        /// `topic orders`.
        what: String,
    },
    /// Where it lives is not known yet, and nothing is known from an earlier run.
    #[error("{what}: where it lives is not known after {} s: {why}", .waited.as_secs_f32())]
    NoMetadata {
        /// `topic orders`.
        what: String,
        /// How long it was waited for.
        waited: Duration,
        /// What was in the way last.
        why: String,
    },
    /// What its cluster answered.
    #[error("{what}: {source}")]
    Broker {
        /// `send to topic orders`.
        what: String,
        /// The cluster's answer.
        #[source]
        source: Arc<BrokerError>,
    },
    /// More messages are under way than [`Builder::in_flight`](crate::Builder::in_flight) allows.
    #[error("{limit} messages are under way already; wait until some are sent")]
    Busy {
        /// How many may be under way.
        limit: usize,
    },
    /// [`Zms::close`](crate::Zms::close) was called.
    #[error("this client was closed")]
    Closed,
}

impl Error {
    /// The same call may succeed later without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Setting(_) | Self::Unknown { .. } | Self::Closed => false,
            Self::NoMetadata { .. } | Self::Busy { .. } => true,
            Self::Broker { source, .. } => source.is_passing(),
        }
    }

    /// One word for counting: `timeout`, `denied` …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Setting(_) => "setting",
            Self::Unknown { .. } => "unknown",
            Self::NoMetadata { .. } => "no_metadata",
            Self::Busy { .. } => "busy",
            Self::Closed => "closed",
            Self::Broker { source, .. } => match **source {
                BrokerError::Unreachable { .. } => "unreachable",
                BrokerError::Timeout { .. } => "timeout",
                BrokerError::Denied { .. } => "denied",
                BrokerError::Missing { .. } => "missing",
                BrokerError::Conflict { .. } => "conflict",
                BrokerError::Refused { .. } => "refused",
                BrokerError::Passing { .. } => "passing",
                BrokerError::Garbled { .. } => "garbled",
                BrokerError::Unsupported { .. } => "unsupported",
                BrokerError::Closed => "closed",
            },
        }
    }

    pub(crate) fn broker(what: impl Into<String>, source: BrokerError) -> Self {
        Self::Broker { what: what.into(), source: Arc::new(source) }
    }
}

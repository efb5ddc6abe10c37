use std::time::Duration;

pub use kafka_protocol::ResponseError as Code;

/// Why a call to a broker did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// There was no connection, so nothing was asked.
    #[error("{address}: cannot connect: {why}")]
    Connect {
        /// `host:port`, or several of them.
        address: String,
        /// What the system, TLS, or the last attempt said.
        why: String,
    },
    /// It is where no broker may be; nothing was dialled.
    #[error("{address}: {found}: outside the networks in which brokers may be ({networks})")]
    Outside {
        /// `host:port`
        address: String,
        /// Addresses that its name has.
        found: String,
        /// Where it may be.
        networks: String,
    },
    /// The connection ended before the answer: whether it was done is open.
    #[error("{address}: {call}: connection lost: {why}")]
    Lost {
        /// `host:port`
        address: String,
        /// Name of the request.
        call: &'static str,
        /// How it ended.
        why: String,
    },
    /// No answer within the deadline: whether it was done is open.
    #[error("{address}: {call}: no answer within {} ms", deadline.as_millis())]
    Silent {
        /// `host:port`
        address: String,
        /// Name of the request.
        call: &'static str,
        /// The deadline that passed.
        deadline: Duration,
    },
    /// Wrong credentials, or a certificate that nobody vouches for.
    #[error("{address}: denied: {why}")]
    Denied {
        /// `host:port`
        address: String,
        /// What the broker or TLS said.
        why: String,
    },
    /// What came is not Kafka's protocol.
    #[error("{address}: {call}: not understood: {why}")]
    Garbled {
        /// `host:port`
        address: String,
        /// Name of the request.
        call: &'static str,
        /// Where reading ended.
        why: String,
    },
    /// The broker is too old or too new for this call.
    #[error("{address}: {call}: {why}")]
    Unsupported {
        /// `host:port`
        address: String,
        /// Name of the request.
        call: &'static str,
        /// What both sides know.
        why: String,
    },
    /// The broker answered with an error.
    #[error("{call}: {code}{}{}", if message.is_empty() { "" } else { ": " }, message)]
    Answer {
        /// Name of the request.
        call: &'static str,
        /// Kafka's error code.
        code: Code,
        /// What the broker says about it; may be empty.
        message: String,
    },
    /// The options cannot be right.
    #[error("{0}")]
    Options(String),
}

impl WireError {
    /// Error code of an answer; `Ok` if there is none.
    ///
    /// # Errors
    /// [`WireError::Answer`].
    pub fn check(call: &'static str, code: i16, message: Option<&str>) -> Result<(), Self> {
        match Code::try_from_code(code) {
            None => Ok(()),
            Some(code) => Err(Self::Answer { call, code, message: message.unwrap_or_default().to_owned() }),
        }
    }

    /// The broker's connection is of no more use: the next call opens another.
    pub const fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Lost { .. } | Self::Silent { .. } | Self::Garbled { .. } | Self::Denied { .. }
        )
    }

    /// Another broker may answer: this one is away.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Lost { .. } | Self::Silent { .. })
    }

    /// Somebody else is asked rightly now: controller, leader or coordinator have moved.
    pub const fn is_moved(&self) -> bool {
        matches!(self, Self::Answer { code, .. } if moved(*code))
    }
}

/// Codes that say: ask somebody else, look again who.
pub(crate) const fn moved(code: Code) -> bool {
    matches!(
        code,
        Code::NotController
            | Code::NotLeaderOrFollower
            | Code::NotCoordinator
            | Code::LeaderNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::CoordinatorNotAvailable
    )
}

//! What can go wrong, and what it means.

use std::time::Duration;

use super::super::json::JsonError;
use crate::broker::BrokerError;

/// Why a request did not get the answer that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemotingError {
    /// There was no connection, so nothing was asked.
    #[error("{address}: cannot connect: {why}")]
    Connect {
        /// `host:port`
        address: String,
        /// What the system or TLS said.
        why: String,
    },
    /// The connection ended before the answer: whether it was done is open.
    #[error("{address}: request {code}: connection lost: {why}")]
    Lost {
        /// `host:port`
        address: String,
        /// Code of the request.
        code: i32,
        /// How it ended.
        why: String,
    },
    /// No answer within the deadline: whether it was done is open.
    #[error("{address}: request {code}: no answer within {} ms", deadline.as_millis())]
    Silent {
        /// `host:port`
        address: String,
        /// Code of the request.
        code: i32,
        /// The deadline that passed.
        deadline: Duration,
    },
    /// A certificate that nobody vouches for.
    #[error("{address}: {why}")]
    Denied {
        /// `host:port`
        address: String,
        /// What TLS said.
        why: String,
    },
    /// The answer could not be read.
    #[error("{address}: request {code}: not understood: {why}")]
    Garbled {
        /// `host:port`
        address: String,
        /// Code of the request.
        code: i32,
        /// Where reading ended.
        why: String,
    },
    /// The broker answered with an error.
    #[error("{address}: request {code}: answer {answer}: {remark}")]
    Answer {
        /// `host:port`
        address: String,
        /// Code of the request.
        code: i32,
        /// Code of the answer.
        answer: i32,
        /// What the broker says about it.
        remark: String,
    },
    /// What was asked for cannot be right.
    #[error("{0}")]
    Options(String),
}

/// Codes of answers that callers act on.
pub mod answers {
    /// Something went wrong inside the broker; its remark has the Java exception.
    pub const SYSTEM_ERROR: i32 = 1;
    /// It has too much to do, or (5.x) is a slave that was to be written to.
    pub const SYSTEM_BUSY: i32 = 2;
    /// It does not know the request.
    pub const UNKNOWN_REQUEST: i32 = 3;
    /// It does not serve now, or (4.9) is a slave that was to be written to.
    pub const NOT_AVAILABLE: i32 = 14;
    /// No right, or a topic without permission to read or write.
    pub const NO_PERMISSION: i32 = 16;
    /// There is no such topic.
    pub const NO_TOPIC: i32 = 17;
    /// Nothing was found.
    pub const NOT_FOUND: i32 = 22;
    /// There is no such group.
    pub const NO_GROUP: i32 = 26;
    /// The group has no members.
    pub const NO_MEMBERS: i32 = 206;

    /// Whether the account is refused, and will be by every broker and at every time. Before 5.0 brokers have no code for that; and
    /// [`NO_PERMISSION`] is also what they say of a topic, a broker or a group that was closed to everybody.
    pub fn denies(answer: i32, remark: &str) -> bool {
        match answer {
            SYSTEM_ERROR => remark.contains("AclException"),
            NO_PERMISSION => !remark.contains("is forbidden") && !remark.contains("group no permission"),
            _ => false,
        }
    }
}

impl RemotingError {
    /// An answer that could not be read.
    pub fn garbled(address: &str, code: i32, error: &JsonError) -> Self {
        Self::Garbled { address: address.to_owned(), code, why: error.to_string() }
    }

    /// Somebody else may answer: this one is away.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Lost { .. } | Self::Silent { .. })
    }

    /// Code of the answer, if there was one.
    pub const fn answer(&self) -> Option<i32> {
        if let Self::Answer { answer, .. } = self { Some(*answer) } else { None }
    }
}

/// What it means to whoever asked for `what` (`topic orders`, `group billing`).
pub fn classify(cluster: &str, what: &str, error: RemotingError) -> BrokerError {
    let cluster = cluster.to_owned();
    let asked = what.to_owned();
    let why = error.to_string();
    match error {
        RemotingError::Connect { .. } => BrokerError::Unreachable { cluster, why },
        RemotingError::Lost { .. } => BrokerError::Passing { what: asked, why },
        RemotingError::Silent { deadline, .. } => BrokerError::Timeout { cluster, what: why, seconds: deadline.as_secs() },
        RemotingError::Denied { .. } => BrokerError::Denied { cluster, what: asked, why },
        RemotingError::Garbled { .. } => BrokerError::Garbled { cluster, what: asked, why },
        RemotingError::Options(why) => BrokerError::Refused { what: asked, why },
        RemotingError::Answer { answer, remark, .. } => match answer {
            code if code == answers::NO_PERMISSION || answers::denies(code, &remark) => {
                BrokerError::Denied { cluster, what: asked, why }
            }
            answers::UNKNOWN_REQUEST | 15 => BrokerError::Unsupported { cluster, what: format!("{what}: {why}") },
            answers::NO_TOPIC | answers::NO_GROUP | answers::NOT_FOUND => BrokerError::Missing { what: asked },
            answers::NO_MEMBERS => BrokerError::Missing { what: format!("a member of {what}") },
            // Busy, flow control, disks and slaves that are behind, a subscription that was not heard of yet.
            answers::SYSTEM_BUSY | answers::NOT_AVAILABLE | 10..=12 | 20 | 24 | 25 | 209 | 210 | 212 | 215 | 501 => {
                BrokerError::Passing { what: asked, why }
            }
            _ => BrokerError::Refused { what: asked, why },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(answer: i32, remark: &str) -> BrokerError {
        let error = RemotingError::Answer { address: "a:1".to_owned(), code: 17, answer, remark: remark.to_owned() };
        classify("main", "topic orders", error)
    }

    #[test]
    fn answers_are_classified_by_what_to_do_about_them() {
        assert_eq!(meaning(17, ""), BrokerError::Missing { what: "topic orders".to_owned() });
        for passing in [2, 14, 11, 212, 215] {
            assert!(meaning(passing, "").is_passing(), "{passing}");
        }
        assert!(matches!(meaning(3, ""), BrokerError::Unsupported { .. }));
        assert!(matches!(meaning(16, ""), BrokerError::Denied { .. }));
        assert!(matches!(meaning(1, "org.apache.rocketmq.acl.common.AclException: no"), BrokerError::Denied { .. }));
        for lasting in [1, 13, 23, 29, 9999] {
            assert!(matches!(meaning(lasting, "so"), BrokerError::Refused { .. }), "{lasting}");
        }
        let silent = RemotingError::Silent { address: "a:1".to_owned(), code: 1, deadline: Duration::from_secs(3) };
        assert!(matches!(classify("main", "topics", silent), BrokerError::Timeout { seconds: 3, .. }));
    }
}

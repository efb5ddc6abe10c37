//! What an error of the wire means to operators.

use zms_kafka_wire::{Code, WireError};

use super::KafkaAdmin;
use crate::broker::BrokerError;

impl KafkaAdmin {
    /// `what`: the thing that was asked for, like `topic orders`.
    pub(in crate::kafka) fn classify(&self, what: &str, error: WireError) -> BrokerError {
        let (cluster, what, why) = (self.name.clone(), what.to_owned(), error.to_string());
        match error {
            WireError::Connect { .. } => BrokerError::Unreachable { cluster, why },
            // It may have been done.
            WireError::Silent { deadline, .. } => BrokerError::Timeout { cluster, what, seconds: deadline.as_secs().max(1) },
            WireError::Lost { .. } => BrokerError::Passing { what, why },
            WireError::Denied { .. } => BrokerError::Denied { cluster, what, why },
            WireError::Garbled { .. } => BrokerError::Garbled { cluster, what, why },
            WireError::Unsupported { call, .. } => {
                BrokerError::Unsupported { cluster, what: format!("{call} for {what}: {why}") }
            }
            WireError::Outside { .. } => BrokerError::Refused { what: format!("cluster {cluster}, {what}"), why },
            WireError::Options(_) => BrokerError::Refused { what, why },
            WireError::Answer { code, .. } => self.classify_code(what, code, why),
        }
    }

    fn classify_code(&self, what: String, code: Code, why: String) -> BrokerError {
        let cluster = self.name.clone();
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopicId | Code::GroupIdNotFound => BrokerError::Missing { what },
            Code::TopicAlreadyExists
            | Code::NonEmptyGroup
            | Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::StaleMemberEpoch => BrokerError::Conflict { what, why },
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SecurityDisabled
            | Code::SaslAuthenticationFailed => BrokerError::Denied { cluster, what, why },
            Code::UnsupportedVersion => BrokerError::Unsupported { cluster, what: format!("{what}: {why}") },
            Code::RequestTimedOut => BrokerError::Timeout { cluster, what, seconds: self.deadline.as_secs() },
            Code::RebalanceInProgress | Code::ThrottlingQuotaExceeded => BrokerError::Passing { what, why },
            other if other.is_retriable() => BrokerError::Passing { what, why },
            _ => BrokerError::Refused { what, why },
        }
    }
}

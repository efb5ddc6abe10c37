//! What sending and consuming share: settings of librdkafka, what it says in between, and what its errors mean.

use std::sync::{Arc, Mutex};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::broker::BrokerError;
use crate::open::{Endpoint, Mechanism};

/// Settings that are the same for every client of a cluster. With networks it has no brokers until [`Within`](super::within::Within) tells it.
pub(super) fn config(endpoint: &Endpoint) -> ClientConfig {
    let mut config = ClientConfig::new();
    // Who stays within networks hears of them from `Within`.
    if endpoint.networks.is_none() {
        config.set("bootstrap.servers", endpoint.addresses.join(","));
    }
    config.set("client.id", &endpoint.client_id);
    config.set("socket.connection.setup.timeout.ms", endpoint.deadline.as_millis().clamp(1_000, 60_000).to_string());
    config.set("reconnect.backoff.max.ms", "5000");
    // A broker that is left alone closes its connection after ten minutes; that is no event.
    config.set("log.connection.close", "false");
    let tls = endpoint.authority_pem.is_some() || endpoint.system_roots;
    let security = match (tls, &endpoint.credentials) {
        (false, None) => "plaintext",
        (false, Some(_)) => "sasl_plaintext",
        (true, None) => "ssl",
        (true, Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", security);
    if let Some(pem) = &endpoint.authority_pem {
        config.set("ssl.ca.pem", pem);
    }
    if let Some(credentials) = &endpoint.credentials {
        let mechanism = match credentials.mechanism {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        config.set("sasl.mechanisms", mechanism);
        config.set("sasl.username", &credentials.user).set("sasl.password", &credentials.password);
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// Hears what librdkafka says outside of answers: it retries for ever, so the reason of a time-out is known only from here.
#[derive(Clone)]
pub(super) struct Ear {
    pub cluster: Arc<str>,
    /// Why brokers refuse us, as said last; nothing after a success.
    denied: Arc<Mutex<Option<String>>>,
}

impl Ear {
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.into(), denied: Arc::default() }
    }

    /// Forgets what was heard: something worked.
    pub fn worked(&self) {
        self.lock().take();
    }

    /// A broker was not dialled, as it is where none may be. It is said once, and as the reason of what fails for want of it.
    pub fn outside(&self, why: String) {
        let mut denied = self.lock();
        if denied.as_ref() != Some(&why) {
            tracing::warn!(cluster = %self.cluster, why, "a broker is not dialled");
            *denied = Some(why);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.denied.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What an error means, in the light of what was heard. `seconds`: the deadline that may have passed.
    pub fn classify(&self, what: impl Into<String>, error: &KafkaError, seconds: u64) -> BrokerError {
        let (cluster, what) = (self.cluster.to_string(), what.into());
        let Some(code) = error.rdkafka_error_code() else {
            return match error {
                KafkaError::Canceled => BrokerError::Closed,
                other => BrokerError::Refused { what, why: other.to_string() },
            };
        };
        let why = code.to_string();
        match code {
            Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::WaitingForCoordinator => match self.lock().clone() {
                Some(why) => BrokerError::Denied { cluster, what, why },
                None => BrokerError::Timeout { cluster, what, seconds },
            },
            Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::BrokerNotAvailable => {
                match self.lock().clone() {
                    Some(why) => BrokerError::Denied { cluster, what, why },
                    None => BrokerError::Unreachable { cluster, why },
                }
            }
            Code::Authentication
            | Code::SSL
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed => BrokerError::Denied { cluster, what, why },
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                BrokerError::Missing { what: topic_in(what) }
            }
            Code::InconsistentGroupProtocol | Code::InvalidGroupId | Code::FencedInstanceId => {
                BrokerError::Conflict { what, why }
            }
            Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidMessage
            | Code::InvalidArgument
            | Code::InvalidConfig
            | Code::InvalidRecord
            | Code::InvalidTopic
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::PolicyViolation => BrokerError::Refused { what, why },
            // Never sent, because the client was closed first.
            Code::PurgeQueue => BrokerError::Closed,
            // Sent, but the client was closed before the answer.
            Code::PurgeInflight => BrokerError::Timeout { cluster, what, seconds },
            // What is left are states of a cluster that pass: no leader, not enough replicas, loading, rebalancing, a full queue.
            _ => BrokerError::Passing { what, why },
        }
    }
}

/// `send to topic x` is what was asked; what is missing is the topic.
fn topic_in(what: String) -> String {
    match what.find("topic ") {
        Some(at) => what[at..].to_owned(),
        None => what,
    }
}

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                tracing::debug!(cluster = %self.cluster, facility, message, "librdkafka says");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {}
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let denied = matches!(
            error.rdkafka_error_code(),
            Some(Code::Authentication | Code::SSL | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism)
        );
        if denied {
            *self.lock() = Some(reason.to_owned());
            tracing::warn!(cluster = %self.cluster, reason, "brokers refuse this client");
        } else {
            // It tries again by itself; who waits for an answer is told by a deadline.
            tracing::debug!(cluster = %self.cluster, %error, reason, "connection to brokers");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_library_are_classified_by_what_to_do_about_them() {
        let ear = Ear::new("orders-kafka");
        let classify = |code| ear.classify("send to topic orders", &KafkaError::MessageProduction(code), 30);
        assert_eq!(classify(Code::UnknownTopicOrPartition), BrokerError::Missing { what: "topic orders".into() });
        for passing in [
            Code::NotLeaderForPartition,
            Code::NotEnoughReplicas,
            Code::LeaderNotAvailable,
            Code::QueueFull,
            Code::MessageTimedOut,
        ] {
            assert!(classify(passing).is_passing(), "{passing}");
        }
        for lasting in [Code::MessageSizeTooLarge, Code::TopicAuthorizationFailed, Code::InvalidRecord] {
            assert!(!classify(lasting).is_passing(), "{lasting}");
        }
        assert_eq!(classify(Code::PurgeQueue), BrokerError::Closed);
    }

    #[test]
    fn a_time_out_after_refused_credentials_says_that_they_were_refused() {
        let ear = Ear::new("orders-kafka");
        ear.error(KafkaError::Global(Code::Authentication), "SCRAM: Authentication failed");
        let timed_out = KafkaError::MessageProduction(Code::MessageTimedOut);
        assert!(matches!(ear.classify("send to topic orders", &timed_out, 30), BrokerError::Denied { .. }));
        ear.worked();
        assert!(matches!(ear.classify("send to topic orders", &timed_out, 30), BrokerError::Timeout { seconds: 30, .. }));
    }
}

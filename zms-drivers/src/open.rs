//! The one place that opens a cluster, and the only `match` on its kind.

use std::time::Duration;

use zms_core::collect::{self, Adopted, BrokerTls};
use zms_core::networks::Networks;

/// Where a cluster is and how to speak to it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name, for messages.
    pub cluster: String,
    /// `host:port` of some of its brokers; RocketMQ: of its name servers.
    pub addresses: Vec<String>,
    /// TLS to the brokers: certificates (PEM) of the authorities that are trusted. `None`: plain text.
    pub authority_pem: Option<String>,
    /// TLS with the authorities that this host trusts, where `authority_pem` names none.
    pub system_roots: bool,
    /// Where brokers may be, also those that the cluster advertises. `None`: anywhere.
    pub networks: Option<Networks>,
    /// Who we are.
    pub credentials: Option<Credentials>,
    /// As brokers see us.
    pub client_id: String,
    /// Deadline of one administrative call, and of one connection.
    pub deadline: Duration,
}

impl Endpoint {
    /// A cluster that ZMS did not install.
    pub fn adopted(cluster: &Adopted) -> Self {
        let login = cluster.login.as_ref().map(|login| Credentials {
            mechanism: match login.mechanism {
                collect::Mechanism::Plain => Mechanism::Plain,
                collect::Mechanism::ScramSha256 => Mechanism::ScramSha256,
                collect::Mechanism::ScramSha512 => Mechanism::ScramSha512,
            },
            user: login.user.clone(),
            password: login.password.clone(),
        });
        let authority_pem = match &cluster.tls {
            BrokerTls::Authority(pem) => Some(pem.clone()),
            BrokerTls::Off | BrokerTls::System => None,
        };
        Self {
            authority_pem,
            system_roots: cluster.tls == BrokerTls::System,
            networks: Some(cluster.networks.clone()),
            credentials: login,
            ..Self::plain(cluster.cluster.as_str(), cluster.addresses.iter())
        }
    }

    /// A cluster without TLS and credentials.
    pub fn plain(cluster: impl Into<String>, addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            cluster: cluster.into(),
            addresses: addresses.into_iter().map(Into::into).collect(),
            authority_pem: None,
            system_roots: false,
            networks: None,
            credentials: None,
            client_id: "zms".to_owned(),
            deadline: Duration::from_secs(15),
        }
    }
}

/// SASL; RocketMQ: access key and secret key, whatever the mechanism.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// How.
    pub mechanism: Mechanism,
    /// Who.
    pub user: String,
    /// Never shown.
    pub password: String,
}

/// SASL mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password travels; only over TLS.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("mechanism", &self.mechanism).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Sends to a cluster; a message is given up after `delivery`. Connects when it is first used.
///
/// # Errors
/// [`BrokerError::Refused`](crate::broker::BrokerError::Refused) if the endpoint cannot be right,
/// [`BrokerError::Unsupported`](crate::broker::BrokerError::Unsupported) for a kind that this program cannot speak to.
#[cfg(any(feature = "kafka", feature = "rocketmq"))]
pub fn producer(
    kind: zms_core::metadata::BrokerKind,
    endpoint: &Endpoint,
    delivery: Duration,
) -> Result<std::sync::Arc<dyn crate::broker::Producer>, crate::broker::BrokerError> {
    match kind {
        #[cfg(feature = "kafka")]
        zms_core::metadata::BrokerKind::Kafka => Ok(std::sync::Arc::new(crate::kafka::KafkaProducer::new(endpoint, delivery)?)),
        #[cfg(feature = "rocketmq")]
        zms_core::metadata::BrokerKind::RocketMq => {
            Ok(std::sync::Arc::new(crate::rocketmq::RocketMqProducer::new(endpoint, delivery)?))
        }
        #[cfg(not(all(feature = "kafka", feature = "rocketmq")))]
        other => Err(cannot(endpoint, &format!("send to {other}: this program was built without it"))),
    }
}

/// Joins a consumer group of a cluster. Must be called in a tokio runtime.
///
/// # Errors
/// As [`producer`].
#[cfg(any(feature = "kafka", feature = "rocketmq"))]
pub fn consumer(
    kind: zms_core::metadata::BrokerKind,
    endpoint: &Endpoint,
    subscription: &crate::broker::Subscription,
) -> Result<std::sync::Arc<dyn crate::broker::Consumer>, crate::broker::BrokerError> {
    match kind {
        #[cfg(feature = "kafka")]
        zms_core::metadata::BrokerKind::Kafka => {
            Ok(std::sync::Arc::new(crate::kafka::KafkaConsumer::new(endpoint, subscription)?))
        }
        #[cfg(feature = "rocketmq")]
        zms_core::metadata::BrokerKind::RocketMq => {
            Ok(std::sync::Arc::new(crate::rocketmq::RocketMqConsumer::new(endpoint, subscription)?))
        }
        #[cfg(not(all(feature = "kafka", feature = "rocketmq")))]
        other => Err(cannot(endpoint, &format!("consume from {other}: this program was built without it"))),
    }
}

/// What operators do to a cluster. Connects when it is first asked.
///
/// # Errors
/// [`BrokerError::Refused`](crate::broker::BrokerError::Refused) if the endpoint cannot be right,
/// [`BrokerError::Unsupported`](crate::broker::BrokerError::Unsupported) for a kind that this program cannot speak to.
#[cfg(any(feature = "kafka-admin", feature = "rocketmq-admin"))]
pub fn admin(
    kind: zms_core::metadata::BrokerKind,
    endpoint: &Endpoint,
) -> Result<std::sync::Arc<dyn crate::broker::ClusterAdmin>, crate::broker::BrokerError> {
    match kind {
        #[cfg(feature = "kafka-admin")]
        zms_core::metadata::BrokerKind::Kafka => Ok(std::sync::Arc::new(crate::kafka::KafkaAdmin::new(endpoint)?)),
        #[cfg(feature = "rocketmq-admin")]
        zms_core::metadata::BrokerKind::RocketMq => Ok(std::sync::Arc::new(crate::rocketmq::RocketMqAdmin::new(endpoint)?)),
        #[cfg(not(all(feature = "kafka-admin", feature = "rocketmq-admin")))]
        other => Err(cannot(endpoint, &format!("administer {other}: this program was built without it"))),
    }
}

/// What a collector asks a cluster again and again. Connects when it is first asked.
///
/// # Errors
/// As [`admin`].
#[cfg(any(feature = "kafka-admin", feature = "rocketmq-admin"))]
pub fn scraper(
    kind: zms_core::metadata::BrokerKind,
    endpoint: &Endpoint,
) -> Result<Box<dyn crate::broker::Scraper>, crate::broker::BrokerError> {
    match kind {
        #[cfg(feature = "kafka-admin")]
        zms_core::metadata::BrokerKind::Kafka => Ok(Box::new(crate::kafka::KafkaScraper::new(endpoint)?)),
        #[cfg(feature = "rocketmq-admin")]
        zms_core::metadata::BrokerKind::RocketMq => Ok(Box::new(crate::rocketmq::RocketMqScraper::new(endpoint)?)),
        #[cfg(not(all(feature = "kafka-admin", feature = "rocketmq-admin")))]
        other => Err(cannot(endpoint, &format!("scrape {other}: this program was built without it"))),
    }
}

#[cfg(not(all(feature = "kafka", feature = "rocketmq", feature = "kafka-admin", feature = "rocketmq-admin")))]
fn cannot(endpoint: &Endpoint, what: &str) -> crate::broker::BrokerError {
    crate::broker::BrokerError::Unsupported { cluster: endpoint.cluster.clone(), what: what.to_owned() }
}

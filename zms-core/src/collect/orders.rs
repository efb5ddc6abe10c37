use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metadata::BrokerKind;
use crate::names::{ClusterName, HostId, InstanceId, KindName, ServiceName};
use crate::networks::Networks;

/// What a collector has to do. It keeps the last ones on its disk (mode 0600) and goes on with them while the portal is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Grows with each change; what is lower than what the collector has is ignored.
    pub revision: u64,
    /// The environment's name, for messages.
    pub environment: String,
    /// Where topics are found, and the leader lease. `None`: the environment has no metadata store yet.
    #[serde(default)]
    pub metadata: Option<MetadataStore>,
    /// Where figures are written. `None`: the environment has no metric store yet.
    #[serde(default)]
    pub metrics: Option<MetricStore>,
    /// Whose frames are believed, and of which instances.
    #[serde(default)]
    pub hosts: Vec<Watched>,
    /// Serial numbers of certificates that are not good any more, hexadecimal.
    #[serde(default)]
    pub revoked: Vec<String>,
    /// Clusters that ZMS did not install; asked beside those that stand in the metadata, whether they stand there or not.
    #[serde(default)]
    pub adopted: Vec<Adopted>,
    /// Clusters that ZMS installed, each with the addresses of its hosts: [`networks`](Self::networks) do not bound these.
    #[serde(default)]
    pub installed: BTreeMap<ClusterName, Vec<String>>,
    /// Where brokers may be of any other cluster that stands in the metadata: whoever may write there could name any address.
    #[serde(default)]
    pub networks: Networks,
    /// Time between two ticks, seconds.
    pub tick_s: u32,
}

/// Who somebody is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// ZooKeeper of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataStore {
    /// `host:port,…` of the secure ports.
    pub addresses: String,
    /// Certificate of the authority, PEM.
    pub authority: String,
    /// The collector's identity there.
    pub login: Login,
    /// Where its servers may be. `None`: anywhere, as ZMS installed them.
    #[serde(default)]
    pub networks: Option<Networks>,
}

/// InfluxDB of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricStore {
    /// `http://host:port`.
    pub url: String,
    /// Name of the database.
    pub database: String,
    /// May write, no more.
    pub login: Login,
}

/// A host and what runs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// As its certificate says.
    pub host: HostId,
    /// For people and for tags.
    pub name: String,
    /// Instances that it may speak of.
    pub instances: Vec<Placed>,
}

/// An instance on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Its id.
    pub instance: InstanceId,
    /// Of which kind.
    pub kind: KindName,
    /// Of which service.
    pub service: ServiceName,
    /// The service's cluster, if it is one of brokers.
    #[serde(default)]
    pub cluster: Option<ClusterName>,
    /// Its number within the service; for Kafka the broker's id.
    pub node_id: u32,
}

/// A cluster that ZMS did not install, and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Its name.
    pub cluster: ClusterName,
    /// What runs there.
    pub kind: BrokerKind,
    /// `host:port` of some brokers; of name servers, where there are such.
    pub addresses: Vec<String>,
    /// TLS to the brokers.
    #[serde(default)]
    pub tls: BrokerTls,
    /// Who we are there.
    #[serde(default)]
    pub login: Option<BrokerLogin>,
    /// Where its brokers may be.
    #[serde(default)]
    pub networks: Networks,
}

/// TLS to brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokerTls {
    /// Plain text.
    #[default]
    Off,
    /// With the authorities that the host trusts which dials.
    System,
    /// With these authorities, PEM.
    Authority(String),
}

/// How brokers learn who we are (SASL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// The password travels; only over TLS.
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// As forms, API, orders and the database write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::ScramSha256 => "scram-sha-256",
            Self::ScramSha512 => "scram-sha-512",
        }
    }

    /// As Kafka calls it.
    pub const fn of_kafka(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == text)
    }
}

/// Who we are on brokers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerLogin {
    /// How it is said.
    pub mechanism: Mechanism,
    /// Name.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl std::fmt::Debug for BrokerLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerLogin").field("mechanism", &self.mechanism).field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wire formats only grow: what a portal wrote before there were adopted clusters is still read.
    #[test]
    fn orders_of_an_earlier_portal_are_read_and_a_password_is_not_shown() {
        let early = r#"{"revision":1,"environment":"dev","hosts":[],"revoked":[],"tick_s":10}"#;
        let mut orders: Orders = serde_json::from_str(early).unwrap();
        assert!(orders.adopted.is_empty() && orders.installed.is_empty());
        assert_eq!(orders.networks, Networks::default(), "private ranges, not anywhere");
        let store = r#"{"addresses":"10.0.0.1:2281","authority":"","login":{"user":"u","password":"secret word"}}"#;
        orders.metadata = Some(serde_json::from_str(store).unwrap());
        assert_eq!(orders.metadata.as_ref().and_then(|store| store.networks.clone()), None);
        let minimal = r#"{"cluster":"old-kafka","kind":"kafka","addresses":["10.0.0.1:9092"]}"#;
        let mut adopted: Adopted = serde_json::from_str(minimal).unwrap();
        assert_eq!((&adopted.tls, &adopted.networks), (&BrokerTls::Off, &Networks::default()));
        let (mechanism, user) = (Mechanism::ScramSha512, "zms".to_owned());
        adopted.login = Some(BrokerLogin { mechanism, user, password: "secret word".to_owned() });
        orders.adopted.push(adopted);
        assert!(!format!("{orders:?}").contains("secret word"));
        let back: Orders = serde_json::from_str(&serde_json::to_string(&orders).unwrap()).unwrap();
        assert_eq!(back, orders);
    }
}

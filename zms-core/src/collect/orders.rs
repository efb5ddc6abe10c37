use serde::{Deserialize, Serialize};

use crate::names::{ClusterName, HostId, InstanceId, KindName, ServiceName};

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

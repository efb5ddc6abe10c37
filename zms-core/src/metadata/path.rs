//! Where nodes stand. The only place that spells a path.

use std::fmt;

use super::ClientId;
use crate::names::{ClusterName, PhysicalName};

/// The root of everything.
pub const ROOT: &str = "/zms";

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// Parent of all clusters.
    Clusters,
    /// A cluster.
    Cluster(ClusterName),
    /// Parent of all topics.
    Topics,
    /// A governed topic.
    Topic(PhysicalName),
    /// Parent of all groups.
    Groups,
    /// A governed group.
    Group(PhysicalName),
    /// Parent of the 256 buckets of present clients.
    Clients,
    /// One bucket.
    ClientBucket(u8),
    /// A client that is connected; ephemeral.
    Client(ClientId),
    /// Parent of what follows.
    System,
    /// The environment's uuid.
    SystemId,
    /// Who may write, and in which term.
    SystemRole,
    /// Its data version is the revision of the tree.
    SystemRevision,
    /// Counts seconds.
    SystemHeartbeat,
    /// Parent of the leases.
    Leases,
    /// Leader lease of a kind of process.
    Lease(&'static str),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clusters => f.write_str("/zms/cluster"),
            Self::Cluster(name) => write!(f, "/zms/cluster/{name}"),
            Self::Topics => f.write_str("/zms/topic"),
            Self::Topic(name) => write!(f, "/zms/topic/{name}"),
            Self::Groups => f.write_str("/zms/consumergroup"),
            Self::Group(name) => write!(f, "/zms/consumergroup/{name}"),
            Self::Clients => f.write_str("/zms/client"),
            Self::ClientBucket(bucket) => write!(f, "/zms/client/{bucket:02x}"),
            Self::Client(id) => write!(f, "/zms/client/{:02x}/{id}", id.bucket()),
            Self::System => f.write_str("/zms/system"),
            Self::SystemId => f.write_str("/zms/system/id"),
            Self::SystemRole => f.write_str("/zms/system/role"),
            Self::SystemRevision => f.write_str("/zms/system/rev"),
            Self::SystemHeartbeat => f.write_str("/zms/system/heartbeat"),
            Self::Leases => f.write_str("/zms/system/lease"),
            Self::Lease(name) => write!(f, "/zms/system/lease/{name}"),
        }
    }
}

/// Every node that is there before any topic, parents first.
pub fn skeleton() -> Vec<String> {
    let first = [ROOT.to_owned()];
    let parents = [Path::System, Path::Leases, Path::Clusters, Path::Topics, Path::Groups, Path::Clients];
    let buckets = (0..=u8::MAX).map(Path::ClientBucket);
    first.into_iter().chain(parents.into_iter().chain(buckets).map(|path| path.to_string())).collect()
}

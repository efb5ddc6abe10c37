//! What people decided about one service: the input of [`Kind::render`](super::Kind::render).

use std::collections::BTreeMap;

use super::model::{Form, Generated, Kind};
use super::random_id;
use crate::host::Phase;
use crate::names::{InstanceId, ServiceName};
use crate::package::PackageRef;

/// A service as people decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The packages it runs from, with their versions.
    pub packages: Vec<PackageRef>,
    /// Values as people typed them, by the key of their setting. An empty text means the default.
    pub settings: BTreeMap<String, String>,
    /// Its instances.
    pub members: Vec<Member>,
    /// Values made once for all members; see [`Kind::generated`].
    pub generated: BTreeMap<String, String>,
}

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub instance: InstanceId,
    /// Changes when an instance is deleted and made again under the same name.
    pub uid: String,
    /// Its number within the service; never given to another one.
    pub node_id: i32,
    /// Where the other members and the clients reach it: an IP address or a host name.
    pub address: String,
    /// Memory of its host, in MiB; 0 while it is not known.
    pub memory_mib: u64,
    /// Should it run? An absent member is rendered, so that its host can take it away, but counts nowhere.
    pub phase: Phase,
    /// A change of this number restarts it.
    pub restart: u64,
    /// The role that it was given when it was made. `None` gives it one by its place, which is right for the first
    /// members of a service only: a member that comes later takes [`Kind::later_role`], because for example a
    /// second set of Kafka's first controllers would found a second quorum.
    pub role: Option<String>,
    /// Values made once for it; see [`Kind::generated`].
    pub generated: BTreeMap<String, String>,
    /// Values that differ from the service's, by the key of their setting.
    pub settings: BTreeMap<String, String>,
}

impl Member {
    /// Does it count as a member of the service?
    pub(super) fn is_live(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Stopped => true,
            Phase::Absent => false,
        }
    }
}

impl Generated {
    /// Makes the value from 16 random bytes; the caller keeps it and gives it to every rendering from then on.
    pub fn make(&self, random: [u8; 16]) -> String {
        match self.form {
            Form::KafkaUuid => random_id::kafka_uuid(random),
        }
    }

    pub(super) fn is_right(&self, value: &str) -> bool {
        match self.form {
            Form::KafkaUuid => random_id::is_kafka_uuid(value),
        }
    }
}

impl Kind {
    /// The role of a member that joins a running service; `None` for a kind whose members are all alike.
    pub fn later_role(&self) -> Option<&str> {
        self.roles.last().map(|role| role.name.as_str())
    }
}

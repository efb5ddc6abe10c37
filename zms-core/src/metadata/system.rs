//! Whose tree it is: `/zms/system/…`.

use serde::{Deserialize, Serialize};

/// What an environment's tree is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its portal writes it.
    Active,
    /// Its mirror writes it.
    Standby,
}

/// The value of `/zms/system/role`. Every write of a portal checks the version of this node, so a demoted one cannot write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRole {
    /// Name of the environment.
    pub environment: String,
    /// Who writes.
    pub role: Role,
    /// Grows with each change of the role.
    pub term: u64,
}

/// The value of `/zms/system/heartbeat`, written each second by the portal; zeros before the first time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Counts the beats.
    pub n: u64,
    /// Milliseconds since 1970 by the portal's clock.
    pub at: i64,
}

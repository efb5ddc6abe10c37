//! Roles. An administrator may everything; the others are side by side, and whoever has one may look.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::web::messages::Messages;

/// What a person may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Apply for topics and groups.
    Developer,
    /// Approve what developers apply for.
    Approver,
    /// Hosts, services, packages, environments.
    Operator,
    /// Everything, and who may what.
    Administrator,
}

impl Role {
    /// All, from the least to the most.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Developer, Self::Approver, Self::Operator, Self::Administrator];

    /// As the database and the API write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }

    /// For people.
    pub fn title(self, m: &Messages) -> &'static str {
        match self {
            Self::Viewer => m.access_viewer(),
            Self::Developer => m.access_developer(),
            Self::Approver => m.access_approver(),
            Self::Operator => m.access_operator(),
            Self::Administrator => m.access_administrator(),
        }
    }

    /// What it is for, in a few words.
    pub fn help(self, m: &Messages) -> &'static str {
        match self {
            Self::Viewer => m.access_viewer_help(),
            Self::Developer => m.access_developer_help(),
            Self::Approver => m.access_approver_help(),
            Self::Operator => m.access_operator_help(),
            Self::Administrator => m.access_administrator_help(),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the name of a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("role {0:?}: must be viewer, developer, approver, operator or administrator")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert!("Administrator".parse::<Role>().is_err());
    }
}

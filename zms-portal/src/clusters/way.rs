//! How the brokers of a cluster are spoken to.

use std::fmt;

use serde::Serialize;
use zms_core::collect::{Adopted, BrokerLogin, BrokerTls, Mechanism};
use zms_drivers::open::Endpoint;

use super::Cluster;
use crate::error::Result;
use crate::secrets::{Sealed, Vault};

/// See the module. What ZMS installed is plain and without networks: its brokers are where its hosts are.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Way {
    /// TLS.
    #[serde(skip)]
    pub tls: BrokerTls,
    /// Mechanism and user.
    #[serde(skip)]
    pub login: Option<(Mechanism, String)>,
    /// The environment's networks, as its row has them.
    #[serde(skip)]
    pub(super) networks: String,
    /// The password.
    #[serde(skip)]
    pub(super) sealed: Option<Sealed>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("tls", &self.tls).field("login", &self.login).finish_non_exhaustive()
    }
}

impl Way {
    /// Do applications meet the same: TLS or not, and the same way to log in?
    pub fn looks_like(&self, other: &Self) -> bool {
        let seen = |way: &Self| (way.tls != BrokerTls::Off, way.login.as_ref().map(|(mechanism, _)| *mechanism));
        seen(self) == seen(other)
    }

    /// `off`, `system` or `authority`.
    pub const fn tls_name(&self) -> &'static str {
        match self.tls {
            BrokerTls::Off => "off",
            BrokerTls::System => "system",
            BrokerTls::Authority(_) => "authority",
        }
    }

    /// The pasted certificates; empty if there are none.
    pub fn authority(&self) -> &str {
        match &self.tls {
            BrokerTls::Authority(pem) => pem,
            BrokerTls::Off | BrokerTls::System => "",
        }
    }
}

/// Where the password of a cluster is sealed.
pub(super) fn reference(cluster_id: &str) -> String {
    format!("cluster/{cluster_id}")
}

/// An adopted cluster with its password, as collectors hear of it.
///
/// # Errors
/// A fault of ours, if the password does not open.
pub fn adopted(vault: &Vault, cluster: &Cluster) -> Result<Adopted> {
    let way = &cluster.way;
    let login = match (&way.login, &way.sealed) {
        (Some((mechanism, user)), Some(sealed)) => {
            let password = vault.open_sealed(&reference(&cluster.id), sealed)?;
            let password = String::from_utf8(password).map_err(anyhow::Error::new)?;
            Some(BrokerLogin { mechanism: *mechanism, user: user.clone(), password })
        }
        _ => None,
    };
    Ok(Adopted {
        cluster: cluster.name.clone(),
        kind: cluster.broker,
        addresses: cluster.addresses.clone(),
        tls: way.tls.clone(),
        login,
        networks: crate::environments::read_networks(&way.networks),
    })
}

/// How to dial it.
pub(super) fn endpoint(vault: &Vault, cluster: &Cluster) -> Result<Endpoint> {
    if cluster.is_adopted() {
        return Ok(Endpoint::adopted(&adopted(vault, cluster)?));
    }
    Ok(Endpoint::plain(cluster.name.as_str(), cluster.addresses.clone()))
}

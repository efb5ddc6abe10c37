//! Connections to clusters for administration: one a cluster, opened when it is first needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zms_drivers::broker::{BrokerError, ClusterAdmin};
use zms_drivers::open::{self, Endpoint};

use super::Cluster;

/// Deadline of one call.
const DEADLINE: Duration = Duration::from_secs(10);

/// See the module; cheap to clone.
#[derive(Clone, Default)]
pub struct Brokers(Arc<Mutex<BTreeMap<String, Opened>>>);

struct Opened {
    /// How it was reached; other addresses mean another connection.
    addresses: Vec<String>,
    admin: Arc<dyn ClusterAdmin>,
}

impl Brokers {
    /// What can be done with a cluster. Nothing is dialled here, so nobody waits for a cluster that is away.
    pub fn admin(&self, cluster: &Cluster) -> Result<Arc<dyn ClusterAdmin>, BrokerError> {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        if let Some(known) = opened.get("") {
            return Ok(known.admin.clone());
        }
        if let Some(known) = opened.get(&cluster.id).filter(|known| known.addresses == cluster.addresses) {
            return Ok(known.admin.clone());
        }
        let endpoint = Endpoint {
            client_id: "zms-portal".to_owned(),
            deadline: DEADLINE,
            ..Endpoint::plain(cluster.name.as_str(), cluster.addresses.clone())
        };
        let admin = open::admin(cluster.broker, &endpoint)?;
        opened.insert(cluster.id.clone(), Opened { addresses: cluster.addresses.clone(), admin: admin.clone() });
        Ok(admin)
    }

    /// One instead of every cluster's own, also of those that are made later.
    #[cfg(test)]
    pub fn with_every(&self, admin: Arc<dyn ClusterAdmin>) {
        let opened = Opened { addresses: Vec::new(), admin };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(String::new(), opened);
    }

    /// Another one instead of a cluster's own.
    #[cfg(test)]
    pub fn with(&self, cluster: &Cluster, admin: Arc<dyn ClusterAdmin>) {
        let opened = Opened { addresses: cluster.addresses.clone(), admin };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster.id.clone(), opened);
    }
}

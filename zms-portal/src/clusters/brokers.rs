//! Connections to clusters for administration and for looks: one of each a cluster, opened when it is first needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zms_core::metadata::BrokerKind;
use zms_drivers::broker::{BrokerError, ClusterAdmin, ROUTES_KNOWN, Scraper};
use zms_drivers::open::{self, Endpoint};

use super::picture::Looks;
use super::{Cluster, Way, way};
use crate::secrets::Vault;

/// Deadline of one call.
const DEADLINE: Duration = Duration::from_secs(10);

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Brokers {
    vault: Vault,
    opened: Arc<Mutex<BTreeMap<String, Opened>>>,
    /// Bulk reads.
    pub(super) looks: Looks,
    /// Clients know new routes after this time.
    routes_known: Arc<Mutex<Duration>>,
    /// Address → the cluster that a test puts there.
    #[cfg(test)]
    fakes: Arc<Mutex<BTreeMap<String, Arc<zms_drivers::broker::fake::FakeCluster>>>>,
    /// What a test puts everywhere.
    #[cfg(test)]
    every: Arc<Mutex<Option<Arc<dyn ClusterAdmin>>>>,
}

struct Opened {
    /// How it was reached; another way means another connection.
    addresses: Vec<String>,
    way: Way,
    admin: Arc<dyn ClusterAdmin>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Brokers {
    /// Passwords come from `vault`.
    pub fn new(vault: Vault) -> Self {
        Self {
            vault,
            opened: Arc::default(),
            looks: Looks::default(),
            routes_known: Arc::new(Mutex::new(ROUTES_KNOWN)),
            #[cfg(test)]
            fakes: Arc::default(),
            #[cfg(test)]
            every: Arc::default(),
        }
    }

    /// What can be done with a cluster. Nothing is dialled here, so nobody waits for a cluster that is away.
    pub fn admin(&self, cluster: &Cluster) -> Result<Arc<dyn ClusterAdmin>, BrokerError> {
        let same = |known: &&Opened| known.addresses == cluster.addresses && known.way == cluster.way;
        if let Some(known) = lock(&self.opened).get(&cluster.id).filter(same) {
            return Ok(known.admin.clone());
        }
        let admin = self.admin_at(cluster.broker, &self.endpoint(cluster)?)?;
        let opened = Opened { addresses: cluster.addresses.clone(), way: cluster.way.clone(), admin: admin.clone() };
        lock(&self.opened).insert(cluster.id.clone(), opened);
        Ok(admin)
    }

    /// One that reads everything at once; the caller keeps it.
    pub(super) fn scraper(&self, cluster: &Cluster) -> Result<Box<dyn Scraper>, BrokerError> {
        let endpoint = self.endpoint(cluster)?;
        #[cfg(test)]
        if let Some(fake) = self.fake(&endpoint) {
            return Ok(fake.scraper());
        }
        open::scraper(cluster.broker, &endpoint)
    }

    /// An endpoint that belongs to no cluster yet.
    pub(super) fn admin_at(&self, kind: BrokerKind, endpoint: &Endpoint) -> Result<Arc<dyn ClusterAdmin>, BrokerError> {
        #[cfg(test)]
        if let Some(every) = lock(&self.every).clone() {
            return Ok(every);
        }
        #[cfg(test)]
        if let Some(fake) = self.fake(endpoint) {
            return Ok(fake);
        }
        open::admin(kind, endpoint)
    }

    /// The connection of a cluster that is not there any more.
    pub(crate) fn forget(&self, cluster_id: &str) {
        lock(&self.opened).remove(cluster_id);
        self.looks.forget(cluster_id);
    }

    fn endpoint(&self, cluster: &Cluster) -> Result<Endpoint, BrokerError> {
        let endpoint = way::endpoint(&self.vault, cluster).map_err(|error| BrokerError::Refused {
            what: format!("cluster {}", cluster.name),
            why: format!("its password cannot be opened: {error:?}"),
        })?;
        Ok(Endpoint { client_id: "zms-portal".to_owned(), deadline: DEADLINE, ..endpoint })
    }

    /// After this time clients of RocketMQ have asked for routes anew.
    pub fn routes_known(&self) -> Duration {
        *lock(&self.routes_known)
    }

    /// A shorter wait.
    #[cfg(test)]
    pub fn set_routes_known(&self, wait: Duration) {
        *lock(&self.routes_known) = wait;
    }

    /// One instead of every cluster's own, also of those that are made later.
    #[cfg(test)]
    pub fn with_every(&self, admin: Arc<dyn ClusterAdmin>) {
        *lock(&self.every) = Some(admin);
    }

    /// A cluster in memory behind an address. To be put there before anybody dials it: connections are kept.
    #[cfg(test)]
    pub fn fake_at(&self, address: &str, cluster: &Arc<zms_drivers::broker::fake::FakeCluster>) {
        lock(&self.fakes).insert(address.to_owned(), cluster.clone());
    }

    /// Where there are clusters in memory, nobody answers anywhere else: a test does not wait for what it does not have.
    #[cfg(test)]
    fn fake(&self, endpoint: &Endpoint) -> Option<Arc<zms_drivers::broker::fake::FakeCluster>> {
        let fakes = lock(&self.fakes);
        let known = endpoint.addresses.iter().find_map(|address| fakes.get(address)).cloned();
        known.or_else(|| {
            let away = zms_drivers::broker::fake::FakeCluster::new(endpoint.cluster.clone(), 1);
            away.cut();
            (!fakes.is_empty()).then_some(away)
        })
    }
}

//! Clients of clusters: how they are opened, and one producer for all topics of a cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use zms_core::metadata::{BrokerKind, ClusterNode};
use zms_core::names::ClusterName;
use zms_core::networks::Networks;
use zms_drivers::broker::{BrokerError, Consumer, Producer, Subscription};
use zms_drivers::open::{self, Credentials, Endpoint, Mechanism};

use crate::{Error, Waits};

/// Opens clients of clusters. The library's own reaches real ones; tests bring one that reaches clusters in memory.
pub trait Brokers: Send + Sync + 'static {
    /// A producer.
    ///
    /// # Errors
    /// What is wrong with the endpoint or its settings.
    fn producer(&self, cluster: &ClusterName, kind: BrokerKind, node: &ClusterNode) -> Result<Arc<dyn Producer>, BrokerError>;

    /// A member of a group.
    ///
    /// # Errors
    /// What is wrong with the endpoint, its settings or the subscription.
    fn consumer(
        &self,
        cluster: &ClusterName,
        kind: BrokerKind,
        node: &ClusterNode,
        subscription: &Subscription,
    ) -> Result<Arc<dyn Consumer>, BrokerError>;
}

/// Real clusters.
pub struct RealBrokers {
    pub client_id: String,
    /// Who the application is to brokers that ask for it.
    pub login: Option<(String, String)>,
    /// Authority that brokers' certificates are signed by, PEM.
    pub authority_pem: Option<String>,
    /// Where brokers may be; `None`: anywhere.
    pub networks: Option<Networks>,
    pub waits: Waits,
}

impl RealBrokers {
    fn endpoint(&self, cluster: &ClusterName, node: &ClusterNode) -> Result<Endpoint, BrokerError> {
        let refused = |why: String| BrokerError::Refused { what: format!("connect to cluster {cluster}"), why };
        let mut endpoint = Endpoint::plain(cluster.as_str(), node.addresses());
        endpoint.client_id.clone_from(&self.client_id);
        endpoint.deadline = self.waits.call;
        endpoint.networks.clone_from(&self.networks);
        if node.security.tls {
            let pem = self.authority_pem.clone();
            endpoint.authority_pem = Some(pem.ok_or_else(|| {
                refused("its brokers speak TLS: give the builder their authority (broker_authority)".to_owned())
            })?);
        }
        if let Some(sasl) = &node.security.sasl {
            let mechanism = match sasl.as_str() {
                "PLAIN" => Mechanism::Plain,
                "SCRAM-SHA-256" => Mechanism::ScramSha256,
                "SCRAM-SHA-512" => Mechanism::ScramSha512,
                other => {
                    return Err(BrokerError::Unsupported { cluster: cluster.to_string(), what: format!("log in with {other}") });
                }
            };
            let (user, password) = self
                .login
                .clone()
                .ok_or_else(|| refused(format!("its brokers want {sasl}: give the builder a user (broker_login)")))?;
            endpoint.credentials = Some(Credentials { mechanism, user, password });
        }
        Ok(endpoint)
    }
}

impl Brokers for RealBrokers {
    fn producer(&self, cluster: &ClusterName, kind: BrokerKind, node: &ClusterNode) -> Result<Arc<dyn Producer>, BrokerError> {
        open::producer(kind, &self.endpoint(cluster, node)?, self.waits.delivery)
    }

    fn consumer(
        &self,
        cluster: &ClusterName,
        kind: BrokerKind,
        node: &ClusterNode,
        subscription: &Subscription,
    ) -> Result<Arc<dyn Consumer>, BrokerError> {
        open::consumer(kind, &self.endpoint(cluster, node)?, subscription)
    }
}

/// What makes two clients of a cluster different.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub cluster: ClusterName,
    pub kind: BrokerKind,
    boot_addr: String,
    tls: bool,
    sasl: Option<String>,
}

impl Address {
    pub fn new(cluster: &ClusterName, kind: BrokerKind, node: &ClusterNode) -> Self {
        let (tls, sasl) = (node.security.tls, node.security.sasl.clone());
        Self { cluster: cluster.clone(), kind, boot_addr: node.boot_addr.clone(), tls, sasl }
    }
}

/// A producer that several topics use. Whoever sends holds it; when nobody does it is closed, and nothing can be under way then.
pub struct Shared {
    pub producer: Arc<dyn Producer>,
    pub address: Address,
    drain: Duration,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (producer, drain, cluster) = (Arc::clone(&self.producer), self.drain, self.address.cluster.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let given_up = producer.close(drain).await;
                tracing::info!(%cluster, given_up, "closed a producer that is no longer used");
            });
        }
    }
}

/// One producer a cluster.
pub struct Pool {
    brokers: Arc<dyn Brokers>,
    drain: Duration,
    open: Mutex<HashMap<Address, Weak<Shared>>>,
}

impl Pool {
    pub fn new(brokers: Arc<dyn Brokers>, drain: Duration) -> Self {
        Self { brokers, drain, open: Mutex::default() }
    }

    /// The producer of a cluster, opened if there is none.
    pub fn get(&self, address: Address, node: &ClusterNode) -> Result<Arc<Shared>, Error> {
        let mut open = self.lock();
        if let Some(known) = open.get(&address).and_then(Weak::upgrade) {
            return Ok(known);
        }
        open.retain(|_, shared| shared.strong_count() > 0);
        let producer = self
            .brokers
            .producer(&address.cluster, address.kind, node)
            .map_err(|error| Error::broker(format!("open cluster {}", address.cluster), error))?;
        let shared = Arc::new(Shared { producer, address: address.clone(), drain: self.drain });
        open.insert(address, Arc::downgrade(&shared));
        Ok(shared)
    }

    /// Closes all; how many messages were given up.
    pub async fn close(&self, deadline: Duration) -> usize {
        let open: Vec<_> = self.lock().drain().filter_map(|(_, shared)| shared.upgrade()).collect();
        futures::future::join_all(open.iter().map(|shared| shared.producer.close(deadline))).await.into_iter().sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Address, Weak<Shared>>> {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_bound_each_cluster_and_without_them_none_is_bound() {
        let (cluster, node) = (ClusterName::new("main").unwrap(), ClusterNode::new(BrokerKind::RocketMq, "10.0.0.1:9876", ""));
        for networks in [None, Some(Networks::default())] {
            let brokers = RealBrokers {
                client_id: "shop".to_owned(),
                login: None,
                authority_pem: None,
                networks: networks.clone(),
                waits: Waits::default(),
            };
            assert_eq!(brokers.endpoint(&cluster, &node).unwrap().networks, networks);
        }
    }
}

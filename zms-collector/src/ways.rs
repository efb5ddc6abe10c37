//! How a cluster is dialled: as the orders say of those that they name, and within the environment's networks all others, which anybody who
//! may write metadata could have put there.

use std::sync::Arc;
use std::time::Duration;

use zms_core::collect::{Adopted, Orders};
use zms_core::metadata::{BrokerKind, ClusterNode};
use zms_core::names::ClusterName;
use zms_core::networks::Networks;
use zms_drivers::broker::{BrokerError, Consumer, Producer, Subscription};
use zms_drivers::open::{self, Endpoint};
use zms_sdk::Brokers;

use crate::orders::Current;

/// See the module. Two that are equal are dialled alike.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// By its node in the metadata.
    Node {
        /// The node.
        node: ClusterNode,
        /// Where its brokers may be; `None`: ZMS installed it, they are where its hosts are.
        networks: Option<Networks>,
    },
    /// Adopted: orders know who we are there, also where it stands in the metadata.
    Adopted(Adopted),
}

impl Way {
    /// Of a cluster that stands in the metadata. A node that names other addresses than those that ZMS installed is like any other.
    pub fn of(name: &ClusterName, node: &ClusterNode, orders: &Orders) -> Self {
        if let Some(adopted) = orders.adopted.iter().find(|adopted| adopted.cluster == *name) {
            return Self::Adopted(adopted.clone());
        }
        let installed = |known: &Vec<String>| node.addresses().iter().all(|address| known.iter().any(|one| one == address));
        let ours = orders.installed.get(name).is_some_and(installed);
        Self::Node { node: node.clone(), networks: (!ours).then(|| orders.networks.clone()) }
    }

    /// What runs there, and how it is dialled. `authority`: trusted where a node says that its brokers speak TLS, PEM.
    pub fn endpoint(&self, name: &ClusterName, authority: &str) -> (BrokerKind, Endpoint) {
        match self {
            Self::Adopted(adopted) => (adopted.kind, Endpoint::adopted(adopted)),
            Self::Node { node, networks } => {
                let plain = Endpoint::plain(name.as_str(), node.addresses());
                let authority_pem = node.security.tls.then(|| authority.to_owned());
                (node.broker, Endpoint { authority_pem, networks: networks.clone(), ..plain })
            }
        }
    }
}

/// Opens clients of clusters as the orders say that are current then.
pub struct Ways {
    /// The orders.
    pub orders: Current,
    /// Trusted where brokers speak TLS that ZMS installed, PEM.
    pub authority: String,
    /// As brokers see us.
    pub client_id: String,
    /// Of a connection and of a call.
    pub deadline: Duration,
}

impl Ways {
    fn endpoint(&self, cluster: &ClusterName, node: &ClusterNode) -> Result<(BrokerKind, Endpoint), BrokerError> {
        let orders = self.orders.borrow().clone().ok_or(BrokerError::Closed)?;
        let way = Way::of(cluster, node, &orders);
        if let (Way::Node { .. }, Some(sasl)) = (&way, &node.security.sasl) {
            let what = format!("connect to cluster {cluster}");
            return Err(BrokerError::Refused {
                what,
                why: format!("its brokers want {sasl}: adopt it with a user and password"),
            });
        }
        let (kind, endpoint) = way.endpoint(cluster, &self.authority);
        Ok((kind, Endpoint { client_id: self.client_id.clone(), deadline: self.deadline, ..endpoint }))
    }
}

impl Brokers for Ways {
    fn producer(&self, cluster: &ClusterName, _: BrokerKind, node: &ClusterNode) -> Result<Arc<dyn Producer>, BrokerError> {
        let (kind, endpoint) = self.endpoint(cluster, node)?;
        open::producer(kind, &endpoint, self.deadline)
    }

    fn consumer(
        &self,
        cluster: &ClusterName,
        _: BrokerKind,
        node: &ClusterNode,
        subscription: &Subscription,
    ) -> Result<Arc<dyn Consumer>, BrokerError> {
        let (kind, endpoint) = self.endpoint(cluster, node)?;
        open::consumer(kind, &endpoint, subscription)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use zms_core::collect::{BrokerLogin, BrokerTls, Mechanism};
    use zms_core::metadata::Security;

    use super::*;
    use crate::orders::test_support::orders;

    fn name(text: &str) -> ClusterName {
        ClusterName::new(text).unwrap()
    }

    fn adopted(text: &str) -> Adopted {
        Adopted {
            cluster: name(text),
            kind: BrokerKind::Kafka,
            addresses: vec!["10.0.0.9:9093".to_owned()],
            tls: BrokerTls::Authority("PEM of the brokers".to_owned()),
            login: Some(BrokerLogin { mechanism: Mechanism::ScramSha512, user: "zms".to_owned(), password: "word".to_owned() }),
            networks: "10.0.0.0/8".parse().unwrap(),
        }
    }

    #[test]
    fn only_what_zms_installed_may_be_anywhere_and_only_at_the_addresses_that_it_installed() {
        let mut orders = orders(1);
        orders.adopted = vec![adopted("taken")];
        orders.installed.insert(name("ours"), vec!["203.0.113.1:9092".to_owned(), "203.0.113.2:9092".to_owned()]);
        for (cluster, boot_addr, bounded) in [
            ("ours", "203.0.113.1:9092,203.0.113.2:9092", false),
            ("ours", "203.0.113.2:9092", false),
            ("ours", "203.0.113.1:9092,169.254.169.254:80", true),
            ("ours", "169.254.169.254:80", true),
            ("found", "203.0.113.1:9092", true),
            ("taken", "169.254.169.254:80", true),
        ] {
            let node = ClusterNode::new(BrokerKind::Kafka, boot_addr, "");
            let (_, endpoint) = Way::of(&name(cluster), &node, &orders).endpoint(&name(cluster), "PEM");
            assert_eq!(endpoint.networks.is_some(), bounded, "{cluster} {boot_addr}");
            assert_eq!(endpoint.addresses == ["10.0.0.9:9093"], cluster == "taken", "its orders say where it is");
        }
    }

    #[test]
    fn reports_are_read_from_an_adopted_cluster_with_its_credentials_and_not_with_those_of_zookeeper() {
        let mut orders = orders(1);
        orders.adopted = vec![adopted("taken")];
        let (_sender, current) = watch::channel(Some(Arc::new(orders)));
        let deadline = Duration::from_secs(3);
        let ways = Ways { orders: current, authority: "PEM of ZooKeeper".to_owned(), client_id: "me".to_owned(), deadline };
        let secure = |sasl: Option<&str>| {
            let mut node = ClusterNode::new(BrokerKind::Kafka, "10.0.0.9:9093", "");
            node.security = Security { tls: true, sasl: sasl.map(str::to_owned) };
            node
        };
        let (_, endpoint) = ways.endpoint(&name("taken"), &secure(Some("SCRAM-SHA-512"))).unwrap();
        assert_eq!(
            (endpoint.authority_pem.as_deref(), endpoint.credentials.unwrap().user.as_str()),
            (Some("PEM of the brokers"), "zms")
        );
        let (_, endpoint) = ways.endpoint(&name("ours"), &secure(None)).unwrap();
        assert_eq!((endpoint.authority_pem.as_deref(), endpoint.credentials), (Some("PEM of ZooKeeper"), None));
        let error = ways.endpoint(&name("ours"), &secure(Some("PLAIN"))).unwrap_err();
        assert!(error.to_string().contains("adopt it"), "{error}");
    }
}

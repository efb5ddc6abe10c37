//! On which cluster a Java client is: it does not say, so the metadata does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use zms_core::metadata::path::Path;
use zms_core::metadata::{GroupNode, TopicNode};
use zms_core::names::{ClusterName, PhysicalName};
use zms_core::statistics::java::{JavaReport, Side};
use zms_drivers::meta::{MetaError, MetaStore};

use crate::board::lock;

/// A node is read again after so long.
const FRESH: Duration = Duration::from_secs(30);
/// Names that are remembered. More are asked for each time.
const MOST: usize = 50_000;

/// Where somebody sends to or consumes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The topic.
    pub topic: PhysicalName,
    /// The cluster; empty when it is not known.
    pub cluster: String,
}

/// See the module.
pub struct Places {
    store: Arc<dyn MetaStore>,
    known: Mutex<HashMap<(Side, PhysicalName), Known>>,
    fresh: Duration,
}

#[derive(Clone)]
struct Known {
    node: Option<Node>,
    asked: Instant,
}

/// What a node says that matters here.
#[derive(Debug, Clone)]
struct Node {
    topic: PhysicalName,
    cluster: ClusterName,
    gated_ips: String,
    gated_cluster: Option<ClusterName>,
}

impl Places {
    /// By the nodes of this store.
    pub fn new(store: Arc<dyn MetaStore>) -> Self {
        Self { store, known: Mutex::default(), fresh: FRESH }
    }

    /// Where the client of a report is; `None` for a group that has no node, whose topic nobody knows.
    pub async fn of(&self, report: &JavaReport) -> Option<Place> {
        let node = self.node(report.side, &report.name).await;
        match (node, report.side) {
            (Some(node), _) => Some(Place { cluster: node.cluster_for(&report.ip), topic: node.topic }),
            (None, Side::Producer) => Some(Place { topic: report.name.clone(), cluster: String::new() }),
            (None, Side::Consumer) => None,
        }
    }

    async fn node(&self, side: Side, name: &PhysicalName) -> Option<Node> {
        let key = (side, name.clone());
        let known = lock(&self.known).get(&key).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.asked.elapsed() < self.fresh) {
            return known.node.clone();
        }
        let node = match self.read(side, name).await {
            Ok(node) => node,
            Err(error) => {
                tracing::debug!(%name, %error, "what is known of the place of Java clients stays");
                known.and_then(|known| known.node)
            }
        };
        let mut all = lock(&self.known);
        if all.len() >= MOST {
            all.retain(|_, known| known.asked.elapsed() < self.fresh);
        }
        if all.len() < MOST {
            all.insert(key, Known { node: node.clone(), asked: Instant::now() });
        }
        node
    }

    /// A node that cannot be read counts as none.
    async fn read(&self, side: Side, name: &PhysicalName) -> Result<Option<Node>, MetaError> {
        let path = match side {
            Side::Producer => Path::Topic(name.clone()),
            Side::Consumer => Path::Group(name.clone()),
        };
        let Some(found) = self.store.get(&path.to_string()).await? else { return Ok(None) };
        Ok(match side {
            Side::Producer => TopicNode::parse(&found.data).ok().map(|node| Node {
                topic: name.clone(),
                cluster: node.cluster,
                gated_ips: node.gated_ips,
                gated_cluster: node.gated_cluster,
            }),
            Side::Consumer => GroupNode::parse(&found.data).ok().map(|node| Node {
                topic: node.topic,
                cluster: node.cluster,
                gated_ips: node.gated_ips,
                gated_cluster: node.gated_cluster,
            }),
        })
    }
}

impl Node {
    /// Java clients look for their address anywhere in the text of `gatedIps`: `10.0.0.1` is found in `10.0.0.10` too.
    fn cluster_for(&self, ip: &str) -> String {
        let gated = self.gated_cluster.as_ref().filter(|_| !ip.is_empty() && self.gated_ips.contains(ip));
        gated.unwrap_or(&self.cluster).to_string()
    }
}

#[cfg(test)]
mod tests {
    use zms_drivers::meta::fake::FakeMeta;

    use super::*;

    fn report(side: Side, name: &str, ip: &str) -> JavaReport {
        let text = format!(r#"{{"clientInfo":{{"clientName":"{name}","ip":"{ip}"}}}}"#);
        JavaReport::parse(side, text.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_java_client_is_where_its_node_says_and_a_new_place_is_seen_in_time() {
        let store = FakeMeta::new();
        store.put("/zms/topic/orders", "clusterName=k1\ngatedIps=10.0.0.10\ngatedCluster=k2\n");
        store.put("/zms/consumergroup/billing", "clusterName=k1\nbindingTopic=orders\n");
        store.put("/zms/topic/broken", "{}");
        let places = Places { fresh: Duration::ZERO, ..Places::new(store.clone()) };
        let of = async |side, name, ip| places.of(&report(side, name, ip)).await.map(|at| (at.topic.to_string(), at.cluster));
        let place = |topic: &str, cluster: &str| Some((topic.to_owned(), cluster.to_owned()));
        assert_eq!(of(Side::Producer, "orders", "192.0.2.1").await, place("orders", "k1"));
        assert_eq!(of(Side::Producer, "orders", "10.0.0.1").await, place("orders", "k2"), "as a Java client reads it");
        assert_eq!(of(Side::Consumer, "billing", "192.0.2.1").await, place("orders", "k1"));
        assert_eq!(of(Side::Producer, "broken", "192.0.2.1").await, place("broken", ""));
        assert_eq!(of(Side::Consumer, "nobody", "192.0.2.1").await, None);
        store.put("/zms/topic/orders", "clusterName=k3\n");
        store.cut();
        assert_eq!(of(Side::Producer, "orders", "192.0.2.1").await, place("orders", "k1"), "the old place holds");
        store.heal();
        assert_eq!(of(Side::Producer, "orders", "192.0.2.1").await, place("orders", "k3"));
    }
}

//! Clusters of the environment: which ones there are, by ZooKeeper, and a task for each that asks its brokers at every tick. A cluster
//! that is slow or away delays no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use zms_core::metadata::ClusterNode;
use zms_core::metadata::path::Path;
use zms_core::names::ClusterName;
use zms_drivers::broker::{BrokerError, Scraper};
use zms_drivers::meta::{MetaStore, Tree};
use zms_drivers::open::{self, Endpoint};

use crate::board::Board;
use crate::now_ms;
use crate::sink::Sink;
use crate::tick::{self, Before};

/// What tasks of clusters work with.
#[derive(Clone)]
pub struct Tools {
    /// For the snapshot.
    pub board: Arc<Board>,
    /// For InfluxDB.
    pub sink: Sink,
    /// Between two ticks, milliseconds; ticks fall on multiples of it.
    pub every_ms: i64,
    /// Trusted where brokers speak TLS, PEM.
    pub authority: String,
}

/// The next tick after `now`.
pub const fn next_tick(now: i64, every_ms: i64) -> i64 {
    (now / every_ms + 1) * every_ms
}

/// A task that ends with its owner.
struct Task {
    node: ClusterNode,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Follows the clusters until the future is dropped.
pub async fn follow(store: Arc<dyn MetaStore>, tools: Tools) {
    let mut tree = store.tree(&Path::Clusters.to_string());
    let mut tasks: BTreeMap<ClusterName, Task> = BTreeMap::new();
    loop {
        let found = tree.borrow_and_update().clone();
        if let Some(found) = found {
            let wanted = clusters(&found);
            tasks.retain(|name, task| wanted.get(name) == Some(&task.node));
            tools.board.retain(|name| wanted.contains_key(name));
            for (name, node) in wanted {
                tasks.entry(name.clone()).or_insert_with(|| {
                    tracing::info!(cluster = %name, addresses = node.boot_addr, "asking a cluster from now on");
                    let handle = tokio::spawn(watch(name, node.clone(), tools.clone()));
                    Task { node, handle }
                });
            }
        }
        if tree.changed().await.is_err() {
            // The store was closed.
            return std::future::pending().await;
        }
    }
}

/// Clusters in the tree; a node that cannot be read is said and left out.
fn clusters(tree: &Tree) -> BTreeMap<ClusterName, ClusterNode> {
    let prefix = format!("{}/", Path::Clusters);
    let read = |(path, node): (&String, &zms_drivers::meta::Node)| {
        let name = ClusterName::new(path.strip_prefix(&prefix)?);
        match (name, ClusterNode::parse(&node.data)) {
            (Ok(name), Ok(node)) => Some((name, node)),
            (Err(error), _) => {
                tracing::warn!(path, %error, "a cluster's node is left out");
                None
            }
            (_, Err(error)) => {
                tracing::warn!(path, %error, "a cluster's node is left out");
                None
            }
        }
    };
    tree.iter().filter_map(read).collect()
}

async fn watch(name: ClusterName, node: ClusterNode, tools: Tools) {
    let deadline = Duration::from_millis(u64::try_from(tools.every_ms).unwrap_or(10_000));
    let mut endpoint = Endpoint::plain(name.as_str(), node.addresses());
    "zms-collector".clone_into(&mut endpoint.client_id);
    // The whole tick takes no longer than the time to the next one.
    endpoint.deadline = deadline.mul_f64(0.8);
    if node.security.tls {
        endpoint.authority_pem = Some(tools.authority.clone());
    }
    let mut scraper = open::scraper(node.broker, &endpoint);
    let mut before: Option<Before> = None;
    loop {
        let at_ms = next_tick(now_ms(), tools.every_ms);
        sleep(Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0))).await;
        let said = match &mut scraper {
            Ok(scraper) => ask(scraper.as_mut(), &name, deadline).await,
            Err(error) => Err(error.clone()),
        };
        let mut outcome = tick::tick(&name, at_ms, said, &mut before);
        outcome.cluster.kind = node.broker;
        tools.sink.push(outcome.points);
        tools.board.put(at_ms, outcome.cluster, outcome.topics, outcome.groups);
    }
}

async fn ask(
    scraper: &mut dyn Scraper,
    name: &ClusterName,
    deadline: Duration,
) -> Result<zms_drivers::broker::Scrape, BrokerError> {
    match tokio::time::timeout(deadline, scraper.scrape()).await {
        Ok(said) => said,
        Err(_) => {
            Err(BrokerError::Timeout { cluster: name.to_string(), what: "its figures".to_owned(), seconds: deadline.as_secs() })
        }
    }
}

#[cfg(test)]
mod tests {
    use zms_core::metadata::BrokerKind;
    use zms_drivers::meta::Node;

    use super::*;

    #[test]
    fn ticks_fall_on_multiples_and_never_twice_on_the_same() {
        for (now, next) in [(0, 10_000), (1, 10_000), (9_999, 10_000), (10_000, 20_000)] {
            assert_eq!(next_tick(now, 10_000), next);
        }
    }

    #[test]
    fn garbage_among_the_nodes_hides_no_cluster() {
        let node = |data: Vec<u8>| Node { data: data.into(), version: 0, mzxid: 0, ephemeral: false };
        let good = ClusterNode::new(BrokerKind::Kafka, "a:1", "");
        let tree: Tree = [
            ("/zms/cluster".to_owned(), node(Vec::new())),
            ("/zms/cluster/main".to_owned(), node(good.to_bytes())),
            ("/zms/cluster/broken".to_owned(), node(b"\xff\xfe".to_vec())),
            ("/zms/cluster/empty".to_owned(), node(Vec::new())),
        ]
        .into();
        assert_eq!(clusters(&tree).keys().map(ClusterName::as_str).collect::<Vec<_>>(), ["main"]);
    }
}

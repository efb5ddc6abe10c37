//! Clusters of the environment: which ones there are, by ZooKeeper and by the orders, and a task for each that asks its brokers at every tick. A cluster
//! that is slow or away delays no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use zms_core::collect::Orders;
use zms_core::metadata::ClusterNode;
use zms_core::metadata::path::Path;
use zms_core::names::ClusterName;
use zms_drivers::broker::{BrokerError, Scraper};
use zms_drivers::meta::{MetaStore, Tree};
use zms_drivers::open;

use crate::board::Board;
use crate::now_ms;
use crate::orders::Current;
use crate::sink::Sink;
use crate::tick::{self, Before};
use crate::ways::Way;

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
    way: Way,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Follows the clusters until the future is dropped. `store`: where clusters stand, if the environment has one; those of the orders are
/// asked in any case, and before the store has answered.
pub async fn follow(store: Option<Arc<dyn MetaStore>>, mut orders: Current, tools: Tools) {
    let mut tree = store.map(|store| store.tree(&Path::Clusters.to_string()));
    let mut tasks: BTreeMap<ClusterName, Task> = BTreeMap::new();
    // What stood there last: a store that does not answer now takes no cluster away.
    let mut found: BTreeMap<ClusterName, ClusterNode> = BTreeMap::new();
    loop {
        if let Some(seen) = tree.as_mut().and_then(|tree| tree.borrow_and_update().clone()) {
            found = clusters(&seen);
        }
        // Without orders nobody knows where brokers may be; a collector that leads has some.
        let wanted = orders.borrow_and_update().as_ref().map(|orders| wanted(&found, orders)).unwrap_or_default();
        tasks.retain(|name, task| wanted.get(name) == Some(&task.way));
        tools.board.retain(|name| wanted.contains_key(name));
        for (name, way) in wanted {
            tasks.entry(name.clone()).or_insert_with(|| {
                tracing::info!(cluster = %name, "asking a cluster from now on");
                let handle = tokio::spawn(watch(name, way.clone(), tools.clone()));
                Task { way, handle }
            });
        }
        let stands = async {
            // The store was closed, or there is none.
            let Some(tree) = &mut tree else { return std::future::pending().await };
            if tree.changed().await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = stands => {}
            changed = orders.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
        }
    }
}

fn wanted(found: &BTreeMap<ClusterName, ClusterNode>, orders: &Orders) -> BTreeMap<ClusterName, Way> {
    let nodes = found.iter().map(|(name, node)| (name.clone(), Way::of(name, node, orders)));
    let adopted = orders.adopted.iter().map(|adopted| (adopted.cluster.clone(), Way::Adopted(adopted.clone())));
    nodes.chain(adopted).collect()
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

async fn watch(name: ClusterName, way: Way, tools: Tools) {
    let deadline = Duration::from_millis(u64::try_from(tools.every_ms).unwrap_or(10_000));
    let (kind, mut endpoint) = way.endpoint(&name, &tools.authority);
    "zms-collector".clone_into(&mut endpoint.client_id);
    // The whole tick takes no longer than the time to the next one.
    endpoint.deadline = deadline.mul_f64(0.8);
    let mut scraper = open::scraper(kind, &endpoint);
    let mut before: Option<Before> = None;
    loop {
        let at_ms = next_tick(now_ms(), tools.every_ms);
        sleep(Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0))).await;
        let said = match &mut scraper {
            Ok(scraper) => ask(scraper.as_mut(), &name, deadline).await,
            Err(error) => Err(error.clone()),
        };
        let outcome = tick::tick(&name, kind, at_ms, said, &mut before);
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
    use zms_core::collect::{Adopted, Reach};
    use zms_core::metadata::BrokerKind;
    use zms_drivers::meta::Node;

    use super::*;
    use crate::orders::test_support::orders;

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

    #[test]
    fn an_adopted_cluster_is_asked_with_its_credentials_whether_it_stands_in_the_metadata_or_not() {
        let name = |text: &str| ClusterName::new(text).unwrap();
        let adopted = |text: &str| Adopted {
            cluster: name(text),
            kind: BrokerKind::Kafka,
            addresses: vec!["10.0.0.9:9093".to_owned()],
            tls: zms_core::collect::BrokerTls::System,
            login: Some(zms_core::collect::BrokerLogin {
                mechanism: zms_core::collect::Mechanism::ScramSha512,
                user: "zms".to_owned(),
                password: "word".to_owned(),
            }),
            networks: zms_core::networks::Networks::default(),
        };
        let found = ["own", "both"].map(|text| (name(text), ClusterNode::new(BrokerKind::Kafka, "10.0.0.1:9092", ""))).into();
        let orders = Orders { adopted: vec![adopted("both"), adopted("only-orders")], ..orders(1) };
        let wanted = wanted(&found, &orders);
        for (text, from_orders) in [("own", false), ("both", true), ("only-orders", true)] {
            let (_, endpoint) = wanted[&name(text)].endpoint(&name(text), "PEM");
            assert_eq!(endpoint.credentials.is_some(), from_orders, "{text}");
            assert_eq!((endpoint.system_roots, endpoint.networks.is_some()), (from_orders, true), "{text}");
        }
        assert_eq!(wanted.len(), 3);
    }

    /// As an import leaves it: a cluster that nobody could adopt, for example as it is where no broker may be.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_of_the_metadata_is_not_dialled_outside_the_networks_and_one_that_zms_installed_is() {
        let broker = zms_testbed::Counted::listen("127.0.0.1");
        let address = broker.address().to_string();
        let name = ClusterName::new("unfit").unwrap();
        let elsewhere = Orders { networks: "10.0.0.0/8".parse().unwrap(), ..orders(1) };
        let ours = Orders { installed: [(name.clone(), vec![address.clone()])].into(), ..elsewhere.clone() };
        for (orders, there) in [(elsewhere, false), (ours, true)] {
            let store = zms_drivers::meta::fake::FakeMeta::new();
            store.put("/zms/cluster", "");
            let node = ClusterNode::new(BrokerKind::Kafka, address.as_str(), "");
            store.put("/zms/cluster/unfit", node.to_bytes());
            let (_sender, current) = tokio::sync::watch::channel(Some(Arc::new(orders)));
            let board = Arc::new(Board::default());
            let (sink, authority) = (Sink::new(1_000), String::new());
            let tools = Tools { board: board.clone(), sink, every_ms: 500, authority };
            let told = async {
                loop {
                    board.changed.notified().await;
                    if let Some(one) = board.snapshot(1, Vec::new(), zms_core::collect::Sink::default(), 0).clusters.first() {
                        return one.reach.clone();
                    }
                }
            };
            let reach = tokio::select! {
                () = follow(Some(store.clone()), current, tools) => panic!("it goes on"),
                reach = tokio::time::timeout(Duration::from_secs(20), told) => reach.expect("a tick ends"),
            };
            let Reach::Away(why) = reach else { panic!("{reach:?}") };
            assert_eq!(broker.came() > 0, there, "{why}");
            assert_eq!(why.contains("outside the networks"), !there, "{why}");
        }
    }
}

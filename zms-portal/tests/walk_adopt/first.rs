//! A tree as the first ZMS's portal writes it: lines of `key=value` without escapes, no rights, and `null` where a field had none; with
//! Java clients that have their nodes below.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use zms_drivers::meta::zookeeper::{Options, ZooKeeper};
use zms_drivers::meta::{Access, Change, Link, MetaError, MetaStore as _};

/// A session of the test, without identity, as Java clients have it.
pub struct Tree {
    session: Arc<ZooKeeper>,
    address: String,
}

/// Name of the node of the Java client that sends, and of the one that consumes.
pub const PRODUCER: &str = "10.20.30.41||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40:02.558647||32848";
pub const CONSUMER: &str = "10.20.30.42||DEFAULT_CONSUMER||1.0.0||2026-11-21T08:41:17.204||871";

/// Everything in it: path → value, version, transaction.
pub type Contents = BTreeMap<String, (Vec<u8>, i32, i64)>;

impl Tree {
    /// Writes it.
    pub async fn write(zookeeper: &str, kafka: &str, name_servers: &str) -> Self {
        let session = ZooKeeper::start(Options { addresses: zookeeper.to_owned(), ..Options::default() });
        let mut link = session.link();
        let up = link.wait_for(|link| matches!(link, Link::Up(_)));
        assert!(tokio::time::timeout(Duration::from_secs(20), up).await.is_ok_and(|link| link.is_ok()), "ZooKeeper answers");
        let tree = Self { session, address: zookeeper.to_owned() };
        for path in ["/zms", "/zms/cluster", "/zms/topic", "/zms/consumergroup"] {
            tree.create(path, "").await;
        }
        let topic = |cluster: &str, gated: &str| format!("clusterName={cluster}\ntype=topic\ngatedIps={gated}\ngatedCluster=\n");
        let group = |cluster: &str, topic: &str, from: &str| {
            format!(
                "clusterName={cluster}\ntype=consumergroup\nbindingTopic={topic}\nbroadcast=false\nconsumeFrom={from}\nsuspend=false\n\
                 gatedIps=\ngatedCluster=\n"
            )
        };
        for (path, value) in [
            ("cluster/mq-a", format!("bootAddr={kafka}\nbrokerType=kafka\nserverIps={zookeeper}\n")),
            ("cluster/mq-b", format!("bootAddr={name_servers}\nbrokerType=rocketmq\nserverIps=127.0.0.1:10911\n")),
            ("cluster/mq-abroad", "bootAddr=203.0.113.7:9092\nbrokerType=kafka\nserverIps=203.0.113.7:2181\n".to_owned()),
            ("topic/order_created", topic("mq-a", "")),
            ("topic/bank-invoices", topic("mq-b", "null")),
            ("topic/order.v1", topic("mq-a", "")),
            ("topic/half_made", String::new()),
            ("topic/sold_abroad", topic("mq-abroad", "")),
            ("topic/statistic_topic_producerinfo", topic("mq-a", "")),
            ("topic/statistic_topic_consumerinfo", topic("mq-a", "")),
            ("consumergroup/order_bill", group("mq-a", "order_created", "earliest")),
            ("consumergroup/bank-settle", group("mq-b", "bank-invoices", "latest")),
            ("consumergroup/order_archive", group("mq-a", "order.v1", "earliest")),
        ] {
            tree.create(&format!("/zms/{path}"), &value).await;
        }
        tree
    }

    async fn create(&self, path: &str, value: &str) {
        let change = Change::Create { path: path.to_owned(), data: value.as_bytes().to_vec(), access: Access::Legacy };
        self.session.apply(&[change]).await.unwrap();
    }

    /// Java clients: one sends, one consumes. They are there until what is returned is dropped.
    pub async fn java_clients(&self) -> [watch::Sender<Vec<u8>>; 2] {
        let paths = [format!("/zms/topic/order_created/{PRODUCER}"), format!("/zms/consumergroup/order_bill/{CONSUMER}")];
        let clients = [0, 1].map(|n: usize| self.session.ephemeral(&paths[n], Vec::new()));
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        for path in &paths {
            while self.session.get(path).await.unwrap().is_none() {
                assert!(tokio::time::Instant::now() < end, "{path} is not made");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        clients
    }

    /// Everything below `/zms` now.
    pub async fn contents(&self) -> Contents {
        let (mut found, mut open) = (Contents::new(), vec!["/zms".to_owned()]);
        while let Some(path) = open.pop() {
            let node = self.session.get(&path).await.unwrap().expect("nobody deletes anything");
            found.insert(path.clone(), (node.data.to_vec(), node.version, node.mzxid));
            open.extend(self.session.children(&path).await.unwrap().unwrap().into_iter().map(|name| format!("{path}/{name}")));
        }
        found
    }

    /// The last transaction of the server: it grows with every write, with rights that change, with sessions that come and go.
    pub fn last_transaction(&self) -> String {
        let mut stream = std::net::TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"srvr").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said.lines().find_map(|line| line.strip_prefix("Zxid: ")).unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    /// May somebody without identity read a topic's node, and may they change it?
    pub async fn anybody_reads_and_changes(&self, topic: &str) -> (bool, bool) {
        let path = format!("/zms/topic/{topic}");
        let allowed = |denied: bool| !denied;
        let read = matches!(self.session.get(&path).await, Err(MetaError::Denied { .. }));
        let set = Change::Set { path, data: Vec::new(), version: Some(i32::MAX) };
        let change = matches!(self.session.apply(&[set]).await, Err(MetaError::Denied { .. }));
        (allowed(read), allowed(change))
    }
}

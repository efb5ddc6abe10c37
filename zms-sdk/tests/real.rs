//! The whole line on a real ZooKeeper and a real Kafka.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zms_core::metadata::{BrokerKind, ClusterNode, ConsumeFrom, GroupNode, Order, Presence, TopicNode, path};
use zms_core::names::{ClusterName, PhysicalName};
use zms_drivers::broker::TopicWish;
use zms_drivers::meta::zookeeper::{Options, ZooKeeper as Store};
use zms_drivers::meta::{Access, Change, Link, MetaStore};
use zms_drivers::open::{self, Endpoint};
use zms_sdk::{Message, Waits, Zms};
use zms_testbed::{Kafka, KafkaWish, ZooKeeper, ZooWish};

const ENVIRONMENT: &str = "0190f5d6-6f9a-7c3e-9a51-3f1f5f1c2b7d";
const WAIT: Duration = Duration::from_secs(20);

fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

fn cluster(text: &str) -> ClusterName {
    ClusterName::new(text).unwrap()
}

/// What the portal would write.
async fn publish(store: &Store, path: path::Path, data: Vec<u8>) {
    let path = path.to_string();
    let version = store.get(&path).await.unwrap().map(|node| node.version);
    let change = match version {
        Some(_) => Change::Set { path, data, version },
        None => Change::Create { path, data, access: Access::Legacy },
    };
    store.apply(&[change]).await.unwrap();
}

async fn topic_at(store: &Store, at: &str, epoch: u64) {
    publish(store, path::Path::Topic(name("orders")), TopicNode::new(cluster(at), Order { term: 1, epoch }).to_bytes()).await;
}

async fn make_environment(store: &Store, kafka: &Kafka) {
    let mut link = store.link();
    tokio::time::timeout(WAIT, link.wait_for(|link| matches!(link, Link::Up(_)))).await.expect("ZooKeeper is there").unwrap();
    for path in path::skeleton() {
        store.apply(&[Change::Create { path, data: Vec::new(), access: Access::Legacy }]).await.unwrap();
    }
    publish(store, path::Path::SystemId, ENVIRONMENT.into()).await;
    let plain = ClusterNode::new(BrokerKind::Kafka, kafka.plain(), kafka.plain());
    publish(store, path::Path::Cluster(cluster("plain")), plain.to_bytes()).await;
    let (addresses, ..) = kafka.tls_scram();
    let mut secure = ClusterNode::new(BrokerKind::Kafka, addresses.clone(), addresses);
    (secure.security.tls, secure.security.sasl) = (true, Some("SCRAM-SHA-512".to_owned()));
    publish(store, path::Path::Cluster(cluster("secure")), secure.to_bytes()).await;
    topic_at(store, "plain", 1).await;
    let group = GroupNode::new(cluster("plain"), name("orders"), ConsumeFrom::Earliest, Order { term: 1, epoch: 1 });
    publish(store, path::Path::Group(name("billing")), group.to_bytes()).await;
    let admin = open::admin(BrokerKind::Kafka, &Endpoint::plain("plain", kafka.plain().split(','))).unwrap();
    let wish = TopicWish { name: name("orders"), partitions: 3, replicas: 1, config: BTreeMap::new() };
    admin.ensure_topic(&wish).await.unwrap();
}

fn process(zookeeper: &str, kafka: &Kafka, folder: &Path) -> Zms {
    let (_, authority, user, password) = kafka.tls_scram();
    let file = folder.join("client.toml");
    std::fs::write(&file, format!("environment = \"{ENVIRONMENT}\"\nzookeeper = \"{zookeeper}\"\n")).unwrap();
    let waits = Waits { first_answer: Duration::from_millis(500), session: Duration::from_secs(4), ..Waits::default() };
    let builder = Zms::builder().application("shop").client_file(file).cache(folder.join("cache")).waits(waits);
    builder.broker_authority(authority).broker_login(user, password).connect().unwrap()
}

/// Sends one message after the other until it is told to stop; none may fail.
struct Load {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(zms: &Zms) -> Self {
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (zms, counter, end) = (zms.clone(), Arc::clone(&sent), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            while !end.load(Ordering::SeqCst) {
                let number = counter.load(Ordering::SeqCst);
                zms.send("orders", Message::new(number.to_string()).with_key(number.to_string())).await.expect("no send fails");
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { sent, stop, task }
    }

    /// Waits until so many more are sent.
    async fn more(&self, count: u64) {
        let wanted = self.sent.load(Ordering::SeqCst) + count;
        until(&format!("{count} more messages are sent"), async || (self.sent.load(Ordering::SeqCst) >= wanted).then_some(()))
            .await;
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.sent.load(Ordering::SeqCst)
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_and_consumes_through_a_move_to_a_secure_cluster_and_without_zookeeper() {
    let (kafka, mut zookeeper) = tokio::task::spawn_blocking(|| {
        (Kafka::start(KafkaWish { secure: true, ..KafkaWish::default() }), ZooKeeper::start(ZooWish::default()))
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(Options { addresses: zookeeper.plain(), ..Options::default() });
    make_environment(&store, &kafka).await;

    let first = process(&zookeeper.plain(), &kafka, folder.path());
    let got = Arc::new(Mutex::new(std::collections::BTreeMap::<String, u64>::new()));
    let seen = Arc::clone(&got);
    let handler = move |message: zms_sdk::Received| {
        *seen.lock().unwrap().entry(String::from_utf8_lossy(message.bytes()).into_owned()).or_default() += 1;
        std::future::ready(Ok::<(), String>(()))
    };
    let consuming = first.consumer("billing").unwrap().handle(handler.clone()).await.unwrap();
    let load = Load::start(&first);
    load.more(50).await;

    // The topic moves to the listener with TLS and SCRAM: other addresses, other clients, the same log.
    topic_at(&store, "secure", 2).await;
    until("sends go to the new cluster", async || {
        load.more(5).await;
        (first.send("orders", "probe").await.unwrap().cluster.as_str() == "secure").then_some(())
    })
    .await;
    let path = format!("/zms/client/{:02x}/{}", first.id().bucket(), first.id());
    until("its presence says so", async || {
        let presence = Presence::parse(&store.get(&path).await.unwrap()?.data).unwrap();
        (presence.topics.get("orders") == Some(&2) && presence.groups.get("billing") == Some(&2)).then_some(())
    })
    .await;

    // ZooKeeper is killed: running processes go on, and one that starts now as well.
    tokio::task::block_in_place(|| zookeeper.kill());
    load.more(50).await;
    let second = process(&zookeeper.plain(), &kafka, folder.path());
    assert_eq!(second.send("orders", "from the second").await.unwrap().cluster.as_str(), "secure");
    let sent = load.stop().await;
    until("all came", async || {
        let got = got.lock().unwrap();
        ((0..sent).all(|number| got.contains_key(&number.to_string())) && got.contains_key("from the second")).then_some(())
    })
    .await;
    consuming.close(WAIT).await;
    let again = second.consumer("billing").unwrap().handle(handler).await.unwrap();
    second.send("orders", "without ZooKeeper").await.unwrap();
    until("the second consumes", async || got.lock().unwrap().contains_key("without ZooKeeper").then_some(())).await;
    again.close(WAIT).await;

    // It comes back, and its decisions are followed again.
    tokio::task::block_in_place(|| zookeeper.restart());
    let mut link = store.link();
    tokio::time::timeout(WAIT, link.wait_for(|link| matches!(link, Link::Up(_)))).await.expect("it is back").unwrap();
    topic_at(&store, "plain", 3).await;
    until("both follow", async || {
        let at = async |zms: &Zms| zms.send("orders", "probe").await.unwrap().cluster.to_string();
        (at(&first).await == "plain" && at(&second).await == "plain").then_some(())
    })
    .await;
    assert_eq!((first.close(WAIT).await, second.close(WAIT).await), (0, 0));
    until("their presence is gone", async || store.get(&path).await.unwrap().is_none().then_some(())).await;
    println!("zms-sdk on real servers: {sent} sent through a move and a dead ZooKeeper, none failed, all handled");
}

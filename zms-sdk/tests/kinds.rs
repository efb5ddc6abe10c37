//! One program on both kinds of cluster: what it does must not depend on where its topic lives.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zms_core::metadata::{BrokerKind, ClusterNode, ConsumeFrom, GroupNode, Order, TopicNode, path};
use zms_core::names::{ClusterName, PhysicalName};
use zms_drivers::broker::TopicWish;
use zms_drivers::meta::zookeeper::{Options, ZooKeeper as Store};
use zms_drivers::meta::{Access, Change, Link, MetaStore};
use zms_drivers::open::{self, Endpoint};
use zms_sdk::{Message, Received, Waits, Zms};
use zms_testbed::{Kafka, KafkaWish, RocketLine, RocketMq, RocketWish, ZooKeeper, ZooWish};

const ENVIRONMENT: &str = "0190f5d6-6f9a-7c3e-9a51-3f1f5f1c2b7d";
const WAIT: Duration = Duration::from_secs(40);

fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

async fn create(store: &Store, path: impl ToString, data: Vec<u8>) {
    store.apply(&[Change::Create { path: path.to_string(), data, access: Access::Legacy }]).await.unwrap();
}

/// A topic and its group, both named after the cluster that they live on.
async fn publish(store: &Store, kind: BrokerKind, at: &str, addresses: &str) {
    let cluster = ClusterName::new(at).unwrap();
    create(store, path::Path::Cluster(cluster.clone()), ClusterNode::new(kind, addresses, addresses).to_bytes()).await;
    let order = Order { term: 1, epoch: 1 };
    create(store, path::Path::Topic(name(at)), TopicNode::new(cluster.clone(), order).to_bytes()).await;
    let group = GroupNode::new(cluster, name(at), ConsumeFrom::Earliest, order);
    create(store, path::Path::Group(name(at)), group.to_bytes()).await;
}

/// Sends three messages, of which its handler wants two, and one of these only at the second attempt.
async fn program(zms: &Zms, at: &str) -> BTreeMap<String, u32> {
    for (value, tag) in [("1", "paid"), ("2", "open"), ("3", "paid")] {
        let message = Message::new(value).with_key("customer 7").with_header("trace", "t1").with_tag(tag);
        let sent = zms.send(at, message).await.unwrap();
        assert_eq!(sent.cluster.as_str(), at);
    }
    let got = Arc::new(Mutex::new(BTreeMap::new()));
    let seen = Arc::clone(&got);
    let handler = move |message: Received| {
        let text = String::from_utf8_lossy(message.bytes()).into_owned();
        assert_eq!((message.key.as_deref(), message.header("trace")), (Some(&b"customer 7"[..]), Some(&b"t1"[..])));
        assert_eq!(message.tag.as_deref(), Some("paid"));
        let fails = text == "1" && message.attempt == 1;
        seen.lock().unwrap().insert(text, message.attempt);
        std::future::ready(if fails { Err("not yet") } else { Ok(()) })
    };
    let consuming = zms.consumer(at).unwrap().only_tags(["paid"]).retry_later().handle(handler).await.unwrap();
    let all = BTreeMap::from([("1".to_owned(), 2), ("3".to_owned(), 1)]);
    let end = tokio::time::Instant::now() + WAIT;
    while *got.lock().unwrap() != all {
        assert!(tokio::time::Instant::now() < end, "on {at}: {:?}", got.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(consuming.close(WAIT).await.skipped, 0);
    all
}

/// Sends three messages of one key; the first is handled at the second attempt, and the others after it.
async fn in_order(zms: &Zms, at: &str) {
    for value in ["4", "5", "6"] {
        zms.send(at, Message::new(value).with_key("customer 7")).await.unwrap();
    }
    let begun = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&begun);
    let handler = move |message: Received| {
        let text = String::from_utf8_lossy(message.bytes()).into_owned();
        let fails = text == "4" && message.attempt == 1;
        seen.lock().unwrap().push((text, message.attempt));
        std::future::ready(if fails { Err("not yet") } else { Ok(()) })
    };
    let consuming = zms.consumer(at).unwrap().in_order().handle(handler).await.unwrap();
    let end = tokio::time::Instant::now() + WAIT;
    while consuming.figures().done < 3 {
        assert!(tokio::time::Instant::now() < end, "on {at}: {:?}", begun.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let expected = [("4", 1), ("4", 2), ("5", 1), ("6", 1)].map(|(text, attempt)| (text.to_owned(), attempt));
    assert_eq!(*begun.lock().unwrap(), expected, "on {at}");
    consuming.close(WAIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_program_sends_and_consumes_on_either_kind() {
    let servers = tokio::task::spawn_blocking(|| {
        let rocketmq = [RocketLine::V5, RocketLine::V4].map(|line| RocketMq::start(&RocketWish::one(line)));
        (ZooKeeper::start(ZooWish::default()), Kafka::start(KafkaWish::default()), rocketmq)
    });
    let (zookeeper, kafka, rocketmq) = servers.await.unwrap();
    let store = Store::start(Options { addresses: zookeeper.plain(), ..Options::default() });
    let mut link = store.link();
    tokio::time::timeout(WAIT, link.wait_for(|link| matches!(link, Link::Up(_)))).await.expect("ZooKeeper is there").unwrap();
    for path in path::skeleton() {
        create(&store, path, Vec::new()).await;
    }
    create(&store, path::Path::SystemId, ENVIRONMENT.into()).await;
    publish(&store, BrokerKind::Kafka, "on-kafka", &kafka.plain()).await;
    let admin = open::admin(BrokerKind::Kafka, &Endpoint::plain("kafka", kafka.plain().split(','))).unwrap();
    let wish = TopicWish { name: name("on-kafka"), partitions: 2, replicas: 1, config: BTreeMap::new() };
    admin.ensure_topic(&wish).await.unwrap();
    for (server, at) in rocketmq.iter().zip(["on-rocketmq-5", "on-rocketmq-4"]) {
        server.make_topic(at, 2);
        publish(&store, BrokerKind::RocketMq, at, &server.name_servers().join(";")).await;
    }
    let builder = Zms::builder().application("shop").zookeeper(zookeeper.plain()).without_cache().waits(Waits::default());
    let zms = builder.connect().unwrap();
    for at in ["on-kafka", "on-rocketmq-5", "on-rocketmq-4"] {
        println!("{at}: {:?}", program(&zms, at).await);
        in_order(&zms, at).await;
    }
    assert_eq!(zms.close(WAIT).await, 0);
}

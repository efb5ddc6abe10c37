//! The bytes of nodes that applications read, clients of the first ZMS among them: one file a kind and situation.
//! `ZMS_GOLDEN=write cargo test -p zms-core` writes anew what we write. Files `*.before.properties` stand for what others wrote and are
//! never written.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde_json::json;
use zms_core::metadata::text::Text;
use zms_core::metadata::{BrokerKind, ClusterNode, ConsumeFrom, GroupNode, NodeError, Order, Route, Security, TopicNode};
use zms_core::names::{ClusterName, PhysicalName};

/// A node of any kind.
#[derive(Debug, Clone)]
enum Node {
    Cluster(ClusterNode),
    Topic(TopicNode),
    Group(GroupNode),
}

impl Node {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Cluster(node) => node.to_bytes(),
            Self::Topic(node) => node.to_bytes(),
            Self::Group(node) => node.to_bytes(),
        }
    }

    /// Reads a node of the same kind.
    fn parse(&self, bytes: &[u8]) -> Result<Self, NodeError> {
        Ok(match self {
            Self::Cluster(_) => Self::Cluster(ClusterNode::parse(bytes)?),
            Self::Topic(_) => Self::Topic(TopicNode::parse(bytes)?),
            Self::Group(_) => Self::Group(GroupNode::parse(bytes)?),
        })
    }

    /// What it says, without the keys that we do not know.
    fn values(&self) -> Vec<String> {
        fn each(values: &[&dyn Debug]) -> Vec<String> {
            values.iter().map(|value| format!("{value:?}")).collect()
        }
        match self {
            Self::Cluster(ClusterNode { boot_addr, broker, server_ips, epoch, security, .. }) => {
                each(&[boot_addr, broker, server_ips, epoch, security])
            }
            Self::Topic(TopicNode { cluster, order, routes, gated_ips, gated_cluster, .. }) => {
                each(&[cluster, order, routes, gated_ips, gated_cluster])
            }
            Self::Group(GroupNode { cluster, topic, broadcast, from, suspend, order, gated_ips, gated_cluster, .. }) => {
                each(&[cluster, topic, broadcast, from, suspend, order, gated_ips, gated_cluster])
            }
        }
    }
}

fn cluster(name: &str) -> ClusterName {
    name.parse().unwrap()
}

fn physical(name: &str) -> PhysicalName {
    name.parse().unwrap()
}

const fn order(term: u64, epoch: u64) -> Order {
    Order { term, epoch }
}

fn kafka() -> ClusterNode {
    let brokers = "10.0.0.1:9092,10.0.0.2:9092,[fd00::3]:9092";
    ClusterNode::new(BrokerKind::Kafka, brokers, brokers)
}

fn topic() -> TopicNode {
    TopicNode::new(cluster("kafka"), order(0, 1))
}

fn group() -> GroupNode {
    GroupNode::new(cluster("kafka"), physical("orders"), ConsumeFrom::Earliest, order(0, 1))
}

fn routes() -> Vec<Route> {
    let route = |rid: &str, name: &str, kind, read, write| Route {
        rid: rid.to_owned(),
        cluster: cluster(name),
        kind,
        name: physical("orders"),
        read,
        write,
        gate: None,
        end: None,
    };
    let old = Route { end: Some(json!({ "0": 4711, "1": 0 })), ..route("r1", "kafka", BrokerKind::Kafka, true, false) };
    let gate = json!({ "after": "r1", "note": "until \\ 读完 😀" });
    vec![old, Route { gate: Some(gate), ..route("r2", "mq-b", BrokerKind::RocketMq, true, true) }]
}

/// `node`, but with a change.
fn but<T>(mut node: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut node);
    node
}

/// What we write where nothing was before.
fn written() -> Vec<(&'static str, Node)> {
    let rocketmq = ClusterNode::new(BrokerKind::RocketMq, "10.1.1.1:9876;10.1.1.2:9876", "10.1.1.3:10911;10.1.1.4:10911");
    let secured = but(kafka(), |node| {
        (node.security, node.epoch) = (Security { tls: true, sasl: Some("SCRAM-SHA-512".to_owned()) }, 7);
    });
    let gated_topic = but(topic(), |node| {
        (node.gated_ips, node.gated_cluster) = ("10.0.0.7,10.0.0.8".to_owned(), Some(cluster("kafka-b")));
        node.order = order(0, 2);
    });
    let moving = but(topic(), |node| (node.routes, node.order) = (routes(), order(3, 12)));
    let suspended = but(group(), |node| (node.suspend, node.order) = (true, order(1, 9)));
    let broadcast = but(group(), |node| (node.broadcast, node.from) = (true, ConsumeFrom::Latest));
    let gated_group = but(group(), |node| {
        (node.gated_ips, node.gated_cluster) = ("10.0.0.7".to_owned(), Some(cluster("kafka-b")));
    });
    vec![
        ("cluster-kafka", Node::Cluster(kafka())),
        ("cluster-kafka-secured", Node::Cluster(secured)),
        ("cluster-rocketmq", Node::Cluster(rocketmq)),
        ("topic-plain", Node::Topic(topic())),
        ("topic-gated", Node::Topic(gated_topic)),
        ("topic-routes", Node::Topic(moving)),
        ("group-plain", Node::Group(group())),
        ("group-suspended", Node::Group(suspended)),
        ("group-broadcast-latest", Node::Group(broadcast)),
        ("group-gated", Node::Group(gated_group)),
    ]
}

/// A node of others: its name, what we read there, and what we make of it.
struct Foreign {
    name: &'static str,
    read: Node,
    change: fn(&mut Node),
}

fn foreign() -> Vec<Foreign> {
    let mq = ClusterNode::new(BrokerKind::RocketMq, "10.1.1.1:9876;10.1.1.2:9876", "10.1.1.3:10911;10.1.1.4:10911");
    let gated = but(topic(), |node| (node.gated_ips, node.order) = ("10.0.0.7".to_owned(), order(0, 0)));
    vec![
        Foreign {
            name: "foreign-cluster",
            read: Node::Cluster(but(mq, |node| node.epoch = 0)),
            change: |node| {
                let Node::Cluster(node) = node else { unreachable!() };
                (node.boot_addr, node.epoch) = ("10.1.1.9:9876".to_owned(), node.epoch + 1);
            },
        },
        Foreign {
            name: "foreign-topic",
            read: Node::Topic(gated),
            change: |node| {
                let Node::Topic(node) = node else { unreachable!() };
                (node.cluster, node.order) = (cluster("kafka-b"), node.order.next(Order::default()));
            },
        },
        Foreign {
            name: "foreign-group",
            read: Node::Group(but(group(), |node| node.order = order(0, 0))),
            change: |node| {
                let Node::Group(node) = node else { unreachable!() };
                (node.suspend, node.order) = (true, node.order.next(order(2, 40)));
            },
        },
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/znodes")
}

fn golden(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.properties"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

/// Nothing if the golden file holds exactly these bytes.
fn difference(name: &str, bytes: &[u8]) -> Option<String> {
    let wanted = golden(name);
    (wanted != bytes).then(|| {
        let [wanted, got] = [&wanted[..], bytes].map(|bytes| bytes.escape_ascii().to_string().replace("\\n", "\\n\n"));
        format!("{name} is\n{got}\nand not\n{wanted}\nif that is right, run with ZMS_GOLDEN=write")
    })
}

fn compare(name: &str, bytes: &[u8]) {
    if std::env::var_os("ZMS_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(folder().join(format!("{name}.properties")), bytes).unwrap();
    }
    if let Some(difference) = difference(name, bytes) {
        panic!("{difference}");
    }
}

fn keys(bytes: &[u8]) -> Vec<String> {
    Text::parse(bytes).unwrap().iter().map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn nodes_are_written_as_these_bytes_and_read_back_as_these_values() {
    for (name, node) in written() {
        let bytes = node.to_bytes();
        compare(name, &bytes);
        assert!(bytes.is_ascii() && bytes.ends_with(b"\n") && !bytes.contains(&b'\r'), "{name}");
        let read = node.parse(&golden(name)).unwrap();
        assert_eq!(read.values(), node.values(), "{name}");
        assert_eq!(read.to_bytes(), bytes, "{name}: what is read is written as it was");
    }
}

#[test]
fn nodes_of_others_are_read_and_keep_their_unknown_keys_and_the_order_when_we_change_them() {
    for Foreign { name, read: expected, change } in foreign() {
        let before = golden(&format!("{name}.before"));
        let mut node = expected.parse(&before).unwrap();
        assert_eq!(node.values(), expected.values(), "{name}");
        change(&mut node);
        let after = node.to_bytes();
        compare(name, &after);
        assert_eq!(expected.parse(&after).unwrap().values(), node.values(), "{name}");
        assert!(keys(&after).starts_with(&keys(&before)), "{name}: {:?} after {:?}", keys(&after), keys(&before));
        let (texts, ours) = (Text::parse(&before).unwrap(), Text::parse(&after).unwrap());
        for (key, value) in texts.iter().filter(|(key, _)| key.starts_with("x-") || *key == "statisticsLogger") {
            assert_eq!(ours.get(key), Some(value), "{name}: {key}");
        }
    }
}

#[test]
fn line_ends_of_other_systems_and_a_missing_last_one_change_nothing() {
    for Foreign { name, read: expected, .. } in foreign() {
        let text = String::from_utf8(golden(&format!("{name}.before"))).unwrap();
        for text in [text.replace('\n', "\r\n"), text.replace('\n', "\r"), text.trim_end_matches('\n').to_owned()] {
            assert_eq!(expected.parse(text.as_bytes()).unwrap().values(), expected.values(), "{name}: {text:?}");
        }
    }
}

#[test]
fn every_golden_file_is_one_that_is_compared_and_a_wrong_byte_is_seen() {
    let ours = written().into_iter().map(|(name, _)| format!("{name}.properties"));
    let others = foreign()
        .into_iter()
        .flat_map(|Foreign { name, .. }| [format!("{name}.properties"), format!("{name}.before.properties")]);
    let known: BTreeSet<String> = ours.chain(others).collect();
    let there = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), known);

    let bytes = topic().to_bytes();
    assert_eq!(difference("topic-plain", &bytes), None);
    let text = String::from_utf8(bytes).unwrap();
    let wrong =
        [text.replace("epoch=1", "epoch=2"), text.replace('\n', "\r\n"), text.trim_end().to_owned(), format!("#\n{text}")];
    for wrong in wrong {
        assert!(difference("topic-plain", wrong.as_bytes()).is_some(), "{wrong:?}");
    }
}

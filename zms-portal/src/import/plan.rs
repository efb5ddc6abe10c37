//! What is in a tree, and what would become of it. [`sort`] is pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use zms_core::metadata::{BrokerKind, ClusterNode, ConsumeFrom, GroupNode, Order, TopicNode};
use zms_core::names::{ClusterName, GroupName, RESERVED, TopicName};

use super::read::{Raw, Tree, Value, read};
use crate::app::App;
use crate::clusters::NewCluster;
use crate::environments::Environment;
use crate::error::{Error, Result, Text};
use crate::web::messages::Messages;
use crate::{clusters, groups, topics};

/// For reading all of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ImportPlan)]
pub struct Plan {
    /// Whose tree it is.
    pub origin: Origin,
    /// By name.
    pub clusters: Vec<FoundCluster>,
    /// By name.
    pub topics: Vec<FoundTopic>,
    /// By name.
    pub groups: Vec<FoundGroup>,
    /// What stays as it is and is not imported, with the reason.
    pub left: Vec<Left>,
    /// Java clients of the first ZMS that are connected.
    pub java_clients: usize,
}

/// Whose tree it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Origin {
    /// This environment's.
    Ours,
    /// One of ours with another id: this environment's before its database was lost, whose id it takes then.
    Other {
        /// Its id.
        id: String,
    },
    /// A first ZMS's.
    First,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FoundCluster {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ClusterName,
    /// kafka or rocketmq.
    #[schema(value_type = String)]
    pub broker: BrokerKind,
    /// `host:port` each.
    pub addresses: Vec<String>,
    /// Applications speak TLS to it.
    pub tls: bool,
    /// Of its node.
    pub epoch: u64,
    /// The portal knows it already.
    pub known: bool,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FoundTopic {
    /// Its name.
    #[schema(value_type = String)]
    pub name: TopicName,
    /// Where it lives.
    #[schema(value_type = String)]
    pub cluster: ClusterName,
    /// Of its node.
    #[schema(value_type = Object)]
    pub order: Order,
    /// Java clients that send to it.
    pub java_clients: usize,
    /// The portal knows it already.
    pub known: bool,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FoundGroup {
    /// Its name.
    #[schema(value_type = String)]
    pub name: GroupName,
    /// What it consumes.
    #[schema(value_type = String)]
    pub topic: TopicName,
    /// Where it begins.
    #[schema(value_type = String)]
    pub from: ConsumeFrom,
    /// Every member gets every message.
    pub broadcast: bool,
    /// Of its node.
    #[schema(value_type = Object)]
    pub order: Order,
    /// Java clients that consume with it.
    pub java_clients: usize,
    /// The portal knows it already.
    pub known: bool,
}

/// Something that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Left {
    /// Where it stands.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// Why something is not imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reason {
    /// Nothing stands in it.
    Empty,
    /// No node of a ZMS is so long.
    Huge {
        /// In bytes.
        size: usize,
    },
    /// It cannot be read as what it should be.
    Unreadable {
        /// What is wrong.
        why: String,
    },
    /// We have no right to read it.
    Denied,
    /// It goes with a session.
    Ephemeral,
    /// It names a cluster that has no usable node.
    UnknownCluster {
        /// The cluster.
        cluster: String,
    },
    /// It names a topic that is not imported.
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// One of ZMS's own.
    Reserved,
    /// People could not ask for such a name: it stays with its brokers alone.
    Name,
    /// It is none that can be adopted, for example outside the environment's networks.
    Unfit {
        /// Why.
        #[schema(value_type = String)]
        why: Text,
    },
    /// The portal knows a topic of this name in another cluster.
    Elsewhere {
        /// The cluster that the portal knows.
        cluster: String,
    },
}

impl Reason {
    /// In words.
    pub fn say(&self, m: &Messages) -> String {
        match self {
            Self::Empty => m.import_left_empty().to_owned(),
            Self::Huge { size } => m.import_left_huge(size),
            Self::Unreadable { why } => m.import_left_unreadable(why),
            Self::Denied => m.import_left_denied().to_owned(),
            Self::Ephemeral => m.import_left_ephemeral().to_owned(),
            Self::UnknownCluster { cluster } => m.import_left_cluster(cluster),
            Self::UnknownTopic { topic } => m.import_left_topic(topic),
            Self::Reserved => m.import_left_reserved().to_owned(),
            Self::Name => m.import_left_name().to_owned(),
            Self::Unfit { why } => why.say(*m),
            Self::Elsewhere { cluster } => m.import_left_elsewhere(cluster),
        }
    }
}

/// What the portal knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Id of the environment.
    pub environment: String,
    /// Names of clusters.
    pub clusters: BTreeSet<String>,
    /// Topic → its cluster.
    pub topics: BTreeMap<String, String>,
    /// Names of groups.
    pub groups: BTreeSet<String>,
    /// Clusters that cannot be adopted → why.
    pub unfit: BTreeMap<String, Text>,
}

impl FoundCluster {
    /// As it is adopted.
    pub(super) fn new_cluster(&self) -> NewCluster {
        NewCluster {
            name: self.name.to_string(),
            kind: self.broker.to_string(),
            addresses: self.addresses.join(","),
            tls: if self.tls { "system" } else { "off" }.to_owned(),
            ..NewCluster::default()
        }
    }
}

impl Plan {
    /// Nothing is new, and the tree is ours.
    pub fn is_done(&self) -> bool {
        self.origin == Origin::Ours && self.new_clusters() + self.new_topics() + self.new_groups() == 0
    }

    /// Clusters that would be made known.
    pub fn new_clusters(&self) -> usize {
        self.clusters.iter().filter(|one| !one.known).count()
    }

    /// Topics that would be made known.
    pub fn new_topics(&self) -> usize {
        self.topics.iter().filter(|one| !one.known).count()
    }

    /// Groups that would be made known.
    pub fn new_groups(&self) -> usize {
        self.groups.iter().filter(|one| !one.known).count()
    }

    /// The highest term of any node.
    pub fn term(&self) -> u64 {
        let topics = self.topics.iter().map(|one| one.order.term);
        topics.chain(self.groups.iter().map(|one| one.order.term)).max().unwrap_or_default()
    }
}

/// Reads the tree of an environment.
pub(super) async fn of(app: &App, environment: &Environment) -> Result<Plan> {
    let store = app.metadata.store(&environment.id).await?;
    let tree = tokio::time::timeout(DEADLINE, read(store.as_ref())).await;
    let unavailable = |why: String| Error::Unavailable(Text::new(move |m| m.import_cannot_read(&why)));
    let tree = tree.map_err(|_late| unavailable(format!("no answer within {} s", DEADLINE.as_secs())))?;
    let tree = tree.map_err(|error| unavailable(error.to_string()))?;
    let rows = clusters::list(&app.db, &environment.id).await?;
    let name = |id: &str| rows.iter().find(|row| row.id == id).map(|row| row.name.to_string()).unwrap_or_default();
    let topics = topics::list(&app.db, &environment.id).await?;
    let mut known = Known {
        environment: environment.id.clone(),
        topics: topics.into_iter().map(|topic| (topic.name.to_string(), name(&topic.cluster_id))).collect(),
        groups: groups::list(&app.db, &environment.id).await?.into_iter().map(|group| group.name.to_string()).collect(),
        clusters: rows.iter().map(|row| row.name.to_string()).collect(),
        unfit: BTreeMap::new(),
    };
    let found: Vec<NewCluster> = tree
        .clusters
        .iter()
        .filter(|raw| !known.clusters.contains(&raw.name))
        .filter_map(|raw| Some(cluster(raw, &known).ok()?.new_cluster()))
        .collect();
    for (new, why) in found.iter().zip(clusters::unfit(&app.db, &environment.id, &found).await?) {
        if let Some(why) = why {
            known.unfit.insert(new.name.clone(), why);
        }
    }
    Ok(sort(tree, &known))
}

/// Sorts a tree into what would be imported and what is left alone.
pub(super) fn sort(tree: Tree, known: &Known) -> Plan {
    let origin = match tree.id {
        None => Origin::First,
        Some(id) if id == known.environment => Origin::Ours,
        Some(id) => Origin::Other { id },
    };
    let java_clients = tree.topics.iter().chain(&tree.groups).map(|raw| raw.java).sum();
    let mut left = Vec::new();
    let clusters = kept(tree.clusters, "cluster", &mut left, |raw| cluster(raw, known));
    let names: BTreeSet<String> = clusters.iter().map(|one| one.name.to_string()).collect();
    let topics = kept(tree.topics, "topic", &mut left, |raw| topic(raw, &names, known));
    let governed: BTreeSet<String> = topics.iter().map(|one| one.name.to_string()).collect();
    let groups = kept(tree.groups, "consumergroup", &mut left, |raw| group(raw, &names, &governed, known));
    Plan { origin, clusters, topics, groups, left, java_clients }
}

fn kept<T>(nodes: Vec<Raw>, kind: &str, left: &mut Vec<Left>, judge: impl Fn(&Raw) -> Result<T, Reason>) -> Vec<T> {
    let mut kept = Vec::new();
    for raw in nodes {
        match judge(&raw) {
            Ok(found) => kept.push(found),
            Err(reason) => left.push(Left { path: format!("/zms/{kind}/{}", printable(&raw.name)), reason }),
        }
    }
    kept
}

/// Names of foreign nodes may be anything.
fn printable(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_debug).collect()
}

fn bytes(raw: &Raw) -> Result<&[u8], Reason> {
    match &raw.value {
        Value::Bytes(bytes) if bytes.is_empty() => Err(Reason::Empty),
        Value::Bytes(bytes) => Ok(bytes),
        Value::Huge(size) => Err(Reason::Huge { size: *size }),
        Value::Denied => Err(Reason::Denied),
        Value::Ephemeral => Err(Reason::Ephemeral),
    }
}

fn unreadable(why: impl ToString) -> Reason {
    Reason::Unreadable { why: why.to_string() }
}

fn cluster(raw: &Raw, known: &Known) -> Result<FoundCluster, Reason> {
    let name = ClusterName::new(raw.name.as_str()).map_err(|_| Reason::Name)?;
    let node = ClusterNode::parse(bytes(raw)?).map_err(unreadable)?;
    let addresses = node.addresses().into_iter().map(str::to_owned).collect();
    if let Some(why) = known.unfit.get(name.as_str()) {
        return Err(Reason::Unfit { why: why.clone() });
    }
    let known = known.clusters.contains(name.as_str());
    Ok(FoundCluster { name, broker: node.broker, addresses, tls: node.security.tls, epoch: node.epoch, known })
}

fn topic(raw: &Raw, clusters: &BTreeSet<String>, known: &Known) -> Result<FoundTopic, Reason> {
    if RESERVED.contains(&raw.name.as_str()) {
        return Err(Reason::Reserved);
    }
    let bytes = bytes(raw)?;
    let name = TopicName::new(raw.name.as_str()).map_err(|_| Reason::Name)?;
    let node = TopicNode::parse(bytes).map_err(unreadable)?;
    if !clusters.contains(node.cluster.as_str()) {
        return Err(Reason::UnknownCluster { cluster: node.cluster.to_string() });
    }
    let elsewhere = known.topics.get(name.as_str()).filter(|cluster| *cluster != node.cluster.as_str());
    if let Some(cluster) = elsewhere {
        return Err(Reason::Elsewhere { cluster: cluster.clone() });
    }
    let known = known.topics.contains_key(name.as_str());
    Ok(FoundTopic { name, cluster: node.cluster, order: node.order, java_clients: raw.java, known })
}

fn group(raw: &Raw, clusters: &BTreeSet<String>, topics: &BTreeSet<String>, known: &Known) -> Result<FoundGroup, Reason> {
    if RESERVED.contains(&raw.name.as_str()) {
        return Err(Reason::Reserved);
    }
    let bytes = bytes(raw)?;
    let name = GroupName::new(raw.name.as_str()).map_err(|_| Reason::Name)?;
    let node = GroupNode::parse(bytes).map_err(unreadable)?;
    if !clusters.contains(node.cluster.as_str()) {
        return Err(Reason::UnknownCluster { cluster: node.cluster.to_string() });
    }
    let unknown = || Reason::UnknownTopic { topic: node.topic.to_string() };
    let topic = TopicName::new(node.topic.as_str()).ok().filter(|topic| topics.contains(topic.as_str())).ok_or_else(unknown)?;
    let known = known.groups.contains(name.as_str());
    Ok(FoundGroup { name, topic, from: node.from, broadcast: node.broadcast, order: node.order, java_clients: raw.java, known })
}

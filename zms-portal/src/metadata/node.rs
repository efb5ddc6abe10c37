//! One node, as it is wanted.

use zms_core::metadata::path::Path;
use zms_core::metadata::system::{Role, SystemRole};
use zms_core::metadata::{ClusterNode, GroupNode, NodeError, Order, TopicNode};
use zms_drivers::meta::{Access, Change, MetaStore, Node};

use super::{PublishError, Wanted};

/// Reads, decides, writes.
pub(super) async fn publish(store: &dyn MetaStore, wanted: &Wanted, known: Order) -> Result<Order, PublishError> {
    let path = wanted.path().to_string();
    let role_path = Path::SystemRole.to_string();
    let role = store.get(&role_path).await?.ok_or_else(|| PublishError::Refused(format!("{role_path} is missing")))?;
    let role_says: SystemRole = serde_json::from_slice(&role.data)
        .map_err(|error| PublishError::Refused(format!("{role_path} cannot be read: {error}")))?;
    if role_says.role != Role::Active {
        return Err(PublishError::Refused("this room is on standby: its mirror writes the metadata, not the portal".to_owned()));
    }
    let before = store.get(&path).await?;
    let known = Order { term: known.term.max(role_says.term), ..known };
    let written = decide(wanted, before.as_ref(), known).map_err(|error| PublishError::Refused(format!("{path}: {error}")))?;
    let Written::Change { data, order } = written else {
        let Written::Nothing(order) = written else { unreachable!("there are two cases") };
        return Ok(order);
    };
    let change = match (data, before) {
        (Some(data), None) => Change::Create { path: path.clone(), data, access: Access::Read },
        (Some(data), Some(node)) => Change::Set { path: path.clone(), data, version: Some(node.version) },
        (None, Some(node)) => Change::Delete { path: path.clone(), version: Some(node.version) },
        (None, None) => return Ok(order),
    };
    let check = Change::Check { path: role_path, version: role.version };
    let bump = Change::Set { path: Path::SystemRevision.to_string(), data: Vec::new(), version: None };
    store.apply(&[check, change, bump]).await?;
    tracing::info!(path, epoch = order.epoch, "published metadata");
    Ok(order)
}

enum Written {
    /// It is as it is wanted, with this order.
    Nothing(Order),
    /// This value, or none.
    Change { data: Option<Vec<u8>>, order: Order },
}

/// Unknown keys stay; a node that means the same already is not written: every rewrite wakes all that read it.
fn decide(wanted: &Wanted, before: Option<&Node>, known: Order) -> Result<Written, NodeError> {
    Ok(match wanted {
        Wanted::NoTopic(_) | Wanted::NoGroup(_) | Wanted::NoCluster(_) => match before {
            None => Written::Nothing(known),
            Some(_) => Written::Change { data: None, order: known },
        },
        Wanted::Cluster { broker, boot_addr, security, .. } => {
            let old = before.map(|node| ClusterNode::parse(&node.data)).transpose()?;
            if let Some(old) = old.as_ref().filter(|old| {
                old.broker == *broker && old.boot_addr == *boot_addr && security.as_ref().is_none_or(|s| *s == old.security)
            }) {
                return Ok(Written::Nothing(Order { epoch: old.epoch, ..known }));
            }
            let epoch = known.epoch.max(old.as_ref().map_or(0, |old| old.epoch)) + 1;
            let mut node = old.unwrap_or_else(|| ClusterNode::new(*broker, boot_addr, boot_addr));
            (node.broker, node.boot_addr, node.server_ips, node.epoch) = (*broker, boot_addr.clone(), boot_addr.clone(), epoch);
            if let Some(security) = security {
                node.security = security.clone();
            }
            Written::Change { data: Some(node.to_bytes()), order: Order { epoch, ..known } }
        }
        Wanted::Topic { cluster, .. } => {
            let old = before.map(|node| TopicNode::parse(&node.data)).transpose()?;
            if let Some(old) = old.as_ref().filter(|old| old.cluster == *cluster && old.routes.is_empty()) {
                return Ok(Written::Nothing(old.order));
            }
            let order = known.next(old.as_ref().map_or(Order::default(), |old| old.order));
            let mut node = old.unwrap_or_else(|| TopicNode::new(cluster.clone(), order));
            (node.cluster, node.order) = (cluster.clone(), order);
            Written::Change { data: Some(node.to_bytes()), order }
        }
        Wanted::Group { topic, cluster, from, broadcast, .. } => {
            let old = before.map(|node| GroupNode::parse(&node.data)).transpose()?;
            let same = |old: &&GroupNode| {
                old.cluster == *cluster && old.topic == *topic && old.from == *from && old.broadcast == *broadcast
            };
            if let Some(old) = old.as_ref().filter(same) {
                return Ok(Written::Nothing(old.order));
            }
            let order = known.next(old.as_ref().map_or(Order::default(), |old| old.order));
            let mut node = old.unwrap_or_else(|| GroupNode::new(cluster.clone(), topic.clone(), *from, order));
            (node.cluster, node.topic, node.from, node.broadcast, node.order) =
                (cluster.clone(), topic.clone(), *from, *broadcast, order);
            Written::Change { data: Some(node.to_bytes()), order }
        }
    })
}

impl Wanted {
    fn path(&self) -> Path {
        match self {
            Self::Cluster { name, .. } | Self::NoCluster(name) => Path::Cluster(name.clone()),
            Self::Topic { name, .. } | Self::NoTopic(name) => Path::Topic(name.clone()),
            Self::Group { name, .. } | Self::NoGroup(name) => Path::Group(name.clone()),
        }
    }
}

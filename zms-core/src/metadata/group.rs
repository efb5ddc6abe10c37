use serde::{Deserialize, Serialize};

use super::fields::{NodeError, filled, gated, name, order, required, set_gated, set_order, truth};
use super::route::Order;
use super::text::Text;
use crate::names::{ClusterName, PhysicalName};

/// Where a group begins that has no offset yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsumeFrom {
    /// With the oldest message.
    #[default]
    Earliest,
    /// With what comes from then on.
    Latest,
}

impl ConsumeFrom {
    /// As it stands in metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
        }
    }
}

/// The value of `/zms/consumergroup/<group>`: only groups of exactly one topic have a node.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupNode {
    /// For Java clients only. Ours follow the topic's routes.
    pub cluster: ClusterName,
    /// The topic that it consumes.
    pub topic: PhysicalName,
    /// Every member gets every message.
    pub broadcast: bool,
    /// Where it begins.
    pub from: ConsumeFrom,
    /// Nothing is consumed.
    pub suspend: bool,
    /// Which value is the newest.
    pub order: Order,
    /// Gray release of Java clients: addresses that use `gated_cluster`.
    pub gated_ips: String,
    /// Gray release of Java clients: where those go.
    pub gated_cluster: Option<ClusterName>,
    text: Text,
}

impl GroupNode {
    /// A group that was not there before.
    pub fn new(cluster: ClusterName, topic: PhysicalName, from: ConsumeFrom, order: Order) -> Self {
        Self {
            cluster,
            topic,
            broadcast: false,
            from,
            suspend: false,
            order,
            gated_ips: String::new(),
            gated_cluster: None,
            text: Text::default(),
        }
    }

    /// Reads a node's value.
    ///
    /// # Errors
    /// When an application could not use it.
    pub fn parse(bytes: &[u8]) -> Result<Self, NodeError> {
        let text = Text::parse(bytes)?;
        let from = match filled(&text, "consumeFrom") {
            None => ConsumeFrom::default(),
            Some(value) if value.eq_ignore_ascii_case("earliest") => ConsumeFrom::Earliest,
            Some(value) if value.eq_ignore_ascii_case("latest") => ConsumeFrom::Latest,
            Some(value) => return Err(NodeError::value("consumeFrom", value, "earliest or latest")),
        };
        let (gated_ips, gated_cluster) = gated(&text)?;
        Ok(Self {
            cluster: name("clusterName", required(&text, "clusterName")?)?,
            topic: name("bindingTopic", required(&text, "bindingTopic")?)?,
            broadcast: truth(&text, "broadcast")?,
            from,
            suspend: truth(&text, "suspend")?,
            order: order(&text)?,
            gated_ips,
            gated_cluster,
            text,
        })
    }

    /// The value to write.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = self.text.clone();
        text.set("clusterName", self.cluster.as_str());
        text.set("type", "consumergroup");
        text.set("bindingTopic", self.topic.as_str());
        text.set("broadcast", self.broadcast.to_string());
        text.set("consumeFrom", self.from.as_str());
        text.set("suspend", self.suspend.to_string());
        set_gated(&mut text, &self.gated_ips, self.gated_cluster.as_ref());
        set_order(&mut text, self.order);
        text.to_bytes()
    }
}

use super::fields::{NodeError, filled, gated, name, order, required, set_gated, set_order};
use super::route::{Order, Route};
use super::text::Text;
use crate::names::ClusterName;

/// The value of `/zms/topic/<topic>`.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicNode {
    /// Where the topic lives when there are no routes.
    pub cluster: ClusterName,
    /// Which value is the newest.
    pub order: Order,
    /// Several places, while a migration or a gray release runs; else empty.
    pub routes: Vec<Route>,
    /// Gray release of Java clients: addresses that use `gated_cluster`.
    pub gated_ips: String,
    /// Gray release of Java clients: where those go.
    pub gated_cluster: Option<ClusterName>,
    text: Text,
}

impl TopicNode {
    /// A topic that was not there before.
    pub fn new(cluster: ClusterName, order: Order) -> Self {
        Self { cluster, order, routes: Vec::new(), gated_ips: String::new(), gated_cluster: None, text: Text::default() }
    }

    /// Reads a node's value.
    ///
    /// # Errors
    /// When an application could not use it.
    pub fn parse(bytes: &[u8]) -> Result<Self, NodeError> {
        let text = Text::parse(bytes)?;
        let routes = match filled(&text, "routes") {
            None => Vec::new(),
            Some(json) => serde_json::from_str(json)
                .map_err(|error| NodeError::value("routes", json, format!("a JSON list of routes ({error})")))?,
        };
        let (gated_ips, gated_cluster) = gated(&text)?;
        let cluster = name("clusterName", required(&text, "clusterName")?)?;
        Ok(Self { cluster, order: order(&text)?, routes, gated_ips, gated_cluster, text })
    }

    /// The value to write.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = self.text.clone();
        text.set("clusterName", self.cluster.as_str());
        text.set("type", "topic");
        set_gated(&mut text, &self.gated_ips, self.gated_cluster.as_ref());
        set_order(&mut text, self.order);
        if self.routes.is_empty() {
            text.remove("routes");
        } else {
            text.set("routes", serde_json::to_string(&self.routes).expect("routes are JSON"));
        }
        text.to_bytes()
    }
}

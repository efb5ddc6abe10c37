use std::fmt;

use serde::{Deserialize, Serialize};

use super::fields::{NodeError, filled, number, required};
use super::text::Text;

/// What runs in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokerKind {
    /// Apache Kafka.
    Kafka,
    /// Apache RocketMQ.
    RocketMq,
}

impl BrokerKind {
    /// As it stands in metadata: `kafka` or `rocketmq`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::RocketMq => "rocketmq",
        }
    }

    /// What stands between the addresses of `bootAddr`. Java clients hand the text to the broker's own client as it is, and RocketMQ's knows `;` only.
    pub const fn separator(self) -> &'static str {
        match self {
            Self::Kafka => ",",
            Self::RocketMq => ";",
        }
    }
}

impl fmt::Display for BrokerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How clients must speak to a cluster. Never who they are: applications bring their own credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// TLS to the brokers.
    #[serde(default)]
    pub tls: bool,
    /// SASL mechanism, for example `SCRAM-SHA-512`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<String>,
}

/// The value of `/zms/cluster/<cluster>`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterNode {
    /// Kafka: `host:port,…`; RocketMQ: name servers `host:port;…`.
    pub boot_addr: String,
    /// What runs there.
    pub broker: BrokerKind,
    /// Brokers, `host:port,…`; never empty, for Java clients.
    pub server_ips: String,
    /// Grows with each write; 0 where the first ZMS wrote the node.
    pub epoch: u64,
    /// How clients must speak; plain if absent.
    pub security: Security,
    /// All keys, those we do not know among them.
    text: Text,
}

impl ClusterNode {
    /// A cluster that was not there before.
    pub fn new(broker: BrokerKind, boot_addr: impl Into<String>, server_ips: impl Into<String>) -> Self {
        let (boot_addr, server_ips) = (boot_addr.into(), server_ips.into());
        Self { boot_addr, broker, server_ips, epoch: 1, security: Security::default(), text: Text::default() }
    }

    /// Reads a node's value.
    ///
    /// # Errors
    /// When an application could not use it.
    pub fn parse(bytes: &[u8]) -> Result<Self, NodeError> {
        let text = Text::parse(bytes)?;
        let broker = required(&text, "brokerType")?;
        let broker = match broker.to_ascii_lowercase().as_str() {
            "kafka" => BrokerKind::Kafka,
            "rocketmq" => BrokerKind::RocketMq,
            _ => return Err(NodeError::value("brokerType", broker, "kafka or rocketmq")),
        };
        let security = match filled(&text, "security") {
            None => Security::default(),
            Some(json) => serde_json::from_str(json)
                .map_err(|error| NodeError::value("security", json, format!("JSON like {{\"tls\":true}} ({error})")))?,
        };
        Ok(Self {
            boot_addr: required(&text, "bootAddr")?.to_owned(),
            broker,
            server_ips: filled(&text, "serverIps").unwrap_or_default().to_owned(),
            epoch: number(&text, "epoch")?,
            security,
            text,
        })
    }

    /// The value to write.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = self.text.clone();
        text.set("bootAddr", &self.boot_addr);
        text.set("brokerType", self.broker.as_str());
        text.set("serverIps", if self.server_ips.is_empty() { &self.boot_addr } else { &self.server_ips });
        text.set("epoch", self.epoch.to_string());
        if self.security == Security::default() {
            text.remove("security");
        } else {
            text.set("security", serde_json::to_string(&self.security).expect("texts and truth values are JSON"));
        }
        text.to_bytes()
    }

    /// The addresses of `bootAddr`, one by one.
    pub fn addresses(&self) -> Vec<&str> {
        self.boot_addr.split([',', ';']).map(str::trim).filter(|address| !address.is_empty()).collect()
    }
}

//! When a running process counts as healthy: it must speak its protocol, not merely listen.
//!
//! A probe is pure: it says which bytes to send and judges what came back. Whoever does the I/O (the agent) sets
//! the deadline and bounds the reply.

mod http;
mod kafka;
mod rocketmq;
mod zookeeper;

use serde::{Deserialize, Serialize};

/// How to ask a process whether it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Probe {
    /// ApiVersions, then a Metadata answer that lists the broker itself.
    Kafka {
        /// Address to dial.
        host: String,
        /// Client port of a listener without TLS.
        port: u16,
        /// `node.id` that must be among the brokers.
        node_id: i32,
    },
    /// `isro` answers `rw`, then `srvr` names a mode.
    Zookeeper {
        /// Address to dial.
        host: String,
        /// Client port without TLS.
        port: u16,
    },
    /// `GET /ping` answers 204 with InfluxDB's version header.
    Influxdb {
        /// Address to dial.
        host: String,
        /// HTTP port.
        port: u16,
    },
    /// A name server of RocketMQ answers which brokers it knows, be it none.
    RocketmqNameserver {
        /// Address to dial.
        host: String,
        /// Its only port.
        port: u16,
    },
    /// A broker of RocketMQ says that it is itself, then one of its name servers lists it.
    RocketmqBroker {
        /// Address to dial.
        host: String,
        /// Its main port.
        port: u16,
        /// `brokerName`.
        broker: String,
        /// `brokerId`, 0 for a master.
        id: u64,
        /// `host:port` of each name server; the first that answers counts.
        name_servers: Vec<String>,
    },
    /// `GET path` answers 200.
    Http {
        /// Address to dial.
        host: String,
        /// Port without TLS.
        port: u16,
        /// For example `/livez`.
        path: String,
    },
}

/// Longest reply a probe needs, in bytes; whoever reads stops there and takes it for garbage.
pub const REPLY_LIMIT: usize = 1 << 20;

/// What a reply means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The reply is not whole yet: read on (or, at its end, it was cut).
    Partial,
    /// The next question, on the same connection or on a new one.
    Ask {
        /// Bytes to send.
        request: Vec<u8>,
        /// The server closes the connection after each answer.
        reconnect: bool,
    },
    /// The next question, to the first of these servers (`host:port`) that answers.
    AskAnother {
        /// Bytes to send.
        request: Vec<u8>,
        /// Whom to ask, in this order.
        at: Vec<String>,
    },
    /// It works.
    Healthy,
    /// It does not, or not yet.
    NotYet(String),
}

impl Probe {
    /// Where to connect.
    pub fn address(&self) -> (&str, u16) {
        match self {
            Self::Kafka { host, port, .. }
            | Self::Zookeeper { host, port }
            | Self::Influxdb { host, port }
            | Self::RocketmqNameserver { host, port }
            | Self::RocketmqBroker { host, port, .. }
            | Self::Http { host, port, .. } => (host, *port),
        }
    }

    /// The first question.
    pub fn request(&self) -> Vec<u8> {
        match self {
            Self::Kafka { .. } => kafka::api_versions(),
            Self::Zookeeper { .. } => zookeeper::read_only().to_vec(),
            Self::Influxdb { host, port } => http::get(host, *port, "/ping"),
            Self::RocketmqNameserver { .. } => rocketmq::cluster_info(),
            Self::RocketmqBroker { .. } => rocketmq::broker_config(),
            Self::Http { host, port, path } => http::get(host, *port, path),
        }
    }

    /// Judges what came as the answer to question number `question` (from 0); `end` says that the peer closed.
    pub fn check(&self, question: usize, reply: &[u8], end: bool) -> Verdict {
        match self {
            Self::Kafka { node_id, .. } => kafka::check(question, reply, end, *node_id),
            Self::Zookeeper { .. } => zookeeper::check(question, reply, end),
            Self::Influxdb { .. } => http::check_ping(reply, end),
            Self::RocketmqNameserver { .. } => rocketmq::check_name_server(reply, end),
            Self::RocketmqBroker { broker, id, name_servers, .. } => {
                rocketmq::check_broker(question, reply, end, broker, *id, name_servers)
            }
            Self::Http { .. } => http::check_ok(reply, end),
        }
    }
}

//! Connections to Kafka brokers for what applications' clients cannot do: administration and scraping.
//!
//! 1. [`Options`]: where a cluster is and how to speak to it. [`WireError`]: what can go wrong.
//! 2. [`Connection`]: one broker. Framing, correlation, versions, TLS, SASL; its typed calls are in `calls.rs`.
//! 3. [`Cluster`]: all brokers of a cluster. Who leads, who coordinates, what to do when that has changed.
//!
//! The generated code of the protocol is generic over its buffers and would be compiled again in each crate that calls it; that is why
//! no public method here is generic.

mod assignment;
mod calls;
mod cluster;
mod connection;
mod error;
mod options;

pub use assignment::{Assignment, read_assignment};
pub use cluster::{Answers, ByTopic, Cluster, Listed, Offsets, PerGroup, WireGroup, WireMember};
pub use connection::{Connection, Resolver, Traffic};
pub use error::{Code, WireError};
pub use kafka_protocol::messages;
/// For brokers that tests make up.
pub use kafka_protocol::protocol::Encodable;
pub use kafka_protocol::protocol::StrBytes;
pub use options::{Mechanism, Options, Sasl};

//! One trait for each foreign system, with a real and a fake implementation behind it.
//!
//! 1. [`meta`]: ZooKeeper, where applications read where topics live.
//! 2. [`broker`]: what a cluster of brokers can do, whichever kind: [`broker::ClusterAdmin`], [`broker::Producer`],
//!    [`broker::Consumer`], [`broker::Scraper`]; [`open`] is the only place that knows which kind a cluster is.
//! 3. [`kafka`]: Kafka behind those traits.
//! 4. [`rocketmq`]: RocketMQ behind the same traits.
//! 5. [`influx`]: InfluxDB, where figures over time are.
//!
//! The fakes (feature `fake`) pass the same contract suites as the real servers: `tests/`.

pub mod broker;
#[cfg(feature = "influx")]
pub mod influx;
#[cfg(any(feature = "kafka", feature = "kafka-admin"))]
pub mod kafka;
#[cfg(feature = "meta")]
pub mod meta;
pub mod open;
#[cfg(feature = "rocketmq")]
pub mod rocketmq;

//! Real servers for tests, started from the packages that agents install: [`Kafka`], [`RocketMq`], [`ZooKeeper`], [`Influx`] on 127.0.0.1; a
//! [`Proxy`] that cuts connections, and somebody ([`Counted`]) who sees whether he is dialled.
//!
//! Everything blocks: a test starts its servers before it waits for anything else. Dropping a server ends it; a server whose test
//! died with SIGKILL ends by itself (`PR_SET_PDEATHSIG`). A missing package fails the test with what to run.
//!
//! Benchmarks use the same servers, and say what they found as [`Figure`]s.

#![allow(clippy::disallowed_methods, reason = "tests start servers and wait for them without a runtime")]
#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

mod certificates;
mod counted;
mod figure;
mod influx;
mod kafka;
mod packages;
mod postgres;
mod process;
mod proxy;
mod rocketmq;
mod zookeeper;

pub use certificates::Certificates;
pub use counted::Counted;
pub use figure::{Against, Figure, percentile};
pub use influx::{Influx, InfluxLine, InfluxOperator};
pub use kafka::{Kafka, KafkaLine, KafkaWish};
pub use postgres::Postgres;
pub use process::{free_port, free_ports};
pub use proxy::Proxy;
pub use rocketmq::{RocketLine, RocketMq, RocketWish};
pub use zookeeper::{ZooKeeper, ZooWish};

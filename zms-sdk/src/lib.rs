//! Client library of ZMS: send and consume by topic name, wherever the topic lives.
//!
//! An application names topics and groups, never brokers. Where a topic lives is read from ZooKeeper and followed while the program
//! runs: when the topic moves to another cluster, sends go there without one of them failing. What was read is kept on disk too, so
//! that a program starts, sends and consumes while ZooKeeper is away.
//!
//! ```no_run
//! # async fn example() -> Result<(), zms_sdk::Error> {
//! use std::time::Duration;
//! use zms_sdk::{Message, Zms};
//!
//! let zms = Zms::builder().application("shop").client_file("/etc/shop/zms.toml").connect()?;
//!
//! zms.send("orders", Message::new("a new order").with_key("customer 7")).await?;
//!
//! let consuming = zms.consumer("billing")?.handle(async |order| bill(order.bytes())).await?;
//! # fn bill(_: &[u8]) -> Result<(), String> { Ok(()) }
//! # drop(consuming);
//! zms.close(Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: [`Zms`] and [`Builder`], `route` (where a message goes: one pure function), `directory` and `follow` (how it is
//! known), `sender` and `consume`.

mod brokers;
mod builder;
mod cache;
mod client_file;
mod consume;
mod directory;
mod error;
mod follow;
mod lane;
mod message;
mod presence;
mod route;
mod sender;
mod statistics;
mod tasks;
mod waits;
mod zms;

pub use brokers::Brokers;
pub use builder::Builder;
pub use client_file::ClientFile;
pub use consume::{Consumed, ConsumerBuilder, Consuming};
pub use error::Error;
pub use message::{Message, Received, Sent};
pub use waits::Waits;
pub use zms::Zms;
pub use zms_core::broker::PartitionId;

//! RocketMQ, 4.9 and 5.x, over its own (remoting) protocol.
//!
//! 1. [`remoting`]: requests and answers over one connection for each address.
//! 2. [`json`]: the dialect that brokers write.
//! 3. [`route`]: which brokers and queues there are; [`names`] asks name servers for it; [`version`] is what a broker can do.
//! 4. [`RocketMqAdmin`]: what operators do; [`RocketMqScraper`]: what collectors ask.
//! 5. [`RocketMqProducer`] and [`RocketMqConsumer`]: `message` is what they send and receive, `net` what they know of their cluster.
//!
//! Operators' half needs the feature `rocketmq-admin`.

#[cfg(feature = "rocketmq-admin")]
mod admin;
mod consumer;
mod heartbeat;
pub mod json;
mod message;
pub mod names;
mod net;
mod producer;
mod queue;
pub mod remoting;
pub mod route;
#[cfg(feature = "rocketmq-admin")]
mod scraper;
pub mod version;
mod waits;

#[cfg(feature = "rocketmq-admin")]
pub use admin::RocketMqAdmin;
pub use consumer::{RocketMqConsumer, Waits};
pub use producer::RocketMqProducer;
#[cfg(feature = "rocketmq-admin")]
pub use scraper::{Pace, RocketMqScraper};

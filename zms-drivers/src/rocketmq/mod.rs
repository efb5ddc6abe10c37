//! RocketMQ, 4.9 and 5.x, over its own (remoting) protocol.
//!
//! 1. [`remoting`]: requests and answers over one connection for each address.
//! 2. [`json`]: the dialect that brokers write.
//! 3. [`route`]: which brokers and queues there are; [`names`] asks name servers for it; [`version`] is what a broker can do.
//! 4. [`RocketMqAdmin`]: what operators do; [`RocketMqScraper`]: what collectors ask.
//! 5. [`RocketMqProducer`] and [`RocketMqConsumer`]: `message` is what they send and receive, `net` what they know of their cluster.
//!
//! Operators' half needs the feature `rocketmq-admin`, applications' half `rocketmq`; these modules are shared by both.

#[cfg(feature = "rocketmq-admin")]
mod admin;
#[cfg(feature = "rocketmq")]
mod consumer;
#[cfg(feature = "rocketmq")]
mod heartbeat;
pub mod json;
#[cfg(feature = "rocketmq")]
mod message;
pub mod names;
#[cfg(feature = "rocketmq")]
mod net;
#[cfg(feature = "rocketmq")]
mod producer;
#[cfg(feature = "rocketmq")]
mod queue;
pub mod remoting;
pub mod route;
#[cfg(feature = "rocketmq-admin")]
mod scraper;
pub mod version;
#[cfg(feature = "rocketmq")]
mod waits;

#[cfg(feature = "rocketmq-admin")]
pub use admin::RocketMqAdmin;
#[cfg(feature = "rocketmq")]
pub use consumer::{RocketMqConsumer, Waits};
#[cfg(feature = "rocketmq")]
pub use producer::RocketMqProducer;
#[cfg(feature = "rocketmq-admin")]
pub use scraper::{Pace, RocketMqScraper};

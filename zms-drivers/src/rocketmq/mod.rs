//! RocketMQ, 4.9 and 5.x, over its own (remoting) protocol.
//!
//! 1. [`remoting`]: requests and answers over one connection for each address.
//! 2. [`json`]: the dialect that brokers write.
//! 3. [`route`]: which brokers and queues there are; [`names`] asks name servers for it; [`version`] is what a broker can do.
//!
//! Operators' half needs the feature `rocketmq-admin`, applications' half `rocketmq`; these modules are shared by both.

#[cfg(feature = "rocketmq-admin")]
mod admin;
pub mod json;
pub mod names;
pub mod remoting;
pub mod route;
pub mod version;

#[cfg(feature = "rocketmq-admin")]
pub use admin::RocketAdmin;

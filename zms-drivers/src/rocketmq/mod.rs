//! RocketMQ: our own client on its remoting protocol, for brokers 4.9 and 5.
//!
//! 1. [`message`]: a message on the wire.
//! 2. [`net`]: connections, routes, heartbeats; [`json`]: what brokers call JSON; [`heartbeat`]: what a client says about itself.
//! 3. [`producer`] and [`consumer`].

mod consumer;
mod heartbeat;
mod json;
mod message;
mod net;
mod producer;
mod queue;
mod waits;

pub use consumer::{RocketMqConsumer, Waits};
pub use producer::RocketMqProducer;

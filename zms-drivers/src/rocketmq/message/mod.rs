//! A message on the wire.
//!
//! 1. [`properties`]: the text beside a body, and which of its names belong to RocketMQ itself.
//! 2. [`delay`]: what "not before" means to which broker.
//! 3. [`outgoing`]: what becomes of a message that is sent, alone or with others.
//! 4. [`stored`]: what brokers hand out; [`inflate`]: bodies that their producers compressed.
//!    [`incoming`]: what applications see of it.
//! 5. [`unique`]: the id that a producer gives a message.

pub(super) mod delay;
pub(super) mod incoming;
pub(super) mod inflate;
pub(super) mod outgoing;
pub(super) mod properties;
pub(super) mod stored;
pub(super) mod unique;

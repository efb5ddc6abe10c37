//! supervisord: it starts instances again when they end, and it is all that must live for that.
//!
//! Read in this order: [`program`] the files it reads, [`rpc`] what can be asked of it, [`xml`] how, [`server`] how it
//! is itself started.

pub mod program;
pub mod rpc;
pub mod server;
mod xml;

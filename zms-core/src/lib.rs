//! The words of ZMS as types: what a process says to another, what a file or a reply must look like.
//!
//! Nothing in here does I/O, waits or looks at a clock, so every rule can be tested by a table.
//!
//! Read in this order:
//! 1. [`names`]: identifiers that were checked once and are carried as types from then on.
//! 2. [`broker`]: how brokers and partitions are called, on Kafka and on RocketMQ.
//! 3. [`package`]: what an agent installs.
//! 4. [`host`]: the desired state of a host and what its agent reports.
//! 5. [`probe`]: when a running process counts as healthy.
//! 6. [`catalogue`]: what kinds of service there are, and how settings become files and command lines.
//! 7. [`networks`]: where brokers may be. [`metadata`]: where topics live, as applications read it from ZooKeeper.
//! 8. [`collect`]: what collectors hear, and what they tell.
//! 9. [`statistics`]: what applications say about their sending and consuming.
//! 10. [`series`]: which figures are kept over time.
//!
//! Beside them, for those who ask for it: `config` (settings of a binary), `tls` (why a handshake failed).

pub mod broker;
pub mod catalogue;
pub mod collect;
#[cfg(feature = "config")]
pub mod config;
pub mod host;
pub mod metadata;
pub mod names;
pub mod networks;
pub mod package;
pub mod probe;
pub mod series;
pub mod statistics;
#[cfg(feature = "tls")]
pub mod tls;

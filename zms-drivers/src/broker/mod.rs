//! What a cluster of brokers can do, whichever kind it is.

mod admin;
mod client;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
mod positions;
mod scrape;

pub use admin::*;
pub use client::*;
pub use error::BrokerError;
pub use positions::Positions;
pub(crate) use positions::is_full;
pub use scrape::*;
pub use zms_core::broker::{BrokerId, PartitionId};

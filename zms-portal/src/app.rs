//! What every request can reach.

use std::sync::Arc;

use crate::authority::Authority;
use crate::clusters::Brokers;
use crate::config::Config;
use crate::db::Db;
use crate::engine::Engine;
use crate::hosts::Hub;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::packages::Stock;
use crate::secrets::Vault;
use crate::services::Catalogue;

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What [`App`] holds.
pub struct Parts {
    /// Flags, environment, file.
    pub config: Config,
    /// What people decided.
    pub db: Db,
    /// What is sealed.
    pub vault: Vault,
    /// Our certificate authority.
    pub authority: Authority,
    /// Metadata that applications read.
    pub metadata: Metadata,
    /// Connections to clusters.
    pub brokers: Brokers,
    /// Figures and charts.
    pub metrics: Metrics,
    /// State machines and their effects.
    pub engine: Engine,
    /// Kinds of service.
    pub catalogue: Catalogue,
    /// Packages at hand.
    pub stock: Stock,
    /// Long polls of agents, waiting to be woken.
    pub hub: Hub,
}

impl App {
    /// Of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The clock of the request handlers and workers, milliseconds since 1970. Use cases take the time as an argument.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A new id: 26 digits and letters that sort by time (ULID).
pub fn new_id() -> String {
    ulid::Ulid::new().to_string()
}

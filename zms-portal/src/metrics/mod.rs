//! Figures: which collectors may ask for what, what they last saw, and charts.
//!
//! Read in this order:
//! - `orders`: what an environment's collectors have to do; `collector_api`: how they ask, and how they tell;
//! - [`Snapshots`]: what each environment's leading collector last saw, in memory; `shared`: the same for several portals; [`Pulse`]: the same at a glance;
//! - [`Stores`]: the environments' InfluxDB, its users and its database;
//! - `chart`: which charts there are, pure; `draw`: asking the store, and why a chart has gaps;
//! - `api` REST; [`ChartView`]: a chart on a page.

mod api;
mod chart;
mod collector_api;
mod draw;
mod orders;
mod pulse;
mod shared;
mod snapshots;
mod store;
#[cfg(test)]
mod tests;
mod view;

pub use api::api;
pub use chart::Chart;
pub use collector_api::collector_api;
pub use pulse::{Behind, Pulse, Trend};
pub use shared::follow;
pub use snapshots::{Snapshots, Told};
pub use store::Stores;
pub use store::keep;
pub use view::{ChartView, RangeQuery};

/// Time between two ticks of a collector, seconds.
pub const TICK_S: u32 = 10;

/// Everything of this slice that lives as long as the portal.
#[derive(Clone, Default)]
pub struct Metrics {
    /// What collectors last saw.
    pub snapshots: Snapshots,
    /// Metric stores that were reached.
    pub stores: Stores,
}

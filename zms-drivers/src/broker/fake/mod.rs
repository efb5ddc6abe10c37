//! A cluster in memory: [`FakeCluster`].

mod admin;
mod clients;
mod scraper;
mod state;

pub use state::FakeCluster;

//! A cluster in memory: [`FakeCluster`].

mod admin;
mod consumer;
mod producer;
mod scraper;
mod state;

pub use state::FakeCluster;

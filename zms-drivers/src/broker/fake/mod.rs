//! A cluster in memory: [`FakeCluster`].

mod admin;
mod clients;
mod state;

pub use state::FakeCluster;

//! Hosts: how they join, what their agents ask, what people see of them.
//!
//! Read in this order:
//! - `row`: a host and its status;
//! - `token`, `line`, `script`: the line that an operator pastes on a host;
//! - `entry`, `join`: the host's side of it, until it has a certificate;
//! - `agent_api`: what an agent asks; `caller`: who it is; `sync`: the long poll; `hub`: who waits, questions and answers;
//! - `follow`: what other portals changed; `relay`: questions to hosts of other portals; `seen`: who was heard, written down together;
//! - `desired`: what is wanted of a host; `change`: what people change;
//! - `web` pages, `api` REST, `store` SQL, `answer` answers to programs.

mod agent_api;
pub(crate) mod answer;
mod api;
mod caller;
mod change;
mod desired;
mod entry;
mod follow;
mod hub;
mod join;
mod line;
mod relay;
mod row;
mod script;
mod seen;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod token;
mod web;

pub use agent_api::agent_api;
pub use api::api;
pub use change::{of, rename, revoke};
pub use desired::{set_desired, set_desired_of_environment};
pub use entry::join;
pub use hub::{Hub, Twin};
pub use line::{LineView, MadeLine, NewLine};
pub use relay::ask;
pub use row::{HostDetail, HostRow, HostStatus, SILENCE_MS};
pub use store::Peer;
pub use web::pages;

use crate::db::Db;
use crate::error::Result;

/// Hosts of an environment, by name, those out of service too.
pub async fn list(db: &Db, environment_id: &str) -> Result<Vec<HostRow>> {
    store::list(db, environment_id).await
}

/// The environment of a host.
pub async fn environment_of(db: &Db, host_id: &str) -> Result<String> {
    Ok(store::detail(db.read(), host_id).await?.environment_id)
}

/// All hosts of an environment, by name, with the serial numbers of their present certificates.
pub async fn peers(db: &Db, environment_id: &str) -> Result<Vec<Peer>> {
    store::peers(db, environment_id).await
}

/// One host; [`crate::error::Error::NotFound`] when there is none.
pub async fn find(db: &Db, host_id: &str) -> Result<HostRow> {
    Ok(store::detail(db.read(), host_id).await?.row)
}

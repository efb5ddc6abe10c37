//! Services: instances of a kind on hosts, from the wizard to the last one taken away.
//!
//! Read in this order:
//! 1. `catalogue`: which kinds there are; `wish`: what a person wants; `decide`: whether it makes sense (with `defaults`, `faults`).
//! 2. `plan` (with `diff`): what would be done, in full; `preflight` (with `memory`): what the hosts say to it.
//! 3. `flow`: the state machine; `perform`: its effects.
//! 4. [`install()`], [`change`], [`remove()`], [`stores()`]: what people do. This file: what they see; `status`: how a service is.
//! 5. `web` pages, `api` REST, `store` SQL, `stored` from rows to what the catalogue renders from.

#[cfg(test)]
mod agent_tests;
mod api;
mod catalogue;
pub mod change;
mod decide;
mod defaults;
pub mod diff;
mod drain;
mod faults;
pub mod flow;
mod install;
mod logs;
mod memory;
mod perform;
pub mod plan;
pub mod preflight;
mod remove;
mod status;
mod store;
mod stored;
mod stores;
#[cfg(test)]
pub(crate) mod test_agent;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
mod web;
mod wish;

use std::sync::Arc;

pub use api::api;
pub use catalogue::Catalogue;
pub use install::install;
pub use remove::{cancel, remove};
pub use status::{ActiveFlow, InstanceState, InstanceView, ServiceStatus, ServiceView};
pub(crate) use stores::forget_store;
pub use stores::{PURPOSES, choose_stores, instances_of, instances_of_store, purpose_of, stores};
pub use web::pages;
pub(crate) use web::{bytes, flow_status_text, kind_icon, step_text};
pub use wish::{Step, Wish, WishedHost};

use zms_core::names::{InstanceId, KindName, ServiceName};

use crate::app::App;
use crate::environments::Environment;
use crate::error::Result;
use crate::hosts;

/// Makes the state machines of this slice known to the engine.
pub fn register(app: &App) {
    app.engine.register::<flow::Install>(Arc::new(perform::Performer(app.clone())));
    app.engine.register::<flow::Change>(Arc::new(perform::Performer(app.clone())));
    app.engine.register::<flow::Remove>(Arc::new(perform::Performer(app.clone())));
}

/// Services of an environment as they are now, by name.
pub async fn list(app: &App, environment: &Environment, now_ms: i64) -> Result<Vec<ServiceView>> {
    let services = store::services(app.db.read(), &environment.id).await?;
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let instances = store::instances_of_environment(app.db.read(), &environment.id).await?;
    let flows = store::active_flows(app.db.read(), &environment.id).await?;
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let view = |row: &store::ServiceRow| {
        let own: Vec<_> = instances.iter().filter(|instance| instance.service_id == row.id).collect();
        let flow = flows.iter().find(|(held, _)| *held == resource(&row.name)).map(|(_, flow)| flow.clone());
        status::view(row, &own, &hosts, flow, now_ms)
    };
    Ok(services.iter().map(view).collect())
}

/// One service as it is now.
///
/// # Errors
/// [`Error::NotFound`](crate::error::Error::NotFound).
pub async fn find(app: &App, environment: &Environment, name: &str, now_ms: i64) -> Result<ServiceView> {
    let row = store::service(app.db.read(), &environment.id, name).await?;
    let instances = store::instances(app.db.read(), &row.id).await?;
    let flows = store::active_flows(app.db.read(), &environment.id).await?;
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let flow = flows.into_iter().find(|(held, _)| *held == resource(name)).map(|(_, flow)| flow);
    Ok(status::view(&row, &instances.iter().collect::<Vec<_>>(), &hosts, flow, now_ms))
}

/// An instance where it is placed.
#[derive(Debug, Clone)]
pub(crate) struct PlacedRow {
    pub host_id: String,
    pub instance: InstanceId,
    pub node_id: u32,
    pub service: ServiceName,
    pub kind: KindName,
}

/// All instances of an environment that are wanted, with their hosts and services.
pub(crate) async fn placed(db: &crate::db::Db, environment_id: &str) -> Result<Vec<PlacedRow>> {
    store::placed(db.read(), environment_id).await
}

/// Kind and environment of an instance that is not to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedInstance {
    pub kind: String,
    pub environment_id: String,
}

/// The instance with this uid, unless it is to go.
pub(crate) async fn wanted_instance(db: &crate::db::Db, uid: &str) -> Result<Option<WantedInstance>> {
    store::wanted_instance(db.read(), uid).await
}

/// Does the environment have a service of this kind?
pub(crate) async fn has_kind(db: &crate::db::Db, environment_id: &str, kind: &str) -> Result<bool> {
    Ok(store::services(db.read(), environment_id).await?.iter().any(|service| service.kind == kind))
}

/// Environment, name and packages of every service.
pub(crate) async fn packages_in_use(db: &crate::db::Db) -> Result<Vec<(String, String, Vec<zms_core::package::PackageRef>)>> {
    store::packages_in_use(db.read()).await
}

/// What a flow about a service holds, and its subject.
fn resource(name: &str) -> String {
    format!("service/{name}")
}

/// A service in the audit.
fn target(environment: &Environment, name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("environment/{}/service/{name}", environment.name)
}

/// A host in a flow's steps.
fn place(environment: &Environment, host: &str) -> String {
    format!("{}/{host}", environment.name)
}

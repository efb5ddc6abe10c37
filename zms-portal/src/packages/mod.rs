//! Packages: what agents install.
//!
//! 1. `stock`: which packages are at hand; `scan`: one look at their folder; `version`: which is newer.
//! 2. This file: what people see of them. `web` pages, `api` REST.

mod api;
mod scan;
mod stock;
#[cfg(test)]
pub mod test_support;
pub mod version;
mod web;

use serde::Serialize;
use zms_core::package::PackageKind;

pub use api::api;
pub use scan::{Broken, Found, Listing};
pub use stock::{Check, Stock};
pub use web::pages;

use crate::app::App;
use crate::error::Result;
use crate::services;

/// A package as people see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PackageView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for: service, runtime, tool or agent.
    pub kind: String,
    /// SPDX expression.
    pub licence: String,
    /// `any`, or an architecture as `uname -m` prints it.
    pub arch: String,
    /// Of the archive, in bytes.
    pub size: u64,
    /// Of the archive.
    pub sha512: String,
    /// When the archive was last written, milliseconds since 1970.
    pub modified_at: i64,
    /// `unchecked` until somebody asks for it, then `right` or `wrong`.
    pub state: String,
    /// Why it is wrong; empty otherwise.
    pub reason: String,
    /// Services that are made of it.
    pub used_by: Vec<UsedBy>,
}

/// A service that is made of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UsedBy {
    /// Name of its environment.
    pub environment: String,
    /// Its name.
    pub service: String,
}

/// Everything at hand, by name, newest first.
pub async fn views(app: &App) -> Result<Vec<PackageView>> {
    let used = services::packages_in_use(&app.db).await?;
    let view = |found: &Found| {
        let package = &found.manifest.package;
        let (state, reason) = match app.stock.check(found) {
            Check::NotYet => ("unchecked", String::new()),
            Check::Right => ("right", String::new()),
            Check::Wrong(reason) => ("wrong", reason),
        };
        let kind = match found.manifest.kind {
            PackageKind::Service => "service",
            PackageKind::Runtime => "runtime",
            PackageKind::Tool => "tool",
            PackageKind::Agent => "agent",
        };
        let modified = found.modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let used_by = used.iter().filter(|(_, _, packages)| packages.iter().any(|used| used.sha512 == package.sha512));
        PackageView {
            name: package.name.to_string(),
            version: package.version.to_string(),
            kind: kind.to_owned(),
            licence: found.manifest.licence.clone(),
            arch: found.manifest.arch.clone(),
            size: package.size,
            sha512: package.sha512.to_string(),
            modified_at: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
            state: state.to_owned(),
            reason,
            used_by: used_by
                .map(|(environment, service, _)| UsedBy { environment: environment.clone(), service: service.clone() })
                .collect(),
        }
    };
    Ok(app.stock.list().packages.iter().map(view).collect())
}

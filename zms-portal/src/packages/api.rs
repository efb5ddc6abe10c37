//! Packages over REST.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Broken, PackageView};
use crate::access::{Role, User};
use crate::app::App;
use crate::error::Result;
use crate::web::Json;

/// Operations on packages.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_packages)).routes(routes!(rescan_packages))
}

/// What lies in the folder of packages.
#[derive(Debug, Serialize, ToSchema)]
struct Packages {
    /// By name, newest first.
    items: Vec<PackageView>,
    /// Manifests that cannot be used.
    broken: Vec<Broken>,
}

/// Lists packages.
#[utoipa::path(get, path = "/packages", tag = "packages", responses((status = 200, description = "What is at hand", body = Packages)))]
async fn list_packages(user: User, State(app): State<App>) -> Result<Json<Packages>> {
    user.require(Role::Viewer)?;
    Ok(Json(Packages { items: super::views(&app).await?, broken: app.stock.list().broken.clone() }))
}

/// Looks at the folder now instead of within half a minute.
#[utoipa::path(post, path = "/packages/rescan", tag = "packages",
    responses((status = 200, description = "What is at hand", body = Packages), (status = 403, description = "Operators and administrators only")))]
async fn rescan_packages(user: User, State(app): State<App>) -> Result<Json<Packages>> {
    user.require(Role::Operator)?;
    app.stock.rescan().await?;
    Ok(Json(Packages { items: super::views(&app).await?, broken: app.stock.list().broken.clone() }))
}

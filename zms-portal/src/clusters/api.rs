//! Clusters over REST.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Cluster;
use crate::access::{Role, User};
use crate::app::App;
use crate::environments;
use crate::error::Result;
use crate::web::{Json, Path};

/// Operations on clusters.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_clusters)).routes(routes!(get_cluster))
}

/// A cluster as programs see it.
#[derive(Debug, Serialize, ToSchema)]
struct ClusterItem {
    /// Its name.
    name: String,
    /// `kafka` or `rocketmq`.
    kind: String,
    /// `host:port` of its brokers.
    addresses: Vec<String>,
    /// Do applications find it?
    published: bool,
}

impl From<Cluster> for ClusterItem {
    fn from(cluster: Cluster) -> Self {
        let Cluster { name, broker, addresses, epoch, .. } = cluster;
        Self { name: name.to_string(), kind: broker.to_string(), addresses, published: epoch > 0 }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Clusters {
    /// By name.
    items: Vec<ClusterItem>,
}

/// Lists the clusters of an environment.
#[utoipa::path(get, path = "/environments/{env}/clusters", tag = "clusters", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "By name", body = Clusters), (status = 404, description = "There is no such environment")))]
async fn list_clusters(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<Clusters>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let items = super::list(&app.db, &environment.id).await?.into_iter().map(ClusterItem::from).collect();
    Ok(Json(Clusters { items }))
}

/// One cluster.
#[utoipa::path(get, path = "/environments/{env}/clusters/{name}", tag = "clusters",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the cluster", example = "kafka")),
    responses((status = 200, description = "The cluster", body = ClusterItem), (status = 404, description = "There is no such cluster")))]
async fn get_cluster(user: User, State(app): State<App>, Path((env, name)): Path<(String, String)>) -> Result<Json<ClusterItem>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(super::find(&app.db, &environment.id, &name).await?.into()))
}

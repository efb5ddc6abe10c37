//! Clusters over REST: this file looks, `adopt` changes.

mod adopt;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::picture::{Look, Picture, look};
use super::{Cluster, Governed, PhysicalGroup, PhysicalTopic, Register};
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::{Error, Result, Text};
use crate::web::{Json, Path};

/// Operations on clusters.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_clusters, adopt::adopt_cluster))
        .routes(routes!(adopt::try_cluster))
        .routes(routes!(get_cluster, adopt::change_cluster, adopt::let_go_cluster))
        .routes(routes!(adopt::publish_cluster))
        .routes(routes!(list_physical_topics))
        .routes(routes!(list_physical_groups))
        .routes(routes!(adopt::preview_take_over))
        .routes(routes!(adopt::take_over_cluster))
}

/// A cluster as programs see it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClusterItem {
    /// Its name.
    name: String,
    /// `kafka` or `rocketmq`.
    kind: String,
    /// `host:port` of its brokers.
    addresses: Vec<String>,
    /// Do applications find it?
    published: bool,
    /// ZMS did not install it.
    adopted: bool,
    /// `off`, `system` or `authority`.
    tls: &'static str,
    /// SASL mechanism; absent where nobody signs in.
    mechanism: Option<&'static str>,
    /// Who we are there. The password is never shown.
    user: Option<String>,
}

impl From<Cluster> for ClusterItem {
    fn from(cluster: Cluster) -> Self {
        let (adopted, tls) = (cluster.is_adopted(), cluster.way.tls_name());
        let Cluster { name, broker, addresses, epoch, way, .. } = cluster;
        let (mechanism, user) = way.login.map(|(mechanism, user)| (mechanism.as_str(), user)).unzip();
        Self { name: name.to_string(), kind: broker.to_string(), addresses, published: epoch > 0, adopted, tls, mechanism, user }
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

/// A topic on its brokers, and how it stands to the governed ones.
#[derive(Debug, Serialize, ToSchema)]
struct TopicOnCluster {
    #[serde(flatten)]
    topic: PhysicalTopic,
    /// Whether it is governed, or why not.
    governed: Governed,
}

/// What is on a cluster.
#[derive(Debug, Serialize, ToSchema)]
struct TopicsOnCluster {
    /// By name.
    items: Vec<TopicOnCluster>,
    /// How old this is, seconds.
    age_s: u64,
    /// What could not be had; empty if everything was.
    missing: String,
}

/// A group on its brokers, and how it stands to the governed ones.
#[derive(Debug, Serialize, ToSchema)]
struct GroupOnCluster {
    #[serde(flatten)]
    group: PhysicalGroup,
    /// Whether it is governed, or why not.
    governed: Governed,
}

#[derive(Debug, Serialize, ToSchema)]
struct GroupsOnCluster {
    /// The worst lag first; a lag that is not known is absent, and last.
    items: Vec<GroupOnCluster>,
    /// How old this is, seconds.
    age_s: u64,
    /// What could not be had; empty if everything was.
    missing: String,
}

async fn seen(app: &App, env: &str, name: &str) -> Result<(Cluster, Look, std::sync::Arc<Picture>, Register)> {
    let environment = environments::find_by_name(&app.db, env).await?;
    let cluster = super::find(&app.db, &environment.id, name).await?;
    let look = look(app, &cluster, now_ms()).await;
    let picture = look.seen.clone().map_err(|why| Error::Unavailable(Text::new(move |_| why.clone())))?;
    let register = Register::load(app, &environment.id).await?.with(&picture);
    Ok((cluster, look, picture, register))
}

/// Lists everything that is on a cluster, governed or not: as the collector saw it last, or as one bulk read that is kept for 10 s.
#[utoipa::path(get, path = "/environments/{env}/clusters/{name}/topics", tag = "clusters",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the cluster", example = "kafka")),
    responses((status = 200, description = "By name", body = TopicsOnCluster), (status = 404, description = "There is no such cluster"),
        (status = 503, description = "Nothing is known of it now; the detail says why")))]
async fn list_physical_topics(
    user: User,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
) -> Result<Json<TopicsOnCluster>> {
    user.require(Role::Viewer)?;
    let (cluster, look, picture, register) = seen(&app, &env, &name).await?;
    let item = |topic: &PhysicalTopic| TopicOnCluster { governed: register.topic(&cluster, &topic.name), topic: topic.clone() };
    let items = picture.topics.iter().map(item).collect();
    Ok(Json(TopicsOnCluster { items, age_s: look.age_s, missing: picture.missing.clone() }))
}

/// Lists all consumer groups of a cluster with their lag, governed or not: as the collector saw it last, or as one bulk read that is kept
/// for 10 s.
#[utoipa::path(get, path = "/environments/{env}/clusters/{name}/groups", tag = "clusters",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the cluster", example = "kafka")),
    responses((status = 200, description = "The worst first", body = GroupsOnCluster), (status = 404, description = "There is no such cluster"),
        (status = 503, description = "Nothing is known of it now; the detail says why")))]
async fn list_physical_groups(
    user: User,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
) -> Result<Json<GroupsOnCluster>> {
    user.require(Role::Viewer)?;
    let (cluster, look, picture, register) = seen(&app, &env, &name).await?;
    let (_, governed) = register.of(&cluster, &picture);
    let item = |(group, (_, governed)): (&PhysicalGroup, (_, Governed))| GroupOnCluster { group: group.clone(), governed };
    let mut items: Vec<GroupOnCluster> = picture.groups.iter().zip(governed).map(item).collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.group.lag));
    Ok(Json(GroupsOnCluster { items, age_s: look.age_s, missing: picture.missing.clone() }))
}

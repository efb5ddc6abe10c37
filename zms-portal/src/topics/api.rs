//! Topics over REST.

use axum::extract::State as Shared;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::messages::{self, Found, Search};
use super::{GroupLag, PartitionView, State, Topic};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::clusters;
use crate::environments;
use crate::error::{Error, Result, Text};
use crate::web::{Json, Path};

/// Operations on topics.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_topics))
        .routes(routes!(get_topic))
        .routes(routes!(get_live))
        .routes(routes!(search_messages))
}

/// A topic as programs see it.
#[derive(Debug, Serialize, ToSchema)]
struct TopicItem {
    /// Its name.
    name: String,
    /// Name of the cluster on which it lives.
    cluster: String,
    /// Partitions, as they were approved; absent for a topic that was imported while its cluster was away.
    partitions: Option<i32>,
    /// Replicas, as they were approved; absent likewise.
    replicas: Option<i16>,
    /// What differs from the cluster's defaults.
    config: std::collections::BTreeMap<String, String>,
    /// Who answers for it.
    owner: String,
    /// What it is for.
    about: String,
    /// Whether applications can use it.
    state: State,
    /// Epoch of its node; 0 before the first.
    epoch: u64,
}

impl TopicItem {
    fn of(topic: Topic, cluster: String) -> Self {
        let Topic { name, partitions, replicas, config, owner, about, state, order, .. } = topic;
        let (partitions, replicas) = (Some(partitions).filter(|n| *n > 0), Some(replicas).filter(|n| *n > 0));
        Self { name: name.to_string(), cluster, partitions, replicas, config, owner, about, state, epoch: order.epoch }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Topics {
    /// By name.
    items: Vec<TopicItem>,
}

/// Lists the topics of an environment.
#[utoipa::path(get, path = "/environments/{env}/topics", tag = "topics", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "By name", body = Topics), (status = 404, description = "There is no such environment")))]
async fn list_topics(user: User, Shared(app): Shared<App>, Path(env): Path<String>) -> Result<Json<Topics>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let clusters = clusters::list(&app.db, &environment.id).await?;
    let name =
        |id: &str| clusters.iter().find(|cluster| cluster.id == id).map(|cluster| cluster.name.to_string()).unwrap_or_default();
    let items = super::list(&app.db, &environment.id).await?.into_iter().map(|topic| {
        let cluster = name(&topic.cluster_id);
        TopicItem::of(topic, cluster)
    });
    Ok(Json(Topics { items: items.collect() }))
}

/// One topic.
#[utoipa::path(get, path = "/environments/{env}/topics/{name}", tag = "topics",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the topic", example = "orders")),
    responses((status = 200, description = "The topic", body = TopicItem), (status = 404, description = "There is no such topic")))]
async fn get_topic(user: User, Shared(app): Shared<App>, Path((env, name)): Path<(String, String)>) -> Result<Json<TopicItem>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let (topic, cluster) = super::find_with_cluster(&app.db, &environment.id, &name).await?;
    Ok(Json(TopicItem::of(topic, cluster.name.to_string())))
}

/// What the cluster says of a topic now.
#[derive(Debug, Serialize, ToSchema)]
struct LiveTopic {
    /// By id.
    partitions: Vec<PartitionView>,
    /// Groups with commits on it.
    groups: Vec<GroupLag>,
}

/// Partitions with their offsets, and the lag of every group, read from the cluster now.
#[utoipa::path(get, path = "/environments/{env}/topics/{name}/live", tag = "topics",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the topic", example = "orders")),
    responses((status = 200, description = "As the cluster says", body = LiveTopic), (status = 404, description = "There is no such topic"),
        (status = 503, description = "The cluster does not answer")))]
async fn get_live(user: User, Shared(app): Shared<App>, Path((env, name)): Path<(String, String)>) -> Result<Json<LiveTopic>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let (topic, cluster) = super::find_with_cluster(&app.db, &environment.id, &name).await?;
    let live = super::live(&app, &cluster, &topic).await.map_err(|why| Error::Unavailable(Text::new(move |_| why.clone())))?;
    Ok(Json(LiveTopic { partitions: live.partitions, groups: live.groups }))
}

/// Messages that were found.
#[derive(Debug, Serialize, ToSchema)]
struct FoundMessages {
    /// The newest first.
    items: Vec<Found>,
}

/// Finds messages by key or id, the newest first; 64 at most. For the topic's owner and for operators; every look is audited. POST, so that keys
/// stand in no address.
#[utoipa::path(post, path = "/environments/{env}/topics/{name}/messages/search", tag = "topics",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the topic", example = "orders")),
    request_body(content = Search),
    responses((status = 200, description = "Those that its brokers know", body = FoundMessages), (status = 404, description = "There is no such topic"),
        (status = 409, description = "Its brokers keep no index: Kafka"), (status = 422, description = "What is wrong with the text"),
        (status = 503, description = "The cluster does not answer")))]
async fn search_messages(
    user: User,
    address: Address,
    Shared(app): Shared<App>,
    Path((env, name)): Path<(String, String)>,
    Json(search): Json<Search>,
) -> Result<Json<FoundMessages>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let (topic, cluster) = super::find_with_cluster(&app.db, &environment.id, &name).await?;
    let actor = Actor { user: &user, address: &address.0 };
    Ok(Json(FoundMessages { items: messages::search(&app, actor, &environment, &topic, &cluster, &search, now_ms()).await? }))
}

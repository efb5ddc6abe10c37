//! Consumer groups over REST.

use axum::extract::State as Shared;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Group;
use crate::access::{Role, User};
use crate::app::App;
use crate::environments;
use crate::error::Result;
use crate::topics::{self, State};
use crate::web::{Json, Path};

/// Operations on groups.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_groups)).routes(routes!(get_group))
}

/// A group as programs see it.
#[derive(Debug, Serialize, ToSchema)]
struct GroupItem {
    /// Its name.
    name: String,
    /// Names of the topics that it consumes.
    topics: Vec<String>,
    /// `earliest` or `latest`.
    from: &'static str,
    /// Every member gets every message.
    broadcast: bool,
    /// Who answers for it.
    owner: String,
    /// What it is for.
    about: String,
    /// Whether applications can use it.
    state: State,
    /// Epoch of its node; 0 before the first.
    epoch: u64,
}

fn item(group: Group, topics: &[topics::Topic]) -> GroupItem {
    let name = |id: &String| topics.iter().find(|topic| topic.id == *id).map(|topic| topic.name.to_string());
    GroupItem {
        topics: group.topics.iter().filter_map(name).collect(),
        name: group.name.to_string(),
        from: group.from.as_str(),
        broadcast: group.broadcast,
        owner: group.owner,
        about: group.about,
        state: group.state,
        epoch: group.order.epoch,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Groups {
    /// By name.
    items: Vec<GroupItem>,
}

/// Lists the consumer groups of an environment.
#[utoipa::path(get, path = "/environments/{env}/groups", tag = "groups", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "By name", body = Groups), (status = 404, description = "There is no such environment")))]
async fn list_groups(user: User, Shared(app): Shared<App>, Path(env): Path<String>) -> Result<Json<Groups>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let topics = topics::list(&app.db, &environment.id).await?;
    let items = super::list(&app.db, &environment.id).await?.into_iter().map(|group| item(group, &topics)).collect();
    Ok(Json(Groups { items }))
}

/// One consumer group.
#[utoipa::path(get, path = "/environments/{env}/groups/{name}", tag = "groups",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the group", example = "billing")),
    responses((status = 200, description = "The group", body = GroupItem), (status = 404, description = "There is no such group")))]
async fn get_group(user: User, Shared(app): Shared<App>, Path((env, name)): Path<(String, String)>) -> Result<Json<GroupItem>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let group = super::find(&app.db, &environment.id, &name).await?;
    Ok(Json(item(group, &topics::list(&app.db, &environment.id).await?)))
}

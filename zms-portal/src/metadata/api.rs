//! The metadata store over REST.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::external::{self, External, Found, NewExternal};
use super::heartbeat::Told;
use super::rights::{self, Mode};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::{Error, Result};
use crate::web::{Json, Path};

/// Operations on metadata.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(super::client_file::api())
        .routes(routes!(get_metadata_store, put_metadata_store, delete_metadata_store))
        .routes(routes!(try_metadata_store))
        .routes(routes!(get_metadata_rights, put_metadata_rights))
        .routes(routes!(get_metadata_heartbeat))
}

/// The ZooKeeper that ZMS did not install and that holds an environment's metadata. Its password is never shown.
#[utoipa::path(get, path = "/environments/{env}/metadata-store", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "The store", body = External), (status = 404, description = "The environment has none: its metadata is in a service, or nowhere")))]
async fn get_metadata_store(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<External>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(external::find(&app.db, &environment.id).await?.ok_or(Error::NotFound)?))
}

/// Takes a ZooKeeper that ZMS did not install as the environment's metadata store, instead of a service; for operators. Nothing is written there.
#[utoipa::path(put, path = "/environments/{env}/metadata-store", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body = NewExternal, responses((status = 200, description = "As it is now", body = External), (status = 403, description = "Operators and administrators only"),
        (status = 409, description = "The environment has published nodes that are not there"), (status = 422, description = "Fields are wrong")))]
async fn put_metadata_store(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(new): Json<NewExternal>,
) -> Result<Json<External>> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    Ok(Json(external::choose(&app, actor, &environment, new, now_ms()).await?))
}

/// Forgets it; for operators. Nothing is deleted there.
#[utoipa::path(delete, path = "/environments/{env}/metadata-store", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 204, description = "Forgotten"), (status = 403, description = "Operators and administrators only"), (status = 404, description = "There was none")))]
async fn delete_metadata_store(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
) -> Result<StatusCode> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    external::forget(&app, Actor { user: &user, address: &address.0 }, &environment, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks what is at these addresses, without keeping or writing anything; for operators. A server that does not answer is no error: `problem` says so.
#[utoipa::path(post, path = "/environments/{env}/metadata-store/try", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body = NewExternal, responses((status = 200, description = "What was found", body = Found,
        example = json!({ "reachable": true, "problem": null, "version": "3.9.5", "tree": { "is": "first", "topics": 12, "groups": 7 }, "rights": { "may": "write" } })),
        (status = 403, description = "Operators and administrators only"), (status = 422, description = "Fields are wrong")))]
async fn try_metadata_store(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(new): Json<NewExternal>,
) -> Result<Json<Found>> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    Ok(Json(external::attempt(&app, actor, &environment, new, now_ms()).await?))
}

/// Who may write in the metadata store beside the portal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "mode": "legacy", "confirm": "dev" }))]
struct RightsOfStore {
    /// `secured`: nobody. `legacy`: Java clients of the first ZMS, and with them everybody, make and delete nodes below topics and groups.
    mode: Mode,
    /// The environment's name: where it is protected, and where Java clients are connected that would be shut out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    confirm: String,
}

/// A switch that began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RightsBegun)]
struct Begun {
    /// Id of its flow.
    flow: String,
}

/// The mode of an environment's rights.
#[utoipa::path(get, path = "/environments/{env}/metadata-rights", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "The mode", body = RightsOfStore)))]
async fn get_metadata_rights(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<RightsOfStore>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(RightsOfStore { mode: rights::mode(&app.db, &environment.id).await?, confirm: String::new() }))
}

/// Switches the mode: rights of all nodes are written anew by a flow; for operators.
#[utoipa::path(put, path = "/environments/{env}/metadata-rights", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body = RightsOfStore, responses((status = 202, description = "It began", body = Begun), (status = 403, description = "Operators and administrators only"),
        (status = 409, description = "Another switch runs, or secured without TLS"), (status = 422, description = "It must be confirmed"), (status = 503, description = "The environment has no metadata store yet")))]
async fn put_metadata_rights(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(wanted): Json<RightsOfStore>,
) -> Result<(StatusCode, Json<Begun>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    let flow = rights::switch(&app, actor, &environment, (wanted.mode, &wanted.confirm), now_ms()).await?;
    Ok((StatusCode::ACCEPTED, Json(Begun { flow })))
}

/// What this portal last saw of the number that a portal writes into the metadata store each second. It stands still when no portal can write there;
/// `problem` says why this one cannot.
#[utoipa::path(get, path = "/environments/{env}/metadata-heartbeat", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "The last beat", body = Told)))]
async fn get_metadata_heartbeat(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<Told>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(app.metadata.heartbeat(&environment.id)))
}

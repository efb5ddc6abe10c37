//! Environments over REST.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::networks::NetworkList;
use super::{Environment, EnvironmentChange, NewEnvironment};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::web::{Json, Path};

/// Operations on environments.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_environments, create_environment))
        .routes(routes!(get_environment, change_environment))
        .routes(routes!(get_networks, set_networks))
}

/// All environments.
#[derive(Debug, Serialize, ToSchema)]
struct Environments {
    /// By name.
    items: Vec<Environment>,
}

/// Lists environments.
#[utoipa::path(get, path = "/environments", tag = "environments", responses((status = 200, description = "All of them, by name", body = Environments)))]
async fn list_environments(user: User, State(app): State<App>) -> Result<Json<Environments>> {
    user.require(Role::Viewer)?;
    Ok(Json(Environments { items: super::list(&app.db).await? }))
}

/// Makes an environment; for operators.
#[utoipa::path(post, path = "/environments", tag = "environments", request_body = NewEnvironment,
    responses((status = 201, description = "Made", body = Environment), (status = 403, description = "Operators and administrators only"),
        (status = 422, description = "Fields are wrong, or the name is taken")))]
async fn create_environment(
    user: User,
    address: Address,
    State(app): State<App>,
    Json(new): Json<NewEnvironment>,
) -> Result<(StatusCode, Json<Environment>)> {
    let actor = Actor { user: &user, address: &address.0 };
    Ok((StatusCode::CREATED, Json(super::create(&app.db, actor, new, now_ms()).await?)))
}

/// One environment.
#[utoipa::path(get, path = "/environments/{env}", tag = "environments", params(("env" = String, Path, description = "Its name", example = "dev")),
    responses((status = 200, description = "The environment", body = Environment), (status = 404, description = "There is no such environment")))]
async fn get_environment(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<Environment>> {
    user.require(Role::Viewer)?;
    Ok(Json(super::find_by_name(&app.db, &env).await?))
}

/// Changes title, colour or protection; for operators.
#[utoipa::path(patch, path = "/environments/{env}", tag = "environments", params(("env" = String, Path, description = "Its name", example = "dev")),
    request_body = EnvironmentChange, responses((status = 200, description = "As it is now", body = Environment),
        (status = 403, description = "Operators and administrators only"), (status = 404, description = "There is no such environment"),
        (status = 422, description = "Fields are wrong")))]
async fn change_environment(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(change): Json<EnvironmentChange>,
) -> Result<Json<Environment>> {
    let actor = Actor { user: &user, address: &address.0 };
    Ok(Json(super::change(&app.db, actor, &env, change, now_ms()).await?))
}

/// Where brokers of an environment may be: portal and collectors dial them nowhere else.
#[utoipa::path(get, path = "/environments/{env}/networks", tag = "environments", params(("env" = String, Path, description = "Its name", example = "dev")),
    responses((status = 200, description = "The networks", body = NetworkList), (status = 404, description = "There is no such environment")))]
async fn get_networks(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<NetworkList>> {
    user.require(Role::Viewer)?;
    let environment = super::find_by_name(&app.db, &env).await?;
    Ok(Json(list(&super::networks(&app.db, &environment.id).await?)))
}

/// Changes where brokers may be; for operators. An empty list means private ranges and loopback.
#[utoipa::path(put, path = "/environments/{env}/networks", tag = "environments", params(("env" = String, Path, description = "Its name", example = "dev")),
    request_body = NetworkList, responses((status = 200, description = "As they are now", body = NetworkList),
        (status = 403, description = "Operators and administrators only"), (status = 404, description = "There is no such environment"),
        (status = 422, description = "One of them is no network")))]
async fn set_networks(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(wanted): Json<NetworkList>,
) -> Result<Json<NetworkList>> {
    let actor = Actor { user: &user, address: &address.0 };
    let environment = super::find_by_name(&app.db, &env).await?;
    Ok(Json(list(&super::set_networks(&app.db, actor, &environment, &wanted.networks, now_ms()).await?)))
}

fn list(networks: &zms_core::networks::Networks) -> NetworkList {
    NetworkList { networks: networks.to_string().split(", ").map(str::to_owned).collect() }
}

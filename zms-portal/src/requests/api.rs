//! Requests over REST.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Choice, Request, Wish};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::Result;
use crate::web::{Json, Path};

/// Operations on requests.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_requests))
        .routes(routes!(apply))
        .routes(routes!(get_request))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(withdraw))
        .routes(routes!(retry))
        .routes(routes!(cancel))
}

#[derive(Debug, Serialize, ToSchema)]
struct Requests {
    /// Newest first, at most 2 000.
    items: Vec<Request>,
}

/// Lists requests.
#[utoipa::path(get, path = "/requests", tag = "requests", responses((status = 200, description = "Newest first", body = Requests)))]
async fn list_requests(user: User, State(app): State<App>) -> Result<Json<Requests>> {
    user.require(Role::Viewer)?;
    Ok(Json(Requests { items: super::list(&app.db).await? }))
}

/// Asks for a topic or a group; for developers.
#[utoipa::path(post, path = "/environments/{env}/requests", tag = "requests", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body = Wish, responses((status = 201, description = "Made", body = Request), (status = 403, description = "Developers and administrators only"),
        (status = 422, description = "Fields are wrong, or names are taken")))]
async fn apply(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Request>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    let number = super::apply(&app, actor, &environment, wish, now_ms()).await?;
    Ok((StatusCode::CREATED, Json(super::find(&app.db, number).await?)))
}

/// One request.
#[utoipa::path(get, path = "/requests/{number}", tag = "requests", params(("number" = i64, Path, description = "Its number", example = 1)),
    responses((status = 200, description = "The request", body = Request), (status = 404, description = "There is no such request")))]
async fn get_request(user: User, State(app): State<App>, Path(number): Path<i64>) -> Result<Json<Request>> {
    user.require(Role::Viewer)?;
    Ok(Json(super::find(&app.db, number).await?))
}

/// Approves a request and begins to bring it about; for approvers.
#[utoipa::path(post, path = "/requests/{number}/approve", tag = "requests", params(("number" = i64, Path, description = "Its number", example = 1)), request_body = Choice,
    responses((status = 202, description = "Approved; `flow_id` shows how far it is", body = Request), (status = 403, description = "Approvers and administrators only"),
        (status = 409, description = "Somebody decided before"), (status = 422, description = "Cluster, partitions or replicas are wrong")))]
async fn approve(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(number): Path<i64>,
    Json(choice): Json<Choice>,
) -> Result<(StatusCode, Json<Request>)> {
    super::approve(&app, Actor { user: &user, address: &address.0 }, number, choice, now_ms()).await?;
    Ok((StatusCode::ACCEPTED, Json(super::find(&app.db, number).await?)))
}

/// Why not.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "why": "There is a topic for this already: orders_v2" }))]
struct Rejection {
    /// A sentence of 1 to 500 characters.
    why: String,
}

/// Rejects a request; for approvers.
#[utoipa::path(post, path = "/requests/{number}/reject", tag = "requests", params(("number" = i64, Path, description = "Its number", example = 1)), request_body = Rejection,
    responses((status = 204, description = "Rejected"), (status = 403, description = "Approvers and administrators only"), (status = 409, description = "Somebody decided before")))]
async fn reject(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(number): Path<i64>,
    Json(body): Json<Rejection>,
) -> Result<StatusCode> {
    super::reject(&app, Actor { user: &user, address: &address.0 }, number, &body.why, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes one's own open request back.
#[utoipa::path(post, path = "/requests/{number}/withdraw", tag = "requests", params(("number" = i64, Path, description = "Its number", example = 1)),
    responses((status = 204, description = "Taken back"), (status = 403, description = "It is somebody else's"), (status = 409, description = "Somebody decided before")))]
async fn withdraw(user: User, address: Address, State(app): State<App>, Path(number): Path<i64>) -> Result<StatusCode> {
    super::withdraw(&app, Actor { user: &user, address: &address.0 }, number, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tries an approved request again that is stuck; for approvers.
#[utoipa::path(post, path = "/requests/{number}/retry", tag = "requests", params(("number" = i64, Path, description = "Its number", example = 1)),
    responses((status = 204, description = "It is tried again"), (status = 409, description = "It is not stuck")))]
async fn retry(user: User, address: Address, State(app): State<App>, Path(number): Path<i64>) -> Result<StatusCode> {
    super::retry(&app, Actor { user: &user, address: &address.0 }, number, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives up an approved request that is not done yet; for approvers.
#[utoipa::path(post, path = "/requests/{number}/cancel", tag = "requests", params(("number" = i64, Path, description = "Its number", example = 1)),
    responses((status = 204, description = "Given up: its last step takes back what applications could read"), (status = 409, description = "It is done, or nearly")))]
async fn cancel(user: User, address: Address, State(app): State<App>, Path(number): Path<i64>) -> Result<StatusCode> {
    super::cancel(&app, Actor { user: &user, address: &address.0 }, number, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

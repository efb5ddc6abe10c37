//! Imports over REST.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::plan::Plan;
use crate::access::{Actor, Address, User};
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::Result;
use crate::web::{Json, Path};

/// Operations on imports.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_import, begin_import))
}

/// An import that began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportBegun)]
struct Begun {
    /// Id of its flow.
    flow: String,
}

/// A confirmation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "confirm": "dev" }))]
struct Confirmation {
    /// The environment's name, where it is protected.
    confirm: String,
}

/// What stands in the environment's metadata store, and what an import would do; for operators. Nothing is written.
#[utoipa::path(get, path = "/environments/{env}/import", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "What was found", body = Plan, example = json!({ "origin": { "is": "first" },
        "clusters": [{ "name": "k1", "broker": "kafka", "addresses": ["10.0.0.1:9092"], "epoch": 0, "known": false }],
        "topics": [{ "name": "orders", "cluster": "k1", "order": { "term": 0, "epoch": 0 }, "java_clients": 2, "known": false }],
        "groups": [{ "name": "billing", "topic": "orders", "from": "earliest", "broadcast": false, "order": { "term": 0, "epoch": 0 }, "java_clients": 1, "known": false }],
        "left": [{ "path": "/zms/topic/a.b", "reason": { "is": "name" } }], "java_clients": 3 })),
        (status = 403, description = "Operators and administrators only"), (status = 503, description = "There is no metadata store, or it cannot be read")))]
async fn get_import(user: User, address: Address, State(app): State<App>, Path(env): Path<String>) -> Result<Json<Plan>> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    Ok(Json(super::look(&app, actor, &environment, now_ms()).await?))
}

/// Imports what is there; for operators. Topics and groups get the caller as their owner. Their nodes are not changed.
#[utoipa::path(post, path = "/environments/{env}/import", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body = Confirmation, responses((status = 202, description = "It began", body = Begun), (status = 403, description = "Operators and administrators only"),
        (status = 409, description = "There is nothing to import, another import runs, or the tree belongs to another environment"),
        (status = 422, description = "It must be confirmed"), (status = 503, description = "There is no metadata store, or it cannot be read")))]
async fn begin_import(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(said): Json<Confirmation>,
) -> Result<(StatusCode, Json<Begun>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    let flow = super::begin(&app, actor, &environment, &said.confirm, now_ms()).await?;
    Ok((StatusCode::ACCEPTED, Json(Begun { flow })))
}

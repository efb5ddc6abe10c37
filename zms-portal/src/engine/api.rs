//! Flows over REST.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::machine::Status;
use super::view::{self, FlowSummary, FlowView};
use crate::access::{Role, User};
use crate::app::App;
use crate::error::{Error, Result};
use crate::web::{Json, Path, Query};

/// Flows that a list gives when it is not asked for a number, and at most.
const USUAL: i64 = 50;
const MOST: i64 = 500;

/// Operations on flows.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_flows)).routes(routes!(get_flow))
}

/// Which flows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Name of the environment.
    #[param(example = "dev")]
    environment: String,
    /// The whole subject, for example service/kafka.
    #[param(example = "service/kafka")]
    subject: String,
    /// running, waiting, done, failed or cancelled.
    status: String,
    /// Only flows older than this id, as the list before said in `next`.
    before: String,
    /// At most so many, from 1 to 500.
    #[param(example = 50)]
    limit: Option<i64>,
}

/// A part of the flows, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Flows {
    items: Vec<FlowSummary>,
    /// Ask with `before` of this for those that follow; absent at the end.
    next: Option<String>,
}

/// Lists flows, newest first.
#[utoipa::path(get, path = "/flows", tag = "flows", params(Wanted), responses((status = 200, description = "Flows, newest first", body = Flows)))]
async fn list_flows(user: User, State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Json<Flows>> {
    user.require(Role::Viewer)?;
    if !wanted.status.is_empty() && Status::parse(&wanted.status).is_none() {
        return Err(Error::invalid("status", |m| m.engine_status_unknown().to_owned()));
    }
    let limit = wanted.limit.unwrap_or(USUAL).clamp(1, MOST);
    let query = view::Query {
        environment: &wanted.environment,
        subject: &wanted.subject,
        status: &wanted.status,
        before: &wanted.before,
        limit: limit + 1,
    };
    let mut items = view::list(&app.db, &query).await?;
    let more = i64::try_from(items.len()).unwrap_or(i64::MAX) > limit;
    if more {
        items.pop();
    }
    let next = items.last().filter(|_| more).map(|flow| flow.id.clone());
    Ok(Json(Flows { items, next }))
}

/// One flow with its steps and history.
#[utoipa::path(get, path = "/flows/{id}", tag = "flows", params(("id" = String, Path, description = "The flow's id", example = "01JDG71C6E9W3R5T7Y2A4F6G8H")),
    responses((status = 200, description = "The flow", body = FlowView), (status = 404, description = "There is no such flow")))]
async fn get_flow(user: User, State(app): State<App>, Path(id): Path<String>) -> Result<Json<FlowView>> {
    user.require(Role::Viewer)?;
    Ok(Json(app.engine.view(&id).await?))
}

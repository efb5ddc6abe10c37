//! Adopting clusters, and what follows, over REST.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{Choice, ClusterChange, NewCluster, Preview, Tried, takeover};
use super::ClusterItem;
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::Result;
use crate::web::{Json, Path};

/// A flow that was started.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Started {
    /// Its id: `GET /flows/{id}`.
    flow: String,
}

/// Adopts a cluster that runs already; for operators. Nothing is made on it.
#[utoipa::path(post, path = "/environments/{env}/clusters", tag = "clusters", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body = NewCluster, responses((status = 201, description = "Adopted", body = ClusterItem),
        (status = 403, description = "Operators and administrators only"), (status = 404, description = "There is no such environment"),
        (status = 422, description = "Fields are wrong, or the name is taken")))]
pub(super) async fn adopt_cluster(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(new): Json<NewCluster>,
) -> Result<(StatusCode, Json<ClusterItem>)> {
    let actor = Actor { user: &user, address: &address.0 };
    let environment = environments::find_by_name(&app.db, &env).await?;
    let cluster = super::super::adopt(&app, actor, &environment, &new, now_ms()).await?;
    Ok((StatusCode::CREATED, Json(cluster.into())))
}

/// Dials a cluster as it would be adopted, and says what would be right if it does not answer; for operators.
#[utoipa::path(post, path = "/environments/{env}/clusters/try", tag = "clusters", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body = NewCluster, responses((status = 200, description = "What came of it", body = Tried),
        (status = 403, description = "Operators and administrators only"), (status = 404, description = "There is no such environment"),
        (status = 422, description = "Fields are wrong; nothing was dialled")))]
pub(super) async fn try_cluster(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(new): Json<NewCluster>,
) -> Result<Json<Tried>> {
    let actor = Actor { user: &user, address: &address.0 };
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(super::super::try_out(&app, actor, &environment, &new, None, now_ms()).await?))
}

/// Changes how an adopted cluster is reached; for operators.
#[utoipa::path(patch, path = "/environments/{env}/clusters/{name}", tag = "clusters",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the cluster", example = "old-kafka")),
    request_body = ClusterChange, responses((status = 200, description = "As it is now", body = ClusterItem),
        (status = 403, description = "Operators and administrators only"), (status = 404, description = "There is no such cluster"),
        (status = 409, description = "ZMS installed it"), (status = 422, description = "Fields are wrong")))]
pub(super) async fn change_cluster(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
    Json(change): Json<ClusterChange>,
) -> Result<Json<ClusterItem>> {
    let actor = Actor { user: &user, address: &address.0 };
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(super::super::change(&app, actor, &environment, &name, change, now_ms()).await?.into()))
}

/// Lets an adopted cluster go; for operators. Nothing on its brokers is touched.
#[utoipa::path(delete, path = "/environments/{env}/clusters/{name}", tag = "clusters",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the cluster", example = "old-kafka")),
    responses((status = 202, description = "It goes", body = Started), (status = 403, description = "Operators and administrators only"),
        (status = 404, description = "There is no such cluster"),
        (status = 409, description = "ZMS installed it, governed topics live there, or another flow holds it")))]
pub(super) async fn let_go_cluster(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Started>)> {
    let actor = Actor { user: &user, address: &address.0 };
    let environment = environments::find_by_name(&app.db, &env).await?;
    let flow = super::super::let_go(&app, actor, &environment, &name, now_ms()).await?;
    Ok((StatusCode::ACCEPTED, Json(Started { flow })))
}

/// Lets applications find an adopted cluster; for operators. Its node is written, and the topics of statistics are made on it if no other
/// cluster of the environment has them.
#[utoipa::path(post, path = "/environments/{env}/clusters/{name}/publish", tag = "clusters",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the cluster", example = "old-kafka")),
    responses((status = 202, description = "It begins", body = Started), (status = 403, description = "Operators and administrators only"),
        (status = 404, description = "There is no such cluster"), (status = 409, description = "ZMS installed it, or another flow holds it")))]
pub(super) async fn publish_cluster(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Started>)> {
    let actor = Actor { user: &user, address: &address.0 };
    let environment = environments::find_by_name(&app.db, &env).await?;
    let flow = super::super::publish(&app, actor, &environment, &name, now_ms()).await?;
    Ok((StatusCode::ACCEPTED, Json(Started { flow })))
}

/// What a take-over would do, and what cannot be taken over and why; for operators. Changes nothing.
#[utoipa::path(post, path = "/environments/{env}/clusters/{name}/take-over/preview", tag = "clusters",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the cluster", example = "kafka")),
    request_body = Choice, responses((status = 200, description = "What fits", body = Preview), (status = 403, description = "Operators and administrators only"), (status = 404, description = "There is no such cluster"),
        (status = 503, description = "Nothing is known of the cluster now")))]
pub(super) async fn preview_take_over(
    user: User,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
    Json(choice): Json<Choice>,
) -> Result<Json<Preview>> {
    user.require(Role::Operator)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let cluster = super::super::find(&app.db, &environment.id, &name).await?;
    Ok(Json(takeover::preview(&app, &cluster, &choice, now_ms()).await?))
}

/// Takes topics and groups of a cluster over; for operators. On the brokers nothing changes.
#[utoipa::path(post, path = "/environments/{env}/clusters/{name}/take-over", tag = "clusters",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the cluster", example = "kafka")),
    request_body = Choice, responses((status = 202, description = "It begins", body = Started),
        (status = 403, description = "Operators and administrators only"), (status = 404, description = "There is no such cluster"),
        (status = 409, description = "Applications do not find the cluster, nothing can be taken over, or another flow holds it"),
        (status = 422, description = "Fields are wrong"), (status = 503, description = "Nothing is known of the cluster now")))]
pub(super) async fn take_over_cluster(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
    Json(choice): Json<Choice>,
) -> Result<(StatusCode, Json<Started>)> {
    let actor = Actor { user: &user, address: &address.0 };
    let environment = environments::find_by_name(&app.db, &env).await?;
    let flow = takeover::take_over(&app, actor, &environment, &name, &choice, now_ms()).await?;
    Ok((StatusCode::ACCEPTED, Json(Started { flow })))
}

//! Hosts and join lines over REST.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zms_core::host::HostFacts;

use super::line::{self, LineView, MadeLine, NewLine};
use super::row::{HostDetail, HostRow, HostStatus};
use super::{change, store};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::Result;
use crate::web::{Json, Path};

/// Operations on hosts.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_hosts))
        .routes(routes!(get_host, rename_host, revoke_host))
        .routes(routes!(list_join_lines, make_join_line))
        .routes(routes!(withdraw_join_line))
}

/// Hosts of an environment.
#[derive(Debug, Serialize, ToSchema)]
struct Hosts {
    /// By name.
    items: Vec<HostItem>,
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
struct HostItem {
    /// ULID.
    id: String,
    /// Unique within the environment.
    name: String,
    /// Where other hosts reach it.
    address: String,
    /// online, pending (not heard of yet), offline or revoked.
    status: HostStatus,
    /// When it last asked, milliseconds since 1970.
    seen_at: Option<i64>,
    /// Operating system.
    os: String,
    /// As `uname -m` prints it.
    arch: String,
    /// Processors.
    cpus: u32,
    /// Memory, MiB.
    memory_mib: u64,
    /// Size of the file system of ZMS, MiB.
    disk_mib: u64,
    /// Free space there, MiB.
    disk_free_mib: u64,
    /// Version of its agent.
    agent_version: String,
    /// Instances that are as they should be.
    instances_done: usize,
    /// Instances that it has.
    instances: usize,
}

/// One host with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
struct HostFull {
    /// As in the list.
    #[serde(flatten)]
    item: HostItem,
    /// When it joined, milliseconds since 1970.
    joined_at: i64,
    /// Until when its certificate is good, milliseconds since 1970.
    certificate_until: i64,
    /// Its clock minus the portal's, milliseconds.
    skew_ms: Option<i64>,
    /// Two machines use its certificate.
    cloned: bool,
    /// What it says of itself.
    #[schema(value_type = Object)]
    facts: HostFacts,
    /// What its agent last found, as the agent wrote it.
    #[schema(value_type = Option<Object>)]
    report: Option<serde_json::Value>,
}

impl HostItem {
    fn of(host: HostRow, now_ms: i64) -> Self {
        let (instances_done, instances) = host.instances();
        Self {
            status: host.status(now_ms),
            agent_version: host.agent_version().to_owned(),
            id: host.id,
            name: host.name,
            address: host.address,
            seen_at: host.seen_at,
            os: host.facts.os,
            arch: host.facts.arch,
            cpus: host.facts.cpus,
            memory_mib: host.facts.memory_mib,
            disk_mib: host.facts.disk_mib,
            disk_free_mib: host.facts.disk_free_mib,
            instances_done,
            instances,
        }
    }
}

/// Lists hosts.
#[utoipa::path(get, path = "/environments/{env}/hosts", tag = "hosts", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "All of them, by name", body = Hosts), (status = 404, description = "There is no such environment")))]
async fn list_hosts(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<Hosts>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let now = now_ms();
    let hosts = store::list(&app.db, &environment.id).await?;
    Ok(Json(Hosts { items: hosts.into_iter().map(|host| HostItem::of(host, now)).collect() }))
}

/// One host.
#[utoipa::path(get, path = "/environments/{env}/hosts/{id}", tag = "hosts",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("id" = String, Path, description = "Id of the host", example = "01JDG6Z3V0T7S4Q9X8K2M5N1P1")),
    responses((status = 200, description = "The host", body = HostFull), (status = 404, description = "There is no such host")))]
async fn get_host(user: User, State(app): State<App>, Path((env, id)): Path<(String, String)>) -> Result<Json<HostFull>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let HostDetail { row, certificate_until, skew_ms, joined_at, .. } = change::of(&app, &environment, &id).await?;
    let report = row.report.as_ref().map(serde_json::to_value).transpose()?;
    let (facts, cloned) = (row.facts.clone(), app.hub.twin_of(&id).is_some());
    Ok(Json(HostFull { item: HostItem::of(row, now_ms()), joined_at, certificate_until, skew_ms, cloned, facts, report }))
}

/// What may become different of a host.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "kafka-a" }))]
struct HostChange {
    /// 1 to 63 lower-case letters, digits, dots and -, beginning with a letter or digit; unique within the environment.
    name: String,
}

/// Renames a host; for operators.
#[utoipa::path(patch, path = "/environments/{env}/hosts/{id}", tag = "hosts",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("id" = String, Path, description = "Id of the host", example = "01JDG6Z3V0T7S4Q9X8K2M5N1P1")),
    request_body = HostChange,
    responses((status = 204, description = "Renamed"), (status = 403, description = "Operators and administrators only"),
        (status = 404, description = "There is no such host"), (status = 422, description = "The name is none, or taken")))]
async fn rename_host(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, id)): Path<(String, String)>,
    Json(new): Json<HostChange>,
) -> Result<StatusCode> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    change::rename(&app, Actor { user: &user, address: &address.0 }, &environment, &id, &new.name, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a host out of service for ever; for operators. What runs on it goes on.
#[utoipa::path(delete, path = "/environments/{env}/hosts/{id}", tag = "hosts",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("id" = String, Path, description = "Id of the host", example = "01JDG6Z3V0T7S4Q9X8K2M5N1P1")),
    responses((status = 204, description = "It is out of service"), (status = 403, description = "Operators and administrators only"),
        (status = 404, description = "There is no such host")))]
async fn revoke_host(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, id)): Path<(String, String)>,
) -> Result<StatusCode> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    change::revoke(&app, Actor { user: &user, address: &address.0 }, &environment, &id, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Join lines that are still good.
#[derive(Debug, Serialize, ToSchema)]
struct JoinLines {
    /// Newest first.
    items: Vec<LineView>,
}

/// Lists join lines that are still good, without their tokens; for operators.
#[utoipa::path(get, path = "/environments/{env}/join-tokens", tag = "hosts", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "Newest first", body = JoinLines), (status = 403, description = "Operators and administrators only"),
        (status = 404, description = "There is no such environment")))]
async fn list_join_lines(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
) -> Result<Json<JoinLines>> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let items = line::open(&app.db, Actor { user: &user, address: &address.0 }, &environment, now_ms()).await?;
    Ok(Json(JoinLines { items }))
}

/// Makes a join line; for operators. The answer is the only one that holds the token.
#[utoipa::path(post, path = "/environments/{env}/join-tokens", tag = "hosts", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body = NewLine,
    responses((status = 201, description = "Made; shown once", body = MadeLine), (status = 403, description = "Operators and administrators only"),
        (status = 404, description = "There is no such environment"), (status = 409, description = "There is no agent that a host could fetch"),
        (status = 422, description = "Fields are wrong")))]
async fn make_join_line(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(new): Json<NewLine>,
) -> Result<(StatusCode, Json<MadeLine>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let made = line::make(&app, Actor { user: &user, address: &address.0 }, &environment, &new, now_ms()).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Takes a join line back; for operators. Hosts that joined with it stay.
#[utoipa::path(delete, path = "/environments/{env}/join-tokens/{key_id}", tag = "hosts",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("key_id" = String, Path, description = "Public part of its token", example = "k7m2p9qx")),
    responses((status = 204, description = "Nobody joins with it any more"), (status = 403, description = "Operators and administrators only"),
        (status = 404, description = "There is no such line")))]
async fn withdraw_join_line(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, key_id)): Path<(String, String)>,
) -> Result<StatusCode> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    line::withdraw(&app.db, Actor { user: &user, address: &address.0 }, &environment, &key_id, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

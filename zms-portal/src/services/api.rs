//! Services over REST.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zms_core::host::Level;

use super::change::{self, Act};
use super::logs::LogPiece;
use super::plan::Plan;
use super::status::ServiceView;
use super::wish::{self, Wish};
use super::{choose_stores, install, logs, store, stores};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::{Error, Result};
use crate::web::messages::Messages;
use crate::web::{Json, Path, Query};

/// Operations on services.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_kinds))
        .routes(routes!(list_services, install_service))
        .routes(routes!(plan_service))
        .routes(routes!(get_service, change_service, remove_service))
        .routes(routes!(act_on_service))
        .routes(routes!(act_on_instance))
        .routes(routes!(cancel_service))
        .routes(routes!(get_log))
        .routes(routes!(get_stores, set_stores))
}

/// Something was begun.
#[derive(Debug, Serialize, ToSchema)]
struct Begun {
    /// Id of the flow; look at /flows/{id}. Absent if there was nothing to do on any host.
    flow: Option<String>,
}

fn begun(flow: String) -> (StatusCode, Json<Begun>) {
    (StatusCode::ACCEPTED, Json(Begun { flow: Some(flow) }))
}

/// Kinds of service.
#[derive(Debug, Serialize, ToSchema)]
struct Kinds {
    items: Vec<KindItem>,
}

/// A kind of service.
#[derive(Debug, Serialize, ToSchema)]
struct KindItem {
    /// Its name.
    name: String,
    /// What it is called.
    title: String,
    /// What it is.
    about: String,
    /// Fewest hosts.
    hosts_min: usize,
    /// Most hosts.
    hosts_max: usize,
    /// The only counts between them; empty allows all.
    hosts_counts: Vec<usize>,
    /// Versions whose packages are at hand, newest first.
    versions: Vec<String>,
    /// Its settings.
    settings: Vec<SettingItem>,
}

/// A setting of a kind.
#[derive(Debug, Serialize, ToSchema)]
struct SettingItem {
    /// Its key.
    key: String,
    /// Its group.
    group: String,
    /// What it is called.
    label: String,
    /// What it does, and when to change it.
    help: String,
    /// What it counts; empty without a unit.
    unit: String,
    /// The values of a choice.
    choices: Vec<String>,
}

/// Lists kinds of service with their settings.
#[utoipa::path(get, path = "/kinds", tag = "services", responses((status = 200, description = "All of them, by name", body = Kinds)))]
async fn list_kinds(user: User, State(app): State<App>) -> Result<Json<Kinds>> {
    user.require(Role::Viewer)?;
    let kind = |kind: &zms_core::catalogue::Kind| {
        let server = kind.packages().first();
        let found = server.map(|needed| app.stock.fitting(needed.name.as_str(), &needed.versions)).unwrap_or_default();
        let setting = |setting: &zms_core::catalogue::Setting| SettingItem {
            key: setting.key.clone(),
            group: setting.group.clone(),
            label: setting.label.en.clone(),
            help: setting.help.en.clone(),
            unit: setting.unit.clone(),
            choices: setting.choices.clone(),
        };
        KindItem {
            name: kind.name().to_string(),
            title: kind.title().en.clone(),
            about: kind.about().en.clone(),
            hosts_min: kind.hosts().min,
            hosts_max: kind.hosts().max,
            hosts_counts: kind.hosts().counts.clone(),
            versions: found.iter().map(|found| found.manifest.package.version.to_string()).collect(),
            settings: kind.settings().iter().map(setting).collect(),
        }
    };
    Ok(Json(Kinds { items: app.catalogue.kinds().iter().map(kind).collect() }))
}

/// Services of an environment.
#[derive(Debug, Serialize, ToSchema)]
struct Services {
    /// By name.
    items: Vec<ServiceView>,
}

/// Lists services as they are now.
#[utoipa::path(get, path = "/environments/{env}/services", tag = "services", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "All of them, by name", body = Services), (status = 404, description = "There is no such environment")))]
async fn list_services(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<Services>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(Services { items: super::list(&app, &environment, now_ms()).await? }))
}

/// Installs a service; for operators. Its hosts are asked first whether it could run there.
#[utoipa::path(post, path = "/environments/{env}/services", tag = "services", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body(content = Wish, example = json!({
        "name": "kafka", "kind": "kafka", "hosts": [{ "host": "01JDG6Z3V0T7S4Q9X8K2M5N1P1", "address": "10.0.0.1" }],
        "settings": { "heap": "1GiB" }, "accept_warnings": true
    })),
    responses((status = 202, description = "Begun", body = Begun), (status = 403, description = "Operators and administrators only"),
        (status = 422, description = "Fields are wrong, a check failed (field preflight) or warned (field accept_warnings)")))]
async fn install_service(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Begun>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    Ok(begun(install::install(&app, actor, &environment, wish, now_ms()).await?))
}

/// What would be done, and what the hosts say to it.
#[derive(Debug, Serialize, ToSchema)]
struct Planned {
    /// What would be done.
    plan: Plan,
    /// What the hosts and the portal found.
    checks: Vec<CheckItem>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
struct CheckItem {
    /// Name of the host.
    host: String,
    /// Name of the instance.
    instance: String,
    /// Stable name of the check.
    name: String,
    /// pass, warn or fail.
    #[schema(value_type = String)]
    level: Level,
    /// A sentence with the numbers that were found.
    text: String,
}

/// Plans a service without changing anything; for operators.
#[utoipa::path(post, path = "/environments/{env}/services/plan", tag = "services", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body(content = Wish, example = json!({
        "name": "kafka", "kind": "kafka", "hosts": [{ "host": "01JDG6Z3V0T7S4Q9X8K2M5N1P1" }], "settings": {}
    })),
    responses((status = 200, description = "What would be done", body = Planned), (status = 403, description = "Operators and administrators only"),
        (status = 422, description = "Fields are wrong")))]
async fn plan_service(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(mut wish): Json<Wish>,
) -> Result<Json<Planned>> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    let looked = install::look(&app, actor, &environment, &mut wish, now_ms()).await?;
    let checks = looked.checks.into_iter().map(|check| CheckItem {
        text: check.text.say(Messages::ENGLISH),
        host: check.host,
        instance: check.instance,
        name: check.name,
        level: check.level,
    });
    Ok(Json(Planned { plan: install::plan(&looked.decided), checks: checks.collect() }))
}

/// One service as it is now.
#[utoipa::path(get, path = "/environments/{env}/services/{name}", tag = "services",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Its name", example = "kafka")),
    responses((status = 200, description = "The service", body = ServiceView), (status = 404, description = "There is no such service")))]
async fn get_service(user: User, State(app): State<App>, Path((env, name)): Path<(String, String)>) -> Result<Json<ServiceView>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(super::find(&app, &environment, &name, now_ms()).await?))
}

/// Other settings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingsChange {
    /// By key; an empty value goes back to the default, keys that are not named stay.
    #[serde(deserialize_with = "wish::scalars")]
    #[schema(value_type = BTreeMap<String, String>)]
    settings: BTreeMap<String, String>,
}

/// Changes settings; for operators. Instances are restarted one after another, each after the one before is healthy.
#[utoipa::path(patch, path = "/environments/{env}/services/{name}", tag = "services",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Its name", example = "kafka")),
    request_body(content = SettingsChange, example = json!({ "settings": { "heap": "1GiB", "log_level": "" } })),
    responses((status = 202, description = "Begun, or saved if no instance changes", body = Begun), (status = 403, description = "Operators and administrators only"),
        (status = 409, description = "Another flow holds the service"), (status = 422, description = "A setting is wrong")))]
async fn change_service(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
    Json(wanted): Json<SettingsChange>,
) -> Result<(StatusCode, Json<Begun>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    let flow = change::settings(&app, actor, &environment, &name, &wanted.settings, None, now_ms()).await?;
    Ok((StatusCode::ACCEPTED, Json(Begun { flow })))
}

/// A typed name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Removal {
    /// The name of the service, so that no wrong one goes by mistake.
    confirm: String,
}

/// Takes a service away; for operators. Its data goes to the trash folder of each host.
#[utoipa::path(delete, path = "/environments/{env}/services/{name}", tag = "services",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Its name", example = "kafka")),
    request_body(content = Removal, example = json!({ "confirm": "kafka" })),
    responses((status = 202, description = "Begun", body = Begun), (status = 403, description = "Operators and administrators only"),
        (status = 409, description = "Another flow holds the service"), (status = 422, description = "The typed name is not its name")))]
async fn remove_service(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
    Json(removal): Json<Removal>,
) -> Result<(StatusCode, Json<Begun>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    Ok(begun(super::remove(&app, actor, &environment, &name, &removal.confirm, now_ms()).await?))
}

/// Starts, stops or restarts all instances of a service; for operators.
#[utoipa::path(post, path = "/environments/{env}/services/{name}/act/{act}", tag = "services",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Its name", example = "kafka"),
        ("act" = String, Path, description = "start, stop or restart", example = "restart")),
    responses((status = 202, description = "Begun", body = Begun), (status = 403, description = "Operators and administrators only"),
        (status = 409, description = "There is nothing to do, or another flow holds the service")))]
async fn act_on_service(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name, act)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Begun>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    let act = Act::parse(&act).ok_or(Error::NotFound)?;
    Ok(begun(change::act(&app, actor, &environment, &name, None, act, now_ms()).await?))
}

/// Starts, stops or restarts one instance; for operators.
#[utoipa::path(post, path = "/environments/{env}/services/{name}/instances/{instance}/act/{act}", tag = "services",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the service", example = "kafka"),
        ("instance" = String, Path, description = "Name of the instance", example = "kafka-1"), ("act" = String, Path, description = "start, stop or restart", example = "restart")),
    responses((status = 202, description = "Begun", body = Begun), (status = 403, description = "Operators and administrators only"),
        (status = 409, description = "There is nothing to do, or another flow holds the service")))]
async fn act_on_instance(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name, instance, act)): Path<(String, String, String, String)>,
) -> Result<(StatusCode, Json<Begun>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    let act = Act::parse(&act).ok_or(Error::NotFound)?;
    Ok(begun(change::act(&app, actor, &environment, &name, Some(&instance), act, now_ms()).await?))
}

/// Stops waiting for the flow that holds a service; for operators. What the hosts were told stays.
#[utoipa::path(post, path = "/environments/{env}/services/{name}/cancel", tag = "services",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Its name", example = "kafka")),
    responses((status = 202, description = "Ended", body = Begun), (status = 403, description = "Operators and administrators only"),
        (status = 404, description = "Nothing is under way"), (status = 409, description = "It cannot be taken back")))]
async fn cancel_service(
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, name)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Begun>)> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    Ok(begun(super::cancel(&app, actor, &environment, &name, now_ms()).await?))
}

/// Where in a log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct LogPlace {
    /// From this byte on; absent for the end of the log.
    #[param(example = 0)]
    from: Option<u64>,
}

/// A piece of an instance's log, at most 256 KiB.
#[utoipa::path(get, path = "/environments/{env}/services/{name}/instances/{instance}/log", tag = "services",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("name" = String, Path, description = "Name of the service", example = "kafka"),
        ("instance" = String, Path, description = "Name of the instance", example = "kafka-1"), LogPlace),
    responses((status = 200, description = "The piece", body = LogPiece), (status = 404, description = "There is no such instance"),
        (status = 503, description = "Its host does not answer")))]
async fn get_log(
    user: User,
    State(app): State<App>,
    Path((env, name, instance)): Path<(String, String, String)>,
    Query(place): Query<LogPlace>,
) -> Result<Json<LogPiece>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let row = store::service(app.db.read(), &environment.id, &name).await?;
    let instances = store::instances(app.db.read(), &row.id).await?;
    let found = instances.iter().find(|row| row.name() == instance).ok_or(Error::NotFound)?;
    Ok(Json(logs::read(&app, &found.host_id, &found.spec.id, place.from).await?))
}

/// The stores of an environment.
#[utoipa::path(get, path = "/environments/{env}/stores", tag = "services", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "Service by purpose (metadata, metrics)", body = BTreeMap<String, String>)))]
async fn get_stores(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<BTreeMap<String, String>>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    Ok(Json(stores(&app, &environment).await?))
}

/// Chooses the stores of an environment; for operators. An empty name clears one, purposes that are not named stay.
#[utoipa::path(patch, path = "/environments/{env}/stores", tag = "services", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    request_body(content = BTreeMap<String, String>, example = json!({ "metadata": "zookeeper" })),
    responses((status = 200, description = "As they are now", body = BTreeMap<String, String>), (status = 403, description = "Operators and administrators only"),
        (status = 409, description = "The environment has published nodes in its metadata store"), (status = 422, description = "There is no such service, or it is of another kind")))]
async fn set_stores(
    user: User,
    address: Address,
    State(app): State<App>,
    Path(env): Path<String>,
    Json(chosen): Json<BTreeMap<String, String>>,
) -> Result<Json<BTreeMap<String, String>>> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    let actor = Actor { user: &user, address: &address.0 };
    choose_stores(&app, actor, &environment, &chosen, now_ms()).await?;
    Ok(Json(stores(&app, &environment).await?))
}

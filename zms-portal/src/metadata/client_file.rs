//! How applications are let in: a file with the address of the metadata and an identity that may read it.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Metadata;
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments::{self, Environment};
use crate::error::{Error, Result, Text};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Path};

/// Operations for applications.
pub(super) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(make_client_file))
}

/// Pages.
pub(super) fn pages() -> Router<App> {
    Router::new().route("/e/{env}/client-file", get(page).post(download))
}

/// Makes the file with which an application finds its topics; for developers and operators. It is audited.
#[utoipa::path(post, path = "/environments/{env}/client-file", tag = "environments", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "The file (TOML); keep it with mode 0600", content_type = "application/toml", body = String),
        (status = 403, description = "Developers, operators and administrators only"), (status = 503, description = "The environment has no metadata store yet")))]
async fn make_client_file(user: User, address: Address, State(app): State<App>, Path(env): Path<String>) -> Result<Response> {
    let environment = environments::find_by_name(&app.db, &env).await?;
    answer(&app, Actor { user: &user, address: &address.0 }, &environment).await
}

#[derive(Template)]
#[template(path = "environments/client_file.html")]
struct ClientFilePage {
    chrome: Chrome,
    env: String,
    way: Option<super::Way>,
}

async fn page(chrome: Chrome, user: User, State(app): State<App>) -> Result<Response> {
    may(&user)?;
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let way = app.metadata.way(&environment.id).await?;
    web::page(ClientFilePage { chrome, env: environment.name, way })
}

async fn download(chrome: Chrome, user: User, address: Address, State(app): State<App>) -> Result<Response> {
    let environment = chrome.environment.ok_or(Error::NotFound)?;
    answer(&app, Actor { user: &user, address: &address.0 }, &environment).await
}

fn may(user: &User) -> Result<()> {
    if user.may(Role::Developer) || user.may(Role::Operator) { Ok(()) } else { Err(Error::Forbidden) }
}

async fn answer(app: &App, actor: Actor<'_>, environment: &Environment) -> Result<Response> {
    let target = format!("environment/{}", environment.name);
    if may(actor.user).is_err() {
        // Says so in the audit too.
        actor.require(&app.db, Role::Developer, "environment.client_file", &target, now_ms()).await?;
    }
    let text = client_file(&app.metadata, environment).await?;
    let mut tx = app.db.begin().await?;
    actor.record(&mut tx, "environment.client_file", &target, json!({}), now_ms()).await?;
    tx.commit().await?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/toml"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"zms-client.toml\""));
    Ok((StatusCode::OK, headers, text).into_response())
}

/// The text of the file; its keys are those that the SDK reads.
async fn client_file(metadata: &Metadata, environment: &Environment) -> Result<String> {
    let way =
        metadata.way(&environment.id).await?.ok_or_else(|| Error::Unavailable(Text::new(|m| m.metadata_none().to_owned())))?;
    let mut table = toml::Table::new();
    table.insert("environment".to_owned(), environment.id.clone().into());
    table.insert("zookeeper".to_owned(), way.addresses.into());
    if way.secure {
        let identity = metadata.identity(&environment.id, "sdk").await?;
        table.insert("authority".to_owned(), way.authority.into());
        table.insert("user".to_owned(), identity.user.into());
        table.insert("password".to_owned(), identity.password.into());
    }
    toml::to_string(&table).map_err(|error| anyhow::Error::new(error).into())
}

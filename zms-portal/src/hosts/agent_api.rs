//! What agents ask, on the listener that answers nobody else. Who asks is in the certificate, never in the body.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use zms_core::host::{DesiredState, RenewReply, RenewRequest, SyncRequest};
use zms_core::names::Sha512;

use super::answer::{self, Refused};
use super::caller::{Caller, Renewing};
use super::desired::{names_package, names_secret};
use super::join::record;
use super::store;
use super::sync::{self, Synced};
use crate::app::{App, now_ms};
use crate::audit::Outcome;
use crate::authority::SignError;
use crate::error::Error;

/// Largest sync, in bytes: a report of all instances, and pieces of logs.
const SYNC_LIMIT: usize = 8 << 20;
/// Largest request for a certificate, in bytes.
const RENEW_LIMIT: usize = 32 << 10;

/// The agents' router.
pub fn agent_api() -> Router<App> {
    Router::new()
        .route("/agent/v1/sync", post(sync_host))
        .route("/agent/v1/renew", post(renew))
        .route("/agent/v1/packages/{sha512}", get(package))
        .route("/agent/v1/secrets/{reference}", get(secret))
        .fallback(|| async { Refused::not_found("there is nothing at this address") })
}

async fn sync_host(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Refused> {
    let request: SyncRequest = answer::json(body, SYNC_LIMIT).await?;
    match sync::sync(&app, &caller, request, sync::HOLD).await? {
        Synced::Reply(reply) => Ok(axum::Json(reply).into_response()),
        Synced::Revoked => Err(Refused::forbidden("this host was taken out of service")),
    }
}

async fn renew(State(app): State<App>, Renewing(caller): Renewing, body: Body) -> Result<Response, Refused> {
    let request: RenewRequest = answer::json(body, RENEW_LIMIT).await?;
    let now = now_ms();
    let signed = match app.authority.sign_host(&request.csr, &caller.id, now) {
        Ok(signed) => signed,
        Err(error @ SignError::Fault { .. }) => return Err(anyhow::Error::new(error).into()),
        Err(error) => return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())),
    };
    // Whoever finds a key of long ago must not get a new one for it.
    if caller.peer.expired && signed.key_hash != caller.peer.key_hash {
        return Err(Refused::forbidden("an expired certificate is renewed for its own key only"));
    }
    let detail = json!({ "serial": signed.serial, "key_hash": signed.key_hash, "was_expired": caller.peer.expired });
    let mut tx = app.db.begin().await?;
    record(&mut tx, "host.renew", &caller.id, &caller.address, detail, Outcome::Done, now).await?;
    tx.commit().await?;
    Ok(axum::Json(RenewReply { certificate: signed.pem }).into_response())
}

async fn package(
    State(app): State<App>,
    caller: Caller,
    Path(sha512): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let not_wanted = || Refused::not_found("this host does not need this package");
    let sha512 = Sha512::new(sha512).map_err(|_| not_wanted())?;
    let state = wanted(&app, &caller.id).await?.ok_or_else(not_wanted)?;
    if !names_package(&state, &sha512) {
        return Err(not_wanted());
    }
    let path = app.stock.find(&sha512).await;
    let path =
        path.ok_or_else(|| Refused::not_found("the portal does not have this package any more, or it is damaged there"))?;
    answer::file(&path, sha512.as_str(), &headers).await
}

async fn secret(State(app): State<App>, caller: Caller, Path(reference): Path<String>) -> Result<Response, Refused> {
    let not_wanted = || Refused::not_found("this host does not need this secret");
    let state = wanted(&app, &caller.id).await?.ok_or_else(not_wanted)?;
    if !names_secret(&state, &reference) {
        return Err(not_wanted());
    }
    let value = match app.vault.get(&reference).await {
        Ok(value) => value,
        Err(Error::NotFound) => return Err(Refused::not_found("there is no such secret")),
        Err(error) => return Err(error.into()),
    };
    let mut tx = app.db.begin().await?;
    let detail = json!({ "reference": reference });
    record(&mut tx, "secret.read", &caller.id, &caller.address, detail, Outcome::Done, now_ms()).await?;
    tx.commit().await?;
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, value).into_response())
}

async fn wanted(app: &App, host_id: &str) -> Result<Option<DesiredState>, Refused> {
    let text = store::desired(app.db.read(), host_id).await?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

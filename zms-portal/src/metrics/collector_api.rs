//! What collectors ask and tell, on the listener for programs of ours. Who asks is in the certificate, never in the body.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use zms_core::collect::{FENCE_HEADER, Snapshot};

use super::{orders, shared};
use crate::app::{App, now_ms};
use crate::authority::{Named, PeerCertificate};
use crate::environments::{self, Environment};
use crate::hosts::answer::{self, Refused};
use crate::services;

/// Largest snapshot, bytes: 10 000 topics and 10 000 groups have 8 MB.
const SNAPSHOT: usize = 32 << 20;

/// The collectors' router.
pub fn collector_api() -> Router<App> {
    Router::new().route("/collector/v1/orders", get(give_orders)).route("/collector/v1/snapshot", post(take_snapshot))
}

/// An instance of the kind `collector` that is wanted.
struct Collector {
    environment: Environment,
}

impl FromRequestParts<App> for Collector {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let peer = parts.extensions.get::<PeerCertificate>().cloned();
        let Some(Named::Instance(uid)) = peer.map(|peer| peer.named) else {
            return Err(Refused::forbidden("this is asked by collectors, each with the certificate of its instance"));
        };
        let found = services::wanted_instance(&app.db, &uid).await?.filter(|found| found.kind == "collector");
        let Some(found) = found else {
            return Err(Refused::forbidden("this instance is no collector of this portal, or was taken away"));
        };
        Ok(Self { environment: environments::by_id(&app.db, &found.environment_id).await? })
    }
}

#[derive(Deserialize)]
struct Known {
    known: Option<u64>,
}

async fn give_orders(
    State(app): State<App>,
    collector: Collector,
    Query(Known { known }): Query<Known>,
) -> Result<Response, Refused> {
    let orders = orders::of(&app, &collector.environment, now_ms()).await?;
    if known == Some(orders.revision) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(axum::Json(orders).into_response())
}

async fn take_snapshot(State(app): State<App>, collector: Collector, body: Body) -> Result<Response, Refused> {
    let snapshot: Snapshot = answer::json(body, SNAPSHOT).await?;
    match shared::tell(&app, &collector.environment.id, snapshot, now_ms()).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        // Its lease goes on above that one: another metadata store began its fences anew.
        Err(fence) => {
            let refused = Refused::new(StatusCode::CONFLICT, format!("a collector with the fence {fence} leads"));
            Ok(([(FENCE_HEADER, fence.to_string())], refused).into_response())
        }
    }
}

//! The first administrator over REST.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::FirstAdministrator;
use crate::access::Address;
use crate::access::session::{self, Limits};
use crate::access::throttle::Throttle;
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::web::Json;

/// Operations of the first start.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(finish_setup))
}

/// Makes the first administrator with a set-up code, and signs in.
#[utoipa::path(post, path = "/setup", tag = "setup", request_body = FirstAdministrator,
    responses((status = 204, description = "Made; the cookie __Host-zms is the session"), (status = 404, description = "There is an administrator already"),
        (status = 422, description = "Code, name or password is not right"), (status = 429, description = "Too many tries")))]
async fn finish_setup(
    address: Address,
    State(app): State<App>,
    Json(first): Json<FirstAdministrator>,
) -> Result<(StatusCode, HeaderMap)> {
    let throttle = Throttle::open(&app).await?;
    let token = super::finish(&app.db, &throttle, Limits::of(&app.config), first, &address.0, now_ms()).await?;
    let mut headers = HeaderMap::new();
    session::set_cookie(&mut headers, &token);
    Ok((StatusCode::NO_CONTENT, headers))
}

//! The audit over REST.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::chain::Chain;
use super::{Page, store};
use crate::access::User;
use crate::app::App;
use crate::error::Result;
use crate::web::{Json, Query};

/// Operations on the audit.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_audit)).routes(routes!(check_audit))
}

/// Lists acts, newest first; for operators.
#[utoipa::path(get, path = "/audit", tag = "audit", params(store::Query),
    responses((status = 200, description = "Acts, newest first", body = Page), (status = 403, description = "Operators and administrators only")))]
async fn list_audit(user: User, State(app): State<App>, Query(query): Query<store::Query>) -> Result<Json<Page>> {
    Ok(Json(super::see(&app.db, &user, &query).await?))
}

/// Reads the whole audit and tells whether each row is as it was written; for operators.
#[utoipa::path(get, path = "/audit/chain", tag = "audit",
    responses((status = 200, description = "What was found", body = Chain), (status = 403, description = "Operators and administrators only")))]
async fn check_audit(user: User, State(app): State<App>) -> Result<Json<Chain>> {
    Ok(Json(super::check(&app.db, &user).await?))
}

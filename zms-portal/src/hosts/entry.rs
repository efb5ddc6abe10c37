//! What a host reaches before it has a certificate, beside the pages: the join script, the agent, the join itself. No cookies here.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use zms_core::host::JoinRequest;

use super::answer::{self, Refused};
use super::join::{self, JoinError, Refusal};
use super::line;
use super::script::AgentBinary;
use crate::access::Address;
use crate::app::{App, now_ms};

/// Largest request to join, in bytes.
const LIMIT: usize = 64 << 10;
/// What every host hears that is refused: a stranger learns nothing of tokens.
const REFUSED: &str = "the portal refused this join";

/// The routes that a host needs to join.
pub fn join() -> Router<App> {
    Router::new().route("/join/v1", post(ask)).route("/j/{sha256}", get(script)).route("/j/agent/{sha512}", get(agent))
}

async fn ask(State(app): State<App>, address: Address, body: Body) -> Result<Response, Refused> {
    let request: JoinRequest = answer::json(body, LIMIT).await?;
    match join::join(&app, &request, &address.0, now_ms()).await {
        Ok(reply) => Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(reply)).into_response()),
        Err(JoinError::Refused(Refusal::OtherKey)) => {
            Err(Refused::new(StatusCode::CONFLICT, "this enrolment is known with another key; make a new one"))
        }
        Err(JoinError::Refused(_)) => Err(Refused::forbidden(REFUSED)),
        Err(JoinError::Failed(error)) => Err(error.into()),
    }
}

/// Addressed by its hash, so that a line whose script has changed since finds nothing.
async fn script(State(app): State<App>, Path(sha256): Path<String>) -> Result<Response, Refused> {
    let found = line::script(&app).await?.filter(|(script, _)| script.sha256 == sha256);
    let (script, _) =
        found.ok_or_else(|| Refused::not_found("this is not the join script of this portal any more; take a new join line"))?;
    Ok(([(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8")], script.text).into_response())
}

async fn agent(State(app): State<App>, Path(sha512): Path<String>, headers: HeaderMap) -> Result<Response, Refused> {
    let agents = AgentBinary::find(&app.config).await?;
    let found = agents.into_iter().find(|agent| agent.sha512.as_str() == sha512);
    let agent = found.ok_or_else(|| Refused::not_found("this is not the agent of this portal any more; take a new join line"))?;
    answer::file(&agent.path, &sha512, &headers).await
}

//! What people do to a service that is there.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::super::change::{self, Act};
use super::super::{cancel as use_cancel, remove as use_remove};
use super::environment;
use crate::access::{Actor, Address, User};
use crate::app::{App, now_ms};
use crate::error::{Error, Result};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Path};

pub(super) async fn of_service(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name, act)): Path<(String, String, String)>,
) -> Result<Response> {
    let act = Act::parse(&act).ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    to_flow(change::act(&app, actor, &environment(&chrome)?, &name, None, act, now_ms()).await?)
}

pub(super) async fn of_instance(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name, instance, act)): Path<(String, String, String, String)>,
) -> Result<Response> {
    let act = Act::parse(&act).ok_or(Error::NotFound)?;
    let actor = Actor { user: &user, address: &address.0 };
    to_flow(change::act(&app, actor, &environment(&chrome)?, &name, Some(&instance), act, now_ms()).await?)
}

/// The typed name.
#[derive(Debug, Deserialize)]
pub(super) struct Confirmation {
    #[serde(default)]
    confirm: String,
}

pub(super) async fn remove(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Form(form): Form<Confirmation>,
) -> Result<Response> {
    let actor = Actor { user: &user, address: &address.0 };
    match use_remove(&app, actor, &environment(&chrome)?, &name, &form.confirm, now_ms()).await {
        Ok(flow) => to_flow(flow),
        Err(Error::Invalid(problems)) => {
            let text = problems.iter().map(|problem| problem.text.say(chrome.m)).collect::<Vec<_>>().join("; ");
            super::service::status_with(&app, chrome, &user, &name, text).await
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn cancel(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    let actor = Actor { user: &user, address: &address.0 };
    to_flow(use_cancel(&app, actor, &environment(&chrome)?, &name, now_ms()).await?)
}

fn to_flow(flow: String) -> Result<Response> {
    Ok(web::see_other(Link::Flow(&flow)))
}

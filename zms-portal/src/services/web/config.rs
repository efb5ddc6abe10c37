//! A service's settings: as they are, as somebody wants them, and what would come of it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::change::{self, Proposal};
use super::super::diff::LineChange;
use super::super::plan::{FileChange, Plan};
use super::super::{find, store};
use super::environment;
use super::fields::{self, GroupView, Widget};
use super::service::Head;
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::hosts;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Path, Problems};

#[derive(Template)]
#[template(path = "services/config.html")]
struct ConfigPage {
    chrome: Chrome,
    head: Head,
    problems: Problems,
    groups: Vec<GroupView>,
    /// Name, and each file's name and text.
    files: Vec<(String, Vec<(String, String)>)>,
}

#[derive(Template)]
#[template(path = "services/config_plan.html")]
struct ConfigPlanPage {
    chrome: Chrome,
    head: Head,
    plan: Plan,
    fingerprint: String,
    hidden: Vec<(String, String)>,
}

pub(super) async fn page(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = environment(&chrome)?;
    render(&app, chrome, &user, &environment, &name, None, Problems::default()).await
}

/// Shows what would come of the settings of the form.
pub(super) async fn plan(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let environment = environment(&chrome)?;
    let actor = Actor { user: &user, address: &address.0 };
    let target = super::super::target(&environment, &name);
    actor.require(&app.db, Role::Operator, "service.settings", &target, now_ms()).await?;
    let typed = typed(&form);
    match change::propose(&app, &environment, &name, &typed).await {
        Ok(Proposal { plan, fingerprint, .. }) => {
            let service = find(&app, &environment, &name, now_ms()).await?;
            let head = Head::new(&environment.name, &service, "config", &user);
            let hidden = typed.into_iter().map(|(key, value)| (format!("settings.{key}"), value)).collect();
            web::page(ConfigPlanPage { chrome, head, plan, fingerprint, hidden })
        }
        Err(Error::Invalid(problems)) => {
            let problems = Problems::new(&problems, chrome.m);
            render(&app, chrome, &user, &environment, &name, Some(typed), problems).await
        }
        Err(error) => Err(error),
    }
}

/// Applies what the plan showed.
pub(super) async fn apply(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let environment = environment(&chrome)?;
    let actor = Actor { user: &user, address: &address.0 };
    let fingerprint = form.iter().find(|(field, _)| field == "fingerprint").map(|(_, value)| value.as_str());
    let flow = change::settings(&app, actor, &environment, &name, &typed(&form), fingerprint, now_ms()).await?;
    Ok(web::see_other(match &flow {
        Some(flow) => Link::Flow(flow),
        None => Link::Service(&environment.name, &name, "config"),
    }))
}

/// Settings of a form, also those that were emptied.
fn typed(form: &[(String, String)]) -> BTreeMap<String, String> {
    let setting =
        |(field, value): &(String, String)| Some((field.strip_prefix("settings.")?.to_owned(), value.replace("\r\n", "\n")));
    form.iter().filter_map(setting).collect()
}

async fn render(
    app: &App,
    chrome: Chrome,
    user: &User,
    environment: &Environment,
    name: &str,
    typed: Option<BTreeMap<String, String>>,
    problems: Problems,
) -> Result<Response> {
    let service = find(app, environment, name, now_ms()).await?;
    let head = Head::new(&environment.name, &service, "config", user);
    let row = store::service(app.db.read(), &environment.id, name).await?;
    let instances = store::instances(app.db.read(), &row.id).await?;
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let memory =
        |instance: &store::InstanceRow| hosts.iter().find(|host| host.id == instance.host_id).map(|host| host.facts.memory_mib);
    let memories: Vec<u64> = instances.iter().filter_map(memory).collect();
    let values = typed.unwrap_or(row.settings);
    // A kind that left the catalogue shows its files only.
    let groups = app
        .catalogue
        .find(&row.kind)
        .map(|kind| fields::groups(kind, chrome.m, &values, &memories, &problems))
        .unwrap_or_default();
    let files = instances.into_iter().map(|instance| {
        let files =
            instance.spec.body.files.into_iter().map(|file| (file.name, if file.private { String::new() } else { file.body }));
        (instance.spec.id.to_string(), files.collect())
    });
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    web::page_with(status, ConfigPage { chrome, head, problems, groups, files: files.collect() })
}

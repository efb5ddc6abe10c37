//! Forms of adopted clusters.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use zms_core::collect::Mechanism;

use super::super::{Cluster, ClusterChange, NewCluster, Tried};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments::{self, Environment};
use crate::error::{Error, Result};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Path, Problems};

/// What is typed, and which button was pressed.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct AdoptForm {
    name: String,
    kind: String,
    addresses: String,
    tls: String,
    authority: String,
    mechanism: String,
    user: String,
    password: String,
    /// `try` or nothing.
    act: String,
}

impl AdoptForm {
    fn cluster(&self) -> NewCluster {
        let form = self.clone();
        NewCluster {
            name: form.name,
            kind: form.kind,
            addresses: form.addresses,
            tls: form.tls,
            authority: form.authority,
            mechanism: form.mechanism,
            user: form.user,
            password: form.password,
        }
    }
}

#[derive(Template)]
#[template(path = "clusters/adopt.html")]
struct AdoptPage {
    chrome: Chrome,
    env: String,
    /// The cluster that is changed; none adopts another.
    edited: Option<Cluster>,
    /// Without the password: it is never sent back.
    form: AdoptForm,
    networks: String,
    tried: Option<Tried>,
    problems: Problems,
}

impl AdoptPage {
    fn password_help(&self) -> String {
        let m = self.chrome.m;
        let kept = self.edited.as_ref().is_some_and(|cluster| cluster.way.login.is_some());
        let more = if kept {
            m.clusters_password_keep()
        } else if self.tried.is_some() && !self.form.mechanism.is_empty() {
            m.clusters_try_again_password()
        } else {
            ""
        };
        format!("{} {more}", m.clusters_password_help()).trim_end().to_owned()
    }
}

async fn show(app: &App, chrome: Chrome, edited: Option<Cluster>, form: AdoptForm, what: Said) -> Result<Response> {
    let environment = chrome.environment.clone().ok_or(Error::NotFound)?;
    let networks = environments::networks(&app.db, &environment.id).await?.to_string();
    let (tried, problems) = match what {
        Said::Nothing => (None, Problems::default()),
        Said::Tried(tried) => (Some(tried), Problems::default()),
        Said::Wrong(problems) => (None, Problems::new(&problems, chrome.m)),
    };
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let form = AdoptForm { password: String::new(), ..form };
    web::page_with(status, AdoptPage { chrome, env: environment.name, edited, form, networks, tried, problems })
}

enum Said {
    Nothing,
    Tried(Tried),
    Wrong(Vec<crate::error::Problem>),
}

fn environment(chrome: &Chrome) -> Result<Environment> {
    chrome.environment.clone().ok_or(Error::NotFound)
}

pub(super) async fn new(chrome: Chrome, user: User, State(app): State<App>) -> Result<Response> {
    user.require(Role::Operator)?;
    let form = AdoptForm { kind: "kafka".to_owned(), ..AdoptForm::default() };
    show(&app, chrome, None, form, Said::Nothing).await
}

pub(super) async fn create(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(form): Form<AdoptForm>,
) -> Result<Response> {
    let (actor, environment) = (Actor { user: &user, address: &address.0 }, environment(&chrome)?);
    let new = form.cluster();
    let done = if form.act == "try" {
        super::super::try_out(&app, actor, &environment, &new, None, now_ms()).await.map(Err)
    } else {
        super::super::adopt(&app, actor, &environment, &new, now_ms()).await.map(Ok)
    };
    match done {
        Ok(Ok(cluster)) => Ok(web::see_other(Link::ClusterTab(&environment.name, cluster.name.as_str(), "groups"))),
        Ok(Err(tried)) => show(&app, chrome, None, form, Said::Tried(tried)).await,
        Err(Error::Invalid(problems)) => show(&app, chrome, None, form, Said::Wrong(problems)).await,
        Err(error) => Err(error),
    }
}

pub(super) async fn edit(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    user.require(Role::Operator)?;
    let cluster = super::super::find(&app.db, &environment(&chrome)?.id, &name).await?;
    super::super::adopt::must_be_adopted(&cluster)?;
    let login = cluster.way.login.clone();
    let form = AdoptForm {
        name: cluster.name.to_string(),
        kind: cluster.broker.to_string(),
        addresses: cluster.addresses.join("\n"),
        tls: cluster.way.tls_name().to_owned(),
        authority: cluster.way.authority().to_owned(),
        mechanism: login.as_ref().map(|(mechanism, _)| mechanism.as_str().to_owned()).unwrap_or_default(),
        user: login.map(|(_, user)| user).unwrap_or_default(),
        ..AdoptForm::default()
    };
    show(&app, chrome, Some(cluster), form, Said::Nothing).await
}

pub(super) async fn change(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
    Form(form): Form<AdoptForm>,
) -> Result<Response> {
    let (actor, environment) = (Actor { user: &user, address: &address.0 }, environment(&chrome)?);
    let cluster = super::super::find(&app.db, &environment.id, &name).await?;
    let form = AdoptForm { name: cluster.name.to_string(), kind: cluster.broker.to_string(), ..form };
    let done = if form.act == "try" {
        super::super::try_out(&app, actor, &environment, &form.cluster(), Some(&cluster), now_ms()).await.map(Err)
    } else {
        let new = form.cluster();
        let change = ClusterChange {
            addresses: Some(new.addresses),
            tls: Some(new.tls),
            authority: Some(new.authority),
            mechanism: Some(new.mechanism),
            user: Some(new.user),
            password: Some(new.password),
        };
        super::super::change(&app, actor, &environment, &name, change, now_ms()).await.map(Ok)
    };
    match done {
        Ok(Ok(_)) => Ok(web::see_other(Link::Cluster(&environment.name, &name))),
        Ok(Err(tried)) => show(&app, chrome, Some(cluster), form, Said::Tried(tried)).await,
        Err(Error::Invalid(problems)) => show(&app, chrome, Some(cluster), form, Said::Wrong(problems)).await,
        Err(error) => Err(error),
    }
}

pub(super) async fn publish(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    let actor = Actor { user: &user, address: &address.0 };
    let flow = super::super::publish(&app, actor, &environment(&chrome)?, &name, now_ms()).await?;
    Ok(web::see_other(Link::Flow(&flow)))
}

pub(super) async fn let_go(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    let actor = Actor { user: &user, address: &address.0 };
    let flow = super::super::let_go(&app, actor, &environment(&chrome)?, &name, now_ms()).await?;
    Ok(web::see_other(Link::Flow(&flow)))
}

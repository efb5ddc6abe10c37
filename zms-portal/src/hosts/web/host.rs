//! One host.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use zms_core::host::{Health, InstanceReport, Phase, SupervisorReport};

use super::super::change;
use super::super::hub::Twin;
use super::super::row::{HostDetail, HostStatus};
use super::environment;
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::error::{Error, Problem, Result};
use crate::metrics::{Chart, ChartView, RangeQuery};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{self, Form, Path, Problems, Query};

/// A clock that is off by more than this is worth a warning, in milliseconds.
const SKEW_MS: i64 = 30_000;
/// A certificate that has less than this left was not renewed when it should have been, in milliseconds.
const SHORT_MS: i64 = 48 * 3600 * 1000;

#[derive(Template)]
#[template(path = "hosts/host.html")]
struct HostPage {
    chrome: Chrome,
    env: String,
    operator: bool,
    part: Part,
    charts: ChartView,
    /// What was typed as a new name.
    typed: String,
    problems: Problems,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "hosts/part.html")]
struct Part {
    m: Messages,
    env: String,
    host: HostDetail,
    status: HostStatus,
    now_ms: i64,
    twin: Option<Twin>,
    /// Service and instance of each instance that was placed here, by instance.
    services: Vec<(String, String)>,
    /// Frames of figures that its agent gave up; `None`: no collector that is heard has heard it.
    frames_lost: Option<u64>,
}

impl Part {
    /// Seconds, if that is too many.
    fn skew(&self) -> Option<i64> {
        self.host.skew_ms.filter(|skew| skew.abs() > SKEW_MS).map(|skew| skew / 1000)
    }

    fn certificate_is_short(&self) -> bool {
        self.host.certificate_until - self.now_ms < SHORT_MS
    }

    fn supervisor(&self) -> Option<String> {
        let report = self.host.row.report.as_ref()?;
        Some(match &report.supervisor {
            SupervisorReport::NotNeeded => self.m.hosts_supervisor_not_needed().to_owned(),
            SupervisorReport::Running { pid, version } => self.m.hosts_supervisor_running(version, pid),
            SupervisorReport::Down { reason } => self.m.hosts_supervisor_down(reason),
        })
    }

    fn instances(&self) -> &[InstanceReport] {
        self.host.row.report.as_ref().map(|report| report.instances.as_slice()).unwrap_or_default()
    }

    fn service(&self, instance: &InstanceReport) -> Option<&str> {
        self.services.iter().find(|(name, _)| name == instance.id.as_str()).map(|(_, service)| service.as_str())
    }

    fn strays(&self) -> String {
        let strays = self.host.row.report.iter().flat_map(|report| &report.strays);
        strays.map(|stray| stray.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// Class and words of an instance's state.
fn state(instance: &InstanceReport, m: Messages) -> (&'static str, &'static str) {
    match (instance.done(), instance.wanted, &instance.health) {
        (true, Phase::Running, _) => ("healthy", m.hosts_instance_healthy()),
        (true, Phase::Stopped, _) => ("stopped", m.hosts_instance_stopped()),
        (true, Phase::Absent, _) => ("gone", m.hosts_instance_gone()),
        (false, Phase::Running, Health::Healthy) => ("changing", m.hosts_instance_changing()),
        (false, Phase::Running, Health::NotYet { .. } | Health::Unknown) if instance.failures > 0 => {
            ("failed", m.hosts_instance_failing())
        }
        (false, Phase::Running, Health::NotYet { .. } | Health::Unknown) => ("starting", m.hosts_instance_starting()),
        (false, Phase::Stopped, _) => ("changing", m.hosts_instance_stopping()),
        (false, Phase::Absent, _) => ("removing", m.hosts_instance_removing()),
    }
}

pub(super) async fn page(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Response> {
    let page = load_page(chrome, &user, &app, &id, &query.range).await?;
    web::page(page)
}

pub(super) async fn part(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response> {
    web::page(load(&chrome, &user, &app, &id).await?)
}

async fn load_page(chrome: Chrome, user: &User, app: &App, id: &str, range: &str) -> Result<HostPage> {
    let part = load(&chrome, user, app, id).await?;
    let (env, operator, typed) = (part.env.clone(), user.may(Role::Operator), part.host.row.name.clone());
    let shown = [Chart::HostCpu, Chart::HostMemory, Chart::HostDisk, Chart::HostNetwork];
    let path = Link::Host(&env, id).to_string();
    let charts = ChartView::new(chrome.m, (&env, &path), range, &shown, &[("host", &typed)]);
    Ok(HostPage { chrome, env, operator, part, charts, typed, problems: Problems::default() })
}

async fn load(chrome: &Chrome, user: &User, app: &App, id: &str) -> Result<Part> {
    user.require(Role::Viewer)?;
    let environment = environment(chrome)?;
    let host = change::of(app, &environment, id).await?;
    let now_ms = now_ms();
    let sql = "select i.name, s.name from instances i join services s on s.id = i.service_id where i.host_id = $1";
    let services = sqlx::query_as(sql).bind(id).fetch_all(app.db.read()).await?;
    let (status, twin) = (host.row.status(now_ms), app.hub.twin_of(id));
    let told = app.metrics.snapshots.fresh(&environment.id, now_ms);
    let frames = told.and_then(|told| told.snapshot.hosts.iter().find(|one| one.host.as_str() == id).map(|one| one.dropped));
    Ok(Part { m: chrome.m, env: environment.name, host, status, now_ms, twin, services, frames_lost: frames })
}

#[derive(Deserialize)]
pub(super) struct RenameForm {
    name: String,
}

pub(super) async fn rename(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, id)): Path<(String, String)>,
    Form(form): Form<RenameForm>,
) -> Result<Response> {
    let environment = environment(&chrome)?;
    let actor = Actor { user: &user, address: &address.0 };
    match change::rename(&app, actor, &environment, &id, &form.name, now_ms()).await {
        Ok(()) => Ok(web::see_other(Link::Host(&env, &id))),
        Err(Error::Invalid(problems)) => again(chrome, &user, &app, &id, form.name, &problems).await,
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
pub(super) struct RevokeForm {
    /// The host's name, typed.
    confirm: String,
}

pub(super) async fn revoke(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, id)): Path<(String, String)>,
    Form(form): Form<RevokeForm>,
) -> Result<Response> {
    let environment = environment(&chrome)?;
    let name = change::of(&app, &environment, &id).await?.row.name;
    if form.confirm.trim() != name {
        let problem = Problem::new("confirm", move |m| m.hosts_type_the_name(&name));
        return again(chrome, &user, &app, &id, String::new(), &[problem]).await;
    }
    let m = chrome.m;
    change::revoke(&app, Actor { user: &user, address: &address.0 }, &environment, &id, now_ms()).await?;
    Ok(web::flash::with(web::see_other(Link::Hosts(&env)), &m.hosts_revoked_now(form.confirm.trim())))
}

async fn again(chrome: Chrome, user: &User, app: &App, id: &str, typed: String, problems: &[Problem]) -> Result<Response> {
    let mut page = load_page(chrome, user, app, id, "").await?;
    page.problems = Problems::new(problems, page.chrome.m);
    if !typed.is_empty() {
        page.typed = typed;
    }
    web::page_with(StatusCode::UNPROCESSABLE_ENTITY, page)
}

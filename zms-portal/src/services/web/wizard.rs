//! The wizard. Every step is a page of its own that is sent everything typed so far, so going back keeps it, and nothing is kept on
//! the server until somebody installs. A step shows itself only if those before it are right; otherwise the first wrong one does,
//! with its problems.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use zms_core::host::Level;

use super::super::decide::{Decided, addresses, choose_packages};
use super::super::diff::LineChange;
use super::super::install as use_case;
use super::super::plan::{FileChange, Plan};
use super::super::preflight::Checked;
use super::super::wish::{Step, Wish};
use super::environment;
use super::fields::{self, GroupView, Widget};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::environments::Environment;
use crate::error::{Error, Problem, Result};
use crate::hosts::{self, HostRow, HostStatus};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{self, Form, Path, Problems, Query};

/// What every step's page has.
struct Frame {
    env: String,
    step: Step,
    /// Everything that is typed in other steps.
    hidden: Vec<(String, String)>,
    problems: Problems,
}

#[derive(Template)]
#[template(path = "services/wizard_kind.html")]
struct KindPage {
    chrome: Chrome,
    frame: Frame,
    kinds: Vec<KindCard>,
}

struct KindCard {
    name: String,
    title: String,
    about: String,
    hosts: String,
    /// With the newest first; empty if packages are missing.
    versions: Vec<(String, bool)>,
    /// What is missing, and what to do about it.
    missing: Vec<String>,
}

#[derive(Template)]
#[template(path = "services/wizard_hosts.html")]
struct HostsPage {
    chrome: Chrome,
    frame: Frame,
    kind: String,
    counts: String,
    hosts: Vec<HostChoice>,
}

struct HostChoice {
    id: String,
    name: String,
    online: bool,
    chosen: bool,
    facts: String,
    addresses: Vec<(String, bool)>,
    problems: Vec<String>,
}

#[derive(Template)]
#[template(path = "services/wizard_settings.html")]
struct SettingsPage {
    chrome: Chrome,
    frame: Frame,
    name: String,
    groups: Vec<GroupView>,
}

#[derive(Template)]
#[template(path = "services/wizard_preflight.html")]
struct PreflightPage {
    chrome: Chrome,
    frame: Frame,
    checks: Vec<CheckRow>,
    failed: bool,
    warned: bool,
    accepted: bool,
}

struct CheckRow {
    host: String,
    instance: String,
    name: String,
    level: Level,
    text: String,
}

#[derive(Template)]
#[template(path = "services/wizard_plan.html")]
struct PlanPage {
    chrome: Chrome,
    frame: Frame,
    name: String,
    plan: Plan,
}

/// The first step; `?kind=` chooses one.
pub(super) async fn first(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response> {
    let wish = Wish::from_form(&query);
    show(&app, chrome, Actor { user: &user, address: &address.0 }, wish, Step::Kind).await
}

/// Shows a step to which everything typed so far was sent.
pub(super) async fn step(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, step)): Path<(String, String)>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let step = Step::parse(&step).ok_or(Error::NotFound)?;
    show(&app, chrome, Actor { user: &user, address: &address.0 }, Wish::from_form(&fields), step).await
}

/// Installs what the plan showed.
pub(super) async fn install(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let environment = environment(&chrome)?;
    let actor = Actor { user: &user, address: &address.0 };
    let wish = Wish::from_form(&fields);
    match use_case::install(&app, actor, &environment, wish.clone(), now_ms()).await {
        Ok(flow) => Ok(web::see_other(Link::Flow(&flow))),
        // Something changed since the plan was shown: the step where it can be mended shows itself.
        Err(Error::Invalid(problems)) => {
            let (step, problems) = first_wrong(problems, Step::Plan).unwrap_or((Step::Plan, Vec::new()));
            let page = Shown { app: &app, environment: &environment, wish: &wish, problems: Problems::new(&problems, chrome.m) };
            page.render(chrome, step, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        Err(error) => Err(error),
    }
}

/// Shows `wanted`, or the first step before it that is wrong.
pub(super) async fn show(app: &App, chrome: Chrome, actor: Actor<'_>, mut wish: Wish, wanted: Step) -> Result<Response> {
    let environment = environment(&chrome)?;
    let now_ms = now_ms();
    actor.user.require(Role::Operator)?;
    if let Some(kind) = app.catalogue.find(&wish.kind) {
        // Another kind was chosen after settings were typed: those that it does not have say nothing.
        wish.settings.retain(|key, _| kind.setting(key).is_some());
        wish.generate(kind);
    }
    let problems = match wanted {
        Step::Kind => Vec::new(),
        Step::Hosts | Step::Settings | Step::Preflight => {
            use_case::decide(app, &environment, &wish, now_ms).await?.err().unwrap_or_default()
        }
        Step::Plan => match use_case::decide(app, &environment, &wish, now_ms).await? {
            Ok(decided) => {
                let checks = use_case::preflight(app, &environment, &decided).await?;
                use_case::objections(&checks, wish.accept_warnings)
            }
            Err(problems) => problems,
        },
    };
    let (step, problems, status) = match first_wrong(problems, wanted) {
        Some((step, problems)) => (step, Problems::new(&problems, chrome.m), StatusCode::UNPROCESSABLE_ENTITY),
        None => (wanted, Problems::default(), StatusCode::OK),
    };
    Shown { app, environment: &environment, wish: &wish, problems }.render(chrome, step, status).await
}

/// The first step before `wanted` with a problem, and its problems; what was not asked for yet is no problem.
fn first_wrong(mut problems: Vec<Problem>, wanted: Step) -> Option<(Step, Vec<Problem>)> {
    let step_of = |problem: &Problem| Step::of_field(&problem.field);
    let first = problems.iter().map(step_of).filter(|step| *step < wanted).min()?;
    problems.retain(|problem| step_of(problem) == first);
    Some((first, problems))
}

/// A step with what it needs.
struct Shown<'a> {
    app: &'a App,
    environment: &'a Environment,
    wish: &'a Wish,
    problems: Problems,
}

impl Shown<'_> {
    async fn render(self, chrome: Chrome, step: Step, status: StatusCode) -> Result<Response> {
        let frame = Frame {
            env: self.environment.name.clone(),
            step,
            hidden: self.wish.hidden_fields(step),
            problems: self.problems.clone(),
        };
        match step {
            Step::Kind => {
                let kinds = self.kinds(chrome.m);
                web::page_with(status, KindPage { chrome, frame, kinds })
            }
            Step::Hosts => {
                let kind = self.app.catalogue.find(&self.wish.kind).ok_or(Error::NotFound)?;
                let title = fields::text(chrome.m, kind.title());
                let hosts = self.hosts(chrome.m).await?;
                web::page_with(status, HostsPage { frame, kind: title, counts: counts(kind), hosts, chrome })
            }
            Step::Settings => {
                let kind = self.app.catalogue.find(&self.wish.kind).ok_or(Error::NotFound)?;
                let memories = self.memories().await?;
                let groups = fields::groups(kind, chrome.m, &self.wish.settings, &memories, &self.problems);
                let name = if self.wish.name.is_empty() && self.problems.is_empty() {
                    self.wish.kind.clone()
                } else {
                    self.wish.name.clone()
                };
                web::page_with(status, SettingsPage { chrome, frame, name, groups })
            }
            Step::Preflight => {
                let checks = use_case::preflight(self.app, self.environment, &self.decided().await?).await?;
                let any = |level| checks.iter().any(|check| check.level == level);
                let (failed, warned) = (any(Level::Fail), any(Level::Warn));
                let checks = check_rows(checks, chrome.m);
                let accepted = self.wish.accept_warnings;
                web::page_with(status, PreflightPage { chrome, frame, checks, failed, warned, accepted })
            }
            Step::Plan => {
                let plan = use_case::plan(&self.decided().await?);
                web::page_with(status, PlanPage { chrome, frame, name: self.wish.name.clone(), plan })
            }
        }
    }

    async fn decided(&self) -> Result<Decided> {
        use_case::decide(self.app, self.environment, self.wish, now_ms()).await?.map_err(Error::Invalid)
    }

    fn kinds(&self, m: Messages) -> Vec<KindCard> {
        let card = |kind: &zms_core::catalogue::Kind| {
            let server = kind.packages().first();
            let found = server.map(|needed| self.app.stock.fitting(needed.name.as_str(), &needed.versions)).unwrap_or_default();
            let mut versions: Vec<(String, bool)> = Vec::new();
            for found in found {
                let version = found.manifest.package.version.to_string();
                if versions.iter().all(|(other, _)| *other != version) {
                    let chosen = self.wish.kind == kind.name().as_str() && self.wish.version == version;
                    versions.push((version, chosen));
                }
            }
            let missing = choose_packages(kind, &self.app.stock, "", &[]).err().unwrap_or_default();
            if !missing.is_empty() {
                versions.clear();
            }
            KindCard {
                name: kind.name().to_string(),
                title: fields::text(m, kind.title()),
                about: fields::text(m, kind.about()),
                hosts: counts(kind),
                versions,
                missing: missing.iter().map(|problem| problem.text.say(m)).collect(),
            }
        };
        self.app.catalogue.kinds().iter().map(card).collect()
    }

    async fn hosts(&self, m: Messages) -> Result<Vec<HostChoice>> {
        let (all, now_ms) = (hosts::list(&self.app.db, &self.environment.id).await?, now_ms());
        // Loopback is offered where it can be right: beside a single host.
        let alone = self.wish.hosts.len() == 1 || all.len() == 1;
        let choice = |host: &HostRow| {
            let wished = self.wish.hosts.iter().find(|wished| wished.host == host.id);
            let address = wished.map_or("", |wished| wished.address.as_str());
            let mut addresses: Vec<(String, bool)> =
                addresses(host, alone).into_iter().map(|offered| (offered.clone(), offered == address)).collect();
            if !address.is_empty() && addresses.iter().all(|(_, chosen)| !chosen) {
                addresses.push((address.to_owned(), true));
            }
            let facts = &host.facts;
            HostChoice {
                problems: self.problems.of(&format!("address.{}", host.id)).into_iter().map(str::to_owned).collect(),
                id: host.id.clone(),
                name: host.name.clone(),
                online: host.status(now_ms) == HostStatus::Online,
                chosen: wished.is_some() || (self.wish.hosts.is_empty() && all.len() == 1),
                facts: m.services_host_facts(&facts.os, &facts.arch, facts.cpus, facts.memory_mib, facts.disk_free_mib),
                addresses,
            }
        };
        Ok(all.iter().map(choice).collect())
    }

    /// Memory of the chosen hosts.
    async fn memories(&self) -> Result<Vec<u64>> {
        let all = hosts::list(&self.app.db, &self.environment.id).await?;
        let chosen = self.wish.hosts.iter().filter_map(|wished| all.iter().find(|host| host.id == wished.host));
        Ok(chosen.map(|host| host.facts.memory_mib).collect())
    }
}

fn check_rows(checks: Vec<Checked>, m: Messages) -> Vec<CheckRow> {
    let row = |check: Checked| CheckRow {
        text: check.text.say(m),
        host: check.host,
        instance: check.instance,
        name: check.name,
        level: check.level,
    };
    checks.into_iter().map(row).collect()
}

/// How many hosts a kind may have: `1, 3, 5, 7` or `1–100`.
fn counts(kind: &zms_core::catalogue::Kind) -> String {
    let hosts = kind.hosts();
    if hosts.counts.is_empty() {
        return format!("{}–{}", hosts.min, hosts.max);
    }
    hosts.counts.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

//! Adding hosts: the line to paste, and who has come with it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::super::line::{self, LONGEST_MINUTES, LineView, MOST_USES, MadeLine, NewLine};
use super::super::row::{HostRow, HostStatus};
use super::super::script::AgentBinary;
use super::environment;
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::error::{Error, Problem, Result, Text};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{self, Form, Path, Problems};

#[derive(Template)]
#[template(path = "hosts/join.html")]
struct JoinPage {
    chrome: Chrome,
    env: String,
    form: LineForm,
    problems: Problems,
    /// Just made; shown in this answer and never again.
    made: Option<(MadeLine, Joined)>,
    open: Vec<LineView>,
    /// Where an agent is looked for, if there is none.
    missing_agent: Option<String>,
}

/// The part that refreshes itself: who has joined with a line.
#[derive(Template)]
#[template(path = "hosts/joined.html")]
struct Joined {
    m: Messages,
    env: String,
    line: LineView,
    good: bool,
    hosts: Vec<(HostRow, HostStatus)>,
}

/// What is typed.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct LineForm {
    uses: String,
    minutes: String,
}

impl Default for LineForm {
    fn default() -> Self {
        let NewLine { uses, minutes } = NewLine::default();
        Self { uses: uses.to_string(), minutes: minutes.to_string() }
    }
}

pub(super) async fn page(chrome: Chrome, user: User, address: Address, State(app): State<App>) -> Result<Response> {
    let actor = Actor { user: &user, address: &address.0 };
    web::page(load(chrome, &app, actor, LineForm::default(), None).await?)
}

async fn load(chrome: Chrome, app: &App, actor: Actor<'_>, form: LineForm, made: Option<(MadeLine, Joined)>) -> Result<JoinPage> {
    actor.user.require(Role::Operator)?;
    let environment = environment(&chrome)?;
    let mut open = line::open(&app.db, actor, &environment, now_ms()).await?;
    if let Some((made, _)) = &made {
        open.retain(|line| line.key_id != made.view.key_id);
    }
    let place = || AgentBinary::place(&app.config.packages, std::env::consts::ARCH).display().to_string();
    let missing_agent = line::script(app).await?.is_none().then(place);
    Ok(JoinPage { chrome, env: environment.name, form, problems: Problems::default(), made, open, missing_agent })
}

pub(super) async fn make(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Form(form): Form<LineForm>,
) -> Result<Response> {
    let (environment, actor, m) = (environment(&chrome)?, Actor { user: &user, address: &address.0 }, chrome.m);
    // What is no number is a number that is out of bounds.
    let number = |text: &str| text.trim().parse().unwrap_or(-1);
    let new = NewLine { uses: number(&form.uses), minutes: number(&form.minutes) };
    let now = now_ms();
    let refused = |text: &Text| vec![Problem { field: "uses".to_owned(), text: text.clone() }];
    let problems = match line::make(&app, actor, &environment, &new, now).await {
        Ok(made) => {
            let joined = Joined { m, env: environment.name.clone(), line: made.view.clone(), good: true, hosts: Vec::new() };
            // Not a redirect: the token must not be kept anywhere to be shown on another page.
            return web::page(load(chrome, &app, actor, form, Some((made, joined))).await?);
        }
        Err(Error::Invalid(problems)) => problems,
        Err(Error::Conflict(text)) => refused(&text),
        Err(error) => return Err(error),
    };
    let mut page = load(chrome, &app, actor, form, None).await?;
    page.problems = Problems::new(&problems, m);
    web::page_with(StatusCode::UNPROCESSABLE_ENTITY, page)
}

pub(super) async fn joined(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, key_id)): Path<(String, String)>,
) -> Result<Response> {
    let (environment, now) = (environment(&chrome)?, now_ms());
    let (line, hosts) = line::see(&app.db, Actor { user: &user, address: &address.0 }, &environment, &key_id).await?;
    let hosts = hosts.into_iter().map(|host| (host.status(now), host)).map(|(status, host)| (host, status)).collect();
    web::page(Joined { m: chrome.m, env: environment.name, good: line.open(now), line, hosts })
}

pub(super) async fn withdraw(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((env, key_id)): Path<(String, String)>,
) -> Result<Response> {
    let environment = environment(&chrome)?;
    line::withdraw(&app.db, Actor { user: &user, address: &address.0 }, &environment, &key_id, now_ms()).await?;
    let m = chrome.m;
    Ok(web::flash::with(web::see_other(Link::HostJoin(&env)), m.hosts_withdrawn()))
}

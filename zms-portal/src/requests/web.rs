//! Pages of requests.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use zms_core::metadata::ConsumeFrom;

use super::{Choice, Decision, GroupWish, Proposal, Request, TopicWish, Wish};
use crate::access::{Actor, Address, Role, User};
use crate::app::{App, now_ms};
use crate::engine::web::Steps;
use crate::engine::{FlowView, Status};
use crate::environments::Environment;
use crate::error::{Error, Problem, Result};
use crate::services::{bytes, flow_status_text};
use crate::topics;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::list::{self, List, ListQuery};
use crate::web::messages::Messages;
use crate::web::{self, Form, Path, Problems, Query, timestamp};

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/requests", get(all))
        .route("/e/{env}/requests/new/{kind}", get(new).post(create))
        .route("/requests/{number}", get(one))
        .route("/requests/{number}/approve", post(approve))
        .route("/requests/{number}/reject", post(reject))
        .route("/requests/{number}/withdraw", post(withdraw))
        .route("/requests/{number}/retry", post(retry))
        .route("/requests/{number}/cancel", post(cancel))
}

const SORTED_BY: [&str; 5] = ["number", "subject", "environment", "state", "by"];

#[derive(Template)]
#[template(path = "requests/list.html")]
struct ListPage {
    chrome: Chrome,
    list: List,
    rows: list::Rows<Request>,
}

async fn all(chrome: Chrome, user: User, State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Response> {
    user.require(Role::Viewer)?;
    // The newest first, unless somebody wants it otherwise.
    let query = if query.sort.is_empty() { ListQuery { dir: "desc".to_owned(), ..query } } else { query };
    let list = List::new(&query, &SORTED_BY);
    let searched = |request: &Request| {
        format!(
            "#{} {} {} {} {} {}",
            request.number,
            request.wish.subject(),
            request.environment,
            request.requested_by,
            request.state.as_str(),
            request.wish.about()
        )
    };
    let rows = list.apply(super::list(&app.db).await?, searched, |key, a, b| match key {
        "subject" => a.wish.subject().cmp(&b.wish.subject()),
        "environment" => (&a.environment, a.number).cmp(&(&b.environment, b.number)),
        "state" => (a.state.as_str(), a.number).cmp(&(b.state.as_str(), b.number)),
        "by" => (&a.requested_by, a.number).cmp(&(&b.requested_by, b.number)),
        _ => a.number.cmp(&b.number),
    });
    if list.csv {
        let mut text = list::csv_row(["number", "subject", "environment", "state", "requested_by", "requested_at"]);
        for request in &rows.rows {
            let (number, at) = (request.number.to_string(), timestamp(request.requested_at));
            text.push_str(&list::csv_row([
                number.as_str(),
                &request.wish.subject(),
                &request.environment,
                request.state.as_str(),
                &request.requested_by,
                &at,
            ]));
        }
        return Ok(list::csv("requests", text));
    }
    web::page(ListPage { chrome, list, rows })
}

/// What is typed.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct WishForm {
    name: String,
    about: String,
    rate: String,
    size: String,
    retention_hours: String,
    group: String,
    topic: String,
    from: String,
}

impl Default for WishForm {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            name: String::new(),
            about: String::new(),
            rate: text("100"),
            size: text("1024"),
            retention_hours: text("72"),
            group: String::new(),
            topic: String::new(),
            from: text("earliest"),
        }
    }
}

impl WishForm {
    fn wish(&self, kind: &str) -> Wish {
        // What is no number is 0, which no field allows, so it is named with what would be right.
        let number = |text: &String| text.trim().parse().unwrap_or_default();
        let from = if self.from == ConsumeFrom::Latest.as_str() { ConsumeFrom::Latest } else { ConsumeFrom::Earliest };
        let (name, about) = (self.name.clone(), self.about.clone());
        if kind == "group" {
            return Wish::Group(GroupWish { name, topic: self.topic.clone(), about, from });
        }
        Wish::Topic(TopicWish {
            name,
            about,
            rate: number(&self.rate),
            size: number(&self.size),
            retention_hours: number(&self.retention_hours),
            group: self.group.clone(),
            from,
        })
    }
}

#[derive(Template)]
#[template(path = "requests/new.html")]
struct NewPage {
    chrome: Chrome,
    env: String,
    /// Else it is a topic.
    is_group: bool,
    form: WishForm,
    topics: Vec<String>,
    problems: Problems,
}

fn environment(chrome: &Chrome) -> Result<Environment> {
    chrome.environment.clone().ok_or(Error::NotFound)
}

fn is_group(kind: &str) -> Result<bool> {
    match kind {
        "topic" => Ok(false),
        "group" => Ok(true),
        _ => Err(Error::NotFound),
    }
}

async fn new_page(chrome: Chrome, app: &App, kind: &str, form: WishForm, problems: &[Problem]) -> Result<NewPage> {
    let environment = environment(&chrome)?;
    let is_group = is_group(kind)?;
    let topics = if is_group { topics::list(&app.db, &environment.id).await? } else { Vec::new() };
    let topics = topics.into_iter().map(|topic| topic.name.to_string()).collect();
    let problems = Problems::new(problems, chrome.m);
    Ok(NewPage { env: environment.name, chrome, is_group, form, topics, problems })
}

async fn new(
    chrome: Chrome,
    user: User,
    State(app): State<App>,
    Path((_, kind)): Path<(String, String)>,
    Query(form): Query<WishForm>,
) -> Result<Response> {
    user.require(Role::Developer)?;
    web::page(new_page(chrome, &app, &kind, form, &[]).await?)
}

async fn create(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path((_, kind)): Path<(String, String)>,
    Form(form): Form<WishForm>,
) -> Result<Response> {
    is_group(&kind)?;
    let environment = environment(&chrome)?;
    let actor = Actor { user: &user, address: &address.0 };
    match super::apply(&app, actor, &environment, form.wish(&kind), now_ms()).await {
        Ok(number) => Ok(web::see_other(Link::Request(number))),
        Err(Error::Invalid(problems)) => {
            web::page_with(StatusCode::UNPROCESSABLE_ENTITY, new_page(chrome, &app, &kind, form, &problems).await?)
        }
        Err(error) => Err(error),
    }
}

#[derive(Template)]
#[template(path = "requests/one.html")]
struct OnePage {
    chrome: Chrome,
    request: Request,
    proposal: Option<Proposal>,
    choice: Choice,
    steps: Option<Steps>,
    status: Option<Status>,
    /// Why a person has to look.
    why: Vec<String>,
    may_decide: bool,
    may_withdraw: bool,
    problems: Problems,
}

impl OnePage {
    fn topic(&self) -> Option<&TopicWish> {
        match &self.request.wish {
            Wish::Topic(topic) => Some(topic),
            Wish::Group(_) => None,
        }
    }

    fn group(&self) -> Option<&GroupWish> {
        match &self.request.wish {
            Wish::Topic(_) => None,
            Wish::Group(group) => Some(group),
        }
    }

    /// The words of where it stands.
    fn state(&self, m: &Messages) -> (&'static str, String) {
        match (self.request.state, self.status) {
            (super::State::Approved, Some(status)) => (status.as_str(), flow_status_text(&status, m).to_owned()),
            (state, _) => (state.as_str(), state_text(&state, m).to_owned()),
        }
    }
}

/// A state in words.
fn state_text(state: &super::State, m: &Messages) -> &'static str {
    match *state {
        super::State::Open => m.requests_state_open(),
        super::State::Approved => m.requests_state_approved(),
        super::State::Rejected => m.requests_state_rejected(),
        super::State::Withdrawn => m.requests_state_withdrawn(),
    }
}

async fn load(
    chrome: Chrome,
    user: &User,
    app: &App,
    number: i64,
    choice: Option<Choice>,
    problems: &[Problem],
) -> Result<OnePage> {
    user.require(Role::Viewer)?;
    let request = super::find(&app.db, number).await?;
    let flow: Option<FlowView> = match &request.flow_id {
        Some(id) => Some(app.engine.view(id).await?),
        None => None,
    };
    let state = flow.as_ref().and_then(|flow| serde_json::from_value::<super::flow::State>(flow.state.clone()).ok());
    let why = match state {
        Some(super::flow::State::Stuck { why, .. }) => vec![why],
        Some(super::flow::State::Found { plan, topics, groups }) => {
            let topics = topics.iter().map(|name| chrome.m.requests_found_topic(&plan.cluster, name));
            topics.chain(groups.iter().map(|name| chrome.m.requests_found_group(&plan.cluster, name))).collect()
        }
        _ => Vec::new(),
    };
    let may_decide = user.may(Role::Approver);
    let open = request.state == super::State::Open;
    let proposal = match &request.wish {
        Wish::Topic(wish) if open && may_decide => Some(super::propose(app, &request.environment_id, wish).await?),
        Wish::Topic(_) | Wish::Group(_) => None,
    };
    let choice = choice.or(proposal.as_ref().map(|proposal| proposal.choice.clone())).unwrap_or_default();
    let may_withdraw = open && request.requested_by == user.name;
    let status = flow.as_ref().map(|flow| flow.status);
    let steps = flow.map(|flow| Steps::of(&app.engine, flow, chrome.m, now_ms()));
    let problems = Problems::new(problems, chrome.m);
    Ok(OnePage { chrome, request, proposal, choice, steps, status, why, may_decide, may_withdraw, problems })
}

async fn one(chrome: Chrome, user: User, State(app): State<App>, Path(number): Path<i64>) -> Result<Response> {
    web::page(load(chrome, &user, &app, number, None, &[]).await?)
}

/// What an approver types.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ChoiceForm {
    cluster: String,
    partitions: String,
    replicas: String,
}

async fn approve(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path(number): Path<i64>,
    Form(form): Form<ChoiceForm>,
) -> Result<Response> {
    let choice = Choice {
        cluster: form.cluster,
        partitions: form.partitions.trim().parse().unwrap_or_default(),
        replicas: form.replicas.trim().parse().unwrap_or_default(),
    };
    match super::approve(&app, Actor { user: &user, address: &address.0 }, number, choice.clone(), now_ms()).await {
        Ok(_) => Ok(web::see_other(Link::Request(number))),
        Err(Error::Invalid(problems)) => {
            web::page_with(StatusCode::UNPROCESSABLE_ENTITY, load(chrome, &user, &app, number, Some(choice), &problems).await?)
        }
        Err(error) => Err(error),
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct WhyForm {
    why: String,
}

async fn reject(
    chrome: Chrome,
    user: User,
    address: Address,
    State(app): State<App>,
    Path(number): Path<i64>,
    Form(form): Form<WhyForm>,
) -> Result<Response> {
    match super::reject(&app, Actor { user: &user, address: &address.0 }, number, &form.why, now_ms()).await {
        Ok(()) => Ok(web::see_other(Link::Request(number))),
        Err(Error::Invalid(problems)) => {
            web::page_with(StatusCode::UNPROCESSABLE_ENTITY, load(chrome, &user, &app, number, None, &problems).await?)
        }
        Err(error) => Err(error),
    }
}

async fn withdraw(user: User, address: Address, State(app): State<App>, Path(number): Path<i64>) -> Result<Response> {
    super::withdraw(&app, Actor { user: &user, address: &address.0 }, number, now_ms()).await?;
    Ok(web::see_other(Link::Request(number)))
}

async fn retry(user: User, address: Address, State(app): State<App>, Path(number): Path<i64>) -> Result<Response> {
    super::retry(&app, Actor { user: &user, address: &address.0 }, number, now_ms()).await?;
    Ok(web::see_other(Link::Request(number)))
}

async fn cancel(user: User, address: Address, State(app): State<App>, Path(number): Path<i64>) -> Result<Response> {
    super::cancel(&app, Actor { user: &user, address: &address.0 }, number, now_ms()).await?;
    Ok(web::see_other(Link::Request(number)))
}

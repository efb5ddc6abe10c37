//! A flow's steps, as a page and as a part of other pages that keeps itself up to date.

use std::fmt::Display;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;

use super::machine::Status;
use super::view::{FlowView, StepState, StepView};
use super::{Engine, EventView};
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::error::Result;
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::messages::Messages;
use crate::web::{Path, page, timestamp};

/// Pages of flows.
pub fn pages() -> Router<App> {
    Router::new().route("/flows/{id}", get(flow)).route("/flows/{id}/steps", get(steps))
}

#[derive(Template)]
#[template(path = "engine/flow.html")]
struct FlowPage {
    chrome: Chrome,
    title: String,
    /// The page of what it is about, and its name; none if it has no page.
    about: Option<(String, String)>,
    steps: Steps,
}

/// Where what a flow is about has its page.
fn about(env: &str, subject: &str, m: &Messages) -> Option<(String, String)> {
    let (kind, name) = subject.split_once('/')?;
    let link = match kind {
        "cluster" => Link::Cluster(env, name),
        "service" => Link::Service(env, name, "status"),
        "topic" => Link::Topic(env, name, "overview"),
        "group" => Link::Group(env, name),
        "metadata" => Link::Metadata(env),
        _ => return None,
    };
    let name = if kind == "metadata" { m.metadata_title() } else { name };
    Some((link.to_string(), name.to_owned()))
}

async fn flow(chrome: Chrome, user: User, State(app): State<App>, Path(id): Path<String>) -> Result<Response> {
    user.require(Role::Viewer)?;
    let flow = app.engine.view(&id).await?;
    let environment = chrome.environments.iter().find(|known| Some(&known.id) == flow.environment_id.as_ref()).cloned();
    let about = environment.as_ref().and_then(|environment| about(&environment.name, &flow.subject, &chrome.m));
    let steps = Steps::of(&app.engine, flow, chrome.m, now_ms());
    let title = match &about {
        // There is one of it in an environment.
        Some(_) if steps.subject.starts_with("metadata/") => steps.kind.clone(),
        Some((_, name)) => chrome.m.engine_title(&steps.kind, name),
        None => chrome.m.engine_title(&steps.kind, &steps.subject),
    };
    page(FlowPage { chrome: Chrome { environment, ..chrome }, title, about, steps })
}

/// The part that refreshes itself.
async fn steps(chrome: Chrome, user: User, State(app): State<App>, Path(id): Path<String>) -> Result<Response> {
    user.require(Role::Viewer)?;
    page(Steps::of(&app.engine, app.engine.view(&id).await?, chrome.m, now_ms()))
}

/// The steps of a flow for any page: a field `steps: Steps`, and `{{ steps|safe }}` in its template. It refreshes itself until the flow
/// has ended.
#[derive(Template)]
#[template(path = "engine/steps.html")]
pub struct Steps {
    m: Messages,
    link: String,
    /// Title of the machine.
    pub kind: String,
    /// What the flow is about.
    pub subject: String,
    status: Status,
    by: String,
    created: String,
    done: usize,
    all: usize,
    rows: Vec<StepRow>,
    events: Vec<EventRow>,
}

struct StepRow {
    title: String,
    target: String,
    state: StepState,
    /// Says more than the state: attempts and the time of the next one.
    more: Vec<String>,
    note: String,
    begun: String,
    took: String,
}

struct EventRow {
    at: String,
    who: String,
    title: String,
    detail: String,
}

impl Steps {
    /// Of `flow`, in the language of `m`.
    pub fn of(engine: &Engine, flow: FlowView, m: Messages, now_ms: i64) -> Self {
        let kind = engine.kind(&flow.kind);
        let title = |name: &str| kind.as_ref().map_or_else(|| name.to_owned(), |kind| kind.effect_title(m, name));
        let command = |name: &str| kind.as_ref().map_or_else(|| name.to_owned(), |kind| kind.command_title(m, name));
        let (done, all) = flow.progress();
        // The environment's id tells people nothing.
        let environment = flow.environment_id.clone().unwrap_or_default();
        let target = |step: &StepView| step.target.strip_suffix(&environment).unwrap_or(&step.target).trim_end().to_owned();
        Self {
            m,
            link: Link::FlowSteps(&flow.id).to_string(),
            rows: flow.steps.iter().map(|step| row(step, title(&step.name), target(step), m, now_ms)).collect(),
            // The newest is what people look for.
            events: flow.events.iter().rev().map(|event| event_row(event, command, m)).collect(),
            kind: engine.title(&flow.kind, m),
            subject: flow.subject,
            status: flow.status,
            // Nobody: the portal itself.
            by: if flow.created_by.is_empty() { "ZMS".to_owned() } else { flow.created_by },
            created: timestamp(flow.created_at),
            done,
            all,
        }
    }

    fn status_text(&self) -> &'static str {
        match self.status {
            Status::Running => self.m.engine_status_running(),
            Status::Waiting => self.m.engine_status_waiting(),
            Status::Done => self.m.engine_status_done(),
            Status::Failed => self.m.engine_status_failed(),
            Status::Cancelled => self.m.engine_status_cancelled(),
        }
    }
}

impl StepRow {
    /// Next to the state in words, never instead of it.
    fn icon(&self) -> char {
        match self.state {
            StepState::Due => '○',
            StepState::Running => '▶',
            StepState::Waiting => '…',
            StepState::Retrying => '⟳',
            StepState::Done => '✓',
            StepState::Cancelled => '–',
        }
    }

    /// For the style sheet.
    fn class(&self) -> &'static str {
        match self.state {
            StepState::Due => "due",
            StepState::Running => "running",
            StepState::Waiting => "waiting",
            StepState::Retrying => "retrying",
            StepState::Done => "done",
            StepState::Cancelled => "cancelled",
        }
    }

    fn state_text(&self, m: &Messages) -> &'static str {
        match self.state {
            StepState::Due => m.engine_step_due(),
            StepState::Running => m.engine_step_running(),
            StepState::Waiting => m.engine_step_waiting(),
            StepState::Retrying => m.engine_step_retrying(),
            StepState::Done => m.engine_step_done(),
            StepState::Cancelled => m.engine_step_cancelled(),
        }
    }
}

fn row(step: &StepView, title: String, target: String, m: Messages, now_ms: i64) -> StepRow {
    let mut more = Vec::new();
    if step.attempts > 1 {
        more.push(m.engine_attempt(step.attempts));
    }
    if let Some(next) = step.next_at {
        let when = if next > now_ms { m.engine_again_in(span(m, next - now_ms)) } else { m.engine_again_now().to_owned() };
        more.push(m.engine_again(when));
    }
    let took = step.started_at.map(|started| step.done_at.unwrap_or(now_ms).saturating_sub(started));
    StepRow {
        title,
        target,
        state: step.state,
        more,
        note: step.note.clone(),
        begun: step.started_at.map(timestamp).unwrap_or_default(),
        took: took.map(|took| span(m, took)).unwrap_or_default(),
    }
}

fn event_row(event: &EventView, title: impl Fn(&str) -> String, m: Messages) -> EventRow {
    let (name, rest) = event.name();
    EventRow {
        at: timestamp(event.at),
        who: if event.who.is_empty() { m.engine_portal().to_owned() } else { event.who.clone() },
        title: title(name),
        detail: rest.filter(|rest| !rest.is_null()).map(detail).unwrap_or_default(),
    }
}

/// What a command carried: `name: orders, rows: 3`.
fn detail(carried: &Value) -> String {
    match carried {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}: {}", detail(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// A span of time for people.
fn span(m: Messages, ms: i64) -> String {
    let ms = ms.max(0);
    let tenths = |ms: i64| -> Box<dyn Display> {
        if ms < 10_000 { Box::new(format!("{}.{}", ms / 1_000, ms % 1_000 / 100)) } else { Box::new(ms / 1_000) }
    };
    match ms {
        0..1_000 => m.engine_milliseconds(ms),
        1_000..60_000 => m.engine_seconds(tenths(ms)),
        60_000..3_600_000 => m.engine_minutes(ms / 60_000, ms % 60_000 / 1_000),
        _ => m.engine_hours(ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        let cases = [
            (-5, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (9_999, "9.9 s"),
            (10_000, "10 s"),
            (61_500, "1 min 1 s"),
            (7_260_000, "2 h 1 min"),
        ];
        for (ms, wanted) in cases {
            assert_eq!(span(Messages::ENGLISH, ms), wanted);
        }
        assert_eq!(span(Messages::CHINESE, 61_500), "1 分 1 秒");
    }

    #[test]
    fn a_note_or_a_detail_cannot_become_markup() {
        let step = StepView {
            name: "place_files".to_owned(),
            target: "host/<1>".to_owned(),
            state: StepState::Retrying,
            attempts: 3,
            note: "<script>alert(1)</script>".to_owned(),
            created_at: 0,
            started_at: Some(1_000),
            done_at: None,
            next_at: Some(9_000),
        };
        let m = Messages::ENGLISH;
        let row = row(&step, "Place files".to_owned(), step.target.clone(), m, 5_000);
        assert_eq!(row.more, ["attempt 3", "next attempt in 4.0 s"]);
        let carried = serde_json::json!({ "added": { "part": "topics", "rows": 2 } });
        let added = event_row(&EventView { at: 0, who: String::new(), what: carried }, str::to_owned, m);
        assert_eq!((added.title.as_str(), added.detail.as_str()), ("added", "part: topics, rows: 2"));
        let event = EventView { at: 0, who: String::new(), what: serde_json::json!({ "FilesPlaced": "<b>" }) };
        let events = vec![event_row(&event, str::to_owned, m)];
        let steps = Steps {
            m,
            link: "/flows/1/steps".to_owned(),
            kind: "toy".to_owned(),
            subject: "s".to_owned(),
            status: Status::Running,
            by: "ada".to_owned(),
            created: timestamp(0),
            done: 0,
            all: 1,
            rows: vec![row],
            events,
        };
        let html = steps.render().unwrap();
        assert!(!html.contains("<script>") && !html.contains("<b>") && html.contains("&#60;script&#62;"), "{html}");
        assert!(html.contains("/flows/1/steps") && html.contains("FilesPlaced"), "{html}");
    }
}

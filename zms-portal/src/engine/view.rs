//! Flows as people see them.

use anyhow::anyhow;
use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::machine::Status;
use super::store;
use crate::app::now_ms;
use crate::db::Db;
use crate::error::{Error, Result};

/// Flows that [`of_subject`] gives at most.
const OF_SUBJECT: i64 = 20;

/// A flow without its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FlowSummary {
    /// Sorts by time.
    pub id: String,
    /// Which machine it is.
    pub kind: String,
    /// Where it belongs.
    pub environment_id: Option<String>,
    /// What it is about.
    pub subject: String,
    /// Where it stands.
    pub status: Status,
    /// Who started it.
    pub created_by: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

/// A flow with its steps and history.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FlowView {
    /// Sorts by time.
    pub id: String,
    /// Which machine it is.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Where it belongs.
    pub environment_id: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// The machine's own state.
    #[schema(value_type = Object)]
    pub state: Value,
    /// Who started it.
    pub created_by: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// What was and is done outside, in the order it was asked for.
    pub steps: Vec<StepView>,
    /// The commands it took, oldest first.
    pub events: Vec<EventView>,
}

/// One effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StepView {
    /// What it does.
    pub name: String,
    /// At whom.
    pub target: String,
    /// How it goes.
    pub state: StepState,
    /// Attempts since it last went well; more than one means failures.
    pub attempts: i64,
    /// Why it is not done yet, or what came of it.
    pub note: String,
    /// When it was asked for, milliseconds since 1970.
    pub created_at: i64,
    /// When the first attempt began.
    pub started_at: Option<i64>,
    /// When it was done or cancelled.
    pub done_at: Option<i64>,
    /// When the next attempt is due.
    pub next_at: Option<i64>,
}

/// How an effect goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// Not begun.
    Due,
    /// Under way.
    Running,
    /// Looked at, not there yet, and nothing is wrong.
    Waiting,
    /// Failed; another attempt follows.
    Retrying,
    /// Done.
    Done,
    /// Not wanted any more.
    Cancelled,
}

/// One command that the flow took.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventView {
    /// Milliseconds since 1970.
    pub at: i64,
    /// The person; empty is the portal itself.
    pub who: String,
    /// The command: its name, or an object of its name and what it carried.
    #[schema(value_type = Value)]
    pub what: Value,
}

impl EventView {
    /// The command's variant as serde writes it, and the rest of it.
    pub fn name(&self) -> (&str, Option<&Value>) {
        match &self.what {
            Value::String(name) => (name, None),
            Value::Object(fields) if fields.len() == 1 => {
                fields.iter().next().map_or(("", None), |(name, rest)| (name, Some(rest)))
            }
            other => ("", Some(other)),
        }
    }
}

impl FlowView {
    /// Steps that are done, and steps in all; what was cancelled does not count.
    pub fn progress(&self) -> (usize, usize) {
        let count = |wanted: fn(StepState) -> bool| self.steps.iter().filter(|step| wanted(step.state)).count();
        (count(|state| state == StepState::Done), count(|state| state != StepState::Cancelled))
    }
}

/// What a list of flows is asked for; empty means any.
#[derive(Debug, Clone, Default)]
pub struct Query<'a> {
    /// Name of the environment.
    pub environment: &'a str,
    /// The whole subject.
    pub subject: &'a str,
    /// As [`Status::as_str`] says it.
    pub status: &'a str,
    /// Only flows older than this id.
    pub before: &'a str,
    /// At most so many.
    pub limit: i64,
}

pub(super) async fn load(db: &Db, id: &str) -> Result<FlowView> {
    let row = sqlx::query(
        "select id, kind, environment_id, subject, state, status, created_by, created_at, updated_at from flows where id = $1",
    )
    .bind(id)
    .fetch_optional(db.read())
    .await?
    .ok_or(Error::NotFound)?;
    let FlowSummary { id, kind, environment_id, subject, status, created_by, created_at, updated_at } = summary(&row)?;
    let state = serde_json::from_str(row.try_get("state")?)?;
    let (steps, events) = (steps(db, &id).await?, events(db, &id).await?);
    Ok(FlowView { id, kind, subject, environment_id, status, state, created_by, created_at, updated_at, steps, events })
}

pub(super) async fn of_subject(db: &Db, environment_id: Option<&str>, subject: &str) -> Result<Vec<FlowView>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select id from flows where coalesce(environment_id, '') = $1 and subject = $2 order by created_at desc, id desc limit $3",
    )
    .bind(environment_id.unwrap_or_default())
    .bind(subject)
    .bind(OF_SUBJECT)
    .fetch_all(db.read())
    .await?;
    let mut flows = Vec::with_capacity(ids.len());
    for id in ids {
        flows.push(load(db, &id).await?);
    }
    Ok(flows)
}

/// Flows, newest first.
pub async fn list(db: &Db, query: &Query<'_>) -> Result<Vec<FlowSummary>> {
    let sql = "select id, kind, environment_id, subject, status, created_by, created_at, updated_at from flows \
               where ($1 = '' or environment_id in (select id from environments where name = $1)) and ($2 = '' or subject = $2) \
               and ($3 = '' or status = $3) and ($4 = '' or id < $4) order by id desc limit $5";
    let rows = sqlx::query(sql)
        .bind(query.environment)
        .bind(query.subject)
        .bind(query.status)
        .bind(query.before)
        .bind(query.limit)
        .fetch_all(db.read())
        .await?;
    rows.iter().map(summary).collect()
}

fn summary(row: &AnyRow) -> Result<FlowSummary> {
    Ok(FlowSummary {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        environment_id: row.try_get("environment_id")?,
        subject: row.try_get("subject")?,
        status: store::status(row)?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

async fn steps(db: &Db, flow_id: &str) -> Result<Vec<StepView>> {
    let sql = "select name, target, state, attempts, note, created_at, started_at, done_at, due_at, lease_until from effects \
               where flow_id = $1 order by n";
    let rows = sqlx::query(sql).bind(flow_id).fetch_all(db.read()).await?;
    let now = now_ms();
    rows.iter().map(|row| step(row, now)).collect()
}

fn step(row: &AnyRow, now_ms: i64) -> Result<StepView> {
    let attempts: i64 = row.try_get("attempts")?;
    let started_at: Option<i64> = row.try_get("started_at")?;
    let state = match row.try_get("state")? {
        "done" => StepState::Done,
        "cancelled" => StepState::Cancelled,
        "due" if row.try_get::<i64, _>("lease_until")? > now_ms => StepState::Running,
        "due" if started_at.is_none() => StepState::Due,
        "due" if attempts == 0 => StepState::Waiting,
        "due" => StepState::Retrying,
        other => return Err(anyhow!("effect in state {other:?}: this portal does not know it").into()),
    };
    let rests = matches!(state, StepState::Waiting | StepState::Retrying);
    Ok(StepView {
        name: row.try_get("name")?,
        target: row.try_get("target")?,
        state,
        attempts,
        note: row.try_get("note")?,
        created_at: row.try_get("created_at")?,
        started_at,
        done_at: row.try_get("done_at")?,
        next_at: if rests { Some(row.try_get("due_at")?) } else { None },
    })
}

async fn events(db: &Db, flow_id: &str) -> Result<Vec<EventView>> {
    let rows = sqlx::query("select at, who, what from flow_events where flow_id = $1 order by n")
        .bind(flow_id)
        .fetch_all(db.read())
        .await?;
    rows.iter()
        .map(|row| {
            Ok(EventView { at: row.try_get("at")?, who: row.try_get("who")?, what: serde_json::from_str(row.try_get("what")?)? })
        })
        .collect()
}

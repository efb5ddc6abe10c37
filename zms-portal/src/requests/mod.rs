//! Requests: what developers ask for, and what approvers make of it.
//!
//! 1. `wish`: what can be asked for, and what is wrong with it. 2. This file: apply, [`approve`], [`reject`], [`withdraw`], [`retry`].
//! 3. `flow`, `perform`: from an approval to a topic that applications can use. 4. `propose`: what an approver is offered.
//! 5. `web` pages, `api` REST, `store` SQL.

mod api;
mod decide;
pub mod flow;
mod perform;
mod propose;
mod store;
#[cfg(test)]
mod tests;
mod web;
mod wish;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use api::api;
pub use decide::{approve, cancel, reject, retry, withdraw};
pub use propose::{Choice, Proposal, propose};
pub use store::count_open;
pub use web::pages;
pub use wish::{GroupWish, TopicWish, Wish};

use crate::access::{Actor, Role};
use crate::app::App;
use crate::db::{Db, is_taken};
use crate::environments::Environment;
use crate::error::{Error, Problem, Result};
use crate::{groups, topics};

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Request {
    /// For people: #12.
    pub number: i64,
    /// Id of the environment that it is for.
    #[serde(skip)]
    pub environment_id: String,
    /// Name of the environment.
    pub environment: String,
    /// What was asked for.
    pub wish: Wish,
    /// What came of it.
    pub state: State,
    /// By whom.
    pub requested_by: String,
    /// Milliseconds since 1970.
    pub requested_at: i64,
    /// Who decided, or took it back.
    pub decided_by: Option<String>,
    /// Milliseconds since 1970.
    pub decided_at: Option<i64>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// The flow that brings it about.
    pub flow_id: Option<String>,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RequestState)]
pub enum State {
    /// Nobody has decided.
    Open,
    /// Approved; its flow says how far it is.
    Approved,
    /// Rejected.
    Rejected,
    /// Taken back.
    Withdrawn,
}

impl State {
    /// As the database and the API write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "approved" => Self::Approved,
            "rejected" => Self::Rejected,
            "withdrawn" => Self::Withdrawn,
            _ => Self::Open,
        }
    }
}

/// What an approver decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// A topic on this cluster.
    Topic {
        /// Name of the cluster.
        cluster: String,
        /// Partitions.
        partitions: i32,
        /// Replicas.
        replicas: i16,
    },
    /// A group, where its topic lives.
    Group {},
    /// No, for this reason.
    Rejected {
        /// A sentence.
        why: String,
    },
}

/// Makes the state machine of this slice known to the engine.
pub fn register(app: &App) {
    app.engine.register::<flow::Create>(Arc::new(perform::Performer(app.clone())));
}

/// All requests, newest first.
pub async fn list(db: &Db) -> Result<Vec<Request>> {
    store::list(db.read()).await
}

/// A request by its number.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(db: &Db, number: i64) -> Result<Request> {
    store::find(db.read(), number).await
}

/// Asks for something; for developers. The request's number.
///
/// # Errors
/// [`Error::Invalid`] with everything that is wrong.
pub async fn apply(app: &App, actor: Actor<'_>, environment: &Environment, wish: Wish, now_ms: i64) -> Result<i64> {
    let target = format!("environment/{}/{}", environment.name, wish.subject());
    actor.require(&app.db, Role::Developer, "request.apply", &target, now_ms).await?;
    let wish = wish.trimmed();
    let mut problems = wish.problems();
    problems.extend(conflicts(app, environment, &wish).await?);
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let mut tx = app.db.begin().await?;
    let number = store::insert(&mut tx, &environment.id, &wish, &actor.user.name, now_ms).await.map_err(|error| {
        // Two people asked in the same moment on two portals: the number is free again at the next try.
        if is_taken(&error) { Error::Conflict(crate::error::Text::new(|m| m.requests_again().to_owned())) } else { error.into() }
    })?;
    actor.record(&mut tx, "request.apply", &target, json!({ "number": number, "wish": wish }), now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    tracing::info!(number, environment = environment.name, subject = wish.subject(), "a request was made");
    Ok(number)
}

/// Names that are taken, and topics that are not there.
async fn conflicts(app: &App, environment: &Environment, wish: &Wish) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let group = match wish {
        Wish::Topic(topic) => {
            if exists(topics::find(&app.db, &environment.id, &topic.name).await.map(drop))? {
                let name = topic.name.clone();
                problems.push(Problem::new("name", move |m| m.requests_topic_taken(&name)));
            }
            topic.group.as_str()
        }
        Wish::Group(group) => {
            if !exists(topics::find(&app.db, &environment.id, &group.topic).await.map(drop))? {
                let name = group.topic.clone();
                problems.push(Problem::new("topic", move |m| m.requests_no_topic(&name)));
            }
            group.name.as_str()
        }
    };
    if !group.is_empty() && exists(groups::find(&app.db, &environment.id, group).await.map(drop))? {
        let (field, name) = (if matches!(wish, Wish::Topic(_)) { "group" } else { "name" }, group.to_owned());
        problems.push(Problem::new(field, move |m| m.requests_group_taken(&name)));
    }
    Ok(problems)
}

fn exists(found: Result<()>) -> Result<bool> {
    match found {
        Ok(()) => Ok(true),
        Err(Error::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

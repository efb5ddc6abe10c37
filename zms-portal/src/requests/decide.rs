//! What approvers decide, and what comes of it.

use std::collections::BTreeMap;

use serde_json::json;
use zms_core::metadata::{ConsumeFrom, Order};
use zms_core::names::{GroupName, TopicName};

use super::flow::{self, Command, Create, Named, Plan};
use super::store::{self, Decided};
use super::{Choice, Decision, Request, State, Wish};
use crate::access::{Actor, Role};
use crate::app::{App, new_id};
use crate::clusters::{self, Cluster};
use crate::db::{Tx, is_taken};
use crate::engine::NewFlow;
use crate::error::{Error, Problem, Result, Text};
use crate::groups::{self, Group};
use crate::topics::{self, Topic};

/// Most partitions of a topic; more slow every broker down.
const MOST_PARTITIONS: i32 = 1000;
/// Most replicas.
const MOST_REPLICAS: i16 = 5;
/// Longest reason, in characters.
const LONGEST_WHY: usize = 500;

/// Approves an open request; for approvers. The id of the flow that brings it about.
///
/// # Errors
/// [`Error::Conflict`] if somebody decided before, or something else happens to that name; [`Error::Invalid`] with what is wrong.
pub async fn approve(app: &App, actor: Actor<'_>, number: i64, choice: Choice, now_ms: i64) -> Result<String> {
    let target = format!("request/{number}");
    actor.require(&app.db, Role::Approver, "request.approve", &target, now_ms).await?;
    let request = super::find(&app.db, number).await?;
    still_open(&request)?;
    let environment_id = request.environment_id.clone();
    let mut tx = app.db.begin().await?;
    let (plan, decision) = match &request.wish {
        Wish::Topic(wish) => {
            let cluster = chosen(app, &request, &choice).await?;
            // 0: they are read back when the topic is there.
            let replicas = if cluster.chooses_replicas() { choice.replicas } else { 0 };
            let topic = Topic {
                id: new_id(),
                environment_id: environment_id.clone(),
                name: TopicName::new(wish.name.clone()).map_err(anyhow::Error::new)?,
                cluster_id: cluster.id.clone(),
                partitions: choice.partitions,
                replicas,
                config: BTreeMap::from([(
                    clusters::RETENTION.to_owned(),
                    (u64::from(wish.retention_hours) * 3_600_000).to_string(),
                )]),
                owner: request.requested_by.clone(),
                about: wish.about.clone(),
                state: topics::State::Creating,
                order: Order::default(),
                created_at: now_ms,
            };
            topics::insert(&mut tx, &topic).await.map_err(|error| taken(error, &wish.name))?;
            let mut named = Vec::new();
            if !wish.group.is_empty() {
                named.push(group(&mut tx, &request, &wish.group, &topic.id, wish.from, now_ms).await?);
            }
            let decision = Decision::Topic { cluster: cluster.name.to_string(), partitions: choice.partitions, replicas };
            let topic = Named { id: topic.id, name: wish.name.clone() };
            (Plan { cluster: cluster.name.to_string(), topic: Some(topic), groups: named, ..Plan::default() }, decision)
        }
        Wish::Group(wish) => {
            let topic = topics::find(&app.db, &environment_id, &wish.topic).await?;
            let cluster = clusters::by_id(&app.db, &topic.cluster_id).await?;
            let group = group(&mut tx, &request, &wish.name, &topic.id, wish.from, now_ms).await?;
            (Plan { cluster: cluster.name.to_string(), groups: vec![group], ..Plan::default() }, Decision::Group {})
        }
    };
    let subject = request.wish.subject();
    let next = flow::begin(plan);
    let new = NewFlow::<Create> {
        environment_id: Some(&environment_id),
        subject: &subject,
        lock: Some(&subject),
        state: next.state,
        effects: next.effects,
        by: &actor.user.name,
        now_ms,
    };
    let flow_id = app.engine.start::<Create>(&mut tx, new).await?;
    let decided =
        Decided { state: State::Approved, by: &actor.user.name, decision: Some(&decision), flow_id: Some(&flow_id), now_ms };
    if !store::decide(&mut tx, number, decided).await? {
        drop(tx);
        return still_open(&super::find(&app.db, number).await?).map(|()| flow_id);
    }
    actor
        .record(&mut tx, "request.approve", &target, json!({ "subject": subject, "decision": decision, "flow": flow_id }), now_ms)
        .await?;
    tx.commit().await?;
    app.engine.wake();
    tracing::info!(number, subject, flow = flow_id, "a request was approved");
    Ok(flow_id)
}

/// Rejects an open request with a reason; for approvers.
///
/// # Errors
/// As [`approve`].
pub async fn reject(app: &App, actor: Actor<'_>, number: i64, why: &str, now_ms: i64) -> Result<()> {
    actor.require(&app.db, Role::Approver, "request.reject", &format!("request/{number}"), now_ms).await?;
    let why = why.trim();
    if why.is_empty() || why.chars().count() > LONGEST_WHY {
        return Err(Error::invalid("why", |m| m.requests_bad_why(LONGEST_WHY)));
    }
    let decision = Decision::Rejected { why: why.to_owned() };
    end(app, actor, number, State::Rejected, Some(&decision), now_ms).await
}

/// Takes one's own open request back.
///
/// # Errors
/// [`Error::Forbidden`] for somebody else's.
pub async fn withdraw(app: &App, actor: Actor<'_>, number: i64, now_ms: i64) -> Result<()> {
    let request = super::find(&app.db, number).await?;
    if request.requested_by != actor.user.name {
        return Err(Error::Forbidden);
    }
    end(app, actor, number, State::Withdrawn, None, now_ms).await
}

async fn end(app: &App, actor: Actor<'_>, number: i64, state: State, decision: Option<&Decision>, now_ms: i64) -> Result<()> {
    let mut tx = app.db.begin().await?;
    if !store::decide(&mut tx, number, Decided { state, by: &actor.user.name, decision, flow_id: None, now_ms }).await? {
        drop(tx);
        return still_open(&super::find(&app.db, number).await?);
    }
    let act = if state == State::Rejected { "request.reject" } else { "request.withdraw" };
    actor.record(&mut tx, act, &format!("request/{number}"), json!({ "decision": decision }), now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(())
}

/// Tries an approved request again that is stuck; for approvers.
///
/// # Errors
/// [`Error::Conflict`] if it is not stuck.
pub async fn retry(app: &App, actor: Actor<'_>, number: i64, now_ms: i64) -> Result<()> {
    actor.require(&app.db, Role::Approver, "request.retry", &format!("request/{number}"), now_ms).await?;
    let flow = super::find(&app.db, number).await?.flow_id.ok_or(Error::NotFound)?;
    app.engine.command::<Create>(&flow, Command::Retry, &actor.user.name, now_ms).await
}

/// Gives up an approved request that is not done yet; for approvers. What the broker has already stays there; what applications read of it is taken
/// back by the flow's last step, when no other is under way any more, and its names are free then.
///
/// # Errors
/// [`Error::Conflict`] if it is done, or nearly.
pub async fn cancel(app: &App, actor: Actor<'_>, number: i64, now_ms: i64) -> Result<()> {
    let target = format!("request/{number}");
    actor.require(&app.db, Role::Approver, "request.cancel", &target, now_ms).await?;
    let flow = super::find(&app.db, number).await?.flow_id.ok_or(Error::NotFound)?;
    let mut tx = app.db.begin().await?;
    app.engine.command_in::<Create>(&mut tx, &flow, &Command::Cancel, &actor.user.name, now_ms).await?;
    actor.record(&mut tx, "request.cancel", &target, json!({ "flow": flow }), now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(())
}

/// Says who decided, if somebody did.
fn still_open(request: &Request) -> Result<()> {
    let (by, number) = (request.decided_by.clone().unwrap_or_default(), request.number);
    match request.state {
        State::Open => Ok(()),
        State::Approved | State::Rejected | State::Withdrawn => {
            Err(Error::Conflict(Text::new(move |m| m.requests_decided(number, &by))))
        }
    }
}

/// The cluster of a choice, after everything in it was checked.
async fn chosen(app: &App, request: &Request, choice: &Choice) -> Result<Cluster> {
    let mut problems = Vec::new();
    if !(1..=MOST_PARTITIONS).contains(&choice.partitions) {
        problems.push(Problem::new("partitions", |m| m.requests_bad_number(MOST_PARTITIONS)));
    }
    let cluster = match clusters::find(&app.db, &request.environment_id, &choice.cluster).await {
        Ok(cluster) => Some(cluster),
        Err(Error::NotFound) => {
            problems.push(Problem::new("cluster", |m| m.requests_no_cluster().to_owned()));
            None
        }
        Err(error) => return Err(error),
    };
    let chosen_by_broker = cluster.as_ref().is_some_and(|cluster| !cluster.chooses_replicas());
    if !chosen_by_broker && !(1..=MOST_REPLICAS).contains(&choice.replicas) {
        problems.push(Problem::new("replicas", |m| m.requests_bad_number(MOST_REPLICAS)));
    }
    cluster.filter(|_| problems.is_empty()).ok_or(Error::Invalid(problems))
}

async fn group(tx: &mut Tx, request: &Request, name: &str, topic: &str, from: ConsumeFrom, now_ms: i64) -> Result<Named> {
    let group = Group {
        id: new_id(),
        environment_id: request.environment_id.clone(),
        name: GroupName::new(name).map_err(anyhow::Error::new)?,
        from,
        broadcast: false,
        owner: request.requested_by.clone(),
        about: request.wish.about().to_owned(),
        state: topics::State::Creating,
        topics: vec![topic.to_owned()],
        order: Order::default(),
        created_at: now_ms,
    };
    groups::insert(tx, &group).await.map_err(|error| taken(error, name))?;
    Ok(Named { id: group.id, name: name.to_owned() })
}

/// Somebody else's request for the same name was approved meanwhile.
fn taken(error: sqlx::Error, name: &str) -> Error {
    if is_taken(&error) {
        let name = name.to_owned();
        return Error::Conflict(Text::new(move |m| m.requests_topic_taken(&name)));
    }
    error.into()
}

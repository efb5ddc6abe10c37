//! A service goes, and flows that nobody wants to wait for end.

use serde_json::json;
use zms_core::host::{InstanceSpec, Phase};

use super::change::placement;
use super::flow::{self, Change, Command, Ending, Install, Remove};
use super::store::{self, InstanceRow};
use super::{resource, target};
use crate::access::{Actor, Role};
use crate::app::App;
use crate::clusters;
use crate::engine::{Machine, NewFlow};
use crate::environments::Environment;
use crate::error::{Error, Result, Text};
use crate::hosts;

/// Takes a service away; the id of the flow. Its data goes to the trash folder of each host.
///
/// # Errors
/// [`Error::Invalid`] if `confirm` is not the service's name, [`Error::Conflict`] if another flow holds it.
pub async fn remove(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    service: &str,
    confirm: &str,
    now_ms: i64,
) -> Result<String> {
    let target = target(environment, service);
    actor.require(&app.db, Role::Operator, "service.remove", &target, now_ms).await?;
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let mut tx = app.db.begin().await?;
    let row = store::service(&mut *tx, &environment.id, service).await?;
    if confirm.trim() != row.name {
        let name = row.name;
        return Err(Error::invalid("confirm", move |m| m.services_type_name(&name)));
    }
    let topics = clusters::topics_on_service(&mut tx, &row.id).await?;
    if topics > 0 {
        return Err(Error::Conflict(Text::new(move |m| m.services_has_topics(topics))));
    }
    let rows = store::instances(&mut *tx, &row.id).await?;
    let absent = |row: &InstanceRow| InstanceSpec { phase: Phase::Absent, ..row.spec.clone() };
    let batch = rows.iter().map(|row| placement(environment, &hosts, row, absent(row)));
    let next = flow::begin(vec![batch.collect()], Ending::DeleteRows { service: row.id.clone() });
    let resource = resource(&row.name);
    let new = NewFlow::<Remove> {
        environment_id: Some(&environment.id),
        subject: &resource,
        lock: Some(&resource),
        state: next.state,
        effects: next.effects,
        by: &actor.user.name,
        now_ms,
    };
    let flow = app.engine.start::<Remove>(&mut tx, new).await?;
    actor.record(&mut tx, "service.remove", &target, json!({ "kind": row.kind, "flow": flow }), now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow)
}

/// Ends the flow that holds a service; its id. What was placed stays placed.
///
/// # Errors
/// [`Error::NotFound`] if nothing is under way, [`Error::Conflict`] if it cannot be taken back.
pub async fn cancel(app: &App, actor: Actor<'_>, environment: &Environment, service: &str, now_ms: i64) -> Result<String> {
    let target = target(environment, service);
    actor.require(&app.db, Role::Operator, "service.cancel", &target, now_ms).await?;
    let active = store::active_flows(app.db.read(), &environment.id).await?;
    let flow = active.into_iter().find(|(held, _)| *held == resource(service)).map(|(_, flow)| flow).ok_or(Error::NotFound)?;
    let mut tx = app.db.begin().await?;
    let (engine, by) = (&app.engine, actor.user.name.as_str());
    match flow.kind.as_str() {
        Install::KIND => engine.command_in::<Install>(&mut tx, &flow.id, &Command::Cancel, by, now_ms).await?,
        Change::KIND => engine.command_in::<Change>(&mut tx, &flow.id, &Command::Cancel, by, now_ms).await?,
        Remove::KIND => engine.command_in::<Remove>(&mut tx, &flow.id, &Command::Cancel, by, now_ms).await?,
        other => {
            return Err(anyhow::anyhow!("service {service} is held by a flow of kind {other}, which is not of this slice").into());
        }
    }
    actor.record(&mut tx, "service.cancel", &target, json!({ "flow": flow.id, "kind": flow.kind }), now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow.id)
}

//! One step of a flow: state, event and effects, all in the caller's transaction.

use anyhow::anyhow;

use super::NewFlow;
use super::changes::note_change;
use super::machine::{Machine, Refused, Status};
use super::store::{self, NewEffect};
use crate::db::Tx;
use crate::error::{Error, Result};

/// Who moves a flow when an effect is done: the portal itself.
pub(super) const PORTAL: &str = "";

/// Times that somebody else may be quicker before we say so.
const TRIES: usize = 5;

/// Why a step was not taken.
#[derive(Debug)]
pub(super) enum Halt {
    /// The machine says no; nothing was written.
    Refused(Refused),
    /// Something is in the way.
    Error(Error),
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

pub(super) async fn start<M: Machine>(tx: &mut Tx, id: &str, new: &NewFlow<'_, M>) -> Result<()> {
    let status = M::status(&new.state);
    check_effects::<M>(status, &new.effects)?;
    let state = serde_json::to_string(&new.state)?;
    let flow = store::NewRow {
        id,
        kind: M::KIND,
        environment_id: new.environment_id,
        subject: new.subject,
        state: &state,
        status,
        by: new.by,
        now_ms: new.now_ms,
    };
    store::insert_flow(tx, &flow).await?;
    if let Some(resource) = new.lock.filter(|_| !status.is_final()) {
        take_lock(tx, new.environment_id, resource, id).await?;
    }
    store::insert_effects(tx, id, &rows::<M>(&new.effects)?, new.now_ms).await?;
    note_change(tx, &topic(id), new.now_ms).await
}

/// Takes the lock or takes the flow back, so that a caller who goes on with the transaction leaves no trace of it.
async fn take_lock(tx: &mut Tx, environment_id: Option<&str>, resource: &str, flow_id: &str) -> Result<()> {
    for _ in 0..TRIES {
        if store::lock(tx, environment_id, resource, flow_id).await? {
            return Ok(());
        }
        // None: the holder ended between the two statements, so the lock may be free now.
        if let Some(holder) = store::holder(tx, environment_id, resource).await? {
            store::delete_flow(tx, flow_id).await?;
            let resource = resource.to_owned();
            return Err(Error::conflict(move |m| m.engine_locked(&resource, &holder.subject, &holder.by, &holder.flow_id)));
        }
    }
    Err(anyhow!("taking the lock on {resource}: its holders come and go").into())
}

/// Takes `command` to the flow. Refused: before anything was written.
pub(super) async fn advance<M: Machine>(
    tx: &mut Tx,
    flow_id: &str,
    command: &M::Command,
    by: &str,
    now_ms: i64,
) -> Result<(), Halt> {
    for _ in 0..TRIES {
        let flow = store::flow(tx, flow_id).await?.ok_or(Error::NotFound)?;
        if flow.kind != M::KIND {
            return Err(anyhow!("flow {flow_id}: is a {}, not a {}", flow.kind, M::KIND).into());
        }
        if flow.status.is_final() {
            return Err(Halt::Refused(Refused::because(|m| m.engine_ended().to_owned())));
        }
        let state: M::State = serde_json::from_str(&flow.state)?;
        let next = M::step(&state, command).map_err(Halt::Refused)?;
        let status = M::status(&next.state);
        check_effects::<M>(status, &next.effects)?;
        let text = serde_json::to_string(&next.state)?;
        if !store::save_state(tx, flow_id, flow.version, &text, status, now_ms).await? {
            continue;
        }
        store::insert_event(tx, flow_id, by, &serde_json::to_string(command)?, now_ms).await?;
        if status.is_final() {
            store::cancel_all(tx, flow_id, now_ms).await?;
            store::unlock(tx, flow_id).await?;
        } else {
            cancel_unwanted::<M>(tx, flow_id, &next.state, now_ms).await?;
            store::insert_effects(tx, flow_id, &rows::<M>(&next.effects)?, now_ms).await?;
        }
        return Ok(note_change(tx, &topic(flow_id), now_ms).await?);
    }
    Err(Error::conflict(|m| m.engine_moving().to_owned()).into())
}

async fn cancel_unwanted<M: Machine>(tx: &mut Tx, flow_id: &str, state: &M::State, now_ms: i64) -> Result<()> {
    for (id, payload) in store::due_payloads(tx, flow_id).await? {
        // What this version cannot read it cannot judge; performing it will say so.
        if serde_json::from_str::<M::Effect>(&payload).is_ok_and(|effect| !M::wanted(state, &effect)) {
            store::cancel(tx, &id, now_ms).await?;
        }
    }
    Ok(())
}

/// A flow that has ended hears nothing more, so an effect of its last step could tell nobody what came of it.
fn check_effects<M: Machine>(status: Status, effects: &[M::Effect]) -> Result<()> {
    match effects.first() {
        Some(effect) if status.is_final() => {
            Err(anyhow!("{}: a step to {status} asks for {}; put a state between", M::KIND, M::effect_name(effect)).into())
        }
        _ => Ok(()),
    }
}

fn rows<M: Machine>(effects: &[M::Effect]) -> Result<Vec<NewEffect>> {
    let row = |effect| {
        Ok(NewEffect { name: M::effect_name(effect), target: M::target(effect), payload: serde_json::to_string(effect)? })
    };
    effects.iter().map(row).collect()
}

/// The topic of a flow's changes.
pub(super) fn topic(flow_id: &str) -> String {
    format!("flow/{flow_id}")
}

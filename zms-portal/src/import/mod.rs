//! An environment out of a tree that is there: of a first ZMS in service, or ours after the database was lost.
//!
//! 1. `read`: the tree, bounded. 2. [`plan`]: what is in it and what would become of it; pure. 3. This file: [`look`] and [`begin`].
//! 4. `flow`, `perform`: rows are made, then the tree becomes this environment's. 5. `web` pages, `api` REST.
//!
//! Nothing is written before a person says so. Nodes of topics, groups and clusters are not changed by an import at all.

mod api;
pub mod flow;
mod perform;
pub mod plan;
mod read;
#[cfg(test)]
mod tests;
mod web;

use std::sync::Arc;

use serde_json::json;
use zms_core::names::HostId;

pub use api::api;
pub use web::pages;

use crate::access::{Actor, Role};
use crate::app::App;
use crate::engine::NewFlow;
use crate::environments::{self, Environment};
use crate::error::{Error, Result};
use crate::metadata::external;
use crate::metadata::rights::{self, Mode};
use flow::{Import, Task};
use plan::{Origin, Plan};

/// What an import is about and holds.
pub const SUBJECT: &str = "metadata/import";

/// Makes the state machine of this slice known to the engine.
pub fn register(app: &App) {
    app.engine.register::<Import>(Arc::new(perform::Performer(app.clone())));
}

/// What is there, and what an import would do; for operators. Nothing is written.
///
/// # Errors
/// [`Error::Unavailable`] that says why it cannot be read.
pub async fn look(app: &App, actor: Actor<'_>, environment: &Environment, now_ms: i64) -> Result<Plan> {
    actor.require(&app.db, Role::Operator, "environment.import", &target(environment), now_ms).await?;
    plan::of(app, environment).await
}

fn target(environment: &Environment) -> String {
    format!("environment/{}", environment.name)
}

/// Imports what [`look`] finds then; for operators. `confirm`: the environment's name, where it is protected. The flow's id, and the environment's, which becomes the one that the tree has had
/// before its database was lost.
///
/// # Errors
/// [`Error::Invalid`] at `confirm`; [`Error::Conflict`] when there is nothing to import, another import runs, or the tree belongs to somebody else.
pub async fn begin(app: &App, actor: Actor<'_>, environment: &Environment, confirm: &str, now_ms: i64) -> Result<String> {
    let found = look(app, actor, environment, now_ms).await?;
    if found.is_done() {
        return Err(Error::conflict(|m| m.import_nothing().to_owned()));
    }
    if environment.protected && confirm != environment.name {
        return Err(Error::invalid("confirm", |m| m.metadata_confirm_protected().to_owned()));
    }
    let secure = app.metadata.is_secure(&environment.id).await?;
    let mut tx = app.db.begin().await?;
    let mut environment = environment.clone();
    if let Origin::Other { id } = &found.origin {
        // Of a database that was lost: nobody else has this id, and there is nothing yet under the one that this environment has.
        HostId::new(id.as_str()).map_err(|_| Error::conflict(|m| m.import_strange_id().to_owned()))?;
        let kept = external::find(&app.db, &environment.id).await?;
        let kept = kept.ok_or_else(|| Error::conflict(|m| m.import_needs_external().to_owned()))?;
        if !kept.user.is_empty() {
            let password = app.vault.get(&external::reference(&environment.id)).await?;
            app.vault.put(&mut tx, &external::reference(id), &password, now_ms).await?;
        }
        external::forget_in(&mut tx, &environment.id).await?;
        rights::forget_in(&mut tx, &environment.id).await?;
        environments::take_id(&mut tx, &environment.id, id).await?;
        environment.id.clone_from(id);
        external::put_in(&mut tx, id, &external::External { changed_at: now_ms, ..kept }).await?;
    }
    // Java clients have no identity, and without TLS nobody has one.
    let mode = if found.origin == Origin::First || found.java_clients > 0 || !secure { Mode::Legacy } else { Mode::Secured };
    if found.origin != Origin::Ours {
        rights::set_in(&mut tx, &environment.id, mode, now_ms).await?;
    }
    let renew_rights = secure && matches!(found.origin, Origin::Other { .. });
    let (by, address) = (actor.user.name.clone(), actor.address.to_owned());
    let task = Task { environment: environment.id.clone(), by, address, renew_rights };
    let next = flow::begin(task);
    let new = NewFlow::<Import> {
        environment_id: Some(&environment.id),
        subject: SUBJECT,
        lock: Some(SUBJECT),
        state: next.state,
        effects: next.effects,
        by: &actor.user.name,
        now_ms,
    };
    let flow = app.engine.start::<Import>(&mut tx, new).await?;
    let detail = json!({ "origin": found.origin, "clusters": found.new_clusters(), "topics": found.new_topics(), "groups": found.new_groups(),
        "left_alone": found.left.len(), "rights": mode, "flow": flow });
    actor.record(&mut tx, "environment.import", &target(&environment), detail, now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow)
}

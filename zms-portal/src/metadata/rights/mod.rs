//! Who may write in an environment's ZooKeeper: nobody but the portal (secured), or Java clients of the first ZMS below the topics and
//! groups that they use (legacy), as those have no identity.
//!
//! 1. This file: the [`Mode`], [`switch`]. 2. `flow`, `perform`: rights of every node are written anew. Nodes that are made have the
//!    rights of the mode from the moment of the switch on.

pub mod flow;
mod java;
mod perform;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use zms_core::metadata::path::Path;
use zms_drivers::meta::Access;

use crate::access::{Actor, Role};
use crate::app::App;
use crate::db::{Db, Tx};
use crate::engine::NewFlow;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::metadata::Way;
use crate::web::messages::Messages;
use flow::{Switch, begin};

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Identities over TLS; nobody else reads or writes anything.
    #[default]
    Secured,
    /// Everybody reads everything, and makes and deletes nodes below topics and groups.
    Legacy,
}

impl Mode {
    /// As the database writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secured => "secured",
            Self::Legacy => "legacy",
        }
    }

    /// What a node is made with.
    pub fn access(self, path: &str) -> Access {
        let below = |parent: Path| path.strip_prefix(&format!("{parent}/")).is_some_and(|name| !name.contains('/'));
        if below(Path::Clients) {
            Access::ReadCreate
        } else if path == Path::Leases.to_string() || below(Path::Leases) {
            Access::Lease
        } else if self == Self::Legacy && (below(Path::Topics) || below(Path::Groups)) {
            Access::Legacy
        } else {
            Access::Read
        }
    }
}

/// What should stand in red wherever the environment is looked at.
pub fn warning(mode: Mode, way: Option<&Way>, m: &Messages) -> Option<&'static str> {
    match (mode, way) {
        (Mode::Legacy, Some(Way { secure: true, .. }) | None) => Some(m.metadata_legacy_warning()),
        (_, Some(Way { secure: false, .. })) => Some(m.metadata_open_warning()),
        (Mode::Secured, Some(_) | None) => None,
    }
}

/// What a switch is about and holds.
pub const SUBJECT: &str = "metadata/rights";

/// Makes the state machine of this slice known to the engine.
pub fn register(app: &App) {
    app.engine.register::<Switch>(Arc::new(perform::Performer(app.clone())));
}

/// The mode of an environment.
pub async fn mode(db: &Db, environment_id: &str) -> Result<Mode> {
    store::mode(db.read(), environment_id).await
}

/// Keeps a mode within `tx`; rights of nodes that are there stay as they are.
pub(crate) async fn set_in(tx: &mut Tx, environment_id: &str, mode: Mode, now_ms: i64) -> Result<()> {
    store::put(tx, environment_id, mode, now_ms).await
}

/// Forgets the mode within `tx`.
pub(crate) async fn forget_in(tx: &mut Tx, environment_id: &str) -> Result<()> {
    store::delete(tx, environment_id).await
}

/// Every node gets the rights of the mode that is set, within `tx`: the portal has other identities than those that made the nodes.
pub(crate) async fn begin_renewal(app: &App, tx: &mut Tx, environment_id: &str, by: &str, now_ms: i64) -> Result<String> {
    let next = begin(environment_id, store::mode(&mut **tx, environment_id).await?);
    let new = NewFlow::<Switch> {
        environment_id: Some(environment_id),
        subject: SUBJECT,
        lock: Some(SUBJECT),
        state: next.state,
        effects: next.effects,
        by,
        now_ms,
    };
    app.engine.start::<Switch>(tx, new).await
}

/// From now on nodes are made with the rights of this mode, and those that are there get them; for operators. The flow's id. Switching to
/// the mode that is set already looks at every node again. `confirm`: the environment's name, where it is protected, and where Java
/// clients are connected that would be shut out.
///
/// # Errors
/// [`Error::Invalid`] at `confirm`; [`Error::Conflict`] while another switch runs, or for `secured` without TLS: there are no identities then.
pub async fn switch(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    (mode, confirm): (Mode, &str),
    now_ms: i64,
) -> Result<String> {
    let target = format!("environment/{}", environment.name);
    actor.require(&app.db, Role::Operator, "environment.metadata_rights", &target, now_ms).await?;
    let secure = app.metadata.is_secure(&environment.id).await?;
    if mode == Mode::Secured && !secure {
        return Err(Error::conflict(|m| m.metadata_secured_needs_tls().to_owned()));
    }
    if confirm != environment.name {
        let shut_out = if mode == Mode::Secured { java::connected(app, &environment.id).await? } else { 0 };
        if shut_out > 0 {
            return Err(Error::invalid("confirm", move |m| m.metadata_confirm_java(shut_out)));
        }
        if environment.protected {
            return Err(Error::invalid("confirm", |m| m.metadata_confirm_protected().to_owned()));
        }
    }
    let mut tx = app.db.begin().await?;
    let before = store::mode(&mut *tx, &environment.id).await?;
    store::put(&mut tx, &environment.id, mode, now_ms).await?;
    let flow = begin_renewal(app, &mut tx, &environment.id, &actor.user.name, now_ms).await?;
    let detail = json!({ "before": before, "after": mode, "flow": flow });
    actor.record(&mut tx, "environment.metadata_rights", &target, detail, now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow)
}

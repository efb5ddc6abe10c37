//! State machines whose effects happen outside.
//!
//! Read in this order: [`machine`] what a slice writes · `step` one command's transaction · `worker` leases due effects · `attempt` performs
//! one and saves what came of it · `targets` who is spared after a failure · `store` and `lease` SQL · `changes` tells other portals ·
//! [`view`] what people see · [`web`] pages · `api` REST.
//!
//! What holds, whatever dies: state, event and effects are saved in one transaction or not at all. An effect is performed at least
//! once, and its outcome is applied exactly once: by whoever holds its lease when the transaction commits, with the command in that same
//! transaction. Effects of one step run side by side; effects of different flows know nothing of each other.

mod api;
mod attempt;
mod changes;
mod kind;
mod lease;
pub mod machine;
mod settings;
mod step;
mod store;
mod targets;
#[cfg(test)]
mod tests;
pub mod view;
pub mod web;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, watch};

pub use api::api;
pub use changes::note_change;
pub use machine::{EffectContext, Machine, Next, Outcome, Perform, Refused, Status};
pub use settings::Settings;
pub use view::{EventView, FlowSummary, FlowView, StepState, StepView};
pub use web::pages;

use crate::app::{new_id, now_ms};
use crate::db::{Db, Tx};
use crate::error::{Error, Result};
use crate::web::messages::Messages;
use kind::{FlowKind, Performed};

/// Starts flows, moves them, and performs their effects. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Parts>);

struct Parts {
    db: Db,
    settings: Settings,
    kinds: RwLock<HashMap<&'static str, Arc<dyn FlowKind>>>,
    wake: Notify,
    changed: watch::Sender<u64>,
}

/// A flow to start.
pub struct NewFlow<'a, M: Machine> {
    /// Where it belongs.
    pub environment_id: Option<&'a str>,
    /// What it is about, for people and lists, for example `service/orders-kafka`.
    pub subject: &'a str,
    /// The resource that nobody else may change meanwhile; free again when the flow has ended.
    pub lock: Option<&'a str>,
    /// Its first state.
    pub state: M::State,
    /// What is to be done first.
    pub effects: Vec<M::Effect>,
    /// The name of the person.
    pub by: &'a str,
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

impl Engine {
    /// Over `db`, as in production.
    pub fn new(db: Db) -> Self {
        Self::with(db, Settings::default())
    }

    /// Over `db`, with waits of one's own.
    pub fn with(db: Db, settings: Settings) -> Self {
        let parts = Parts { db, settings, kinds: RwLock::default(), wake: Notify::new(), changed: watch::Sender::new(0) };
        Self(Arc::new(parts))
    }

    /// Makes a machine known. Its effects wait until it is.
    pub fn register<M: Machine>(&self, performer: Arc<impl Perform<M>>) {
        let kind = Arc::new(Performed::<M, _>::new(performer));
        self.0.kinds.write().unwrap_or_else(PoisonError::into_inner).insert(M::KIND, kind);
    }

    /// Starts a flow within `tx`; its id. The effects begin when the transaction is committed: call [`Engine::wake`] then, or they
    /// begin at the next poll.
    ///
    /// # Errors
    /// [`Error::Conflict`] that names the holder, if another flow holds the resource.
    pub async fn start<M: Machine>(&self, tx: &mut Tx, new: NewFlow<'_, M>) -> Result<String> {
        let id = new_id();
        step::start::<M>(tx, &id, &new).await?;
        Ok(id)
    }

    /// Moves a flow in a transaction of its own.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] with the reason why the machine refuses.
    pub async fn command<M: Machine>(&self, flow_id: &str, command: M::Command, by: &str, now_ms: i64) -> Result<()> {
        let mut tx = self.0.db.begin().await?;
        self.command_in::<M>(&mut tx, flow_id, &command, by, now_ms).await?;
        tx.commit().await?;
        self.wake();
        Ok(())
    }

    /// Moves a flow within `tx`, for acts that save something else too; call [`Engine::wake`] after the commit.
    ///
    /// # Errors
    /// As [`Engine::command`]. Nothing was written then.
    pub async fn command_in<M: Machine>(
        &self,
        tx: &mut Tx,
        flow_id: &str,
        command: &M::Command,
        by: &str,
        now_ms: i64,
    ) -> Result<()> {
        step::advance::<M>(tx, flow_id, command, by, now_ms).await.map_err(|halt| match halt {
            step::Halt::Refused(refused) => Error::Conflict(refused.text()),
            step::Halt::Error(error) => error,
        })
    }

    /// A flow with its steps and history.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn view(&self, flow_id: &str) -> Result<FlowView> {
        view::load(&self.0.db, flow_id).await
    }

    /// The latest flows about `subject`, newest first (at most 20).
    pub async fn of_subject(&self, environment_id: Option<&str>, subject: &str) -> Result<Vec<FlowView>> {
        view::of_subject(&self.0.db, environment_id, subject).await
    }

    /// Is another effect of the same flow under way somewhere, though it was cancelled? Its outcome does not count any more, but what it does outside may still
    /// happen: until its performer has stopped, or until its lease is over.
    pub async fn is_busy_beside(&self, context: &EffectContext) -> Result<bool> {
        lease::is_busy_beside(&self.0.db, &context.flow_id, &context.effect_id, now_ms()).await
    }

    /// Performs effects until `stop` says true; those under way may finish then.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        worker::run(self, stop).await;
    }

    /// Something was committed: look for effects now, and refresh the pages that are open.
    pub fn wake(&self) {
        self.0.wake.notify_one();
        self.bump();
    }

    /// Changes with every change that this portal made or heard of. A watcher may miss some: it reads again, and folds.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    fn bump(&self) {
        self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// What a flow of this kind is, for people.
    pub fn title(&self, kind: &str, m: Messages) -> String {
        self.kind(kind).map_or_else(|| kind.to_owned(), |kind| kind.title(m).to_owned())
    }

    fn kind(&self, name: &str) -> Option<Arc<dyn FlowKind>> {
        self.0.kinds.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

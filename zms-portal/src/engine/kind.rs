//! A machine without its types, so that one worker serves all of them.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::machine::{EffectContext, Machine, Outcome, Perform};
use super::step::{self, Halt};
use crate::db::Tx;
use crate::web::messages::Messages;

/// What the worker and the pages need of a machine. Effects and commands are JSON here.
pub(super) trait FlowKind: Send + Sync {
    /// Performs the effect of `payload`.
    fn perform<'a>(&'a self, context: &'a EffectContext, payload: &'a str) -> BoxFuture<'a, Outcome<String>>;
    /// Moves a flow by what came of an effect.
    fn advance<'a>(&'a self, tx: &'a mut Tx, flow_id: &'a str, command: &'a str, now_ms: i64) -> BoxFuture<'a, Result<(), Halt>>;
    /// Titles for people: of the machine, an effect, a command.
    fn title(&self, m: Messages) -> &'static str;
    fn effect_title(&self, m: Messages, name: &str) -> String;
    fn command_title(&self, m: Messages, name: &str) -> String;
}

/// `M` as `P` performs it.
pub(super) struct Performed<M, P> {
    performer: Arc<P>,
    machine: PhantomData<fn() -> M>,
}

impl<M: Machine, P: Perform<M>> Performed<M, P> {
    pub(super) fn new(performer: Arc<P>) -> Self {
        Self { performer, machine: PhantomData }
    }
}

impl<M: Machine, P: Perform<M>> FlowKind for Performed<M, P> {
    fn perform<'a>(&'a self, context: &'a EffectContext, payload: &'a str) -> BoxFuture<'a, Outcome<String>> {
        Box::pin(async move {
            let effect: M::Effect = match serde_json::from_str(payload) {
                Ok(effect) => effect,
                Err(error) => return Outcome::Failed(format!("reading the effect: {error}")),
            };
            match self.performer.perform(context, &effect).await {
                Outcome::Done(command) => match serde_json::to_string(&command) {
                    Ok(command) => Outcome::Done(command),
                    Err(error) => Outcome::Failed(format!("writing the outcome: {error}")),
                },
                Outcome::Again { after_ms, why } => Outcome::Again { after_ms, why },
                Outcome::Failed(why) => Outcome::Failed(why),
            }
        })
    }

    fn advance<'a>(&'a self, tx: &'a mut Tx, flow_id: &'a str, command: &'a str, now_ms: i64) -> BoxFuture<'a, Result<(), Halt>> {
        Box::pin(async move {
            let command: M::Command = serde_json::from_str(command).map_err(|error| Halt::Error(error.into()))?;
            step::advance::<M>(tx, flow_id, &command, step::PORTAL, now_ms).await
        })
    }

    fn title(&self, m: Messages) -> &'static str {
        M::title(m)
    }

    fn effect_title(&self, m: Messages, name: &str) -> String {
        M::effect_title(m, name)
    }

    fn command_title(&self, m: Messages, name: &str) -> String {
        M::command_title(m, name)
    }
}

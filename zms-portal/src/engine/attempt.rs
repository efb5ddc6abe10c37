//! One attempt at an effect: performed while the lease is renewed, then saved while it is held.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{sleep, timeout};

use super::Engine;
use super::changes::note_change;
use super::kind::FlowKind;
use super::lease::{self, Lease};
use super::machine::{EffectContext, Outcome};
use super::settings::milliseconds;
use super::step::{self, Halt};
use crate::app::now_ms;
use crate::error::Result;
use crate::web::messages::Messages;

/// Tries to save an outcome, with a pause that doubles: the effect was done, and doing it again costs more than waiting for the database.
const SAVES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Characters of a note that are kept.
const NOTE: usize = 2_000;

pub(super) struct Ended {
    pub target: String,
    pub verdict: Verdict,
}

/// What an attempt says about its target.
pub(super) enum Verdict {
    WentWell,
    Failed,
    Nothing,
}

pub(super) async fn run(engine: Engine, kind: Arc<dyn FlowKind>, lease: Lease) -> Ended {
    let outcome = tokio::select! {
        outcome = perform(&engine, &*kind, &lease) => outcome,
        () = lost(&engine, &lease) => {
            tracing::info!(flow = lease.flow_id, effect = lease.effect_id, target = lease.target, "effect was cancelled or taken by another portal");
            let_go(&engine, &lease).await;
            return Ended { target: lease.target, verdict: Verdict::Nothing };
        }
    };
    let verdict = match &outcome {
        Outcome::Done(_) | Outcome::Again { .. } => Verdict::WentWell,
        Outcome::Failed(why) => {
            tracing::warn!(
                flow = lease.flow_id,
                effect = lease.effect_id,
                target = lease.target,
                attempt = lease.attempt,
                why,
                "effect failed"
            );
            Verdict::Failed
        }
    };
    keep_saving(&engine, &*kind, &lease, &outcome).await;
    engine.bump();
    Ended { target: lease.target, verdict }
}

async fn perform(engine: &Engine, kind: &dyn FlowKind, lease: &Lease) -> Outcome<String> {
    let context = EffectContext {
        flow_id: lease.flow_id.clone(),
        effect_id: lease.effect_id.clone(),
        attempt: lease.attempt,
        created_ms: lease.created_at,
        now_ms: now_ms(),
    };
    let deadline = engine.0.settings.deadline;
    // A performer that panicked is dropped with its future, and nobody sees what it left half done.
    let performed = AssertUnwindSafe(kind.perform(&context, &lease.payload)).catch_unwind();
    match timeout(deadline, performed).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Outcome::Failed(format!("fault of the portal: {}", panic_text(&*panic))),
        Err(_) => Outcome::Failed(format!("no answer within {} s", deadline.as_secs_f64())),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panic without a text")
}

/// Renews the lease; returns when it is lost.
async fn lost(engine: &Engine, lease: &Lease) {
    let settings = &engine.0.settings;
    loop {
        sleep(settings.lease / 3).await;
        match lease::renew(&engine.0.db, settings, lease, now_ms()).await {
            Ok(true) => {}
            Ok(false) => return,
            // Go on: whether the lease still holds is decided when the outcome is saved.
            Err(error) => tracing::warn!(?error, effect = lease.effect_id, "renewing a lease failed"),
        }
    }
}

async fn keep_saving(engine: &Engine, kind: &dyn FlowKind, lease: &Lease, outcome: &Outcome<String>) {
    let mut pause = FIRST_PAUSE;
    let mut fault = String::new();
    for _ in 0..SAVES {
        match save(engine, kind, lease, outcome).await {
            Ok(true) => return,
            Ok(false) => {
                tracing::info!(
                    flow = lease.flow_id,
                    effect = lease.effect_id,
                    "outcome dropped: the effect was cancelled or taken by another portal"
                );
                let_go(engine, lease).await;
                return;
            }
            Err(error) => {
                tracing::warn!(?error, flow = lease.flow_id, effect = lease.effect_id, "saving what came of an effect failed");
                fault = format!("saving the outcome: {error:?}");
                sleep(pause).await;
                pause *= 2;
            }
        }
    }
    // Shown at the step, and tried again: either the effect or the machine is at fault.
    if let Err(error) = save(engine, kind, lease, &Outcome::Failed(fault)).await {
        tracing::error!(?error, flow = lease.flow_id, effect = lease.effect_id, "effect is left until its lease is over");
    }
}

/// Says that nobody is at a cancelled effect any more.
async fn let_go(engine: &Engine, lease: &Lease) {
    // Whoever waits for it waits for the end of the lease then.
    if let Err(error) = lease::let_go(&engine.0.db, lease).await {
        tracing::warn!(?error, effect = lease.effect_id, "letting a lease go failed");
    }
}

/// Outcome, command and note in one transaction; false: the lease was lost, and nothing was saved.
pub(super) async fn save(engine: &Engine, kind: &dyn FlowKind, lease: &Lease, outcome: &Outcome<String>) -> Result<bool> {
    let now = now_ms();
    let mut tx = engine.0.db.begin().await?;
    let held = match outcome {
        Outcome::Done(command) => {
            lease::hold_flow(&mut tx, lease).await?;
            let held = lease::finish(&mut tx, lease, now).await?;
            if held {
                match kind.advance(&mut tx, &lease.flow_id, command, now).await {
                    Ok(()) => return Ok(tx.commit().await.map(|()| true)?),
                    // Done all the same; the step says why nothing followed.
                    Err(Halt::Refused(refused)) => {
                        lease::annotate(&mut tx, lease, &refused.text().say(Messages::ENGLISH)).await?
                    }
                    Err(Halt::Error(error)) => return Err(error),
                }
            }
            held
        }
        Outcome::Again { after_ms, why } => {
            lease::put_off(&mut tx, lease, now.saturating_add((*after_ms).max(1)), 0, &short(why)).await?
        }
        Outcome::Failed(why) => {
            let wait = milliseconds(engine.0.settings.back_off(lease.attempt, dice()));
            lease::put_off(&mut tx, lease, now.saturating_add(wait), lease.attempt, &short(why)).await?
        }
    };
    if !held {
        tx.rollback().await?;
        return Ok(false);
    }
    note_change(&mut tx, &step::topic(&lease.flow_id), now).await?;
    tx.commit().await?;
    Ok(true)
}

fn short(note: &str) -> String {
    match note.char_indices().nth(NOTE) {
        Some((end, _)) => format!("{}…", &note[..end]),
        None => note.to_owned(),
    }
}

/// For jitter: the random part of a fresh id.
pub(super) fn dice() -> u64 {
    u64::try_from(ulid::Ulid::new().random() & u128::from(u64::MAX)).expect("masked to 64 bits")
}

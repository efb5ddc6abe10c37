//! What a sync does: keeps what the host says, and answers when there is something new, at the latest after the hold.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep_until};
use zms_core::host::{DesiredState, Question, SyncReply, SyncRequest};

use super::caller::Caller;
use super::desired::set_desired_above;
use super::hub::Line;
use super::join::record;
use super::row::SILENCE_MS;
use super::store::{self, Word};
use crate::app::{App, now_ms};
use crate::audit::Outcome;
use crate::error::Result;

/// A request is held for so long while nothing is new; proxies cut what is idle for longer than half a minute.
pub(super) const HOLD: Duration = Duration::from_secs(25);
/// Up to this share of the hold longer, so that hosts that came together do not come back together.
const JITTER: f64 = 0.2;
/// A generation beyond this is no generation: it would not fit into every number.
const LARGEST: u64 = 1 << 53;

/// How a sync ended.
pub(super) enum Synced {
    /// With an answer.
    Reply(Box<SyncReply>),
    /// The host was taken out of service meanwhile.
    Revoked,
}

/// Hears a host and answers. The future may be dropped at any time: the agent gives up a request when it has news.
pub(super) async fn sync(app: &App, caller: &Caller, request: SyncRequest, hold: Duration) -> Result<Synced> {
    app.hub.follow(&app.db);
    let line = app.hub.line(&caller.id);
    let _held = line.hold();
    let full = hear(app, caller, &line, &request).await?;
    // The agent gives up only what carries nothing; what it says is acknowledged at once, so that it can say the next thing.
    let loaded = request.report.is_some() || request.facts.is_some() || !request.answers.is_empty();
    let hold = if loaded { Duration::ZERO } else { hold };
    line.take(request.answers);
    let end = Instant::now() + hold.mul_f64(1.0 + JITTER * chance());
    loop {
        // Before looking, so that no wake falls between look and wait.
        let mut woken = std::pin::pin!(line.wake.notified());
        woken.as_mut().enable();
        let Some((generation, false)) = store::generation(&app.db, &caller.id).await? else { return Ok(Synced::Revoked) };
        let newer = generation > i64::try_from(request.have).unwrap_or(i64::MAX);
        let desired = if newer { desired(app, &caller.id).await? } else { None };
        let questions = line.give();
        if full || desired.is_some() || !questions.is_empty() || Instant::now() >= end {
            return Ok(Synced::Reply(Box::new(reply(desired, questions, full))));
        }
        tokio::select! {
            () = woken => {}
            () = sleep_until(line.next_give().map_or(end, |again| again.min(end))) => {}
        }
    }
}

/// Keeps what the request says; is everything needed again?
async fn hear(app: &App, caller: &Caller, line: &Arc<Line>, request: &SyncRequest) -> Result<bool> {
    let now = now_ms();
    let standing = &caller.standing;
    let machine = request.facts.as_ref().map(|facts| facts.machine.as_str());
    if app.db.is_shared() && !standing.run.is_empty() && standing.run != request.run {
        // Another portal may have heard the other of two machines.
        let other = store::detail(app.db.read(), &caller.id).await?.row.facts.machine;
        line.note_run(&standing.run, Some(&other), now);
    }
    let cloned = line.note_run(&request.run, machine, now);
    let known = request.run == standing.run;
    // Its facts make a run known; a report follows when the agent has looked.
    let full = !known && request.facts.is_none();
    let silent = request.report.is_none() && request.facts.is_none();
    // Who was away is written down at once, so that pages do not show it as away any longer.
    let online = standing.seen_at.is_some_and(|seen| now - seen < SILENCE_MS);
    let behind = u64::try_from(standing.generation).unwrap_or_default() < request.have && request.have < LARGEST;
    let skew_ms = i64::try_from(request.clock_ms).unwrap_or(i64::MAX).saturating_sub(now);
    if silent && known && online && !behind && !cloned {
        app.hub.heard().note(&caller.id, now, skew_ms);
        return Ok(full);
    }
    let word = Word {
        // A run that is not known yet stays unknown until its facts came.
        run: if full { &standing.run } else { &request.run },
        skew_ms,
        report: request.report.as_ref(),
        facts: request.facts.as_ref(),
    };
    let mut tx = app.db.begin().await?;
    store::hear(&mut tx, &caller.id, &word, now).await?;
    if behind {
        let have = i64::try_from(request.have).unwrap_or(i64::MAX);
        set_desired_above(&mut tx, app, &caller.id, have).await?;
        tracing::warn!(
            host = caller.id,
            host_has = request.have,
            portal_had = standing.generation,
            "a host knows a later desired state than the database; it gets the present one anew. Was the database put back from a backup?"
        );
    }
    if cloned {
        let detail = json!({ "run": request.run, "n": request.n });
        record(&mut tx, "host.clone", &caller.id, &caller.address, detail, Outcome::Failed, now).await?;
        tracing::error!(
            host = caller.id,
            address = caller.address,
            "two machines use the certificate of one host; take it out of service and join both anew"
        );
    }
    tx.commit().await?;
    Ok(full)
}

async fn desired(app: &App, host_id: &str) -> Result<Option<DesiredState>> {
    let text = store::desired(app.db.read(), host_id).await?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

fn reply(desired: Option<DesiredState>, questions: Vec<Question>, full: bool) -> SyncReply {
    SyncReply { clock_ms: u64::try_from(now_ms()).unwrap_or_default(), desired, questions, pause_ms: 0, full }
}

/// A number from 0 to 1, evenly drawn.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes there is no jitter, which is no harm.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

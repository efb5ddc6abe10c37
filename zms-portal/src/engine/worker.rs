//! Leases due effects, performs each in a task of its own, and looks again when one ends, when somebody wakes it, and at every poll.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::attempt::{self, Ended, Verdict};
use super::settings::milliseconds;
use super::targets::Targets;
use super::{Engine, changes, lease};
use crate::app::now_ms;
use crate::error::Result;

/// Rows of changes are pruned, and targets forgotten, this often.
const TIDY: Duration = Duration::from_secs(60);

pub(super) async fn run(engine: &Engine, mut stop: watch::Receiver<bool>) {
    let mut worker =
        Worker { engine: engine.clone(), targets: Targets::default(), tasks: JoinSet::new(), seen: 0, tidied: Instant::now() };
    let mut poll = interval(engine.0.settings.poll);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow() {
        if let Err(error) = worker.begin_due().await {
            tracing::warn!(?error, "looking for due effects failed; trying again at the next poll");
        }
        tokio::select! {
            () = told_to_end(&mut stop) => break,
            () = engine.0.wake.notified() => {}
            Some(ended) = worker.tasks.join_next() => worker.ended(ended),
            _ = poll.tick() => worker.poll().await,
        }
    }
    worker.finish().await;
}

async fn told_to_end(stop: &mut watch::Receiver<bool>) {
    // A closed channel means the same: everything is ending.
    let _ = stop.wait_for(|ended| *ended).await;
}

/// One loop's own knowledge. Dropping it aborts what is under way.
struct Worker {
    engine: Engine,
    targets: Targets,
    tasks: JoinSet<Ended>,
    /// The last change that pages of this portal heard of.
    seen: i64,
    tidied: Instant,
}

impl Worker {
    async fn begin_due(&mut self) -> Result<()> {
        let settings = &self.engine.0.settings;
        let db = &self.engine.0.db;
        let now = now_ms();
        let ready = lease::ready(db, now).await?;
        if ready.is_empty() {
            return Ok(());
        }
        let mut under_way = lease::under_way(db, now).await?;
        for place in ready {
            let free = settings.in_flight.saturating_sub(self.tasks.len());
            let leased = under_way.entry(place.target.clone()).or_default();
            let room = self.targets.room(&place.target, *leased, settings, now).min(free);
            // A kind that is unknown here belongs to a newer portal.
            let Some(kind) = self.engine.kind(&place.kind).filter(|_| room > 0) else { continue };
            for candidate in lease::candidates(db, &place, now, room).await? {
                // The lease runs from now, not from when the candidates were read.
                if lease::take(db, settings, &candidate, now_ms()).await? {
                    *leased += 1;
                    self.tasks.spawn(attempt::run(self.engine.clone(), kind.clone(), candidate));
                }
            }
        }
        Ok(())
    }

    /// Takes what a task found, and what other tasks found meanwhile.
    fn ended(&mut self, first: Result<Ended, tokio::task::JoinError>) {
        let mut next = Some(first);
        while let Some(ended) = next {
            match ended {
                Ok(Ended { target, verdict: Verdict::WentWell }) => self.targets.went_well(&target),
                Ok(Ended { target, verdict: Verdict::Failed }) => {
                    self.targets.failed(&target, &self.engine.0.settings, now_ms(), attempt::dice());
                }
                Ok(Ended { verdict: Verdict::Nothing, .. }) => {}
                Err(error) => tracing::error!(%error, "an effect's task died; another attempt follows when its lease is over"),
            }
            next = self.tasks.try_join_next();
        }
    }

    /// Tells this portal's pages of changes that others made, and tidies now and then.
    async fn poll(&mut self) {
        match changes::last(&self.engine.0.db).await {
            Ok(last) if last != self.seen => {
                self.seen = last;
                self.engine.bump();
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(?error, "looking for changes failed; trying again at the next poll"),
        }
        if self.tidied.elapsed() >= TIDY {
            self.tidied = Instant::now();
            let now = now_ms();
            self.targets.forget_before(now - milliseconds(self.engine.0.settings.back_off_most) * 10);
            if let Err(error) = changes::prune(&self.engine.0.db, now - milliseconds(self.engine.0.settings.keep_changes)).await {
                tracing::warn!(?error, "pruning changes failed; trying again in a minute");
            }
        }
    }

    /// Lets what is under way come to its end, for a while.
    async fn finish(&mut self) {
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(self.engine.0.settings.last_words, rest).await.is_err() {
            tracing::warn!(
                effects = self.tasks.len(),
                "ending with effects under way; they are tried again when their leases are over"
            );
            self.tasks.shutdown().await;
        }
    }
}

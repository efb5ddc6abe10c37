//! One member of the group: gives messages to the handler, in each partition one after the other, partitions side by side.
//!
//! What waits here is bounded by the member itself: it reads no more of a partition of which enough is not handled ([`Consumer`]).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerError, Consumer, Incoming, PartitionId};

use super::work::Work;
use crate::Received;
use crate::route::Place;

/// More than a member has open of a partition: some of what waits may have gone to another member.
const MANY: usize = 1_024;

/// Messages of partitions of which one is being handled; that one is not among them.
type Waiting = HashMap<PartitionId, VecDeque<Incoming>>;

/// When to stop, and until when handlers may go on.
pub(super) type Stopping = watch::Receiver<Option<Instant>>;

/// What all messages of a member share.
pub(super) struct Member {
    pub work: Arc<Work>,
    /// The topic's name, whatever it is called there.
    pub topic: PhysicalName,
    pub place: Place,
    pub consumer: Arc<dyn Consumer>,
    pub stopping: Stopping,
}

impl Member {
    /// Ends with the reason, or when it is stopped.
    pub async fn run(self) -> String {
        let member = Arc::new(self);
        let mut stopping = member.stopping.clone();
        let (mut waiting, mut handling) = (Waiting::new(), JoinSet::new());
        let why = loop {
            tokio::select! {
                _ = stopping.wait_for(Option::is_some) => break "stopped".to_owned(),
                Some(handled) = handling.join_next() => match handled {
                    Ok(partition) => member.next(partition, &mut waiting, &mut handling),
                    Err(error) => break format!("handling a message ended badly: {error}"),
                },
                message = member.consumer.receive() => match message {
                    Ok(message) => member.received(message, &mut waiting, &mut handling),
                    Err(error) if ends(&error) => break error.to_string(),
                    Err(error) => member.told(&error),
                },
            }
        };
        // Handlers end what they have begun; then everything that is done is committed.
        let by = (*stopping.borrow()).unwrap_or_else(|| Instant::now() + member.work.tools.waits.drain);
        let ended = tokio::time::timeout_at(by, async { while handling.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            handling.abort_all();
        }
        let left = by.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        if let Err(error) = member.consumer.close(left).await {
            tracing::warn!(group = %member.work.group, cluster = %member.place.cluster, %error, "leaving the group");
        }
        why
    }

    fn told(&self, error: &BrokerError) {
        let (group, cluster) = (&self.work.group, &self.place.cluster);
        if error.is_passing() {
            tracing::debug!(%group, %cluster, %error, "consuming goes on after this");
        } else {
            self.work.figures.problems.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%group, %cluster, %error, "a part of consuming does not work; the rest goes on");
        }
    }

    fn received(self: &Arc<Self>, message: Incoming, waiting: &mut Waiting, handling: &mut JoinSet<PartitionId>) {
        self.work.figures.received.fetch_add(1, Ordering::Relaxed);
        self.work.tools.statistics.received(&self.work.group, &self.topic, &self.place.cluster, message.size());
        let partition = message.placed.partition.clone();
        if let Some(queue) = waiting.get_mut(&partition) {
            queue.push_back(message);
            if queue.len() > MANY {
                queue.retain(|message| self.consumer.is_open(message));
            }
            return;
        }
        waiting.insert(partition.clone(), VecDeque::from([message]));
        self.next(partition, waiting, handling);
    }

    /// The partition's next message goes to the handler; without one nothing is kept about the partition.
    fn next(self: &Arc<Self>, partition: PartitionId, waiting: &mut Waiting, handling: &mut JoinSet<PartitionId>) {
        let Some(queue) = waiting.get_mut(&partition) else { return };
        while let Some(message) = queue.pop_front() {
            if self.is_ours(&message) {
                let member = Arc::clone(self);
                handling.spawn(async move {
                    member.handle(message).await;
                    partition
                });
                return;
            }
        }
        waiting.remove(&partition);
    }

    /// Its partition may have gone to another member, which gets the message then.
    fn is_ours(&self, message: &Incoming) -> bool {
        let open = self.consumer.is_open(message);
        if !open {
            let (partition, offset) = (&message.placed.partition, message.placed.offset);
            tracing::debug!(group = %self.work.group, topic = %self.topic, %partition, offset, "its partition went away before it was handled");
        }
        open
    }

    /// Until it is handled or skipped, kept by the broker, another member's, or this one is stopped.
    async fn handle(&self, message: Incoming) {
        let Self { work, topic, place, consumer, stopping } = self;
        let mut stopping = stopping.clone();
        let mut attempt = message.attempt.saturating_add(1);
        while let Err(why) = self.attempt(&message, attempt).await {
            if !self.is_ours(&message) {
                return self.let_go(&message).await;
            }
            let (group, partition, offset) = (&work.group, &message.placed.partition, message.placed.offset);
            if work.attempts.is_some_and(|most| attempt >= most.get()) {
                work.figures.skipped.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%group, %topic, %partition, offset, attempt, why, "a message was skipped: its handler failed too often");
                break;
            }
            tracing::warn!(%group, %topic, %partition, offset, attempt, why, "the handler failed; it gets the message again");
            if work.later {
                match consumer.failed(&message).await {
                    Ok(()) => return,
                    // It comes again here, as if nobody had been asked to keep it.
                    Err(error) => tracing::warn!(%group, %topic, %error, "the broker does not keep it for later"),
                }
            }
            let stopped = tokio::select! {
                () = sleep(work.tools.waits.back_off(attempt)) => false,
                _ = stopping.wait_for(Option::is_some) => true,
            };
            // It comes again, to this member or another one.
            if stopped || !self.is_ours(&message) {
                return self.let_go(&message).await;
            }
            attempt = attempt.saturating_add(1);
        }
        if let Err(error) = consumer.done(&message) {
            tracing::warn!(group = %work.group, %topic, cluster = %place.cluster, %error, "a handled message cannot be committed; it comes again");
        }
    }

    /// A queue in order waits for what became of the message that its member has before it goes to another one.
    async fn let_go(&self, message: &Incoming) {
        if self.work.in_order
            && let Err(error) = self.consumer.failed(message).await
        {
            tracing::debug!(group = %self.work.group, topic = %self.topic, %error, "the member is not told that its message was let go");
        }
    }

    async fn attempt(&self, message: &Incoming, attempt: u32) -> Result<(), String> {
        let Self { work, topic, place, .. } = self;
        let started = Instant::now();
        let outcome = (work.handler)(Received::new(topic, &place.cluster, message, attempt)).await;
        match outcome {
            Ok(()) => {
                work.figures.done.fetch_add(1, Ordering::Relaxed);
                work.tools.statistics.done(&work.group, topic, &place.cluster, started.elapsed());
            }
            Err(_) => {
                work.figures.failed.fetch_add(1, Ordering::Relaxed);
                work.tools.statistics.handler_failed(&work.group, topic, &place.cluster);
            }
        }
        outcome
    }
}

/// Whether a member that says this must be opened anew. Everything else is about one message, one partition or one right, and it goes on by itself with
/// what it can: opening it again would take all other partitions from it too.
fn ends(error: &BrokerError) -> bool {
    match error {
        BrokerError::Closed | BrokerError::Conflict { .. } | BrokerError::Unsupported { .. } => true,
        BrokerError::Unreachable { .. }
        | BrokerError::Timeout { .. }
        | BrokerError::Denied { .. }
        | BrokerError::Missing { .. }
        | BrokerError::Refused { .. }
        | BrokerError::Passing { .. }
        | BrokerError::Garbled { .. } => false,
    }
}

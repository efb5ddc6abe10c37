//! Consuming from RocketMQ: a member that shares its group with Java's consumers.
//!
//! 1. [`allocate`], [`plan`], [`window`]: who has which queue, what to do about it, up to where may be committed; pure.
//! 2. [`shared`]: the queues that this member has.
//! 3. [`group`]: telling brokers that it is there, and following what is its own; [`heard`], [`running`]: what brokers ask of it.
//! 4. [`reader`]: one queue from its taking to its giving up, with [`commit`], [`lock`] and [`last`]; [`back`]: what failed.

mod allocate;
mod back;
mod commit;
mod group;
mod heard;
mod last;
mod lock;
mod plan;
mod reader;
mod running;
mod shared;
mod waits;
mod window;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use zms_core::names::PhysicalName;

use self::shared::{BUFFER, Parts, Shared, Taken};
pub use self::waits::Waits;
use super::heartbeat::Interest;
use super::net::Net;
use crate::broker::{BrokerError, Consumer, Delivery, Incoming, PartitionId, Subscription};
use crate::open::Endpoint;

/// Things to tell that nobody has asked for yet, at most.
const PROBLEMS: usize = 16;

/// A member of a consumer group, beside Java's: it says the same to brokers and divides queues by the same rule.
///
/// In a broadcast every member reads every queue; positions are in its memory alone, so a member begins where the subscription says each time
/// it is made. Java's keep them in a file of their host.
pub struct RocketMqConsumer {
    shared: Arc<Shared>,
    ready: tokio::sync::Mutex<(mpsc::Receiver<Taken>, mpsc::Receiver<BrokerError>)>,
    closed: watch::Sender<bool>,
    /// Taken by [`Consumer::close`].
    tasks: Mutex<Option<[JoinHandle<()>; 2]>>,
}

impl RocketMqConsumer {
    /// Joins the group; messages come as soon as queues are its own. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint or the subscription cannot be right, [`BrokerError::Unsupported`] if it asks for what this
    /// client cannot.
    pub fn new(endpoint: &Endpoint, subscription: &Subscription) -> Result<Self, BrokerError> {
        Self::with_waits(endpoint, subscription, Waits::default())
    }

    /// As [`Self::new`], with other waits.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_waits(endpoint: &Endpoint, subscription: &Subscription, waits: Waits) -> Result<Self, BrokerError> {
        let broadcast = matches!(subscription.mode, Delivery::Broadcast);
        let hearer = heard::Hearer::default();
        let net = Net::new(endpoint, Some(Arc::new(heard::Ears(Arc::clone(&hearer)))))?;
        let parts = Parts {
            net,
            group: subscription.group.as_str().to_owned(),
            interests: interests(subscription, broadcast),
            from: subscription.from,
            broadcast,
            ordered: subscription.ordered && !broadcast,
            waits,
        };
        let (ready, receiver) = mpsc::channel(BUFFER);
        let (problems, told) = mpsc::channel(PROBLEMS);
        let shared = Arc::new(Shared::new(parts, ready, problems));
        let _ = hearer.set(Arc::downgrade(&shared));
        let (beating, following) = (Arc::clone(&shared), Arc::clone(&shared));
        let tasks = [
            tokio::spawn(async move { group::beat(&beating).await }),
            tokio::spawn(async move { group::follow(&following).await }),
        ];
        Ok(Self {
            shared,
            ready: tokio::sync::Mutex::new((receiver, told)),
            closed: watch::Sender::new(false),
            tasks: Mutex::new(Some(tasks)),
        })
    }

    fn take_tasks(&self) -> Option<[JoinHandle<()>; 2]> {
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Commits and gives up everything. Half of the time is for what the application has in order.
    async fn leave(&self, deadline: Duration) -> Result<(), BrokerError> {
        let queues: Vec<_> = self.shared.table().keys().cloned().collect();
        let mut tasks: Vec<_> = queues.iter().filter_map(|queue| self.shared.give_up(queue)).collect();
        // Of one that has ended before, the log says how.
        tasks.extend(self.shared.leaving.lock().await.drain().map(|(_, task)| task).filter(|task| !task.is_finished()));
        let mut tasks = std::pin::pin!(join_all(tasks));
        let ended = match tokio::time::timeout(deadline / 2, &mut tasks).await {
            Ok(ended) => ended,
            Err(_) => {
                self.shared.wait_no_more();
                tasks.await
            }
        };
        let committed = ended.into_iter().filter_map(Result::ok).collect();
        self.shared.net.leave(Some(&self.shared.group), None).await;
        committed
    }
}

/// The topics, and in a group that shares its messages also what was sent back.
fn interests(subscription: &Subscription, broadcast: bool) -> Vec<Interest> {
    let version = super::net::now_ms();
    let mut interests: Vec<Interest> = subscription
        .topics
        .iter()
        .map(|topic| Interest { topic: topic.as_str().to_owned(), tags: subscription.tags.clone(), version })
        .collect();
    if !broadcast {
        interests.push(Interest { topic: format!("%RETRY%{}", subscription.group), tags: Vec::new(), version });
    }
    interests
}

#[async_trait]
impl Consumer for RocketMqConsumer {
    async fn receive(&self) -> Result<Incoming, BrokerError> {
        let mut closed = self.closed.subscribe();
        if *closed.borrow_and_update() {
            return Err(BrokerError::Closed);
        }
        let mut ready = self.ready.lock().await;
        let (messages, problems) = &mut *ready;
        loop {
            let taken = tokio::select! {
                biased;
                _ = closed.changed() => return Err(BrokerError::Closed),
                Some(problem) = problems.recv() => return Err(problem),
                Some(taken) = messages.recv() => taken,
                else => return Err(BrokerError::Closed),
            };
            // Its queue may have gone to somebody else while it waited here.
            if self.shared.hand_out(&taken.message) {
                return Ok(taken.message);
            }
        }
    }

    fn done(&self, message: &Incoming) -> Result<(), BrokerError> {
        if *self.closed.borrow() && !self.shared.waits_for(message) {
            return Err(BrokerError::Closed);
        }
        if let Some(queue) = self.shared.queue_of(message) {
            self.shared.done(&queue, message.placed.offset);
        }
        Ok(())
    }

    async fn failed(&self, message: &Incoming) -> Result<(), BrokerError> {
        if *self.closed.borrow() && !self.shared.waits_for(message) {
            return Err(BrokerError::Closed);
        }
        self.shared.failed(message).await
    }

    fn is_open(&self, message: &Incoming) -> bool {
        self.shared.is_open(message)
    }

    fn assigned(&self) -> Vec<(PhysicalName, PartitionId)> {
        let table = self.shared.table();
        let known = table.iter().filter(|(queue, held)| held.window.is_some() && !self.shared.is_retry(&queue.topic));
        known
            .filter_map(|(queue, _)| {
                let topic = PhysicalName::new(&*queue.topic).ok()?;
                Some((topic, PartitionId::queue(Arc::clone(&queue.broker), queue.number)))
            })
            .collect()
    }

    async fn close(&self, deadline: Duration) -> Result<(), BrokerError> {
        self.closed.send_replace(true);
        let Some(tasks) = self.take_tasks() else { return Ok(()) };
        for task in tasks {
            task.abort();
            let _aborted = task.await;
        }
        match tokio::time::timeout(deadline, self.leave(deadline)).await {
            Ok(left) => left,
            Err(_) => Err(BrokerError::Timeout {
                cluster: self.shared.net.cluster().to_owned(),
                what: format!("commit and leave group {}", self.shared.group),
                seconds: deadline.as_secs(),
            }),
        }
    }
}

impl Drop for RocketMqConsumer {
    fn drop(&mut self) {
        // Brokers see its connections close, and give its queues to others.
        for task in self.take_tasks().into_iter().flatten() {
            task.abort();
        }
        for (_, held) in std::mem::take(&mut *self.shared.table()) {
            held.task.inspect(JoinHandle::abort);
        }
    }
}

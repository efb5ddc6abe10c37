//! Consuming with a group: from every cluster that the topic is read from, in order within a partition, at least once.

mod member;
mod work;

use std::fmt::Display;
use std::future::Future;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;
use zms_core::names::PhysicalName;

use crate::brokers::Brokers;
use crate::directory::Directory;
use crate::presence::Presences;
use crate::statistics::Statistics;
use crate::tasks::Tasks;
use crate::{Error, Received, Waits};
use work::Work;

type Handler = dyn Fn(Received) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

/// What a consumer works with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub directory: Arc<Directory>,
    pub brokers: Arc<dyn Brokers>,
    pub statistics: Arc<Statistics>,
    pub presences: Arc<Presences>,
    pub waits: Waits,
}

/// Made by [`Zms::consumer`](crate::Zms::consumer).
pub struct ConsumerBuilder {
    pub(crate) group: PhysicalName,
    pub(crate) tools: Tools,
    pub(crate) tasks: Tasks,
    pub(crate) all: All,
    pub(crate) attempts: Option<NonZeroU32>,
    pub(crate) tags: Vec<String>,
    pub(crate) later: bool,
    pub(crate) in_order: bool,
}

/// Every consumer of a client, so that all can be stopped; it keeps their senders, so that dropping a [`Consuming`] stops nothing.
pub(crate) type All = Arc<Mutex<Vec<Arc<Running>>>>;

/// A consumer that runs.
#[derive(Debug)]
pub(crate) struct Running {
    group: PhysicalName,
    stop: watch::Sender<Option<Instant>>,
    ended: watch::Receiver<bool>,
}

impl Running {
    pub(crate) async fn close(&self, deadline: Duration) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(Instant::now() + deadline);
            first
        });
        // A little more than what members leave their handlers, for leaving the group.
        let ended =
            tokio::time::timeout(deadline + Duration::from_secs(1), self.ended.clone().wait_for(|ended| *ended)).await.is_ok();
        if !ended {
            tracing::warn!(group = %self.group, "closed before its handlers ended; what they have comes again");
        }
    }
}

impl ConsumerBuilder {
    /// After so many failed attempts a message is skipped, which is counted and logged. Without this call it is tried for ever, and its
    /// partition waits: nothing is lost, and other partitions go on.
    #[must_use]
    pub fn skip_after(mut self, attempts: NonZeroU32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Only messages with one of these tags. Every member of the group must name the same ones.
    #[must_use]
    pub fn only_tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// A message whose handler failed comes again later, and those after it do not wait for that: they may overtake it. RocketMQ keeps it
    /// meanwhile (10 s at first, then longer), gives it to any member of the group, and puts it into the group's dead letters after 16 attempts; with
    /// Kafka this member keeps it, and the group's position waits; while 256 messages or 4 MiB of a partition wait so, no more of it are read.
    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.later = true;
        self
    }

    /// A message is begun only after the one before it in its partition was handled or skipped, also while partitions go from one member to another.
    /// RocketMQ's brokers lock a queue for one member for this; every member of the group must ask for it. In Kafka a member whose partition is
    /// taken from it ends the message that its handler has begun, while the next member may begin with the same one.
    ///
    /// Not together with [`Self::retry_later`], by which messages overtake one that failed.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    /// Starts to consume. Messages of one partition are handled one after the other, partitions side by side. A message is committed
    /// after the handler succeeded; when it fails it gets the message again, later each time ([`Waits::retry`]). That ends when its partition
    /// goes to another member, which gets the message then. Of each partition at most 256 messages or 4 MiB wait for the handler, and one
    /// answer of a broker.
    ///
    /// # Errors
    /// [`Error::Setting`] for [`Self::in_order`] together with [`Self::retry_later`], [`Error::Unknown`] if the group is not there, [`Error::NoMetadata`] if nothing is known about it. What happens later, clusters that are
    /// away among it, is waited out and logged.
    pub async fn handle<H, F, E>(self, handler: H) -> Result<Consuming, Error>
    where
        H: Fn(Received) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let Self { group, tools, tasks, all, attempts, tags, later, in_order } = self;
        if in_order && later {
            let why = "in_order and retry_later exclude each other: what comes after a message that failed would overtake it";
            return Err(Error::Setting(format!("consume with group {group}: {why}")));
        }
        let since = Instant::now();
        let mut node = tools.directory.group(&group);
        let known = tools.directory.known(&format!("group {group}"), &mut node, since).await?;
        let mut topic = tools.directory.topic(&known.topic);
        tools.directory.known(&format!("topic {}", known.topic), &mut topic, since).await?;
        let handler = Arc::new(handler);
        let handler: Arc<Handler> = Arc::new(move |message| {
            let handler = Arc::clone(&handler);
            // A panic is a failure like any other: the message must neither be lost nor stop its partition in silence.
            let outcome =
                AssertUnwindSafe(async move { handler(message).await.map_err(|error| error.to_string()) }).catch_unwind();
            Box::pin(async move { outcome.await.unwrap_or_else(|_panic| Err("the handler panicked".to_owned())) })
        });
        let figures = Arc::new(Figures::default());
        let (stop, stopping) = watch::channel(None);
        let (ended_sender, ended) = watch::channel(false);
        let work = Work { group: group.clone(), tools, handler, attempts, tags, later, in_order, figures: Arc::clone(&figures) };
        tasks.spawn(async move {
            work.run(node, stopping).await;
            ended_sender.send_replace(true);
        });
        let running = Arc::new(Running { group, stop, ended });
        let mut all = all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.retain(|other| !*other.ended.borrow());
        all.push(Arc::clone(&running));
        drop(all);
        Ok(Consuming { running, figures })
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
struct Figures {
    received: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
    problems: AtomicU64,
}

/// A running consumer. It goes on when this is dropped; [`Consuming::close`] or [`Zms::close`](crate::Zms::close) end it.
#[derive(Debug)]
pub struct Consuming {
    running: Arc<Running>,
    figures: Arc<Figures>,
}

/// What a consumer did since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Messages that came.
    pub received: u64,
    /// Messages that were handled.
    pub done: u64,
    /// Attempts of the handler that failed.
    pub failed: u64,
    /// Messages that were given up: [`ConsumerBuilder::skip_after`].
    pub skipped: u64,
    /// What a cluster said that needs a person: a message that cannot be read, a right that is missing. Each is logged, and everything else goes on.
    pub problems: u64,
}

impl Consuming {
    /// What it did so far.
    pub fn figures(&self) -> Consumed {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Figures { received, done, failed, skipped, problems } = &*self.figures;
        Consumed {
            received: read(received),
            done: read(done),
            failed: read(failed),
            skipped: read(skipped),
            problems: read(problems),
        }
    }

    /// Takes no more messages, lets handlers end what they have begun, commits, leaves the group. What is not done by then comes again.
    pub async fn close(self, deadline: Duration) -> Consumed {
        self.running.close(deadline).await;
        self.figures()
    }
}

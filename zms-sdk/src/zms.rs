use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use zms_core::metadata::{ClientId, Presence};
use zms_core::names::{PhysicalName, RESERVED};
use zms_drivers::meta::MetaStore;

use crate::brokers::{Brokers, Pool};
use crate::cache::Cache;
use crate::consume::{All, ConsumerBuilder, Tools};
use crate::directory::Directory;
use crate::follow::Source;
use crate::lane::Lane;
use crate::presence::{self, Presences};
use crate::sender::{Means, Sender};
use crate::statistics::{self, Statistics};
use crate::tasks::Tasks;
use crate::{Builder, Error, Message, Sent, Waits};

/// A connection to an environment. Clones are the same connection; one is enough for a process.
#[derive(Clone)]
pub struct Zms(Arc<Inner>);

/// What a client is made of.
pub(crate) struct Parts {
    pub id: ClientId,
    pub presence: Presence,
    pub meta: Arc<dyn MetaStore>,
    pub brokers: Arc<dyn Brokers>,
    pub environment: Option<String>,
    pub cache: Cache,
    pub waits: Waits,
    pub in_flight: usize,
    pub statistics: bool,
}

struct Inner {
    id: ClientId,
    senders: Arc<Senders>,
    tools: Tools,
    pool: Arc<Pool>,
    lane: Lane,
    consumers: All,
    meta: Arc<dyn MetaStore>,
    /// Tells the reporter to send what it has, and that it did.
    reporter: Option<statistics::Reporter>,
    tasks: Tasks,
    closed: AtomicBool,
}

/// Topics that are sent to.
pub(crate) struct Senders {
    known: RwLock<HashMap<String, Arc<Sender>>>,
    means: Means,
}

impl Senders {
    pub fn get(&self, topic: &str) -> Result<Arc<Sender>, Error> {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(topic) {
            return Ok(Arc::clone(known));
        }
        let name = PhysicalName::new(topic).map_err(|error| Error::Setting(error.to_string()))?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let sender = known.entry(topic.to_owned()).or_insert_with(|| Sender::start(&name, &self.means));
        Ok(Arc::clone(sender))
    }

    /// Messages that wait for metadata are given up; how many. A report of our own is none of the application's messages.
    fn give_up(&self) -> usize {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let theirs = known.iter().filter(|(topic, _)| !RESERVED.contains(&topic.as_str()));
        let waiting = theirs.map(|(_, sender)| sender.waiting()).sum();
        drop(known);
        self.means.closing.send_replace(true);
        waiting
    }
}

impl Zms {
    /// How to connect.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(parts: Parts) -> Self {
        let Parts { id, presence, meta, brokers, environment, cache, waits, in_flight, statistics } = parts;
        let tasks = Tasks::new();
        let source = Arc::new(Source::new(Arc::clone(&meta), cache, waits, environment));
        let directory = Directory::new(source, tasks.clone());
        let pool = Arc::new(Pool::new(Arc::clone(&brokers), waits.drain));
        let counts = Arc::new(Statistics::new(&id, &presence));
        let presences = Presences::new(presence);
        tasks.spawn(presence::keep(Arc::clone(&presences), Arc::clone(&meta), id.clone()));
        let (lane, running) = Lane::new(in_flight);
        tasks.spawn(running);
        let means = Means {
            directory: Arc::clone(&directory),
            pool: Arc::clone(&pool),
            statistics: Arc::clone(&counts),
            presences: Arc::clone(&presences),
            closing: watch::Sender::new(false),
            waits,
            tasks: tasks.clone(),
        };
        let senders = Arc::new(Senders { known: RwLock::default(), means });
        let reporter = statistics.then(|| {
            let (reporter, running) = statistics::report(Arc::clone(&counts), Arc::clone(&senders), waits.statistics);
            tasks.spawn(running);
            reporter
        });
        let tools = Tools { directory, brokers, statistics: counts, presences, waits };
        let consumers = All::new(Mutex::default());
        Self(Arc::new(Inner { id, senders, tools, pool, lane, consumers, meta, reporter, tasks, closed: AtomicBool::new(false) }))
    }

    /// Names this process in the portal.
    pub fn id(&self) -> &ClientId {
        &self.0.id
    }

    /// Sends; ends when the topic's cluster keeps the message as it is set to, or with the reason why not. Kafka: every in-sync replica has it.
    /// RocketMQ: its master has it, with `SYNC_MASTER` also a slave if one is in reach, with `SYNC_FLUSH` the master's disk. Only the first message
    /// to a topic waits for metadata. Dropping the future does not take the message back.
    ///
    /// # Errors
    /// [`Error::is_passing`] says whether sending again later may help. After a time-out the message may be there nevertheless.
    pub async fn send(&self, topic: &str, message: impl Into<Message>) -> Result<Sent, Error> {
        self.open()?;
        self.0.senders.get(topic)?.send(&message.into()).await
    }

    /// Sends without waiting; `callback` hears what became of it. Messages of one topic are sent in the order of these calls.
    ///
    /// # Errors
    /// [`Error::Busy`] if too many are under way: nothing was done then, and the callback is not called.
    pub fn send_async(
        &self,
        topic: &str,
        message: impl Into<Message>,
        callback: impl FnOnce(Result<Sent, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.open()?;
        let (sender, message) = (self.0.senders.get(topic)?, message.into());
        self.0.lane.push(async move { callback(sender.send(&message).await) })
    }

    /// Waits until it is known where a topic lives and its cluster answers, so that the first send does not have to.
    ///
    /// # Errors
    /// What hinders.
    pub async fn prepare(&self, topic: &str) -> Result<(), Error> {
        self.open()?;
        self.0.senders.get(topic)?.prepare().await
    }

    /// Consumes with a group that the portal knows; it says which topic that is.
    ///
    /// # Errors
    /// [`Error::Setting`] if the name cannot be right.
    pub fn consumer(&self, group: &str) -> Result<ConsumerBuilder, Error> {
        self.open()?;
        let group = PhysicalName::new(group).map_err(|error| Error::Setting(error.to_string()))?;
        let (tools, tasks, all) = (self.0.tools.clone(), self.0.tasks.clone(), Arc::clone(&self.0.consumers));
        Ok(ConsumerBuilder { group, tools, tasks, all, attempts: None, tags: Vec::new(), later: false, in_order: false })
    }

    /// Stops consumers, waits for what is under way, leaves. How many messages were given up because the deadline passed.
    pub async fn close(&self, deadline: Duration) -> usize {
        if self.0.closed.swap(true, Ordering::AcqRel) {
            return 0;
        }
        let end = Instant::now() + deadline;
        let left = || end.saturating_duration_since(Instant::now());
        let consumers = std::mem::take(&mut *self.0.consumers.lock().unwrap_or_else(PoisonError::into_inner));
        let consumers = futures::future::join_all(consumers.iter().map(|consumer| consumer.close(left())));
        let (_, lane) = tokio::join!(consumers, self.0.lane.close(left()));
        if let Some(reporter) = &self.0.reporter {
            // The last figures are worth a moment, not the whole deadline.
            let _ = timeout(left().min(Duration::from_secs(2)), reporter.last()).await;
        }
        let given_up = lane.queued + self.0.senders.give_up() + self.0.pool.close(left()).await;
        // Callbacks of what was given up hear it.
        self.0.lane.close(Duration::from_millis(500)).await;
        self.0.tasks.end();
        if timeout(Duration::from_secs(2), self.0.meta.close()).await.is_err() {
            tracing::debug!("ZooKeeper did not answer the end of the session");
        }
        given_up
    }

    fn open(&self) -> Result<(), Error> {
        if self.0.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.end();
        let meta = Arc::clone(&self.meta);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // The session, and with it this process in the portal, ends now and not after its time-out.
            runtime.spawn(async move { timeout(Duration::from_secs(2), meta.close()).await });
        }
    }
}

//! What the parts of a member share: which queues it has, and what of them is where.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use zms_core::metadata::ConsumeFrom;

use super::Waits;
use super::commit::Places;
use super::last::{Lasts, Left};
use super::window::{Commit, Window};
use crate::broker::{BrokerError, Incoming};
use crate::rocketmq::heartbeat::Interest;
use crate::rocketmq::net::Net;
use crate::rocketmq::queue::Queue;

/// Bytes of messages that wait to be received; a message takes at least one kilobyte of it.
const BUFFER_KIB: u32 = 32 << 10;
/// Messages that wait to be received.
pub(super) const BUFFER: usize = 256;

/// Names of both.
type TopicOnBroker = (Arc<str>, Arc<str>);

/// A message on its way to the application.
pub(super) struct Taken {
    pub message: Incoming,
    pub _room: OwnedSemaphorePermit,
}

pub(super) struct Shared {
    pub net: Arc<Net>,
    pub group: String,
    pub interests: Vec<Interest>,
    pub from: ConsumeFrom,
    pub broadcast: bool,
    pub ordered: bool,
    pub waits: Waits,
    pub started_ms: i64,
    pub ready: mpsc::Sender<Taken>,
    /// What needs a person.
    problems: mpsc::Sender<BrokerError>,
    room: Arc<Semaphore>,
    /// Members or routes changed.
    pub changed: Notify,
    /// A broker has forgotten us, or may have.
    pub forgotten: Notify,
    table: Mutex<BTreeMap<Queue, Held>>,
    generations: AtomicU64,
    told: Mutex<BTreeSet<String>>,
    /// Topic and broker → whether a first commit of ours was seen to be kept there.
    kept: Mutex<HashMap<TopicOnBroker, Arc<OnceCell<()>>>>,
    /// Tasks of queues that were given up and are being committed.
    pub leaving: tokio::sync::Mutex<HashMap<Queue, JoinHandle<Result<(), BrokerError>>>>,
    pub lasts: Mutex<Lasts>,
    pub places: Mutex<Places>,
}

/// A queue that is this member's.
pub(super) struct Held {
    /// `None` until its beginning is known.
    pub window: Option<Window>,
    /// Which window; what belongs to another one is not this member's any more.
    pub generation: u64,
    /// Breaks off what its task waits for: there is a new window.
    pub again: Arc<Notify>,
    /// Its window was full and is not any more.
    pub room: Arc<Notify>,
    /// Ends its task, which gets what is left to commit.
    pub stop: oneshot::Sender<Left>,
    pub task: Option<JoinHandle<Result<(), BrokerError>>>,
    /// In a queue in order.
    pub turn: Option<Turn>,
    pub last_pull_ms: i64,
    pub last_done_ms: i64,
}

/// Where a queue is read on.
pub(super) struct Reading {
    pub next: i64,
    pub generation: u64,
    /// The application has so much of it that this is waited for first.
    pub room: Option<Arc<Notify>>,
}

/// The one message of a queue in order that is on its way to the application, or with it.
pub(super) struct Turn {
    pub offset: i64,
    /// The application has it.
    pub handed: bool,
    /// Who wants to hear what became of it.
    pub said: oneshot::Sender<Handled>,
}

/// What the application says about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    Done,
    Failed,
}

/// What a new member is made of.
pub(super) struct Parts {
    pub net: Arc<Net>,
    pub group: String,
    pub interests: Vec<Interest>,
    pub from: ConsumeFrom,
    pub broadcast: bool,
    pub ordered: bool,
    pub waits: Waits,
}

impl Shared {
    pub fn new(parts: Parts, ready: mpsc::Sender<Taken>, problems: mpsc::Sender<BrokerError>) -> Self {
        let Parts { net, group, interests, from, broadcast, ordered, waits } = parts;
        Self {
            net,
            group,
            interests,
            from,
            broadcast,
            ordered,
            waits,
            started_ms: crate::rocketmq::net::now_ms(),
            ready,
            problems,
            room: Arc::new(Semaphore::new(BUFFER_KIB as usize)),
            changed: Notify::new(),
            forgotten: Notify::new(),
            kept: Mutex::default(),
            table: Mutex::default(),
            generations: AtomicU64::new(1),
            told: Mutex::default(),
            leaving: tokio::sync::Mutex::default(),
            lasts: Mutex::default(),
            places: Mutex::default(),
        }
    }

    pub fn table(&self) -> MutexGuard<'_, BTreeMap<Queue, Held>> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Full once a first commit of this member was kept by the queue's broker.
    pub fn kept(&self, queue: &Queue) -> Arc<OnceCell<()>> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.entry((queue.topic.clone(), queue.broker.clone())).or_default().clone()
    }

    /// Where messages wait that were sent back.
    pub fn retry_topic(&self) -> String {
        format!("%RETRY%{}", self.group)
    }

    pub fn is_retry(&self, topic: &str) -> bool {
        topic.strip_prefix("%RETRY%").is_some_and(|group| group == self.group)
    }

    /// The queue begins here. Returns the window's number; `None` if the queue is not ours any more.
    pub fn open(&self, queue: &Queue, begin: i64, committed: bool) -> Option<u64> {
        let mut table = self.table();
        let held = table.get_mut(queue)?;
        held.window = Some(Window::new(begin, committed));
        held.generation = self.generations.fetch_add(1, Ordering::Relaxed);
        held.turn = None;
        held.again.notify_one();
        Some(held.generation)
    }

    /// The window of a queue, if it is still this one.
    pub fn with_window<T>(&self, queue: &Queue, generation: u64, act: impl FnOnce(&mut Held) -> T) -> Option<T> {
        let mut table = self.table();
        table.get_mut(queue).filter(|held| held.generation == generation && held.window.is_some()).map(act)
    }

    /// Where to read on, and in which window; `None` if the queue is not ours any more.
    pub fn reading_at(&self, queue: &Queue) -> Option<Reading> {
        let table = self.table();
        let held = table.get(queue)?;
        let window = held.window.as_ref()?;
        let room = window.is_full().then(|| Arc::clone(&held.room));
        Some(Reading { next: window.next(), generation: held.generation, room })
    }

    /// The application gets this message, if it is still ours.
    pub fn hand_out(&self, message: &Incoming) -> bool {
        self.queue_of(message).is_some_and(|queue| {
            let handed = |held: &mut Held| {
                let open = held.window.as_ref().is_some_and(|window| window.open(message.placed.offset).is_some());
                if let Some(turn) = held.turn.as_mut().filter(|_| open) {
                    turn.handed = true;
                }
                open
            };
            self.with_window(&queue, message.generation, handed).unwrap_or(false)
        })
    }

    /// The message is not handled, and its queue has stayed ours since it came.
    pub fn is_open(&self, message: &Incoming) -> bool {
        self.queue_of(message).is_some_and(|queue| {
            let open = |held: &mut Held| held.window.as_ref().is_some_and(|window| window.open(message.placed.offset).is_some());
            self.with_window(&queue, message.generation, open).unwrap_or(false)
        })
    }

    /// What the broker should be told, and which window it is of.
    pub fn to_commit(&self, queue: &Queue) -> Option<(Commit, u64)> {
        let table = self.table();
        let held = table.get(queue)?;
        Some((held.window.as_ref()?.to_commit()?, held.generation))
    }

    /// The queue stays, but nothing that was received from it is ours any more.
    pub fn close_window(&self, queue: &Queue) {
        if let Some(held) = self.table().get_mut(queue) {
            held.window = None;
            held.turn = None;
            held.generation = self.generations.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From now on somebody waits for what becomes of this message.
    pub fn turn(&self, queue: &Queue, generation: u64, offset: i64) -> Option<oneshot::Receiver<Handled>> {
        self.with_window(queue, generation, |held| {
            let (sender, receiver) = oneshot::channel();
            held.turn = Some(Turn { offset, handed: false, said: sender });
            receiver
        })
    }

    /// Waits until there is room for a message of so many bytes.
    pub async fn room(&self, bytes: usize) -> OwnedSemaphorePermit {
        let kib = u32::try_from(bytes >> 10).unwrap_or(BUFFER_KIB).clamp(1, BUFFER_KIB);
        Arc::clone(&self.room).acquire_many_owned(kib).await.expect("it is never closed")
    }

    /// Tells the application once what needs a person; again only after [`Self::well`].
    pub fn tell(&self, about: &str, error: BrokerError) {
        let mut told = self.told();
        if told.contains(about) {
            return;
        }
        tracing::warn!(group = %self.group, %error, "consuming");
        // While there is no room it is not told, and tried again with the next occasion.
        if self.problems.try_send(error).is_ok() {
            told.insert(about.to_owned());
        }
    }

    /// Tells what waiting does not mend; everything else is tried again.
    pub fn tell_if_denied(&self, about: &str, error: &BrokerError) {
        if matches!(error, BrokerError::Denied { .. }) {
            self.tell(about, error.clone());
        }
    }

    pub fn well(&self, about: &str) {
        self.told().remove(about);
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

//! Sending to one topic, wherever it lives now.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, sleep_until};
use zms_core::names::PhysicalName;
use zms_drivers::broker::BrokerError;

use crate::brokers::{Address, Pool, Shared};
use crate::directory::{Directory, Status, Topic};
use crate::presence::Presences;
use crate::route::Place;
use crate::statistics::Statistics;
use crate::tasks::Tasks;
use crate::{Error, Message, Sent, Waits};

/// Where messages of a topic go now. A send holds it until it ended, so a switch never takes a client from under it.
struct Live {
    place: Place,
    shared: Arc<Shared>,
}

/// What all topics share.
pub struct Means {
    pub directory: Arc<Directory>,
    pub pool: Arc<Pool>,
    pub statistics: Arc<Statistics>,
    pub presences: Arc<Presences>,
    /// Set when nobody waits for metadata any more.
    pub closing: watch::Sender<bool>,
    pub waits: Waits,
    pub tasks: Tasks,
}

/// One topic that is sent to.
pub struct Sender {
    topic: PhysicalName,
    live: Arc<RwLock<Option<Arc<Live>>>>,
    /// What hinders while nothing is live.
    ready: watch::Receiver<Status<Topic>>,
    turn: Mutex<()>,
    waiting: AtomicUsize,
    closing: watch::Receiver<bool>,
    directory: Arc<Directory>,
    statistics: Arc<Statistics>,
}

impl Sender {
    /// Starts to follow the topic.
    pub fn start(topic: &PhysicalName, means: &Means) -> Arc<Self> {
        let Means { directory, pool, statistics, presences, closing, waits, tasks } = means;
        let live = Arc::new(RwLock::new(None));
        let (said, ready) = watch::channel(Status::Looking("ZooKeeper was not asked yet".to_owned()));
        let keep = Keep {
            topic: topic.clone(),
            live: Arc::clone(&live),
            said,
            known: directory.topic(topic),
            pool: Arc::clone(pool),
            presences: Arc::clone(presences),
            waits: *waits,
        };
        tasks.spawn(keep.run());
        let (directory, statistics) = (Arc::clone(directory), Arc::clone(statistics));
        Arc::new(Self {
            topic: topic.clone(),
            live,
            ready,
            turn: Mutex::default(),
            waiting: AtomicUsize::new(0),
            closing: closing.subscribe(),
            directory,
            statistics,
        })
    }

    /// Sends, and counts.
    pub async fn send(&self, message: &Message) -> Result<Sent, Error> {
        let started = Instant::now();
        let live = self.live(started).await;
        let mut live = live.inspect_err(|error| self.statistics.failed(&self.topic, None, error.kind()))?;
        loop {
            let outcome = live.shared.producer.send(message.to(&live.place.name)).await;
            let cluster = &live.place.cluster;
            match outcome {
                Ok(placed) => {
                    self.statistics.sent(&self.topic, cluster, message.size(), started.elapsed());
                    return Ok(Sent { cluster: cluster.clone(), partition: placed.partition, offset: placed.offset });
                }
                Err(error) => {
                    // The topic moved while this message was refused at its old place: it goes to the new one. A time-out is not
                    // repeated, because nobody knows whether the message is there.
                    let now =
                        read(&self.live).filter(|now| !Arc::ptr_eq(now, &live) && !matches!(error, BrokerError::Timeout { .. }));
                    if let Some(now) = now {
                        live = now;
                        continue;
                    }
                    let error = Error::broker(format!("send to topic {}", self.topic), error);
                    self.statistics.failed(&self.topic, Some(cluster), error.kind());
                    return Err(error);
                }
            }
        }
    }

    /// How many messages wait for metadata.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits until it is known where the topic lives, and until its cluster answers.
    pub async fn prepare(&self) -> Result<(), Error> {
        let live = self.live(Instant::now()).await?;
        let warmed = live.shared.producer.warm(&live.place.name).await;
        warmed.map_err(|error| Error::broker(format!("prepare topic {}", self.topic), error))
    }

    /// Where to send. Only before the first message this waits for metadata; those who wait go on in the order in which they came, so
    /// that messages keep theirs.
    async fn live(&self, since: Instant) -> Result<Arc<Live>, Error> {
        if self.waiting.load(Ordering::Acquire) == 0
            && let Some(live) = read(&self.live)
        {
            return Ok(live);
        }
        let _waiting = Waiting::new(&self.waiting);
        let mut closing = self.closing.clone();
        let known = async {
            // Who holds the turn gives up at its own end, which is not later than ours.
            let _turn = self.turn.lock().await;
            self.directory.known(&format!("topic {}", self.topic), &mut self.ready.clone(), since).await?;
            read(&self.live).ok_or(Error::Closed)
        };
        tokio::select! {
            biased;
            live = known => live,
            _ = closing.wait_for(|closing| *closing) => Err(Error::Closed),
        }
    }
}

/// Counts one who waits, until it goes on or goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn read(live: &RwLock<Option<Arc<Live>>>) -> Option<Arc<Live>> {
    live.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

/// Follows where the topic lives.
struct Keep {
    topic: PhysicalName,
    live: Arc<RwLock<Option<Arc<Live>>>>,
    said: watch::Sender<Status<Topic>>,
    known: watch::Receiver<Status<Topic>>,
    pool: Arc<Pool>,
    presences: Arc<Presences>,
    waits: Waits,
}

impl Keep {
    async fn run(mut self) {
        let mut attempt = 0;
        loop {
            let status = self.known.borrow_and_update().clone();
            let retry = match status {
                Status::Known(topic) => match self.follow(&topic).await {
                    Ok(()) => {
                        attempt = 0;
                        self.presences.sends(&self.topic, topic.order.epoch);
                        self.said.send_replace(Status::Known(topic));
                        None
                    }
                    Err(error) => {
                        attempt += 1;
                        tracing::warn!(topic = %self.topic, %error, "its cluster cannot be used; what was used before stays");
                        if read(&self.live).is_none() {
                            self.said.send_replace(Status::Failed(error));
                        }
                        Some(self.waits.back_off(attempt))
                    }
                },
                other => {
                    self.said.send_replace(other);
                    None
                }
            };
            tokio::select! {
                changed = self.known.changed() => if changed.is_err() { return },
                () = sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            }
        }
    }

    /// Opens the new client, makes it ready, switches. The old one goes when the last send that uses it ended.
    async fn follow(&self, topic: &Topic) -> Result<(), Error> {
        let place = topic.plan.write.clone();
        let (kind, node) = topic.at(&place);
        let address = Address::new(&place.cluster, kind, node);
        let before = read(&self.live);
        if before.as_ref().is_some_and(|live| live.shared.address == address && live.place.name == place.name) {
            return Ok(());
        }
        let shared = self.pool.get(address, node)?;
        if before.is_some() && !self.warm(&shared, &place.name).await {
            return Ok(());
        }
        tracing::info!(topic = %self.topic, cluster = %place.cluster, rid = place.rid, "sends go there from now on");
        *self.live.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Arc::new(Live { place, shared }));
        Ok(())
    }

    /// Until it is ready, or the portal's decision must be followed anyway. `false`: the portal decided anew meanwhile.
    async fn warm(&self, shared: &Shared, name: &PhysicalName) -> bool {
        let end = Instant::now() + self.waits.switch;
        let mut news = self.known.clone();
        let mut attempt = 0;
        loop {
            let why = tokio::select! {
                warmed = shared.producer.warm(name) => match warmed {
                    Ok(()) => return true,
                    Err(error) => error.to_string(),
                },
                _ = news.changed() => return false,
                () = sleep_until(end) => "no answer".to_owned(),
            };
            if Instant::now() >= end {
                tracing::warn!(topic = %self.topic, cluster = %shared.address.cluster, why, "sends go to the new cluster though it is not ready");
                return true;
            }
            attempt += 1;
            tracing::warn!(topic = %self.topic, cluster = %shared.address.cluster, why, "the topic's new cluster is not ready");
            sleep_until((Instant::now() + self.waits.back_off(attempt)).min(end)).await;
        }
    }
}

//! Sending to RocketMQ.
//!
//! 1. [`choose`]: which queue a message goes to.
//! 2. [`lane`]: one queue's messages on their way; [`verdict`]: what the broker's answer says about them.
//! 3. Here: a message from its sender to its lane and back, with what is tried again.

mod choose;
mod lane;
mod verdict;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use zms_core::names::PhysicalName;

use self::choose::Turns;
use self::lane::{Failure, Job, Lane, WAITING};
use super::message::delay::{Delay, delay};
use super::message::outgoing::{Ready, text};
use super::message::unique::UniqueIds;
use super::net::Net;
use super::queue::Queue;
use super::waits::back_off;
use crate::broker::{BrokerError, Outgoing, PartitionId, Placed, Producer};
use crate::open::Endpoint;

/// A route is asked for again after this.
const ROUTE_AGE: Duration = Duration::from_secs(30);
/// Brokers forget a producer that is silent for two minutes.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Larger ones cannot be in one frame with their header; what a broker takes it says itself (4 MiB by default).
const LARGEST: usize = (16 << 20) - (128 << 10);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The broker has a message before its send ends. A message whose answer was lost is sent once more, so it may be there twice.
pub struct RocketMqProducer {
    shared: Arc<Shared>,
    heartbeat: Once,
}

struct Shared {
    net: Arc<Net>,
    /// As brokers know us.
    group: String,
    delivery: Duration,
    ids: UniqueIds,
    turns: Turns,
    lanes: Mutex<HashMap<Queue, mpsc::Sender<Job>>>,
    under_way: AtomicUsize,
    /// The last message under way is at its end.
    idle: Notify,
    /// No more messages are taken.
    closing: AtomicBool,
    /// Nothing is waited for any more.
    closed: watch::Sender<bool>,
}

/// Counts one message under way, also when its sender goes away.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.under_way.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl RocketMqProducer {
    /// Makes a client; it connects when it is first used. A message is given up after `delivery`.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint cannot be right, [`BrokerError::Unsupported`] if it asks for what this client cannot.
    pub fn new(endpoint: &Endpoint, delivery: Duration) -> Result<Self, BrokerError> {
        let net = Net::new(endpoint, None)?;
        let shared = Shared {
            group: endpoint.client_id.clone(),
            delivery,
            ids: UniqueIds::new(net.own_address(), std::process::id(), net.number()),
            turns: Turns::default(),
            lanes: Mutex::default(),
            under_way: AtomicUsize::new(0),
            idle: Notify::new(),
            closing: AtomicBool::new(false),
            closed: watch::Sender::new(false),
            net,
        };
        Ok(Self { shared: Arc::new(shared), heartbeat: Once::new() })
    }

    /// Brokers show who is connected, and 4.9 asks producers of transactions; this needs a runtime, so it begins with the first call.
    fn begin(&self) {
        self.heartbeat.call_once(|| {
            let (net, group) = (Arc::clone(&self.shared.net), self.shared.group.clone());
            let mut closed = self.shared.closed.subscribe();
            tokio::spawn(async move {
                let body = super::heartbeat::producer(net.client_id(), &group);
                loop {
                    net.beat(&body).await;
                    tokio::select! {
                        () = tokio::time::sleep(HEARTBEAT) => {}
                        () = net.met_a_broker() => {}
                        // Also when the producer was dropped without closing it.
                        _ = closed.changed() => break,
                    }
                }
                net.leave(None, Some(&group)).await;
            });
        });
    }
}

/// A message that its sender waits for.
struct Sending {
    message: Outgoing,
    body: Bytes,
    id: String,
    /// Key, tag and headers as they are sent; a delay is written when the broker is known that gets it.
    text: Option<String>,
    give_up: Instant,
    /// It left this process.
    sent: Arc<AtomicBool>,
    tries: u32,
    doubts: u32,
    /// Brokers that failed in this round.
    avoid: BTreeSet<Arc<str>>,
    last: Option<BrokerError>,
}

/// A message in its lane.
struct Queued {
    queue: Queue,
    answer: oneshot::Receiver<Result<i64, Failure>>,
}

impl Sending {
    fn what(&self) -> String {
        format!("send to topic {}", self.message.topic)
    }

    fn refused(&self, why: String) -> BrokerError {
        BrokerError::Refused { what: self.what(), why }
    }

    fn ready(&self, delay: Option<Delay>) -> Result<Ready, BrokerError> {
        let message = &self.message;
        let properties = match &self.text {
            Some(text) => text.clone(),
            None => text(message.key.as_deref(), message.tag.as_deref(), &message.headers, delay, &self.id)
                .map_err(|why| self.refused(why))?,
        };
        Ok(Ready { body: self.body.clone(), properties })
    }

    fn job(&self, ready: Ready) -> (Job, oneshot::Receiver<Result<i64, Failure>>) {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            ready,
            keyed: self.message.key.is_some(),
            alone: self.message.delay.is_some(),
            give_up: self.give_up,
            doubts: self.doubts,
            sent: Arc::clone(&self.sent),
            answer,
        };
        (job, answered)
    }
}

impl Shared {
    fn begin(&self, message: Outgoing) -> Result<Sending, BrokerError> {
        let Some(body) = message.value.clone() else {
            let what = "keep a tombstone: a RocketMQ topic is not compacted by key".to_owned();
            return Err(BrokerError::Unsupported { cluster: self.net.cluster().to_owned(), what });
        };
        let mut sending = Sending {
            id: self.ids.next(),
            text: None,
            give_up: Instant::now() + self.delivery,
            sent: Arc::default(),
            tries: 0,
            doubts: 0,
            avoid: BTreeSet::new(),
            last: None,
            body,
            message,
        };
        if sending.body.len() > LARGEST {
            return Err(sending.refused(format!("{} bytes; at most {LARGEST}", sending.body.len())));
        }
        // Written once for all tries; what is wrong in it needs no broker to be refused.
        let ready = sending.ready(None)?;
        if sending.message.delay.is_none() {
            sending.text = Some(ready.properties);
        }
        Ok(sending)
    }

    /// Puts a message into its lane without waiting, if everything is at hand: messages keep the order in which their sends began.
    fn queue_now(&self, sending: &Sending) -> Option<Queued> {
        let topic = sending.message.topic.as_str();
        let route = self.net.at_hand(topic, ROUTE_AGE)?;
        let queue = self.turns.choose(
            &route.writable,
            sending.message.key.as_deref(),
            &sending.avoid,
            self.under_way.load(Ordering::Relaxed),
        )?;
        sending.text.as_ref()?;
        let (job, answer) = sending.job(sending.ready(None).ok()?);
        self.lane(&queue).try_send(job).ok().map(|()| Queued { queue, answer })
    }

    async fn queue(&self, sending: &Sending) -> Result<Queued, BrokerError> {
        let route = self.net.route_at_hand(sending.message.topic.as_str(), ROUTE_AGE).await?;
        let queue = self.turns.choose(
            &route.writable,
            sending.message.key.as_deref(),
            &sending.avoid,
            self.under_way.load(Ordering::Relaxed),
        );
        let queue = queue.ok_or_else(|| self.no_queue(sending.message.topic.as_str()))?;
        let delay = match sending.message.delay {
            Some(wanted) => {
                delay(wanted, self.net.version(&queue).await?.takes_any_delay()).map_err(|why| sending.refused(why))?
            }
            None => None,
        };
        let (job, answer) = sending.job(sending.ready(delay)?);
        match self.lane(&queue).send(job).await {
            Ok(()) => Ok(Queued { queue, answer }),
            Err(_its_task_ended) => Err(BrokerError::Closed),
        }
    }

    async fn tries(&self, sending: &mut Sending, mut first: Option<Queued>) -> Result<Placed, BrokerError> {
        loop {
            let queued = match first.take() {
                Some(queued) => Ok(queued),
                None => self.queue(sending).await,
            };
            let failed = match queued {
                Ok(Queued { queue, answer }) => match answer.await {
                    Ok(Ok(offset)) => {
                        self.turns.worked(&queue.broker);
                        return Ok(Placed { partition: PartitionId::queue(Arc::clone(&queue.broker), queue.number), offset });
                    }
                    Ok(Err(Failure { error, again: false, .. })) => return Err(error),
                    Ok(Err(Failure { error, doubt, .. })) => {
                        sending.doubts += u32::from(doubt);
                        self.turns.failed(&queue.broker);
                        // Another broker may have a certificate that somebody vouches for; if there is none it is of no use to wait for it.
                        let alone = !sending.avoid.insert(queue.broker);
                        if alone && matches!(error, BrokerError::Denied { .. }) {
                            return Err(error);
                        }
                        error
                    }
                    Err(_given_up) => return Err(self.timeout(&sending.what())),
                },
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            tracing::debug!(topic = %sending.message.topic, error = %failed, tries = sending.tries, "a message is tried again");
            sending.last = Some(failed);
            // The first other broker is asked at once.
            if sending.tries > 0 || sending.avoid.is_empty() {
                tokio::time::sleep(back_off(sending.tries, FIRST_WAIT, LONGEST_WAIT)).await;
                sending.avoid.clear();
            }
            sending.tries += 1;
        }
    }

    fn no_queue(&self, topic: &str) -> BrokerError {
        self.net.passing(format!("send to topic {topic}"), "no broker takes messages into it now".to_owned())
    }

    fn timeout(&self, what: &str) -> BrokerError {
        BrokerError::Timeout { cluster: self.net.cluster().to_owned(), what: what.to_owned(), seconds: self.delivery.as_secs() }
    }

    fn lane(&self, queue: &Queue) -> mpsc::Sender<Job> {
        let mut lanes = self.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(lane) = lanes.get(queue) {
            return lane.clone();
        }
        let (sender, jobs) = mpsc::channel(WAITING);
        let lane = Lane {
            net: Arc::clone(&self.net),
            queue: queue.clone(),
            producer_group: self.group.clone(),
            attempt: (self.delivery / 2).clamp(Duration::from_millis(500), Duration::from_secs(5)),
        };
        tokio::spawn(lane.run(jobs));
        lanes.insert(queue.clone(), sender.clone());
        sender
    }
}

#[async_trait]
impl Producer for RocketMqProducer {
    async fn send(&self, message: Outgoing) -> Result<Placed, BrokerError> {
        let mut closed = self.shared.closed.subscribe();
        let _under_way = UnderWay::new(&self.shared);
        // Looked at after it was counted, so that closing either waits for it or turns it away.
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(BrokerError::Closed);
        }
        self.begin();
        let mut sending = self.shared.begin(message)?;
        let first = self.shared.queue_now(&sending);
        let (give_up, sent) = (sending.give_up, Arc::clone(&sending.sent));
        let what = sending.what();
        tokio::select! {
            biased;
            on_time = tokio::time::timeout_at(give_up, self.shared.tries(&mut sending, first)) => {
                // What was said last explains more than that the time is over.
                on_time.unwrap_or_else(|_| Err(sending.last.take().unwrap_or_else(|| self.shared.timeout(&what))))
            }
            // What left this process may have been kept.
            _ = closed.changed() => Err(match sent.load(Ordering::Acquire) {
                true => self.shared.timeout(&what),
                false => BrokerError::Closed,
            }),
        }
    }

    async fn warm(&self, topic: &PhysicalName) -> Result<(), BrokerError> {
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(BrokerError::Closed);
        }
        self.begin();
        let route = self.shared.net.route(topic.as_str(), Duration::ZERO).await?;
        let brokers: BTreeSet<&Arc<str>> = route.writable.iter().map(|queue| &queue.broker).collect();
        if brokers.is_empty() {
            return Err(self.shared.no_queue(topic.as_str()));
        }
        let body = super::heartbeat::producer(self.shared.net.client_id(), &self.shared.group);
        let asked = brokers.into_iter().map(|broker| self.shared.net.greet(broker, &body));
        futures::future::join_all(asked).await.into_iter().collect()
    }

    async fn close(&self, deadline: Duration) -> usize {
        self.shared.closing.store(true, Ordering::Release);
        let idle = async {
            loop {
                let mut idle = std::pin::pin!(self.shared.idle.notified());
                idle.as_mut().enable();
                if self.shared.under_way.load(Ordering::Acquire) == 0 {
                    return;
                }
                idle.await;
            }
        };
        let waited = tokio::time::timeout(deadline, idle).await;
        let left = if waited.is_ok() { 0 } else { self.shared.under_way.load(Ordering::Acquire) };
        self.shared.closed.send_replace(true);
        left
    }
}

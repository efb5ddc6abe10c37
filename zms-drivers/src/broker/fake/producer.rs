//! Sending to the cluster in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use zms_core::names::PhysicalName;

use super::state::{FakeCluster, State, TopicState};
use crate::broker::{BrokerError, Incoming, Outgoing, Placed, Producer};

/// What a Kafka broker takes without further settings: key, value and headers together, in bytes.
const LARGEST: usize = 1_048_588;

impl FakeCluster {
    /// Sends to this cluster; gives a message up after `delivery`.
    pub fn producer(self: &Arc<Self>, delivery: Duration) -> Arc<dyn Producer> {
        let closed = watch::Sender::new(false);
        Arc::new(FakeProducer { cluster: Arc::clone(self), delivery, closed, under_way: AtomicUsize::new(0) })
    }
}

struct FakeProducer {
    cluster: Arc<FakeCluster>,
    delivery: Duration,
    closed: watch::Sender<bool>,
    under_way: AtomicUsize,
}

/// Counts one message under way, also when its sender goes away.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeProducer {
    /// It waits outside of its topic until its time has come. A topic that is gone by then loses it.
    fn append_later(&self, state: &State, message: Outgoing, delay: Duration) -> Placed {
        let cluster = Arc::clone(&self.cluster);
        let placed = state.topics[&message.topic].partitions[0].end();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            cluster.change(|state| state.topics.contains_key(&message.topic).then(|| append(state, &message)));
        });
        Placed { partition: 0.into(), offset: placed }
    }

    /// Why it cannot be written now; `None` if it can.
    fn not_now(&self, state: &State, topic: &PhysicalName) -> Option<BrokerError> {
        if state.cut {
            return Some(self.cluster.timeout(format!("send to topic {topic}"), self.delivery));
        }
        let Some(known) = state.topics.get(topic) else {
            return Some(BrokerError::Missing { what: format!("topic {topic}") });
        };
        let led = known.partitions.iter().any(|partition| partition.leader.is_some());
        (!led)
            .then(|| BrokerError::Passing { what: format!("send to topic {topic}"), why: "no partition has a leader".to_owned() })
    }
}

#[async_trait]
impl Producer for FakeProducer {
    async fn send(&self, message: Outgoing) -> Result<Placed, BrokerError> {
        let mut closed = self.closed.subscribe();
        if *closed.borrow_and_update() {
            return Err(BrokerError::Closed);
        }
        let size = message.value.as_ref().map_or(0, |value| value.len()) + message.key.as_ref().map_or(0, |key| key.len());
        if size > LARGEST {
            let why = format!("{size} bytes; at most {LARGEST}");
            return Err(BrokerError::Refused { what: format!("send to topic {}", message.topic), why });
        }
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(&self.under_way);
        let give_up = Instant::now() + self.delivery;
        let mut changes = self.cluster.changes();
        loop {
            changes.borrow_and_update();
            let sent = self.cluster.try_change(|state| match (self.not_now(state, &message.topic), message.delay) {
                (Some(why), _) => Err(why),
                (None, None) => Ok(append(state, &message)),
                (None, Some(delay)) => Ok(self.append_later(state, message.clone(), delay)),
            });
            let why = match sent {
                Err(why @ (BrokerError::Timeout { .. } | BrokerError::Passing { .. })) => why,
                sent => return sent,
            };
            tokio::select! {
                _ = changes.changed() => {}
                _ = closed.changed() => return Err(BrokerError::Closed),
                () = tokio::time::sleep_until(give_up) => return Err(why),
            }
        }
    }

    async fn warm(&self, topic: &PhysicalName) -> Result<(), BrokerError> {
        if *self.closed.borrow() {
            return Err(BrokerError::Closed);
        }
        self.cluster.change(|state| state.warmed += 1);
        self.cluster.look(|state| match self.not_now(state, topic) {
            _ if state.cut => Err(self.cluster.unreachable()),
            None => Ok(()),
            Some(why) => Err(why),
        })
    }

    async fn close(&self, deadline: Duration) -> usize {
        let give_up = Instant::now() + deadline;
        let mut changes = self.cluster.changes();
        loop {
            let left = self.under_way.load(Ordering::SeqCst);
            if left == 0 || Instant::now() >= give_up {
                self.closed.send_replace(true);
                return left;
            }
            // A sender that was woken by the same change needs its turn first.
            tokio::task::yield_now().await;
            let soon = Instant::now() + Duration::from_millis(5);
            let _ = tokio::time::timeout_at(soon.min(give_up), changes.changed()).await;
        }
    }
}

fn append(state: &mut State, message: &Outgoing) -> Placed {
    let topic = state.topics.get_mut(&message.topic).expect("it was looked for while this lock was held");
    let id = partition_of(topic, message.key.as_deref());
    let partition = &mut topic.partitions[id];
    let number = i32::try_from(id).expect("a test has few partitions");
    let placed = Placed { partition: number.into(), offset: partition.end() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    partition.messages.push(Incoming {
        topic: message.topic.clone(),
        placed: placed.clone(),
        timestamp_ms: i64::try_from(now).ok(),
        key: message.key.clone(),
        value: message.value.clone(),
        headers: message.headers.clone(),
        tag: message.tag.clone(),
        attempt: 0,
        generation: 0,
    });
    placed
}

/// One key, one partition; without a key those that have a leader in turn.
fn partition_of(topic: &mut TopicState, key: Option<&[u8]>) -> usize {
    let count = topic.partitions.len();
    if let Some(key) = key {
        let hash = key.iter().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        return hash % count;
    }
    let led: Vec<usize> = (0..count).filter(|id| topic.partitions[*id].leader.is_some()).collect();
    topic.turn += 1;
    led[topic.turn % led.len()]
}

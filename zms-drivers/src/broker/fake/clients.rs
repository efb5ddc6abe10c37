//! Sending to and consuming from the cluster in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use zms_core::metadata::ConsumeFrom;
use zms_core::names::PhysicalName;

use super::admin::index;
use super::state::{FakeCluster, MemberState, State, TopicState};
use crate::broker::positions::Positions;
use crate::broker::{BrokerError, Consumer, Incoming, Outgoing, PartitionId, Placed, Producer, Subscription};

/// What a Kafka broker takes without further settings: key, value and headers together, in bytes.
const LARGEST: usize = 1_048_588;

impl FakeCluster {
    /// Sends to this cluster; gives a message up after `delivery`.
    pub fn producer(self: &Arc<Self>, delivery: Duration) -> Arc<dyn Producer> {
        let closed = watch::Sender::new(false);
        Arc::new(FakeProducer { cluster: Arc::clone(self), delivery, closed, under_way: AtomicUsize::new(0) })
    }

    /// Joins a group of this cluster.
    pub fn consumer(self: &Arc<Self>, subscription: Subscription) -> Arc<dyn Consumer> {
        let Subscription { group, topics, from, .. } = subscription;
        let id = self.change(|state| {
            state.members += 1;
            let id = state.members;
            let member = MemberState { client_id: format!("fake-{id}"), topics, assigned: BTreeMap::new(), generation: 0 };
            state.groups.entry(group.clone()).or_default().members.insert(id, member);
            state.rebalance(&group);
            id
        });
        let local = Mutex::new(Local::default());
        Arc::new(FakeConsumer { cluster: Arc::clone(self), group, id, from, local, closed: AtomicBool::new(false) })
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
        if message.tag.is_some() || message.delay.is_some() {
            let what = format!("send to topic {} with a tag or a delay", message.topic);
            return Err(BrokerError::Unsupported { cluster: self.cluster.name.clone(), what });
        }
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(&self.under_way);
        let give_up = Instant::now() + self.delivery;
        let mut changes = self.cluster.changes();
        loop {
            changes.borrow_and_update();
            let sent = self.cluster.try_change(|state| match self.not_now(state, &message.topic) {
                None => Ok(append(state, &message)),
                Some(why) => Err(why),
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
        tag: None,
        attempt: 0,
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

struct FakeConsumer {
    cluster: Arc<FakeCluster>,
    group: PhysicalName,
    id: u64,
    from: ConsumeFrom,
    local: Mutex<Local>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Local {
    positions: Positions,
    generation: u64,
    /// Next offset to read, for each partition that it has.
    cursors: BTreeMap<(PhysicalName, PartitionId), i64>,
    /// Done, but not committed because nobody was reached.
    stored: BTreeMap<(PhysicalName, PartitionId), i64>,
}

impl FakeConsumer {
    fn lock(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes over what the group gave and took.
    fn follow(&self, state: &State, local: &mut Local) {
        let Some(group) = state.groups.get(&self.group) else { return };
        let Some(member) = group.members.get(&self.id).filter(|member| member.generation != local.generation) else { return };
        local.generation = member.generation;
        let assigned: Vec<(PhysicalName, PartitionId)> = member
            .assigned
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(|id| (topic.clone(), PartitionId::from(*id))))
            .collect();
        for (topic, partition) in local.positions.held() {
            if !assigned.contains(&(topic.clone(), partition.clone())) {
                local.positions.take(&topic, &partition);
                local.cursors.remove(&(topic.clone(), partition.clone()));
                local.stored.remove(&(topic, partition));
            }
        }
        for (topic, partition) in assigned {
            if local.cursors.contains_key(&(topic.clone(), partition.clone())) {
                continue;
            }
            let there = state.topics.get(&topic).and_then(|topic| topic.partitions.get(index(&partition)?));
            let committed = group.committed.get(&topic).and_then(|offsets| offsets.get(&partition)).copied();
            let begin = committed.unwrap_or_else(|| match self.from {
                ConsumeFrom::Earliest => there.map_or(0, |partition| partition.start),
                ConsumeFrom::Latest => there.map_or(0, super::state::PartitionState::end),
            });
            local.positions.give(topic.clone(), partition.clone());
            local.cursors.insert((topic, partition), begin);
        }
    }

    fn next(&self, state: &State, local: &mut Local) -> Option<Incoming> {
        self.follow(state, local);
        let Local { positions, cursors, .. } = local;
        cursors.iter_mut().find_map(|((topic, id), cursor)| {
            let partition = state.topics.get(topic)?.partitions.get(index(id)?)?;
            partition.leader?;
            let message = partition.at(*cursor)?.clone();
            positions.received(topic, id, message.placed.offset);
            *cursor = message.placed.offset + 1;
            Some(message)
        })
    }

    /// Commits what is stored, as far as the group still has this member and its partitions.
    fn commit(&self, local: &mut Local) {
        if local.stored.is_empty() {
            return;
        }
        self.cluster.change(|state| {
            let Some(group) = state.groups.get_mut(&self.group).filter(|_| !state.cut) else { return };
            let Some(member) = group.members.get(&self.id) else { return };
            for ((topic, partition), offset) in std::mem::take(&mut local.stored) {
                if member.assigned.get(&topic).is_some_and(|ids| partition.plain().is_some_and(|id| ids.contains(&id))) {
                    group.committed.entry(topic).or_default().insert(partition, offset);
                }
            }
        });
    }
}

#[async_trait]
impl Consumer for FakeConsumer {
    async fn receive(&self) -> Result<Incoming, BrokerError> {
        let mut changes = self.cluster.changes();
        loop {
            changes.borrow_and_update();
            if self.closed.load(Ordering::SeqCst) {
                return Err(BrokerError::Closed);
            }
            // The order everywhere: first what is ours, then the cluster.
            let next = {
                let mut local = self.lock();
                self.cluster.look(|state| if state.cut { None } else { self.next(state, &mut local) })
            };
            if let Some(message) = next {
                return Ok(message);
            }
            if changes.changed().await.is_err() {
                return Err(BrokerError::Closed);
            }
        }
    }

    fn done(&self, message: &Incoming) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(BrokerError::Closed);
        }
        let mut local = self.lock();
        if let Some(offset) = local.positions.done(&message.topic, &message.placed.partition, message.placed.offset) {
            local.stored.insert((message.topic.clone(), message.placed.partition.clone()), offset);
        }
        self.commit(&mut local);
        Ok(())
    }

    async fn failed(&self, message: &Incoming) -> Result<(), BrokerError> {
        let what = format!("take a message of topic {} back for a later delivery", message.topic);
        Err(BrokerError::Unsupported { cluster: self.cluster.name.clone(), what })
    }

    fn assigned(&self) -> Vec<(PhysicalName, PartitionId)> {
        self.lock().positions.held()
    }

    async fn close(&self, _deadline: Duration) -> Result<(), BrokerError> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.commit(&mut self.lock());
        self.cluster.change(|state| {
            if let Some(group) = state.groups.get_mut(&self.group) {
                group.members.remove(&self.id);
            }
            state.rebalance(&self.group);
        });
        Ok(())
    }
}

impl Drop for FakeConsumer {
    fn drop(&mut self) {
        // A process that ends without leaving is thrown out of its group after its session; here at once.
        self.cluster.change(|state| {
            if let Some(group) = state.groups.get_mut(&self.group) {
                group.members.remove(&self.id);
            }
            state.rebalance(&self.group);
        });
    }
}

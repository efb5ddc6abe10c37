//! Consuming from the cluster in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use zms_core::metadata::ConsumeFrom;
use zms_core::names::PhysicalName;

use super::admin::index;
use super::state::{FakeCluster, MemberState, State};
use crate::broker::positions::Positions;
use crate::broker::{BrokerError, Consumer, Delivery, Incoming, PartitionId, Subscription};

/// A message that failed comes again after this.
const AGAIN: Duration = Duration::from_millis(100);

impl FakeCluster {
    /// Joins a group of this cluster.
    pub fn consumer(self: &Arc<Self>, subscription: Subscription) -> Arc<dyn Consumer> {
        let id = self.change(|state| {
            state.members += 1;
            let id = state.members;
            if subscription.mode == Delivery::Clustering {
                let (client_id, topics) = (format!("fake-{id}"), subscription.topics.clone());
                let member = MemberState { client_id, topics, assigned: BTreeMap::new(), generation: 0 };
                state.groups.entry(subscription.group.clone()).or_default().members.insert(id, member);
                state.rebalance(&subscription.group);
            }
            id
        });
        let (local, closed) = (Mutex::new(Local::default()), AtomicBool::new(false));
        Arc::new(FakeConsumer { cluster: Arc::clone(self), subscription, id, local, closed })
    }
}

struct FakeConsumer {
    cluster: Arc<FakeCluster>,
    subscription: Subscription,
    id: u64,
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
    /// What failed, and when it comes again.
    again: Vec<(Instant, Incoming)>,
}

impl FakeConsumer {
    fn lock(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_broadcast(&self) -> bool {
        self.subscription.mode == Delivery::Broadcast
    }

    /// What is its own now, unless it knows that already.
    fn given(&self, state: &State, local: &mut Local) -> Option<Vec<(PhysicalName, PartitionId)>> {
        if self.is_broadcast() {
            let topics = self.subscription.topics.iter().filter_map(|topic| Some((topic, state.topics.get(topic)?)));
            let all = topics.flat_map(|(name, topic)| (0_i32..).take(topic.partitions.len()).map(|id| (name.clone(), id.into())));
            return Some(all.collect());
        }
        let group = state.groups.get(&self.subscription.group)?;
        let member = group.members.get(&self.id).filter(|member| member.generation != local.generation)?;
        local.generation = member.generation;
        Some(
            member
                .assigned
                .iter()
                .flat_map(|(topic, partitions)| partitions.iter().map(|id| (topic.clone(), PartitionId::from(*id))))
                .collect(),
        )
    }

    /// Takes over what the group gave and took.
    fn follow(&self, state: &State, local: &mut Local) {
        let Some(assigned) = self.given(state, local) else { return };
        for (topic, partition) in local.positions.held() {
            let here = (topic, partition);
            if !assigned.contains(&here) {
                local.positions.take(&here.0, &here.1);
                local.cursors.remove(&here);
                local.stored.remove(&here);
            }
        }
        for (topic, partition) in assigned {
            if local.cursors.contains_key(&(topic.clone(), partition.clone())) {
                continue;
            }
            let there = state.topics.get(&topic).and_then(|topic| topic.partitions.get(index(&partition)?));
            let group = state.groups.get(&self.subscription.group).filter(|_| !self.is_broadcast());
            let committed = group.and_then(|group| group.committed.get(&topic)?.get(&partition)).copied();
            let begin = committed.unwrap_or_else(|| match self.subscription.from {
                ConsumeFrom::Earliest => there.map_or(0, |partition| partition.start),
                ConsumeFrom::Latest => there.map_or(0, super::state::PartitionState::end),
            });
            local.positions.give(topic.clone(), partition.clone());
            local.cursors.insert((topic, partition), begin);
        }
    }

    fn next(&self, state: &State, local: &mut Local) -> Option<Incoming> {
        self.follow(state, local);
        if let Some(message) = local.due() {
            return Some(message);
        }
        let Local { positions, cursors, .. } = local;
        cursors.iter_mut().find_map(|((topic, number), cursor)| {
            let partition = state.topics.get(topic)?.partitions.get(index(number)?)?;
            partition.leader?;
            if positions.is_full(topic, number) || self.subscription.ordered && positions.open(topic, number) > 0 {
                return None;
            }
            loop {
                let mut message = partition.at(*cursor)?.clone();
                let offset = message.placed.offset;
                message.generation = positions.received(&message)?;
                *cursor = offset + 1;
                if self.subscription.wants(message.tag.as_deref()) {
                    return Some(message);
                }
                positions.skip(topic, number, offset);
            }
        })
    }

    /// Commits what is stored, as far as the group still has this member and its partitions.
    fn commit(&self, local: &mut Local) {
        if local.stored.is_empty() {
            return;
        }
        self.cluster.change(|state| {
            let Some(group) = state.groups.get_mut(&self.subscription.group).filter(|_| !state.cut) else { return };
            let Some(member) = group.members.get(&self.id) else { return };
            for ((topic, partition), offset) in std::mem::take(&mut local.stored) {
                if member.assigned.get(&topic).is_some_and(|partitions| partitions.iter().any(|id| partition == *id)) {
                    group.committed.entry(topic).or_default().insert(partition, offset);
                }
            }
        });
    }

    fn leave(&self) {
        self.cluster.change(|state| {
            if let Some(group) = state.groups.get_mut(&self.subscription.group) {
                group.members.remove(&self.id);
            }
            state.rebalance(&self.subscription.group);
        });
    }
}

impl Local {
    /// A message that failed and whose time has come; those of partitions that went away are forgotten.
    fn due(&mut self) -> Option<Incoming> {
        let positions = &self.positions;
        self.again.retain(|(_, message)| positions.is_open(message));
        let now = Instant::now();
        let at = self.again.iter().position(|(due, _)| *due <= now)?;
        Some(self.again.remove(at).1)
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
            if let Some(problem) = self.cluster.problem_of(&self.subscription.group) {
                return Err(problem);
            }
            // The order everywhere: first what is ours, then the cluster.
            let (next, again) = {
                let mut local = self.lock();
                let next = self.cluster.look(|state| if state.cut { None } else { self.next(state, &mut local) });
                (next, local.again.iter().map(|(due, _)| *due).min())
            };
            if let Some(message) = next {
                return Ok(message);
            }
            let again = async {
                match again {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Err(BrokerError::Closed) },
                () = again => {}
            }
        }
    }

    fn done(&self, message: &Incoming) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(BrokerError::Closed);
        }
        let mut local = self.lock();
        let partition = &message.placed.partition;
        let waited = self.subscription.ordered || local.positions.is_full(&message.topic, partition);
        if let Some(offset) = local.positions.done(&message.topic, partition, message.placed.offset)
            && !self.is_broadcast()
        {
            local.stored.insert((message.topic.clone(), partition.clone()), offset);
        }
        self.commit(&mut local);
        if waited {
            drop(local);
            // The next one may come now.
            self.cluster.change(|_| ());
        }
        Ok(())
    }

    async fn failed(&self, message: &Incoming) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(BrokerError::Closed);
        }
        let mut local = self.lock();
        if local.positions.is_open(message) {
            let message = Incoming { attempt: message.attempt + 1, ..message.clone() };
            local.again.push((Instant::now() + AGAIN, message));
        }
        drop(local);
        self.cluster.change(|_| ());
        Ok(())
    }

    fn is_open(&self, message: &Incoming) -> bool {
        self.lock().positions.is_open(message)
    }

    fn assigned(&self) -> Vec<(PhysicalName, PartitionId)> {
        self.lock().positions.held()
    }

    async fn close(&self, _deadline: Duration) -> Result<(), BrokerError> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.commit(&mut self.lock());
        self.leave();
        Ok(())
    }
}

impl Drop for FakeConsumer {
    fn drop(&mut self) {
        // A process that ends without leaving is thrown out of its group after its session; here at once.
        self.leave();
    }
}

//! What a cluster in memory is made of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use zms_core::names::PhysicalName;

use crate::broker::{Broker, BrokerError, BrokerId, Incoming, PartitionId};

/// A cluster in memory, with the behaviour that the contract suites check on real ones.
#[derive(Debug)]
pub struct FakeCluster {
    pub(super) name: String,
    state: Mutex<State>,
    /// Grows with each change; whoever waits for something looks again.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Nobody is reached while it is set.
    pub cut: bool,
    pub brokers: Vec<Broker>,
    /// Brokers that do not answer scrapers.
    pub silent: BTreeSet<i32>,
    pub topics: BTreeMap<PhysicalName, TopicState>,
    pub groups: BTreeMap<PhysicalName, GroupState>,
    /// Ids of members made so far.
    pub members: u64,
    /// Brokers that clients are to send nothing to.
    pub retired: BTreeSet<BrokerId>,
    /// Calls of [`Producer::warm`](crate::broker::Producer::warm).
    pub warmed: u64,
}

#[derive(Debug, Default)]
pub(super) struct TopicState {
    pub partitions: Vec<PartitionState>,
    /// Settings that differ from the default.
    pub config: BTreeMap<String, String>,
    /// Next partition for a message without a key.
    pub turn: usize,
}

#[derive(Debug, Default)]
pub(super) struct PartitionState {
    /// Broker ids, preferred leader first.
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    /// No sends and reads while there is none.
    pub leader: Option<i32>,
    /// Offset of the first message in `messages`.
    pub start: i64,
    pub messages: Vec<Incoming>,
}

impl PartitionState {
    /// Offset of the next message.
    pub fn end(&self) -> i64 {
        self.start + i64::try_from(self.messages.len()).expect("a test has few messages")
    }

    /// The first message at or after an offset.
    pub fn at(&self, offset: i64) -> Option<&Incoming> {
        let index = usize::try_from(offset.max(self.start) - self.start).ok()?;
        self.messages.get(index)
    }
}

#[derive(Debug, Default)]
pub(super) struct GroupState {
    pub committed: BTreeMap<PhysicalName, BTreeMap<PartitionId, i64>>,
    /// As its members say; `None`: as Kafka's do.
    pub protocol: Option<String>,
    pub members: BTreeMap<u64, MemberState>,
    /// What its members are told next, each once.
    pub problems: VecDeque<BrokerError>,
}

#[derive(Debug)]
pub(super) struct MemberState {
    pub client_id: String,
    pub topics: Vec<PhysicalName>,
    pub assigned: BTreeMap<PhysicalName, Vec<i32>>,
    /// Grows with each new assignment.
    pub generation: u64,
}

impl FakeCluster {
    /// A cluster without topics; broker ids begin with 1.
    pub fn new(name: impl Into<String>, brokers: usize) -> Arc<Self> {
        let brokers = (1..).zip(19_092..).take(brokers).map(|(id, port)| Broker {
            id: BrokerId::from(id),
            host: "127.0.0.1".to_owned(),
            port,
            rack: None,
        });
        let state = State { brokers: brokers.collect(), ..State::default() };
        Arc::new(Self { name: name.into(), state: Mutex::new(state), changes: watch::Sender::new(0) })
    }

    /// From now on nobody reaches it.
    pub fn cut(&self) {
        self.change(|state| state.cut = true);
    }

    /// It is reached again.
    pub fn heal(&self) {
        self.change(|state| state.cut = false);
    }

    /// Brokers that clients are to send nothing to.
    pub fn retired(&self) -> Vec<BrokerId> {
        self.lock().retired.iter().cloned().collect()
    }

    /// From now on this broker answers no scraper, or does again. Clients and operators do not notice.
    pub fn silence(&self, broker: i32, silent: bool) {
        self.change(|state| {
            state.silent.remove(&broker);
            state.silent.extend(silent.then_some(broker));
        });
    }

    /// From now on a group is of this protocol: `broadcasting`, as members on RocketMQ say.
    pub fn set_protocol(&self, group: &PhysicalName, protocol: &str) {
        self.change(|state| state.groups.entry(group.clone()).or_default().protocol = Some(protocol.to_owned()));
    }

    /// A topic with so many partitions, replicated to one broker; nothing happens if it is there.
    pub fn make_topic(&self, name: &PhysicalName, partitions: usize) {
        self.change(|state| {
            let brokers: Vec<i32> = state.ids().collect();
            let topic = state.topics.entry(name.clone()).or_default();
            for index in topic.partitions.len()..partitions {
                let leader = brokers[index % brokers.len().max(1)];
                topic.partitions.push(PartitionState {
                    replicas: vec![leader],
                    isr: vec![leader],
                    leader: Some(leader),
                    ..PartitionState::default()
                });
            }
            state.rebalance_all();
        });
    }

    /// All messages of a topic, partition by partition; empty if it is not there.
    pub fn messages(&self, topic: &PhysicalName) -> Vec<Incoming> {
        self.look(|state| state.topics.get(topic).map(TopicState::all).unwrap_or_default())
    }

    /// Committed offsets of a group on a topic.
    pub fn committed_of(&self, group: &PhysicalName, topic: &PhysicalName) -> BTreeMap<PartitionId, i64> {
        self.look(|state| state.groups.get(group).and_then(|group| group.committed.get(topic)).cloned().unwrap_or_default())
    }

    /// How many members a group has.
    pub fn members_of(&self, group: &PhysicalName) -> usize {
        self.look(|state| state.groups.get(group).map_or(0, |group| group.members.len()))
    }

    /// How many members there ever were, of all groups.
    pub fn members_ever(&self) -> u64 {
        self.look(|state| state.members)
    }

    /// A member of the group is told this instead of getting a message.
    pub fn tell(&self, group: &PhysicalName, problem: BrokerError) {
        self.change(|state| state.groups.entry(group.clone()).or_default().problems.push_back(problem));
    }

    pub(super) fn problem_of(&self, group: &PhysicalName) -> Option<BrokerError> {
        self.lock().groups.get_mut(group)?.problems.pop_front()
    }

    /// How often somebody asked whether sends to a topic of it would work.
    pub fn warmed(&self) -> u64 {
        self.look(|state| state.warmed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock has failed already.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn look<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    pub(super) fn change<T>(&self, write: impl FnOnce(&mut State) -> T) -> T {
        let answer = write(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
        answer
    }

    /// Counts as a change only if it worked, so that those who wait do not wake each other without an end.
    pub(super) fn try_change<T, E>(&self, write: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        let answer = write(&mut self.lock())?;
        self.changes.send_modify(|count| *count += 1);
        Ok(answer)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn unreachable(&self) -> BrokerError {
        BrokerError::Unreachable { cluster: self.name.clone(), why: "the fake was cut".to_owned() }
    }

    pub(super) fn timeout(&self, what: impl Into<String>, deadline: Duration) -> BrokerError {
        BrokerError::Timeout { cluster: self.name.clone(), what: what.into(), seconds: deadline.as_secs() }
    }
}

impl TopicState {
    pub(super) fn all(&self) -> Vec<Incoming> {
        self.partitions.iter().flat_map(|partition| partition.messages.iter().cloned()).collect()
    }
}

impl State {
    /// Ids of its brokers, in their order.
    pub fn ids(&self) -> impl Iterator<Item = i32> + Clone {
        self.brokers.iter().filter_map(|broker| broker.id.plain())
    }

    /// Gives the partitions of every group out again: what a group coordinator does when members or partitions change.
    pub fn rebalance_all(&mut self) {
        let names: Vec<PhysicalName> = self.groups.keys().cloned().collect();
        for name in names {
            self.rebalance(&name);
        }
    }

    /// Gives the partitions of one group out again.
    pub fn rebalance(&mut self, group: &PhysicalName) {
        let Some(group) = self.groups.get_mut(group) else { return };
        let mut wanted: BTreeMap<u64, BTreeMap<PhysicalName, Vec<i32>>> =
            group.members.keys().map(|id| (*id, BTreeMap::new())).collect();
        for (name, topic) in &self.topics {
            let readers: Vec<u64> =
                group.members.iter().filter(|(_, member)| member.topics.contains(name)).map(|(id, _)| *id).collect();
            for (partition, reader) in (0..).zip(readers.iter().cycle().take(topic.partitions.len())) {
                wanted.entry(*reader).or_default().entry(name.clone()).or_default().push(partition);
            }
        }
        for (id, assigned) in wanted {
            let member = group.members.get_mut(&id).expect("it was listed from there");
            if member.assigned != assigned {
                member.assigned = assigned;
                member.generation += 1;
            }
        }
    }
}

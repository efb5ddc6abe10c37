//! What operators do to the cluster in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use zms_core::names::PhysicalName;

use super::state::{FakeCluster, GroupState as Members, PartitionState, State, TopicState};
use crate::broker::{
    BrokerError, BrokerId, ClusterAdmin, ClusterView, Committed, Ends, Ensured, FoundMessage, Group, GroupState, GroupSummary,
    GroupWish, Lookup, MOST_FOUND, Member, OffsetWish, Partition, PartitionId, Range, Setting, Topic, TopicWish,
};

/// What a broker has for topics that say nothing else.
const DEFAULTS: [(&str, &str); 5] = [
    ("cleanup.policy", "delete"),
    ("max.message.bytes", "1048588"),
    ("min.insync.replicas", "1"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
];

fn missing(what: &str, name: &PhysicalName) -> BrokerError {
    BrokerError::Missing { what: format!("{what} {name}") }
}

fn topic_of<'a>(state: &'a State, name: &PhysicalName) -> Result<&'a TopicState, BrokerError> {
    state.topics.get(name).ok_or_else(|| missing("topic", name))
}

impl FakeCluster {
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> Result<T, BrokerError>) -> Result<T, BrokerError> {
        self.look(|state| if state.cut { Err(self.unreachable()) } else { read(state) })
    }

    pub(super) fn view_of(&self, state: &State) -> ClusterView {
        let controller = state.brokers.first().map(|broker| broker.id.clone());
        ClusterView { id: format!("fake-{}", self.name), controller, brokers: state.brokers.clone() }
    }

    fn write<T>(&self, write: impl FnOnce(&mut State) -> Result<T, BrokerError>) -> Result<T, BrokerError> {
        self.try_change(|state| if state.cut { Err(self.unreachable()) } else { write(state) })
    }
}

impl State {
    /// A partition on the next brokers in turn.
    fn partition(&self, index: usize, replicas: usize) -> PartitionState {
        let ids: Vec<i32> = self.ids().cycle().skip(index).take(replicas).collect();
        PartitionState { leader: ids.first().copied(), isr: ids.clone(), replicas: ids, ..PartitionState::default() }
    }
}

pub(super) fn view(name: &PhysicalName, topic: &TopicState) -> Topic {
    let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId::from(*id)).collect();
    let partitions = (0_i32..).zip(&topic.partitions).map(|(id, partition)| {
        let PartitionState { leader, replicas, isr, .. } = partition;
        Partition { id: id.into(), leader: leader.map(BrokerId::from), replicas: ids(replicas), isr: ids(isr) }
    });
    // As Kafka and RocketMQ call theirs.
    let internal = ["__", "rmq_sys_"].iter().any(|begin| name.as_str().starts_with(begin));
    Topic { name: name.clone(), internal, partitions: partitions.collect() }
}

/// Ends of partitions whose leader speaks.
pub(super) fn ends(topic: &TopicState, speaks: impl Fn(i32) -> bool) -> Ends {
    let range = |partition: &PartitionState| Range { start: partition.start, end: partition.end() };
    let known = |partition: &PartitionState| partition.leader.filter(|leader| speaks(*leader)).map(|_| range(partition));
    (0_i32..).zip(&topic.partitions).map(|(id, partition)| (id.into(), known(partition))).collect()
}

fn protocol(group: &Members) -> String {
    group.protocol.clone().unwrap_or_else(|| "classic".to_owned())
}

pub(super) fn summary(name: &PhysicalName, group: Option<&Members>) -> GroupSummary {
    let state = match group {
        None => GroupState::Dead,
        Some(group) if group.members.is_empty() => GroupState::Empty,
        Some(_) => GroupState::Stable,
    };
    GroupSummary { name: name.clone(), state, protocol: group.map(protocol).unwrap_or_default() }
}

/// The offset that a wish means on a partition; `None`: the wish says nothing about it.
fn offset(wish: &OffsetWish, id: &PartitionId, partition: &PartitionState) -> Option<i64> {
    match wish {
        OffsetWish::Earliest => Some(partition.start),
        OffsetWish::Latest => Some(partition.end()),
        OffsetWish::At(offsets) => offsets.get(id).copied(),
        OffsetWish::Time(time) => {
            let first = partition.messages.iter().find(|message| message.timestamp_ms.is_some_and(|at| at >= *time));
            Some(first.map_or(partition.end(), |message| message.placed.offset))
        }
    }
}

fn of_ids(ids: &[i32]) -> Vec<PartitionId> {
    ids.iter().map(|id| PartitionId::from(*id)).collect()
}

/// Where a partition is among those of its topic.
pub(super) fn index(id: &PartitionId) -> Option<usize> {
    usize::try_from(id.plain()?).ok()
}

/// A setting that is a number by default takes nothing but numbers.
fn checked(what: &str, key: &str, value: &str) -> Result<(), BrokerError> {
    let number = DEFAULTS.iter().any(|(known, default)| *known == key && default.parse::<i64>().is_ok());
    if number && value.parse::<i64>().is_err() {
        let why = format!("{key} is a number, not {value:?}");
        return Err(BrokerError::Refused { what: what.to_owned(), why });
    }
    Ok(())
}

fn no_members(name: &PhysicalName, group: &Members) -> Result<(), BrokerError> {
    if group.members.is_empty() {
        return Ok(());
    }
    let why = format!("it has {} members; stop them first", group.members.len());
    Err(BrokerError::Conflict { what: format!("group {name}"), why })
}

#[async_trait]
impl ClusterAdmin for FakeCluster {
    async fn describe(&self) -> Result<ClusterView, BrokerError> {
        self.read(|state| Ok(self.view_of(state)))
    }

    async fn topics(&self) -> Result<Vec<Topic>, BrokerError> {
        self.read(|state| Ok(state.topics.iter().map(|(name, topic)| view(name, topic)).collect()))
    }

    async fn topic(&self, name: &PhysicalName) -> Result<Option<Topic>, BrokerError> {
        self.read(|state| Ok(state.topics.get(name).map(|topic| view(name, topic))))
    }

    async fn ends(&self, name: &PhysicalName) -> Result<Ends, BrokerError> {
        self.read(|state| Ok(ends(topic_of(state, name)?, |_| true)))
    }

    async fn topic_config(&self, name: &PhysicalName) -> Result<BTreeMap<String, Setting>, BrokerError> {
        self.read(|state| {
            let of = |value: &str, own| Setting { value: Some(value.to_owned()), own, read_only: false };
            let defaults = DEFAULTS.iter().map(|(key, value)| ((*key).to_owned(), of(value, false)));
            let own = topic_of(state, name)?.config.iter().map(|(key, value)| (key.clone(), of(value, true)));
            Ok(defaults.chain(own).collect())
        })
    }

    async fn ensure_topic(&self, wish: &TopicWish) -> Result<Ensured, BrokerError> {
        self.write(|state| {
            let what = format!("topic {}", wish.name);
            let refused = |why: String| Err(BrokerError::Refused { what: what.clone(), why });
            let brokers = state.brokers.len();
            let (partitions, replicas) =
                (usize::try_from(wish.partitions).unwrap_or(0), usize::try_from(wish.replicas).unwrap_or(0));
            let bad = || refused(format!("{} partitions with {} replicas on {brokers} brokers", wish.partitions, wish.replicas));
            if partitions == 0 || replicas == 0 {
                return bad();
            }
            if let Some(known) = state.topics.get(&wish.name) {
                let there = (known.partitions.len(), known.partitions.first().map_or(0, |partition| partition.replicas.len()));
                if there == (partitions, replicas) {
                    return Ok(Ensured::There);
                }
                let why = format!("has {} partitions with {} replicas, not {partitions} with {replicas}", there.0, there.1);
                return Err(BrokerError::Conflict { what, why });
            }
            if replicas > brokers {
                return bad();
            }
            wish.config.iter().try_for_each(|(key, value)| checked(&what, key, value))?;
            let made = (0..partitions).map(|index| state.partition(index, replicas)).collect();
            let topic = TopicState { partitions: made, config: wish.config.clone(), ..TopicState::default() };
            state.topics.insert(wish.name.clone(), topic);
            state.rebalance_all();
            Ok(Ensured::Made)
        })
    }

    async fn ensure_partitions(&self, name: &PhysicalName, partitions: i32) -> Result<Ensured, BrokerError> {
        self.write(|state| {
            let known = topic_of(state, name)?;
            let replicas = known.partitions.first().map_or(1, |partition| partition.replicas.len());
            let wanted = known.partitions.len()..usize::try_from(partitions).unwrap_or(0);
            if wanted.is_empty() {
                return Ok(Ensured::There);
            }
            let more: Vec<_> = wanted.map(|index| state.partition(index, replicas)).collect();
            state.topics.get_mut(name).ok_or_else(|| missing("topic", name))?.partitions.extend(more);
            state.rebalance_all();
            Ok(Ensured::Made)
        })
    }

    async fn ensure_topic_config(
        &self,
        name: &PhysicalName,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Ensured, BrokerError> {
        self.write(|state| {
            let config = &mut state.topics.get_mut(name).ok_or_else(|| missing("topic", name))?.config;
            let values = changes.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
            values.clone().try_for_each(|(key, value)| checked(&format!("topic {name}"), key, value))?;
            let before = config.clone();
            for (key, value) in changes {
                match value {
                    Some(value) => drop(config.insert(key.clone(), value.clone())),
                    None => drop(config.remove(key)),
                }
            }
            Ok(if *config == before { Ensured::There } else { Ensured::Made })
        })
    }

    async fn ensure_topic_gone(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        self.write(|state| {
            if state.topics.remove(name).is_none() {
                return Ok(Ensured::There);
            }
            // A broker forgets offsets together with their topic.
            state.groups.values_mut().for_each(|group| drop(group.committed.remove(name)));
            state.rebalance_all();
            Ok(Ensured::Made)
        })
    }

    async fn groups(&self) -> Result<Vec<GroupSummary>, BrokerError> {
        self.read(|state| Ok(state.groups.iter().map(|(name, group)| summary(name, Some(group))).collect()))
    }

    async fn describe_groups(&self, names: &[PhysicalName]) -> Result<Vec<Group>, BrokerError> {
        self.read(|state| {
            let describe = |name: &PhysicalName| {
                let group = state.groups.get(name);
                let members = group.iter().flat_map(|group| &group.members).map(|(id, member)| Member {
                    id: format!("member-{id}"),
                    client_id: member.client_id.clone(),
                    host: "/127.0.0.1".to_owned(),
                    assigned: member.assigned.iter().map(|(topic, ids)| (topic.clone(), of_ids(ids))).collect(),
                });
                Group { summary: summary(name, group), members: members.collect() }
            };
            Ok(names.iter().map(describe).collect())
        })
    }

    async fn committed(&self, names: &[PhysicalName]) -> Result<Vec<Result<Committed, BrokerError>>, BrokerError> {
        self.read(|state| {
            let of = |name: &PhysicalName| state.groups.get(name).map(|group| group.committed.clone()).unwrap_or_default();
            Ok(names.iter().map(|name| Ok(of(name))).collect())
        })
    }

    async fn ensure_group(&self, wish: &GroupWish) -> Result<Ensured, BrokerError> {
        if wish.broadcast {
            let what = format!("let every member of group {} have every message", wish.name);
            return Err(BrokerError::Unsupported { cluster: self.name.clone(), what });
        }
        self.read(|_| Ok(Ensured::There))
    }

    async fn ensure_offsets(&self, group: &PhysicalName, topic: &PhysicalName, wish: &OffsetWish) -> Result<(), BrokerError> {
        self.write(|state| {
            let known = topic_of(state, topic)?;
            if let OffsetWish::At(offsets) = wish
                && let Some(id) = offsets.keys().find(|id| index(id).is_none_or(|id| id >= known.partitions.len()))
            {
                let why = format!("no partition {id}: topic {topic} has {}", known.partitions.len());
                return Err(BrokerError::Refused { what: format!("group {group}"), why });
            }
            let partitions = (0_i32..).map(PartitionId::from).zip(&known.partitions);
            let offsets: BTreeMap<PartitionId, i64> =
                partitions.filter_map(|(id, partition)| Some((id.clone(), offset(wish, &id, partition)?))).collect();
            if let Some(known) = state.groups.get(group) {
                no_members(group, known)?;
            }
            state.groups.entry(group.clone()).or_default().committed.entry(topic.clone()).or_default().extend(offsets);
            Ok(())
        })
    }

    async fn ensure_group_gone(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        self.write(|state| {
            let Some(known) = state.groups.get(name) else { return Ok(Ensured::There) };
            no_members(name, known)?;
            state.groups.remove(name);
            Ok(Ensured::Made)
        })
    }

    /// As RocketMQ finds them. Ids are `fake-<partition>-<offset>`.
    async fn find_messages(&self, topic: &PhysicalName, by: &Lookup) -> Result<Vec<FoundMessage>, BrokerError> {
        self.read(|state| {
            let found = topic_of(state, topic)?.all().into_iter().filter_map(|message| {
                let id = format!("fake-{}-{}", message.placed.partition, message.placed.offset);
                let fits = match by {
                    Lookup::Id(wanted) => id == *wanted,
                    Lookup::Key(wanted) => message.key.as_deref() == Some(wanted.as_bytes()),
                };
                fits.then_some(FoundMessage { id: Some(id), message, unreadable: None })
            });
            let mut found: Vec<FoundMessage> = found.collect();
            found.sort_by_key(|found| std::cmp::Reverse(found.message.timestamp_ms));
            found.truncate(MOST_FOUND);
            Ok(found)
        })
    }

    async fn ensure_no_sends(&self, broker: &BrokerId) -> Result<Ensured, BrokerError> {
        self.write(|state| Ok(if state.retired.insert(broker.clone()) { Ensured::Made } else { Ensured::There }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zms_core::metadata::ConsumeFrom;

    fn name(text: &str) -> PhysicalName {
        PhysicalName::new(text).unwrap()
    }

    fn wish(partitions: i32, replicas: i16) -> TopicWish {
        TopicWish { name: name("orders"), partitions, replicas, config: BTreeMap::new() }
    }

    #[tokio::test]
    async fn what_is_wanted_is_made_once_and_never_made_otherwise() {
        let cluster = FakeCluster::new("fake", 3);
        assert_eq!(cluster.ensure_topic(&wish(2, 3)).await, Ok(Ensured::Made));
        assert_eq!(cluster.ensure_topic(&wish(2, 3)).await, Ok(Ensured::There));
        assert!(matches!(cluster.ensure_topic(&wish(4, 3)).await, Err(BrokerError::Conflict { .. })));
        let elsewhere = TopicWish { name: name("payments"), ..wish(2, 4) };
        assert!(matches!(cluster.ensure_topic(&elsewhere).await, Err(BrokerError::Refused { .. })), "more replicas than brokers");
        assert_eq!(cluster.ensure_partitions(&name("orders"), 4).await, Ok(Ensured::Made));
        assert_eq!(cluster.ensure_partitions(&name("orders"), 1).await, Ok(Ensured::There), "never fewer");
        let topic = cluster.topic(&name("orders")).await.unwrap().unwrap();
        assert_eq!((topic.partitions.len(), topic.replicas(), topic.under_replicated()), (4, 3, 0));
        let change = |value: Option<&str>| BTreeMap::from([("retention.ms".to_owned(), value.map(str::to_owned))]);
        assert_eq!(cluster.ensure_topic_config(&name("orders"), &change(Some("1"))).await, Ok(Ensured::Made));
        assert!(cluster.topic_config(&name("orders")).await.unwrap()["retention.ms"].own);
        assert_eq!(cluster.ensure_topic_config(&name("orders"), &change(None)).await, Ok(Ensured::Made));
        assert_eq!(cluster.ensure_topic_config(&name("orders"), &change(None)).await, Ok(Ensured::There));
        assert_eq!(cluster.ensure_topic_gone(&name("orders")).await, Ok(Ensured::Made));
        assert!(matches!(cluster.ends(&name("orders")).await, Err(BrokerError::Missing { .. })));
        cluster.cut();
        assert!(matches!(cluster.topics().await, Err(BrokerError::Unreachable { .. })));
    }

    #[tokio::test]
    async fn offsets_of_a_group_are_set_only_while_it_has_no_members() {
        let cluster = FakeCluster::new("fake", 1);
        let (topic, group) = (name("orders"), name("billing"));
        cluster.make_topic(&topic, 2);
        let at = OffsetWish::At(BTreeMap::from([(1.into(), 7)]));
        cluster.ensure_offsets(&group, &topic, &at).await.unwrap();
        assert_eq!(cluster.committed_of(&group, &topic), BTreeMap::from([(1.into(), 7)]));
        let subscription = crate::broker::Subscription::new(group.clone(), topic.clone(), ConsumeFrom::Earliest);
        let member = cluster.consumer(subscription);
        assert_eq!(cluster.describe_groups(&[group.clone(), name("nobody")]).await.unwrap()[0].members.len(), 1);
        assert!(matches!(cluster.ensure_offsets(&group, &topic, &at).await, Err(BrokerError::Conflict { .. })));
        assert!(matches!(cluster.ensure_group_gone(&group).await, Err(BrokerError::Conflict { .. })));
        drop(member);
        assert_eq!(cluster.ensure_group_gone(&group).await, Ok(Ensured::Made));
        assert_eq!(cluster.ensure_group_gone(&group).await, Ok(Ensured::There));
    }
}

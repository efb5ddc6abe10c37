//! Consumer groups: look, set offsets, remove.

use std::collections::BTreeMap;

use zms_core::names::PhysicalName;
use zms_kafka_wire::{Code, Listed, PerGroup, WireError, WireGroup, WireMember};

use super::KafkaAdmin;
use crate::broker::{BrokerError, Committed, Ensured, Group, GroupState, GroupSummary, Member, OffsetWish, PartitionId};

fn state(text: &str) -> GroupState {
    match text {
        "Stable" => GroupState::Stable,
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => GroupState::Rebalancing,
        "Empty" => GroupState::Empty,
        "Dead" => GroupState::Dead,
        _ => GroupState::Unknown,
    }
}

fn named(name: &PhysicalName) -> String {
    format!("group {name}")
}

/// Topics whose names this program has no type for are left out: no topic of Kafka is among them.
fn by_topic<T>(topics: BTreeMap<String, T>) -> BTreeMap<PhysicalName, T> {
    topics.into_iter().filter_map(|(name, value)| Some((PhysicalName::new(name).ok()?, value))).collect()
}

/// Committed offsets under our names.
pub(in crate::kafka) fn by_partition(topics: BTreeMap<String, BTreeMap<i32, i64>>) -> Committed {
    let offsets = |offsets: BTreeMap<i32, i64>| offsets.into_iter().map(|(id, offset)| (id.into(), offset)).collect();
    by_topic(topics).into_iter().map(|(name, found)| (name, offsets(found))).collect()
}

fn member(found: WireMember) -> Member {
    let assigned = by_topic(found.assigned).into_iter().map(|(name, ids)| (name, ids.into_iter().map(Into::into).collect()));
    Member { id: found.id, client_id: found.client_id, host: found.host, assigned: assigned.collect() }
}

/// `None` for a name that this program has no type for.
pub(in crate::kafka) fn summary(group: Listed) -> Option<GroupSummary> {
    match PhysicalName::new(group.name) {
        Ok(name) => Some(GroupSummary { name, state: state(&group.state), protocol: group.kind }),
        Err(error) => {
            tracing::debug!(%error, "left a group out whose name cannot be shown");
            None
        }
    }
}

fn dead(name: &PhysicalName) -> Group {
    Group { summary: GroupSummary { name: name.clone(), state: GroupState::Dead, protocol: String::new() }, members: Vec::new() }
}

impl KafkaAdmin {
    async fn list(&self) -> Result<Vec<Listed>, BrokerError> {
        self.wire.list_groups().await.map_err(|error| self.classify("groups", error))
    }

    pub(super) async fn all_groups(&self) -> Result<Vec<GroupSummary>, BrokerError> {
        let mut groups: Vec<GroupSummary> = self.list().await?.into_iter().filter_map(summary).collect();
        groups.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // While a coordinator moves, both may name its groups.
        groups.dedup_by(|a, b| a.name == b.name);
        Ok(groups)
    }

    /// Classic groups and those of KIP-848 are asked for apart: neither request understands the other's groups.
    pub(super) async fn groups_with_members(&self, names: &[PhysicalName]) -> Result<Vec<Group>, BrokerError> {
        let listed: BTreeMap<String, Listed> = self.list().await?.into_iter().map(|group| (group.name.clone(), group)).collect();
        let of_kind = |kind: &str| -> Vec<String> {
            let wanted = names.iter().map(PhysicalName::to_string);
            wanted.filter(|name| listed.get(name).is_some_and(|group| group.kind == kind)).collect()
        };
        let (classic, consumer) = (of_kind("classic"), of_kind("consumer"));
        let failed = |error| self.classify("members of groups", error);
        let mut described: BTreeMap<String, Result<WireGroup, WireError>> = BTreeMap::new();
        if !classic.is_empty() {
            let found: PerGroup<WireGroup> = self.wire.describe_classic(&classic).await.map_err(failed)?;
            described.extend(classic.into_iter().zip(found));
        }
        if !consumer.is_empty() {
            let found = self.wire.describe_consumer(&consumer).await.map_err(failed)?;
            described.extend(consumer.into_iter().zip(found));
        }
        names.iter().map(|name| self.group(name, &listed, described.remove(name.as_str()))).collect()
    }

    fn group(
        &self,
        name: &PhysicalName,
        listed: &BTreeMap<String, Listed>,
        described: Option<Result<WireGroup, WireError>>,
    ) -> Result<Group, BrokerError> {
        let Some(listed) = listed.get(name.as_str()) else { return Ok(dead(name)) };
        let summary = |text: &str| GroupSummary { name: name.clone(), state: state(text), protocol: listed.kind.clone() };
        match described {
            // A kind without members that we could ask for.
            None => Ok(Group { summary: summary(&listed.state), members: Vec::new() }),
            Some(Ok(group)) if group.state == "Dead" => Ok(dead(name)),
            Some(Ok(group)) => {
                Ok(Group { summary: summary(&group.state), members: group.members.into_iter().map(member).collect() })
            }
            Some(Err(WireError::Answer { code: Code::GroupIdNotFound, .. })) => Ok(dead(name)),
            Some(Err(error)) => Err(self.classify(&named(name), error)),
        }
    }

    pub(super) async fn committed_by(&self, names: &[PhysicalName]) -> Result<Vec<Result<Committed, BrokerError>>, BrokerError> {
        let texts: Vec<String> = names.iter().map(PhysicalName::to_string).collect();
        let found = self.wire.offset_fetch(&texts).await.map_err(|error| self.classify("committed offsets", error))?;
        let answers = names.iter().zip(found).map(|(name, found)| match found {
            Ok(offsets) => Ok(by_partition(offsets)),
            Err(WireError::Answer { code: Code::GroupIdNotFound, .. }) => Ok(Committed::new()),
            Err(error) => Err(self.classify(&named(name), error)),
        });
        Ok(answers.collect())
    }

    pub(super) async fn commit(&self, group: &PhysicalName, topic: &PhysicalName, wish: &OffsetWish) -> Result<(), BrokerError> {
        let offsets = match wish {
            OffsetWish::Earliest => self.offsets_at(topic, -2).await?,
            OffsetWish::Latest => self.offsets_at(topic, -1).await?,
            OffsetWish::Time(time) => self.offsets_at(topic, (*time).max(0)).await?,
            OffsetWish::At(offsets) => {
                let partitions = self.topic_that_is_there(topic).await?.partitions.len();
                let there = |id: &PartitionId| id.plain().filter(|id| usize::try_from(*id).is_ok_and(|id| id < partitions));
                let known = offsets.iter().map(|(id, offset)| Ok((there(id).ok_or(id)?, *offset)));
                known.collect::<Result<_, &PartitionId>>().map_err(|id| {
                    let why = format!("no partition {id}: topic {topic} has {partitions}");
                    BrokerError::Refused { what: named(group), why }
                })?
            }
        };
        if let [found] = self.groups_with_members(std::slice::from_ref(group)).await?.as_slice()
            && !found.members.is_empty()
        {
            let why = format!("it has {} members; stop them first", found.members.len());
            return Err(BrokerError::Conflict { what: named(group), why });
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let done = self.wire.offset_commit(group.as_str(), topic.as_str(), &offsets).await;
        done.map_err(|error| self.classify(&named(group), error))
    }

    /// Offset of each partition at a time; where no message is so young, the end.
    async fn offsets_at(&self, topic: &PhysicalName, time: i64) -> Result<BTreeMap<i32, i64>, BrokerError> {
        let failed = |error| self.classify(&format!("topic {topic}"), error);
        let found = self.wire.list_offsets(topic.as_str(), &[time, -1]).await.map_err(failed)?;
        let mut offsets = BTreeMap::new();
        for (partition, found) in found {
            if let [at, end] = found.map_err(failed)?[..] {
                offsets.insert(partition, if at < 0 { end } else { at });
            }
        }
        Ok(offsets)
    }

    pub(super) async fn remove_group(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        let failed = |error| self.classify(&named(name), error);
        let done: Result<Vec<()>, WireError> =
            self.wire.delete_groups(&[name.to_string()]).await.map_err(failed)?.into_iter().collect();
        match done {
            Ok(_) => Ok(Ensured::Made),
            Err(WireError::Answer { code: Code::GroupIdNotFound, .. }) => Ok(Ensured::There),
            Err(error) => Err(failed(error)),
        }
    }
}

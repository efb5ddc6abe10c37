//! What a scraper keeps between ticks, and what it makes of answers. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use zms_kafka_wire::messages::MetadataResponse;
use zms_kafka_wire::{Assignment, Listed, PerGroup};

use crate::broker::{ClusterView, GroupState, GroupSummary, Partition, Topic};
use crate::kafka::admin;

/// Topics and groups are kept by name, as the wire has it.
#[derive(Debug)]
pub(super) struct Known {
    pub view: ClusterView,
    pub topics: BTreeMap<String, KnownTopic>,
    pub groups: BTreeMap<String, KnownGroup>,
}

#[derive(Debug)]
pub(super) struct KnownTopic {
    pub topic: Topic,
    /// One that was made anew under the same name has another.
    id: [u8; 16],
    /// First offsets, as asked last.
    pub starts: BTreeMap<i32, i64>,
}

#[derive(Debug)]
pub(super) struct KnownGroup {
    pub summary: GroupSummary,
    /// `None` while it has none.
    pub coordinator: Option<i32>,
    /// As counted last.
    pub members: Option<u32>,
}

impl Default for Known {
    fn default() -> Self {
        let view = ClusterView { id: String::new(), controller: None, brokers: Vec::new() };
        Self { view, topics: BTreeMap::new(), groups: BTreeMap::new() }
    }
}

impl Known {
    /// The cluster lists this broker.
    pub fn lists(&self, broker: i32) -> bool {
        self.view.brokers.iter().any(|listed| listed.id == broker)
    }

    /// Brokers that hold replicas and are not listed.
    pub fn absent(&self) -> BTreeSet<i32> {
        let partitions = self.topics.values().flat_map(|known| &known.topic.partitions);
        let replicas: BTreeSet<i32> = partitions.flat_map(|partition| &partition.replicas).copied().collect();
        replicas.into_iter().filter(|id| !self.lists(*id)).collect()
    }

    /// New metadata of all topics.
    pub fn read_metadata(&mut self, answer: &MetadataResponse) {
        self.view = admin::view(answer);
        let mut before = std::mem::take(&mut self.topics);
        for found in &answer.topics {
            let Some(topic) = admin::read(found) else { continue };
            let (name, id) = (topic.name.to_string(), found.topic_id.into_bytes());
            let same = before.remove(&name).filter(|before| before.id == id);
            let starts = same.map(|before| before.starts).unwrap_or_default();
            self.topics.insert(name, KnownTopic { topic, id, starts });
        }
    }

    /// New lists of groups: broker → what it coordinates. Returns groups that were known before and are in no list.
    pub fn read_groups(&mut self, lists: BTreeMap<i32, Vec<Listed>>) -> Vec<String> {
        let mut before = std::mem::take(&mut self.groups);
        // While a coordinator moves both may name its groups. Either will do: whoever is asked in vain says so.
        for (broker, listed) in lists {
            for summary in listed.into_iter().filter_map(admin::summary) {
                let name = summary.name.to_string();
                let counted = before.remove(&name).and_then(|before| before.members);
                let members = if has_members(&summary) { counted } else { Some(0) };
                self.groups.insert(name, KnownGroup { summary, coordinator: Some(broker), members });
            }
        }
        let missing = before.keys().cloned().collect();
        self.groups.append(&mut before);
        missing
    }

    /// Coordinators of groups, in the same order. A group is gone only when one of the `listing` brokers coordinates it, did so before,
    /// and did not list it: a broker that has just become coordinator, or is about to, does not list it yet.
    pub fn read_coordinators(&mut self, names: &[String], found: PerGroup<i32>, listing: &BTreeSet<i32>) {
        for (name, found) in names.iter().zip(found) {
            let Some(group) = self.groups.get_mut(name) else { continue };
            match found {
                Ok(id) if group.coordinator == Some(id) && listing.contains(&id) => drop(self.groups.remove(name)),
                found => group.coordinator = found.ok(),
            }
        }
    }

    /// Partitions by who leads them.
    pub fn by_leader(&self, wanted: impl Fn(&str, &KnownTopic, &Partition) -> bool) -> BTreeMap<i32, Assignment> {
        let mut leaders: BTreeMap<i32, Assignment> = BTreeMap::new();
        for (name, known) in &self.topics {
            for partition in known.topic.partitions.iter().filter(|partition| wanted(name, known, partition)) {
                let Some(leader) = partition.leader else { continue };
                let asked = leaders.entry(leader).or_default();
                match asked.get_mut(name) {
                    Some(partitions) => partitions.push(partition.id),
                    None => drop(asked.insert(name.clone(), vec![partition.id])),
                }
            }
        }
        leaders
    }

    /// Names of groups by who coordinates them.
    pub fn by_coordinator(&self, wanted: impl Fn(&str, &KnownGroup) -> bool) -> BTreeMap<i32, Vec<String>> {
        let mut coordinators: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for (name, group) in self.groups.iter().filter(|(name, group)| wanted(name, group)) {
            if let Some(coordinator) = group.coordinator {
                coordinators.entry(coordinator).or_default().push(name.clone());
            }
        }
        coordinators
    }
}

/// It may have some now.
pub(super) fn has_members(summary: &GroupSummary) -> bool {
    !matches!(summary.state, GroupState::Empty | GroupState::Dead)
}

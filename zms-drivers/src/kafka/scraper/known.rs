//! What a scraper keeps between ticks, and what it makes of answers. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use zms_kafka_wire::messages::MetadataResponse;
use zms_kafka_wire::{Answers, Assignment, Code, Listed, PerGroup, WireError};

use crate::broker::{BrokerId, ClusterView, GroupState, GroupSummary, Partition, Topic};
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
        let replicas: BTreeSet<i32> = partitions.flat_map(|partition| &partition.replicas).filter_map(BrokerId::plain).collect();
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

    /// New lists of groups: broker → what it coordinates. Returns groups that were known before and are in no list. They are kept: that a
    /// broker does not list a group that it coordinates, or is about to, means nothing before it has read what it has to know.
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

    /// Coordinators of groups, in the same order.
    pub fn read_coordinators(&mut self, names: &[String], found: PerGroup<i32>) {
        for (name, found) in names.iter().zip(found) {
            if let Some(group) = self.groups.get_mut(name) {
                group.coordinator = found.ok();
            }
        }
    }

    /// Members of groups, counted by their coordinator. A group goes when that one says so, and not before.
    pub fn read_members(&mut self, counted: Answers<usize>) {
        for (name, members) in counted {
            match members {
                Ok(members) => {
                    if let Some(group) = self.groups.get_mut(&name) {
                        group.members = u32::try_from(members).ok();
                    }
                }
                Err(WireError::Answer { code: Code::GroupIdNotFound, .. }) => drop(self.groups.remove(&name)),
                Err(error) => tracing::debug!(%error, group = name, "members are not known"),
            }
        }
    }

    /// Partitions by who leads them.
    pub fn by_leader(&self, wanted: impl Fn(&str, &KnownTopic, &Partition) -> bool) -> BTreeMap<i32, Assignment> {
        let mut leaders: BTreeMap<i32, Assignment> = BTreeMap::new();
        for (name, known) in &self.topics {
            for partition in known.topic.partitions.iter().filter(|partition| wanted(name, known, partition)) {
                let Some(leader) = partition.leader.as_ref().and_then(BrokerId::plain) else { continue };
                let Some(id) = partition.id.plain() else { continue };
                let asked = leaders.entry(leader).or_default();
                match asked.get_mut(name) {
                    Some(partitions) => partitions.push(id),
                    None => drop(asked.insert(name.clone(), vec![id])),
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

#[cfg(test)]
mod tests {
    use zms_kafka_wire::StrBytes;
    use zms_kafka_wire::messages as m;
    use zms_kafka_wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};

    use super::*;

    /// Brokers 1 to `brokers`; partitions 0, 1 and 2 of `orders` are on brokers 1, 2 and 3 alone.
    fn metadata(brokers: i32, topic_id: u8) -> MetadataResponse {
        let partition = |broker: i32| {
            MetadataResponsePartition::default()
                .with_partition_index(broker - 1)
                .with_leader_id(m::BrokerId(if broker <= brokers { broker } else { -1 }))
                .with_replica_nodes(vec![m::BrokerId(broker)])
        };
        let topic = MetadataResponseTopic::default()
            .with_name(Some(m::TopicName(StrBytes::from_static_str("orders"))))
            .with_topic_id(format!("00000000-0000-0000-0000-0000000000{topic_id:02x}").parse().unwrap())
            .with_partitions((1..=3).map(partition).collect());
        let broker = |id| MetadataResponseBroker::default().with_node_id(m::BrokerId(id));
        MetadataResponse::default().with_brokers((1..=brokers).map(broker).collect()).with_topics(vec![topic])
    }

    fn lists(lists: &[(i32, &[&str])]) -> BTreeMap<i32, Vec<Listed>> {
        let listed = |name: &&str| Listed {
            name: (*name).to_owned(),
            state: if name.starts_with("empty") { "Empty" } else { "Stable" }.to_owned(),
            kind: "classic".to_owned(),
        };
        lists.iter().map(|(id, names)| (*id, names.iter().map(listed).collect())).collect()
    }

    fn known() -> Known {
        let mut known = Known::default();
        known.read_metadata(&metadata(3, 7));
        assert!(known.read_groups(lists(&[(1, &["a", "empty"]), (2, &["c"]), (3, &[])])).is_empty());
        known
    }

    fn coordinator(known: &Known, name: &str) -> Option<Option<i32>> {
        known.groups.get(name).map(|group| group.coordinator)
    }

    fn says(code: Code) -> WireError {
        WireError::Answer { call: "", code, message: String::new() }
    }

    #[test]
    fn a_group_goes_when_its_coordinator_says_so_and_not_by_missing_in_a_list() {
        let mut known = known();
        let missing = ["c".to_owned()];
        for (found, coordinates) in [(Ok(3), Some(3)), (Err(says(Code::CoordinatorNotAvailable)), None), (Ok(1), Some(1))] {
            assert_eq!(known.read_groups(lists(&[(1, &["a", "empty"]), (3, &[])])), missing);
            known.read_coordinators(&missing, vec![found]);
            known.read_members(vec![("c".to_owned(), Err(says(Code::CoordinatorLoadInProgress)))]);
            assert_eq!(coordinator(&known, "c"), Some(coordinates));
        }
        known.read_members(vec![("c".to_owned(), Err(says(Code::GroupIdNotFound))), ("a".to_owned(), Ok(2))]);
        assert_eq!((coordinator(&known, "c"), known.groups["a"].members), (None, Some(2)));
    }

    #[test]
    fn members_are_kept_until_a_group_is_empty() {
        let mut known = known();
        assert_eq!((known.groups["a"].members, known.groups["empty"].members), (None, Some(0)));
        known.groups.get_mut("a").unwrap().members = Some(3);
        known.read_groups(lists(&[(2, &["a", "empty", "c"])]));
        assert_eq!((known.groups["a"].members, coordinator(&known, "a")), (Some(3), Some(Some(2))));
    }

    #[test]
    fn first_offsets_are_forgotten_with_their_topic() {
        let mut known = known();
        known.topics.get_mut("orders").unwrap().starts.insert(0, 40);
        known.read_metadata(&metadata(3, 7));
        assert_eq!(known.topics["orders"].starts, BTreeMap::from([(0, 40)]));
        known.read_metadata(&metadata(3, 8));
        assert!(known.topics["orders"].starts.is_empty(), "made anew under its name");
    }

    #[test]
    fn who_holds_replicas_and_is_not_listed_is_absent() {
        let mut known = known();
        let leaders = |known: &Known| known.by_leader(|_, _, _| true).into_keys().collect::<Vec<_>>();
        assert_eq!((leaders(&known), known.absent()), (vec![1, 2, 3], BTreeSet::new()));
        known.read_metadata(&metadata(2, 7));
        assert_eq!((leaders(&known), known.absent()), (vec![1, 2], BTreeSet::from([3])));
    }
}

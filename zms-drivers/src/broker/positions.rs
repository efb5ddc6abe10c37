//! Up to where a consumer may commit: never beyond a message that is not handled yet.

use std::collections::{BTreeMap, BTreeSet};

use zms_core::broker::PartitionId;
use zms_core::names::PhysicalName;

/// What a member of a group has received and not handled yet, for each partition that it has now.
#[derive(Debug, Default)]
pub struct Positions {
    partitions: BTreeMap<(PhysicalName, PartitionId), Partition>,
    given: u64,
}

#[derive(Debug)]
struct Partition {
    /// Which giving of the partition to this member; a partition that went away and came back has another one.
    generation: u64,
    /// Received, not handled.
    open: BTreeSet<i64>,
    /// One above the highest offset received; `None` before the first.
    next: Option<i64>,
    /// What was said last, so that nothing is said twice.
    said: Option<i64>,
}

impl Positions {
    /// The member has this partition from now on.
    pub fn give(&mut self, topic: PhysicalName, partition: PartitionId) {
        self.given += 1;
        let fresh = Partition { generation: self.given, open: BTreeSet::new(), next: None, said: None };
        self.partitions.insert((topic, partition), fresh);
    }

    /// It belongs to somebody else now; what is still open there will be received by that one.
    pub fn take(&mut self, topic: &PhysicalName, partition: &PartitionId) {
        self.partitions.remove(&(topic.clone(), partition.clone()));
    }

    /// Everything was taken away.
    pub fn take_all(&mut self) {
        self.partitions.clear();
    }

    /// A message came. What is returned is for [`Self::holds`]; `None` if the partition is not ours.
    pub fn received(&mut self, topic: &PhysicalName, partition: &PartitionId, offset: i64) -> Option<u64> {
        let partition = self.partitions.get_mut(&(topic.clone(), partition.clone()))?;
        partition.open.insert(offset);
        partition.next = Some(partition.next.map_or(offset + 1, |next| next.max(offset + 1)));
        Some(partition.generation)
    }

    /// The partition has been ours without a break since a message with this generation was received.
    pub fn holds(&self, topic: &PhysicalName, partition: &PartitionId, generation: u64) -> bool {
        self.partitions.get(&(topic.clone(), partition.clone())).is_some_and(|known| known.generation == generation)
    }

    /// The present giving of a partition; `None` if it is not ours.
    pub fn generation(&self, topic: &PhysicalName, partition: &PartitionId) -> Option<u64> {
        self.partitions.get(&(topic.clone(), partition.clone())).map(|known| known.generation)
    }

    /// A message of the partition was received and is not handled.
    pub fn is_open(&self, topic: &PhysicalName, partition: &PartitionId) -> bool {
        self.partitions.get(&(topic.clone(), partition.clone())).is_some_and(|known| !known.open.is_empty())
    }

    /// A message that nobody asked for is handled without being handed out.
    pub fn skip(&mut self, topic: &PhysicalName, partition: &PartitionId, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&(topic.clone(), partition.clone())) {
            partition.open.remove(&offset);
        }
    }

    /// A message was handled. The offset to commit (of the first message not handled), if it grew by that.
    pub fn done(&mut self, topic: &PhysicalName, partition: &PartitionId, offset: i64) -> Option<i64> {
        let partition = self.partitions.get_mut(&(topic.clone(), partition.clone()))?;
        partition.open.remove(&offset);
        let position = partition.open.first().copied().or(partition.next)?;
        // Before the first message is handled the position is that message itself: nothing was done yet.
        let grew = position > offset || partition.said.is_some_and(|said| position > said);
        if grew && partition.said != Some(position) {
            partition.said = Some(position);
            Some(position)
        } else {
            None
        }
    }

    /// Partitions that it has now.
    pub fn held(&self) -> Vec<(PhysicalName, PartitionId)> {
        self.partitions.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: i32) -> PartitionId {
        number.into()
    }

    fn topic() -> PhysicalName {
        PhysicalName::new("orders").unwrap()
    }

    #[test]
    fn a_position_never_passes_a_message_that_is_not_handled() {
        let (topic, mut positions) = (topic(), Positions::default());
        positions.give(topic.clone(), id(0));
        for offset in 5..9 {
            positions.received(&topic, &id(0), offset);
        }
        let said: Vec<_> = [7, 5, 8, 6].map(|offset| positions.done(&topic, &id(0), offset)).into();
        assert_eq!(said, [None, Some(6), None, Some(9)]);
    }

    #[test]
    fn what_was_received_before_a_partition_went_away_moves_nothing() {
        let (topic, mut positions) = (topic(), Positions::default());
        positions.give(topic.clone(), id(0));
        let before = positions.received(&topic, &id(0), 5).unwrap();
        positions.take(&topic, &id(0));
        assert_eq!(positions.done(&topic, &id(0), 5), None);
        positions.give(topic.clone(), id(0));
        assert!(!positions.holds(&topic, &id(0), before), "it went away in between");
        assert_eq!(positions.received(&topic, &id(1), 5), None, "never ours");
    }

    proptest! {
        /// Handled in any order: what is committed is always the first offset that was not handled, and in the end all of it.
        #[test]
        fn positions_follow_the_first_open_message(order in Just((0..30_i64).collect::<Vec<_>>()).prop_shuffle()) {
            let (topic, mut positions) = (topic(), Positions::default());
            positions.give(topic.clone(), id(0));
            for offset in 0..30 {
                positions.received(&topic, &id(0), offset);
            }
            let (mut handled, mut committed) = (BTreeSet::new(), 0);
            for offset in order {
                handled.insert(offset);
                if let Some(position) = positions.done(&topic, &id(0), offset) {
                    prop_assert!(position > committed);
                    committed = position;
                }
                let first_open = (0..30).find(|offset| !handled.contains(offset)).unwrap_or(30);
                prop_assert_eq!(committed, first_open);
            }
        }
    }
}

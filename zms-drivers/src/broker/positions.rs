//! Up to where a consumer may commit: never beyond a message that is not handled yet; and how many of those it may have.

use std::collections::BTreeMap;

use zms_core::broker::PartitionId;
use zms_core::names::PhysicalName;

use super::Incoming;

/// A member does not read on in a partition of which it has so many messages that are not handled…
const MOST_OPEN: usize = 256;
/// …or so many bytes of them. One message of any size is always read.
const MOST_OPEN_BYTES: usize = 4 << 20;

/// Whether a member has all of a partition that it may have.
pub(crate) const fn is_full(messages: usize, bytes: usize) -> bool {
    messages >= MOST_OPEN || bytes >= MOST_OPEN_BYTES
}

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
    /// Received, not handled; with their bytes.
    open: BTreeMap<i64, usize>,
    /// Of all of them.
    bytes: usize,
    /// One above the highest offset received; `None` before the first.
    next: Option<i64>,
    /// What was said last, so that nothing is said twice.
    said: Option<i64>,
}

impl Partition {
    fn close(&mut self, offset: i64) {
        self.bytes -= self.open.remove(&offset).unwrap_or(0);
    }
}

impl Positions {
    /// The member has this partition from now on.
    pub fn give(&mut self, topic: PhysicalName, partition: PartitionId) {
        self.given += 1;
        let fresh = Partition { generation: self.given, open: BTreeMap::new(), bytes: 0, next: None, said: None };
        self.partitions.insert((topic, partition), fresh);
    }

    /// It belongs to somebody else now; what is still open there will be received by that one.
    pub fn take(&mut self, topic: &PhysicalName, partition: &PartitionId) {
        self.partitions.remove(&(topic.clone(), partition.clone()));
    }

    /// A message came. What is returned is its [`Incoming::generation`]; `None` if the partition is not ours.
    pub fn received(&mut self, message: &Incoming) -> Option<u64> {
        let offset = message.placed.offset;
        let partition = self.partitions.get_mut(&(message.topic.clone(), message.placed.partition.clone()))?;
        partition.close(offset);
        partition.open.insert(offset, message.size());
        partition.bytes += message.size();
        partition.next = Some(partition.next.map_or(offset + 1, |next| next.max(offset + 1)));
        Some(partition.generation)
    }

    /// The message was not handled yet, and its partition has been ours without a break since it was received.
    pub fn is_open(&self, message: &Incoming) -> bool {
        let partition = self.partitions.get(&(message.topic.clone(), message.placed.partition.clone()));
        partition.is_some_and(|known| known.generation == message.generation && known.open.contains_key(&message.placed.offset))
    }

    /// How many messages of the partition were received and are not handled.
    pub fn open(&self, topic: &PhysicalName, partition: &PartitionId) -> usize {
        self.partitions.get(&(topic.clone(), partition.clone())).map_or(0, |known| known.open.len())
    }

    /// So many that it is not read on.
    pub fn is_full(&self, topic: &PhysicalName, partition: &PartitionId) -> bool {
        let partition = self.partitions.get(&(topic.clone(), partition.clone()));
        partition.is_some_and(|known| is_full(known.open.len(), known.bytes))
    }

    /// A message that nobody asked for is handled without being handed out.
    pub fn skip(&mut self, topic: &PhysicalName, partition: &PartitionId, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&(topic.clone(), partition.clone())) {
            partition.close(offset);
        }
    }

    /// A message was handled. The offset to commit (of the first message not handled), if it grew by that.
    pub fn done(&mut self, topic: &PhysicalName, partition: &PartitionId, offset: i64) -> Option<i64> {
        let partition = self.partitions.get_mut(&(topic.clone(), partition.clone()))?;
        partition.close(offset);
        let position = partition.open.first_key_value().map(|(first, _)| *first).or(partition.next)?;
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
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::broker::Placed;

    fn id(number: i32) -> PartitionId {
        number.into()
    }

    fn topic() -> PhysicalName {
        PhysicalName::new("orders").unwrap()
    }

    fn message(partition: i32, offset: i64, bytes: usize) -> Incoming {
        Incoming {
            topic: topic(),
            placed: Placed { partition: id(partition), offset },
            timestamp_ms: None,
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: Vec::new(),
            tag: None,
            attempt: 0,
            generation: 0,
        }
    }

    #[test]
    fn a_position_never_passes_a_message_that_is_not_handled() {
        let (topic, mut positions) = (topic(), Positions::default());
        positions.give(topic.clone(), id(0));
        for offset in 5..9 {
            positions.received(&message(0, offset, 1));
        }
        let said: Vec<_> = [7, 5, 8, 6].map(|offset| positions.done(&topic, &id(0), offset)).into();
        assert_eq!(said, [None, Some(6), None, Some(9)]);
    }

    #[test]
    fn what_was_received_before_a_partition_went_away_moves_nothing() {
        let (topic, mut positions) = (topic(), Positions::default());
        positions.give(topic.clone(), id(0));
        let mut before = message(0, 5, 1);
        before.generation = positions.received(&before).unwrap();
        assert!(positions.is_open(&before));
        positions.take(&topic, &id(0));
        assert!(!positions.is_open(&before), "it is somebody else's");
        assert_eq!(positions.done(&topic, &id(0), 5), None);
        positions.give(topic.clone(), id(0));
        let again = Incoming { generation: positions.received(&message(0, 5, 1)).unwrap(), ..message(0, 5, 1) };
        assert!(!positions.is_open(&before), "it went away in between");
        assert!(positions.is_open(&again));
        positions.done(&topic, &id(0), 5);
        assert!(!positions.is_open(&again), "it is handled");
        assert_eq!(positions.received(&message(1, 5, 1)), None, "never ours");
    }

    #[test]
    fn a_partition_is_full_by_messages_or_by_bytes_until_one_of_them_is_handled() {
        let (topic, mut positions) = (topic(), Positions::default());
        for (partition, count, bytes) in [(0, MOST_OPEN, 1), (1, 4, 1 << 20), (2, 1, 5 << 20)] {
            positions.give(topic.clone(), id(partition));
            for offset in 0_i64.. {
                assert!(offset < i64::try_from(count).unwrap(), "{partition}: full by now");
                positions.received(&message(partition, offset, bytes));
                if positions.is_full(&topic, &id(partition)) {
                    break;
                }
            }
            assert_eq!(positions.open(&topic, &id(partition)), count);
            // The same one again is not a second one.
            positions.received(&message(partition, 0, bytes));
            positions.done(&topic, &id(partition), 0);
            assert!(!positions.is_full(&topic, &id(partition)));
        }
    }

    proptest! {
        /// Handled in any order: what is committed is always the first offset that was not handled, and in the end all of it.
        #[test]
        fn positions_follow_the_first_open_message(order in Just((0..30_i64).collect::<Vec<_>>()).prop_shuffle()) {
            let (topic, mut positions) = (topic(), Positions::default());
            positions.give(topic.clone(), id(0));
            for offset in 0..30 {
                positions.received(&message(0, offset, 1));
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

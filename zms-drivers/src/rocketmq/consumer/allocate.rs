//! Which queues of a topic are whose: the same answer in every member, Java's or ours, from the same lists.

use std::cmp::Ordering;

use crate::rocketmq::queue::Queue;

/// The queues of `me` among all queues of one topic: neighbours in the sorted list, the first members one more where they do not come
/// out even (`AllocateMessageQueueAveragely`). Nothing if `me` is no member.
pub(crate) fn allocate(queues: &[Queue], members: &[String], me: &str) -> Vec<Queue> {
    let mut members: Vec<&str> = members.iter().map(String::as_str).collect();
    members.sort_by(|a, b| java_order(a, b));
    members.dedup();
    let Some(index) = members.iter().position(|member| *member == me) else { return Vec::new() };
    let mut queues = queues.to_vec();
    queues.sort_by(|a, b| java_order(&a.broker, &b.broker).then(a.number.cmp(&b.number)));
    queues.dedup();
    let (each, more) = (queues.len() / members.len(), queues.len() % members.len());
    let begin = index * each + index.min(more);
    let end = begin + each + usize::from(index < more);
    queues[begin..end].to_vec()
}

/// Java compares 16-bit units, Rust bytes of UTF-8; they differ beyond the basic plane.
fn java_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queue(broker: &str, number: i32) -> Queue {
        Queue { topic: "orders".into(), broker: broker.into(), number }
    }

    fn queues(count: usize) -> Vec<Queue> {
        (0..i32::try_from(count).unwrap()).map(|number| queue("a", number)).collect()
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("10.0.0.{index:03}@1")).collect()
    }

    /// Made by following the four lines of Java's rule by hand: (queues, members) -> numbers of each member.
    #[test]
    fn queues_are_shared_as_java_shares_them() {
        for (of, among, shares) in [
            (8, 1, &[(0, 8)][..]),
            (8, 2, &[(0, 4), (4, 8)]),
            (8, 3, &[(0, 3), (3, 6), (6, 8)]),
            (7, 3, &[(0, 3), (3, 5), (5, 7)]),
            (4, 4, &[(0, 1), (1, 2), (2, 3), (3, 4)]),
            (3, 5, &[(0, 1), (1, 2), (2, 3), (3, 3), (3, 3)]),
            (1, 2, &[(0, 1), (1, 1)]),
            (0, 2, &[(0, 0), (0, 0)]),
        ] {
            let (queues, members) = (queues(of), members(among));
            for (member, (begin, end)) in members.iter().zip(shares) {
                let numbers: Vec<_> = allocate(&queues, &members, member).iter().map(|queue| queue.number).collect();
                assert_eq!(numbers, (*begin..*end).collect::<Vec<i32>>(), "{of} queues, {among} members, {member}");
            }
        }
    }

    #[test]
    fn lists_are_sorted_by_broker_then_number_and_by_member_as_text() {
        let queues = [queue("b", 0), queue("a", 10), queue("a", 2), queue("b", 1)];
        let members = ["9@1".to_owned(), "10@1".to_owned()];
        assert_eq!(allocate(&queues, &members, "10@1"), [queue("a", 2), queue("a", 10)]);
        assert_eq!(allocate(&queues, &members, "9@1"), [queue("b", 0), queue("b", 1)]);
        // U+1F600 begins with the unit 0xD83D, below U+FFFD.
        assert_eq!(java_order("\u{1f600}", "\u{fffd}"), Ordering::Less);
    }

    #[test]
    fn who_is_no_member_gets_nothing() {
        assert_eq!(allocate(&queues(4), &members(2), "somebody"), []);
        assert_eq!(allocate(&queues(4), &[], "somebody"), []);
    }

    proptest! {
        /// Java's arithmetic, with its own variables: index, average, start, range.
        #[test]
        fn it_is_javas_arithmetic_and_every_queue_has_one_owner(of in 0_usize..60, among in 1_usize..20) {
            let (queues, members) = (queues(of), members(among));
            let mut shared = Vec::new();
            for (index, member) in members.iter().enumerate() {
                let rest = of % among;
                let longer = rest > 0 && index < rest;
                let average = if of <= among { 1 } else { of / among + usize::from(longer) };
                let start = if longer { index * average } else { index * average + rest };
                let range = average.min(of.saturating_sub(start));
                let expected: Vec<_> = (0..range).map(|i| queues[(start + i) % of].clone()).collect();
                let got = allocate(&queues, &members, member);
                prop_assert_eq!(&got, &expected);
                shared.extend(got);
            }
            prop_assert_eq!(shared, queues);
        }
    }
}

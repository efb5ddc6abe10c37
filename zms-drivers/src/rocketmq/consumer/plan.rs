//! Decisions of a member that need no network.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rocketmq::queue::Queue;

/// What a member does so that it has what is its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub give_up: Vec<Queue>,
    pub take: Vec<Queue>,
}

/// From what it has to what it should have, for one topic.
pub(crate) fn plan(topic: &str, has: impl IntoIterator<Item = Queue>, should: &[Queue]) -> Plan {
    let has: BTreeSet<Queue> = has.into_iter().filter(|queue| &*queue.topic == topic).collect();
    let should: BTreeSet<Queue> = should.iter().cloned().collect();
    Plan { give_up: has.difference(&should).cloned().collect(), take: should.difference(&has).cloned().collect() }
}

/// What an answer to a pull says to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// There are messages in its body.
    Messages,
    /// Nothing for us up to here; ask on.
    Nothing,
    /// The place does not exist (any more), or somebody set the group to another: begin there.
    Begin(i64),
    /// The topic, or this queue of it, is gone.
    Gone,
    /// The group is not there, and brokers make none by themselves.
    NoGroup,
    /// No right, or a subscription that the broker cannot read: a person is needed.
    Refused,
    /// The broker cannot now.
    Later,
}

/// `next`: the place that the answer names.
pub(crate) fn pulled(code: i32, next: Option<i64>) -> Pulled {
    match (code, next) {
        (0, _) => Pulled::Messages,
        (19 | 20, _) => Pulled::Nothing,
        (21, Some(next)) => Pulled::Begin(next),
        (17, _) => Pulled::Gone,
        (26, _) => Pulled::NoGroup,
        (16 | 23, _) => Pulled::Refused,
        // 2 and 14: busy, not available. 24 and 25: it has not read our heartbeat yet. 1 and others: whatever it is, it is theirs.
        _ => Pulled::Later,
    }
}

/// Where to read on when the broker has no place `next` and offers `offered`; `first` and `end` of the queue are of the same answer. A group that
/// stands beyond the end of a queue that holds all it ever had stood in another queue of this name: brokers offer the end, and what was sent to
/// the new queue meanwhile would be passed over.
pub(crate) fn read_on(next: i64, offered: i64, first: Option<i64>, end: Option<i64>) -> i64 {
    match (first, end) {
        (Some(0), Some(end)) if next > end => 0,
        _ => offered,
    }
}

/// Where a group begins in a queue in which it has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the first message that is there.
    First,
    /// Behind the last one.
    End,
    /// With what came since then, in milliseconds since 1970.
    Since(i64),
}

/// `known`: the queue was there when the member first looked; otherwise all that came into it since the member began is for the group: the member
/// looks each few seconds, and what was sent before its look must not be passed over.
pub(crate) fn begin(earliest: bool, known: bool, started_ms: i64, clocks: Duration) -> Begin {
    match (earliest, known) {
        (true, _) => Begin::First,
        (false, true) => Begin::End,
        (false, false) => Begin::Since(started_ms.saturating_sub(i64::try_from(clocks.as_millis()).unwrap_or(i64::MAX)).max(0)),
    }
}

/// Whether a message is for this member. Brokers compare numbers made from tags, of which two tags may have the same.
pub(crate) fn wanted(tags: &[String], tag: Option<&str>) -> bool {
    tags.is_empty() || tag.is_some_and(|tag| tags.iter().any(|wanted| wanted == tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(numbers: &[i32]) -> Vec<Queue> {
        numbers.iter().map(|number| Queue { topic: "orders".into(), broker: "a".into(), number: *number }).collect()
    }

    #[test]
    fn what_a_queue_that_was_made_anew_holds_is_not_passed_over() {
        for (next, offered, first, end, expected) in [
            (100, 12, Some(0), Some(12), 0),
            (13, 12, Some(0), Some(12), 0),
            // Set to another place by somebody, who may know better.
            (12, 3, Some(0), Some(12), 3),
            (3, 9, Some(0), Some(12), 9),
            // Its broker lost the end of an old queue.
            (1_005, 1_000, Some(400), Some(1_000), 1_000),
            // What was behind is gone.
            (3, 400, Some(400), Some(1_000), 400),
            (100, 12, None, None, 12),
        ] {
            assert_eq!(read_on(next, offered, first, end), expected, "{next} of {first:?} to {end:?}, offered {offered}");
        }
    }

    #[test]
    fn latest_passes_over_nothing_of_a_queue_that_is_made_later() {
        let minute = Duration::from_secs(60);
        for (earliest, known, begins) in [
            (true, true, Begin::First),
            (true, false, Begin::First),
            (false, true, Begin::End),
            (false, false, Begin::Since(1_000_000)),
        ] {
            assert_eq!(begin(earliest, known, 1_060_000, minute), begins, "{earliest} {known}");
        }
        assert_eq!(begin(false, false, 5, minute), Begin::Since(0));
    }

    #[test]
    fn only_what_changes_is_touched() {
        for (has, should, give_up, take) in [
            (&[][..], &[0, 1][..], &[][..], &[0, 1][..]),
            (&[0, 1], &[0, 1], &[], &[]),
            (&[0, 1, 2], &[1, 3], &[0, 2], &[3]),
            (&[0], &[], &[0], &[]),
        ] {
            let plan = plan("orders", queues(has), &queues(should));
            assert_eq!(plan, Plan { give_up: queues(give_up), take: queues(take) }, "{has:?} {should:?}");
        }
        let other = Queue { topic: "bills".into(), broker: "a".into(), number: 0 };
        assert_eq!(plan("orders", [other], &[]), Plan::default(), "another topic");
    }

    #[test]
    fn answers_to_a_pull_are_told_apart_by_what_to_do() {
        for (code, next, then) in [
            (0, Some(9), Pulled::Messages),
            (19, Some(9), Pulled::Nothing),
            (20, Some(9), Pulled::Nothing),
            (21, Some(9), Pulled::Begin(9)),
            (21, None, Pulled::Later),
            (17, None, Pulled::Gone),
            (26, None, Pulled::NoGroup),
            (16, None, Pulled::Refused),
            (14, None, Pulled::Later),
            (24, None, Pulled::Later),
        ] {
            assert_eq!(pulled(code, next), then, "{code}");
        }
    }

    #[test]
    fn tags_are_compared_as_texts() {
        let tags = ["paid".to_owned(), "Aa".to_owned()];
        // "BB" has the same number as "Aa" in Java.
        for (tag, said) in [(Some("paid"), true), (Some("BB"), false), (Some("Aa"), true), (None, false)] {
            assert_eq!(wanted(&tags, tag), said, "{tag:?}");
        }
        assert!(wanted(&[], None));
    }
}

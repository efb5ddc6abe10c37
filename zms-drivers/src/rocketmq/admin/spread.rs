//! How many queues each master gets.

use std::collections::BTreeMap;
use std::sync::Arc;

/// So many queues on each broker.
pub(super) type Counts = BTreeMap<Arc<str>, i32>;

/// Adds queues, one after the other, to the broker that has the fewest (the first by name among equals), until there are `total`. None
/// is ever taken away.
pub(super) fn spread(mut counts: Counts, total: i32) -> Counts {
    let mut there: i32 = counts.values().sum();
    while there < total {
        let Some(fewest) = counts.iter_mut().min_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0))) else { break };
        *fewest.1 += 1;
        there += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(counts: &[i32]) -> Counts {
        ('a'..).zip(counts).map(|(name, count)| (Arc::from(name.to_string()), *count)).collect()
    }

    #[test]
    fn queues_are_spread_evenly_and_none_goes() {
        for (before, total, after) in [
            (&[0, 0][..], 5, &[3, 2][..]),
            (&[0, 0, 0], 2, &[1, 1, 0]),
            (&[4, 0], 6, &[4, 2]),
            (&[3, 3], 4, &[3, 3]),
            (&[], 4, &[]),
        ] {
            assert_eq!(spread(counts(before), total), counts(after), "{before:?} to {total}");
        }
    }

    proptest! {
        #[test]
        fn from_nothing_no_two_differ_by_more_than_one(brokers in 1..8_usize, total in 0..200_i32) {
            let after = spread(counts(&vec![0; brokers]), total);
            prop_assert_eq!(after.values().sum::<i32>(), total);
            prop_assert!(after.values().max().unwrap() - after.values().min().unwrap() <= 1);
        }
    }
}

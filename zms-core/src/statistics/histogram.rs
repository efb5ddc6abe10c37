use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How values are spread, in buckets that are the same for every process and version: exact below 8, above it eight to each doubling, so
/// a value is known to an eighth. Histograms of many processes and windows add up without loss.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Of all values.
    #[serde(default)]
    sum: u64,
    /// Bucket → how many values. Empty ones are absent.
    #[serde(default)]
    buckets: BTreeMap<u16, u64>,
}

/// Values below are buckets of their own, and so many buckets each doubling has.
const FINE: u64 = 8;
const FINE_BITS: u32 = FINE.trailing_zeros();

/// The bucket of the largest value.
const LAST: u16 = bucket(u64::MAX);

/// Where a value belongs.
const fn bucket(value: u64) -> u16 {
    if value < FINE {
        return value as u16;
    }
    let doubling = value.ilog2() - FINE_BITS;
    let within = (value >> doubling) - FINE;
    (FINE + doubling as u64 * FINE + within) as u16
}

/// The smallest value of a bucket.
const fn lowest(bucket: u16) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let (doubling, within) = ((bucket - FINE) / FINE, (bucket - FINE) % FINE);
    (FINE + within) << doubling
}

impl Histogram {
    /// Adds a value.
    pub fn record(&mut self, value: u64) {
        self.sum = self.sum.saturating_add(value);
        let count = self.buckets.entry(bucket(value)).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds all values of another one. What others sent is added as far as it can be right: buckets that cannot exist are left out.
    pub fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        for (bucket, count) in other.buckets.iter().filter(|(bucket, _)| **bucket <= LAST) {
            let known = self.buckets.entry(*bucket).or_default();
            *known = known.saturating_add(*count);
        }
    }

    /// How many values it has.
    pub fn count(&self) -> u64 {
        self.buckets.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Mean of the values; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        #[expect(clippy::cast_precision_loss, reason = "a mean of microseconds needs no more than 52 bits")]
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// A value that this share (0 to 1) of all values does not exceed by more than an eighth; `None` without any values.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "which of some thousand values it is needs no more; the share is held between 0 and 1"
        )]
        let wanted = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0_u64;
        for (bucket, count) in &self.buckets {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return Some(lowest((*bucket).min(LAST)));
            }
        }
        self.buckets.last_key_value().map(|(bucket, _)| lowest((*bucket).min(LAST)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_a_contract_with_every_version() {
        let table =
            [(0, 0), (7, 7), (8, 8), (15, 15), (16, 16), (17, 16), (18, 17), (1_000, 63), (1_000_000, 143), (u64::MAX, 495)];
        for (value, expected) in table {
            assert_eq!(bucket(value), expected, "{value}");
        }
    }

    #[test]
    fn quantiles_and_mean_of_a_known_spread() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.mean()), (None, None));
        for value in 1..=100 {
            histogram.record(value);
        }
        assert_eq!(histogram.mean(), Some(50.5));
        for (share, about) in [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)] {
            let found = histogram.quantile(share).unwrap();
            assert!(found <= about && found * 9 / 8 + 1 >= about, "{share}: {found}");
        }
    }

    #[test]
    fn what_cannot_be_right_neither_panics_nor_counts() {
        let strange: Histogram =
            serde_json::from_str(r#"{"sum":18446744073709551615,"buckets":{"65535":7,"3":18446744073709551615},"new":1}"#)
                .unwrap();
        let mut histogram = Histogram::default();
        histogram.record(3);
        histogram.merge(&strange);
        assert_eq!((histogram.count(), histogram.quantile(1.0)), (u64::MAX, Some(3)));
        assert!(strange.quantile(1.0).is_some());
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_to_an_eighth(value: u64) {
            let low = lowest(bucket(value));
            prop_assert!(low <= value && value - low <= value / 8);
            prop_assert_eq!(bucket(low), bucket(value));
        }

        #[test]
        fn merging_is_recording_all(left in proptest::collection::vec(0..1_000_000_u64, 0..40), right in proptest::collection::vec(0..1_000_000_u64, 0..40)) {
            let of = |values: &[u64]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|value| histogram.record(*value));
                histogram
            };
            let mut merged = of(&left);
            merged.merge(&of(&right));
            prop_assert_eq!(merged, of(&[left, right].concat()));
        }
    }
}

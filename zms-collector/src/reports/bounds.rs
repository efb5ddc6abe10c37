//! What one report and all of them together may take: whoever may write to their topics may write anything. Pure.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use zms_core::names::{ClusterName, PhysicalName};
use zms_core::series::Point;
use zms_core::statistics::Report;

/// Clients that are remembered.
pub(super) const MOST_CLIENTS: usize = 200_000;
/// Topics and groups of one report.
pub(super) const MOST_OF_ONE: usize = 1_000;
/// Topics and groups of all clients together: each is a line of the snapshot, and the portal takes no endless one.
pub(super) const MOST_ENTRIES: usize = 50_000;
/// Bytes of the reports that are remembered.
pub(super) const MOST_BYTES: usize = 128 << 20;
/// Series that reports may begin in an hour: each costs InfluxDB memory for as long as its points are kept.
const MOST_BEGUN: usize = 100_000;
/// Series that are remembered as known, an hour's or two.
const MOST_SERIES: usize = 300_000;
const HOUR_MS: i64 = 3_600_000;

/// A report without what may not be kept of it, and how many of its topics and groups that are.
///
/// # Errors
/// A sentence, when it says of itself what no client says.
pub(super) fn cut(mut report: Report) -> Result<(Report, u64), String> {
    let texts = [("application", &report.application, 100), ("ip", &report.ip, 64), ("language", &report.language, 32)];
    for (name, text, longest) in texts {
        if text.chars().count() > longest || text.chars().any(char::is_control) {
            return Err(format!("`{name}` is no text of at most {longest} characters"));
        }
    }
    let said = report.producers.len() + report.consumers.len();
    let cluster = |name: &str| name.is_empty() || ClusterName::new(name).is_ok();
    let name = |name: &str| PhysicalName::new(name).is_ok();
    report.producers.retain(|one| name(&one.topic) && cluster(&one.cluster));
    report.consumers.retain(|one| name(&one.topic) && name(&one.group) && cluster(&one.cluster));
    report.producers.truncate(MOST_OF_ONE);
    report.consumers.truncate(MOST_OF_ONE - report.producers.len());
    for one in &mut report.producers {
        // Nobody reads it yet, and its keys may be anything.
        one.failures.clear();
    }
    let left_out = said - report.producers.len() - report.consumers.len();
    Ok((report, left_out as u64))
}

/// Series that reports write, by a hash of measurement and tags: those of this hour and of the one before.
#[derive(Debug, Default)]
pub(super) struct Series {
    hasher: RandomState,
    now: HashSet<u64>,
    before: HashSet<u64>,
    begun: usize,
    since_ms: i64,
}

impl Series {
    /// May this point be written? One of a series that is known may; another begins one, of which there are so many an hour.
    pub(super) fn admit(&mut self, point: &Point, now_ms: i64) -> bool {
        if now_ms - self.since_ms > HOUR_MS {
            (self.before, self.begun, self.since_ms) = (std::mem::take(&mut self.now), 0, now_ms);
        }
        let key = self.hasher.hash_one((point.measurement.name, &point.tags));
        if self.now.contains(&key) {
            return true;
        }
        let known = self.before.contains(&key);
        if self.now.len() >= MOST_SERIES || !known && self.begun >= MOST_BEGUN {
            return false;
        }
        self.begun += usize::from(!known);
        self.now.insert(key);
        true
    }
}

#[cfg(test)]
mod tests {
    use zms_core::series::ZMS_PRODUCER_SUM;

    use super::*;

    #[test]
    fn names_that_change_all_the_time_begin_so_many_series_and_those_that_are_known_go_on() {
        let mut series = Series::default();
        let point = |name: &str| Point::new(&ZMS_PRODUCER_SUM, &["c", name, "a", "rust"], 1);
        let begin = 10 * HOUR_MS;
        assert!(series.admit(&point("orders"), begin));
        let mut flood = |hour: i64| {
            (0..MOST_BEGUN + 5).filter(|n| series.admit(&point(&format!("{hour}-{n}")), begin + hour * (HOUR_MS + 1))).count()
        };
        assert_eq!(flood(0), MOST_BEGUN - 1);
        assert_eq!(flood(1), MOST_BEGUN, "an hour later others");
        assert!(series.admit(&point("orders"), begin + HOUR_MS + 2), "it was known an hour before");
        assert!(!series.admit(&point("another"), begin + HOUR_MS + 2));
        assert!(series.now.len() + series.before.len() <= 2 * MOST_SERIES);
    }
}

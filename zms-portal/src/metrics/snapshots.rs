//! What each environment's leading collector last saw, in this portal's memory, and since when it says nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zms_core::collect::Snapshot;

use super::TICK_S;

/// A collector that told nothing for so long is silent, milliseconds: two ticks were missed.
pub const SILENT_MS: i64 = TICK_S as i64 * 2_500;
/// Silences that are remembered for an environment.
const SILENCES: usize = 200;

/// See the module; cheap to clone.
#[derive(Clone, Default)]
pub struct Snapshots(Arc<Mutex<BTreeMap<String, Known>>>);

#[derive(Default)]
struct Known {
    last: Option<Told>,
    /// From when to when nothing came.
    silences: VecDeque<(i64, i64)>,
}

/// A snapshot as it came.
#[derive(Debug, Clone)]
pub struct Told {
    /// What it says.
    pub snapshot: Arc<Snapshot>,
    /// When it came, milliseconds since 1970.
    pub at_ms: i64,
}

impl Told {
    /// Did the collector miss more than a tick since then?
    pub const fn is_silent(&self, now_ms: i64) -> bool {
        now_ms - self.at_ms > SILENT_MS
    }

    /// Messages a second by cluster and topic, where they are known.
    pub fn rates(&self) -> impl Iterator<Item = ((&str, &str), f64)> {
        self.snapshot.topics.iter().filter_map(|topic| Some(((topic.cluster.as_str(), topic.topic.as_str()), topic.rate_in?)))
    }

    /// Lag by group, over all of its topics; `None` where one of them is not known.
    pub fn lags(&self) -> BTreeMap<&str, Option<i64>> {
        let mut lags: BTreeMap<&str, Option<i64>> = BTreeMap::new();
        for group in &self.snapshot.groups {
            let lag = lags.entry(group.group.as_str()).or_insert(Some(0));
            *lag = lag.zip(group.lag).map(|(sum, lag)| sum + lag);
        }
        lags
    }
}

impl Snapshots {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a snapshot, unless a later leader was heard already, whose fence is returned then.
    pub fn tell(&self, environment_id: &str, snapshot: Snapshot, now_ms: i64) -> Result<(), u64> {
        let mut all = self.lock();
        let known = all.entry(environment_id.to_owned()).or_default();
        if let Some(last) = &known.last {
            // Where there is no store there is no lease: 0 is believed when the last holder of one is silent.
            let without_lease = snapshot.fence == 0 && last.is_silent(now_ms);
            if last.snapshot.fence > snapshot.fence && !without_lease {
                return Err(last.snapshot.fence);
            }
            if last.is_silent(now_ms) {
                known.silences.push_back((last.at_ms, now_ms));
                while known.silences.len() > SILENCES {
                    known.silences.pop_front();
                }
            }
        }
        known.last = Some(Told { snapshot: Arc::new(snapshot), at_ms: now_ms });
        Ok(())
    }

    /// The last one, however old.
    pub fn last(&self, environment_id: &str) -> Option<Told> {
        self.lock().get(environment_id)?.last.clone()
    }

    /// The last one, unless its collector is silent since.
    pub fn fresh(&self, environment_id: &str, now_ms: i64) -> Option<Told> {
        self.last(environment_id).filter(|told| !told.is_silent(now_ms))
    }

    /// From when to when nothing came; the one that lasts ends now.
    pub fn silences(&self, environment_id: &str, now_ms: i64) -> Vec<(i64, i64)> {
        let all = self.lock();
        let Some(known) = all.get(environment_id) else { return Vec::new() };
        let lasting = known.last.as_ref().filter(|last| last.is_silent(now_ms)).map(|last| (last.at_ms, now_ms));
        known.silences.iter().copied().chain(lasting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(fence: u64) -> Snapshot {
        Snapshot { fence, ..Snapshot::default() }
    }

    #[test]
    fn an_earlier_leader_is_refused_and_the_same_one_is_not() {
        let snapshots = Snapshots::default();
        assert_eq!(snapshots.tell("e", snapshot(2), 0), Ok(()));
        assert_eq!(snapshots.tell("e", snapshot(1), 1), Err(2));
        assert_eq!(snapshots.tell("other", snapshot(1), 1), Ok(()));
        assert_eq!(snapshots.tell("e", snapshot(2), 1), Ok(()));
        assert_eq!(snapshots.tell("e", snapshot(3), 1), Ok(()));
        assert_eq!(snapshots.tell("e", snapshot(0), 2), Err(3), "a store was taken away a moment ago");
        assert_eq!(snapshots.tell("e", snapshot(0), 2 + SILENT_MS), Ok(()));
    }

    #[test]
    fn a_silence_is_remembered_and_the_one_that_lasts_ends_now() {
        let snapshots = Snapshots::default();
        assert_eq!(snapshots.silences("e", 5), []);
        for at in [0, 10_000, 10_000 + SILENT_MS, 100_000] {
            snapshots.tell("e", snapshot(1), at).unwrap();
        }
        let began = 10_000 + SILENT_MS;
        assert_eq!(snapshots.silences("e", 100_000), [(began, 100_000)]);
        assert_eq!(snapshots.silences("e", 100_001 + SILENT_MS), [(began, 100_000), (100_000, 100_001 + SILENT_MS)]);
        assert!(snapshots.fresh("e", 100_000).is_some() && snapshots.fresh("e", 100_001 + SILENT_MS).is_none());
    }
}

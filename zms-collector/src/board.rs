//! What was seen last, for the snapshot: of clusters from their ticks, of applications from their reports.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use zms_core::collect::{ClusterFigures, GroupFigures, HostFrames, Sink, Snapshot, TopicFigures};
use zms_core::names::ClusterName;

use crate::reports::Applications;

/// See the module.
#[derive(Debug, Default)]
pub struct Board {
    clusters: Mutex<BTreeMap<ClusterName, Seen>>,
    /// What applications report.
    pub applications: Mutex<Applications>,
    /// Something new is on it.
    pub changed: Notify,
}

#[derive(Debug)]
struct Seen {
    at_ms: i64,
    cluster: ClusterFigures,
    topics: Vec<TopicFigures>,
    groups: Vec<GroupFigures>,
}

impl Board {
    /// A cluster's tick ended.
    pub fn put(&self, at_ms: i64, cluster: ClusterFigures, topics: Vec<TopicFigures>, groups: Vec<GroupFigures>) {
        lock(&self.clusters).insert(cluster.cluster.clone(), Seen { at_ms, cluster, topics, groups });
        self.changed.notify_one();
    }

    /// Clusters that are not there any more, and all of them when another collector leads.
    pub fn retain(&self, keep: impl Fn(&ClusterName) -> bool) {
        lock(&self.clusters).retain(|name, _| keep(name));
    }

    /// Clusters on it, and how many of them were away in their last tick.
    pub fn counts(&self) -> (usize, usize) {
        let clusters = lock(&self.clusters);
        let away = |seen: &&Seen| matches!(seen.cluster.reach, zms_core::collect::Reach::Away(_));
        (clusters.len(), clusters.values().filter(away).count())
    }

    /// Everything on it, with `hosts` that were heard. Its time is that of the newest tick; applications that have not reported for long are
    /// left out.
    pub fn snapshot(&self, fence: u64, hosts: Vec<HostFrames>, sink: Sink, now_ms: i64) -> Snapshot {
        let clusters = lock(&self.clusters);
        let at_ms = clusters.values().map(|seen| seen.at_ms).max().unwrap_or(now_ms);
        let mut applications = lock(&self.applications);
        let (producers, consumers, unreadable) = applications.figures(now_ms);
        let counts = applications.counts();
        drop(applications);
        Snapshot {
            fence,
            at_ms,
            clusters: clusters.values().map(|seen| seen.cluster.clone()).collect(),
            topics: clusters.values().flat_map(|seen| seen.topics.iter().cloned()).collect(),
            groups: clusters.values().flat_map(|seen| seen.groups.iter().cloned()).collect(),
            producers,
            consumers,
            hosts,
            sink: Sink { unreadable, over: Some(counts.over), lost: Some(counts.dropped), ..sink },
        }
    }
}

/// Nothing panics while it holds one of our locks; what a panic elsewhere left behind is whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

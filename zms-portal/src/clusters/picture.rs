//! Everything that is on a cluster, governed or not: what the collector last told, or one bulk read of our own that all who look share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use zms_core::collect::{GroupFigures, Reach, Snapshot};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Ends, Scrape, Scraper};

use super::{Brokers, Cluster};
use crate::app::App;

/// A bulk read is good for so long.
const KEPT: Duration = Duration::from_secs(10);
/// A bulk read takes no longer.
const DEADLINE: Duration = Duration::from_secs(30);
/// A page waits no longer for one; it shows the one before then.
const PATIENCE: Duration = Duration::from_secs(8);

/// Topics and groups of a cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// By name.
    pub topics: Vec<PhysicalTopic>,
    /// By name.
    pub groups: Vec<PhysicalGroup>,
    /// What could not be had; empty if everything was.
    pub missing: String,
}

/// A topic on its brokers. What is not known is absent.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct PhysicalTopic {
    /// Its name there.
    #[schema(value_type = String)]
    pub name: PhysicalName,
    /// One of the brokers' own.
    pub internal: bool,
    /// Partitions.
    pub partitions: u32,
    /// Replicas of each.
    pub replicas: u32,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated: u32,
    /// Partitions without a leader.
    pub offline: u32,
    /// Messages still there.
    pub kept: Option<i64>,
    /// Messages a second; only the collector knows it.
    pub rate_in: Option<f64>,
}

/// A group on its brokers.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct PhysicalGroup {
    /// Its name there.
    #[schema(value_type = String)]
    pub name: PhysicalName,
    /// stable, rebalancing, empty, dead or unknown.
    pub state: String,
    /// Members.
    pub members: Option<u32>,
    /// As those members say that were counted last: clustering or broadcasting on RocketMQ; empty where nobody says it.
    pub protocol: String,
    /// Over all of its topics; absent where nothing was committed or something of it is not known.
    pub lag: Option<i64>,
    /// Each topic that it committed on, the worst lag first, unknown ones before all.
    pub on: Vec<GroupOn>,
    /// Why its commits are not known.
    pub why: Option<String>,
}

impl PhysicalGroup {
    /// Partitions without a commit: the lag is at least what it is.
    pub fn unknown(&self) -> u32 {
        self.on.iter().map(|on| on.unknown).sum()
    }
}

/// A group on one topic.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct GroupOn {
    /// The topic.
    #[schema(value_type = String)]
    pub topic: PhysicalName,
    /// Messages not consumed yet, over partitions with a commit.
    pub lag: Option<i64>,
    /// Partitions without a commit.
    pub unknown: u32,
}

/// One of the brokers' own, by its name alone. RocketMQ has many more, which only its driver knows.
pub fn is_internal(name: &PhysicalName) -> bool {
    name.as_str().starts_with("__") || name.as_str().starts_with('%')
}

fn group(
    name: &PhysicalName,
    (state, members, protocol): (&str, Option<u32>, &str),
    mut on: Vec<GroupOn>,
    why: Option<String>,
) -> PhysicalGroup {
    let lag = if on.is_empty() { None } else { on.iter().map(|on| on.lag).sum() };
    on.sort_by_key(|on| std::cmp::Reverse(on.lag.unwrap_or(i64::MAX)));
    PhysicalGroup { name: name.clone(), state: state.to_owned(), members, protocol: protocol.to_owned(), lag, on, why }
}

impl Picture {
    /// What the collector told of a cluster; `None` if it does not ask it, or does not reach it.
    fn told(snapshot: &Snapshot, cluster: &Cluster) -> Option<Self> {
        let figures = snapshot.clusters.iter().find(|figures| figures.cluster == cluster.name)?;
        let missing = match &figures.reach {
            Reach::Whole => String::new(),
            Reach::Partly(why) => why.clone(),
            Reach::Away(_) => return None,
        };
        let topics = snapshot.topics.iter().filter(|topic| topic.cluster == cluster.name).map(|topic| PhysicalTopic {
            name: topic.topic.clone(),
            internal: topic.internal,
            partitions: topic.partitions,
            replicas: topic.replicas,
            under_replicated: topic.under_replicated,
            offline: topic.offline,
            kept: topic.kept,
            rate_in: topic.rate_in,
        });
        let mut lines: BTreeMap<&PhysicalName, Vec<&GroupFigures>> = BTreeMap::new();
        for line in snapshot.groups.iter().filter(|line| line.cluster == cluster.name) {
            lines.entry(&line.group).or_default().push(line);
        }
        let on = |line: &&GroupFigures| GroupOn { topic: line.topic.clone(), lag: line.lag, unknown: line.unknown };
        let busy = lines.iter().map(|(name, lines)| {
            let GroupFigures { state, members, protocol, .. } = lines[0];
            group(name, (state, *members, protocol), lines.iter().map(on).collect(), None)
        });
        let quiet = figures.quiet.iter().map(|q| group(&q.group, (&q.state, q.members, ""), Vec::new(), q.why.clone()));
        let mut groups: Vec<PhysicalGroup> = busy.chain(quiet).collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Some(Self { topics: topics.collect(), groups, missing })
    }

    fn read(scrape: &Scrape) -> Self {
        let ends: BTreeMap<&PhysicalName, &Ends> = scrape.topics.iter().map(|(topic, ends)| (&topic.name, ends)).collect();
        let topics = scrape.topics.iter().map(|(topic, ends)| {
            let kept = ends.values().map(|range| range.as_ref().map(|range| range.end - range.start)).sum::<Option<i64>>();
            PhysicalTopic {
                name: topic.name.clone(),
                internal: topic.internal,
                partitions: count(topic.partitions.len()),
                replicas: count(topic.replicas()),
                under_replicated: count(topic.under_replicated()),
                offline: count(topic.partitions.iter().filter(|partition| partition.leader.is_none()).count()),
                kept: kept.filter(|_| !ends.is_empty()),
                rate_in: None,
            }
        });
        let groups = scrape.groups.iter().map(|found| {
            let committed = found.committed.as_ref().ok();
            // A topic that is gone leaves its commits behind until they expire.
            let on = committed.into_iter().flatten().filter(|(_, offsets)| !offsets.is_empty()).filter_map(|(topic, offsets)| {
                let ends = ends.get(topic)?;
                let lag = |(id, offset): (_, &i64)| Some(ends.get(id)?.as_ref()?.end - offset);
                let known = offsets.iter().filter(|(id, _)| ends.contains_key(id)).map(lag).collect::<Option<Vec<i64>>>();
                let unknown = count(ends.keys().filter(|id| !offsets.contains_key(id)).count());
                let lag = known.filter(|lags| !lags.is_empty()).map(|lags| lags.iter().sum());
                Some(GroupOn { topic: topic.clone(), lag, unknown })
            });
            let summary = &found.summary;
            let why = found.committed.as_ref().err().map(ToString::to_string);
            group(&summary.name, (summary.state.as_str(), found.members, &summary.protocol), on.collect(), why)
        });
        let silent: Vec<String> = scrape.silent.iter().map(|(id, why)| format!("broker {id}: {why}")).collect();
        Self { topics: topics.collect(), groups: groups.collect(), missing: silent.join("; ") }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A look at a cluster.
#[derive(Debug, Clone)]
pub struct Look {
    /// What was seen, or why nothing was.
    pub seen: Result<Arc<Picture>, String>,
    /// How old it is, seconds.
    pub age_s: u64,
    /// The collector saw it; otherwise this portal did.
    pub by_collector: bool,
}

/// Bulk reads of this portal, by cluster.
#[derive(Clone, Default)]
pub(super) struct Looks(Arc<Mutex<BTreeMap<String, Arc<Slot>>>>);

/// When it was read, and what was seen or why nothing was.
type Last = (Instant, Result<Arc<Picture>, String>);

struct Slot {
    /// How the cluster was reached; another way means another slot.
    cluster: Cluster,
    /// Held while it is being read: all who look wait for the same answer.
    scraper: Arc<tokio::sync::Mutex<Option<Box<dyn Scraper>>>>,
    last: Mutex<Option<Last>>,
}

impl Slot {
    fn last(&self) -> Option<Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fresh(&self) -> bool {
        self.last().is_some_and(|(at, _)| at.elapsed() < KEPT)
    }
}

impl Looks {
    fn slot(&self, cluster: &Cluster) -> Arc<Slot> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |slot: &&Arc<Slot>| slot.cluster.addresses == cluster.addresses && slot.cluster.way == cluster.way;
        if let Some(slot) = all.get(&cluster.id).filter(same) {
            return slot.clone();
        }
        let slot = Arc::new(Slot { cluster: cluster.clone(), scraper: Arc::default(), last: Mutex::default() });
        all.insert(cluster.id.clone(), slot.clone());
        slot
    }

    pub(super) fn forget(&self, cluster_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster_id);
    }

    async fn look(&self, brokers: &Brokers, cluster: &Cluster) -> Look {
        let slot = self.slot(cluster);
        if !slot.fresh() {
            // Whoever leaves the page does not end the read for the others.
            let reading = tokio::spawn(read(brokers.clone(), slot.clone()));
            if timeout(PATIENCE, reading).await.is_err() {
                tracing::debug!(cluster = %cluster.name, "a page did not wait for the end of a bulk read");
            }
        }
        let late = || (Instant::now(), Err(format!("{} is still being read: look again in some seconds", cluster.name)));
        let (at, seen) = slot.last().unwrap_or_else(late);
        Look { seen, age_s: at.elapsed().as_secs(), by_collector: false }
    }
}

async fn read(brokers: Brokers, slot: Arc<Slot>) {
    let mut scraper = slot.scraper.lock().await;
    // Somebody else read it while this one waited.
    if slot.fresh() {
        return;
    }
    if scraper.is_none() {
        match brokers.scraper(&slot.cluster) {
            Ok(opened) => *scraper = Some(opened),
            Err(error) => return keep(&slot, Err(error.to_string())),
        }
    }
    let Some(scraper) = scraper.as_mut() else { return };
    let seen = match timeout(DEADLINE, scraper.scrape()).await {
        Ok(Ok(scrape)) => Ok(Arc::new(Picture::read(&scrape))),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{}: topics and groups: no answer within {} s", slot.cluster.name, DEADLINE.as_secs())),
    };
    keep(&slot, seen);
}

fn keep(slot: &Slot, seen: Result<Arc<Picture>, String>) {
    *slot.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), seen));
}

/// What is on a cluster. A sentence says why nothing is known.
pub async fn look(app: &App, cluster: &Cluster, now_ms: i64) -> Look {
    if let Some(told) = app.metrics.snapshots.fresh(&cluster.environment_id, now_ms)
        && let Some(picture) = Picture::told(&told.snapshot, cluster)
    {
        let age_s = u64::try_from((now_ms - told.snapshot.at_ms) / 1000).unwrap_or(0);
        return Look { seen: Ok(Arc::new(picture)), age_s, by_collector: true };
    }
    app.brokers.looks.look(&app.brokers, cluster).await
}

#[cfg(test)]
mod tests {
    use zms_core::metadata::BrokerKind;
    use zms_core::names::ClusterName;
    use zms_drivers::broker::fake::FakeCluster;
    use zms_drivers::broker::{ClusterAdmin as _, OffsetWish};

    use super::*;

    fn cluster() -> Cluster {
        Cluster {
            id: "c".to_owned(),
            environment_id: "e".to_owned(),
            name: ClusterName::new("main").unwrap(),
            broker: BrokerKind::Kafka,
            service_id: None,
            addresses: vec!["10.0.0.1:9092".to_owned()],
            epoch: 0,
            way: super::super::Way::default(),
        }
    }

    /// A snapshot as a collector of the fake would tell it is not needed: the words on the wire are.
    #[test]
    fn a_group_that_committed_nothing_is_there_and_its_lag_is_unknown() {
        let text = serde_json::json!({
            "fence": 1, "at_ms": 1,
            "clusters": [{ "cluster": "main", "kind": "kafka", "reach": "whole", "attempt": { "took_ms": 1, "requests": 1, "bytes": 1 },
                "quiet": [{ "group": "asleep", "state": "empty" }] }],
            "topics": [
                { "cluster": "main", "topic": "a.b", "partitions": 1, "replicas": 1, "under_replicated": 0, "offline": 0 },
                { "cluster": "main", "topic": "wheel", "internal": true, "partitions": 1, "replicas": 1, "under_replicated": 0, "offline": 0 }],
            "groups": [
                { "cluster": "main", "group": "billing", "topic": "a.b", "state": "stable", "lag": 3, "unknown": 0 },
                { "cluster": "main", "group": "billing", "topic": "c", "state": "stable", "lag": 5, "unknown": 1 },
                { "cluster": "main", "group": "half", "topic": "c", "state": "empty", "unknown": 0 },
                { "cluster": "other", "group": "not-here", "topic": "c", "state": "empty", "unknown": 0 }]
        });
        let snapshot: Snapshot = serde_json::from_value(text).unwrap();
        let picture = Picture::told(&snapshot, &cluster()).unwrap();
        let lags: Vec<(&str, Option<i64>)> = picture.groups.iter().map(|group| (group.name.as_str(), group.lag)).collect();
        assert_eq!(lags, [("asleep", None), ("billing", Some(8)), ("half", None)]);
        assert_eq!(picture.groups[1].on[0].topic.as_str(), "c", "the worst first");
        let topics: Vec<(&str, bool)> = picture.topics.iter().map(|topic| (topic.name.as_str(), topic.internal)).collect();
        assert_eq!(topics, [("a.b", false), ("wheel", true)], "older collectors do not say which is the brokers' own");
    }

    #[tokio::test]
    async fn what_the_portal_reads_itself_has_the_same_shape() {
        let fake = FakeCluster::new("main", 3);
        let name = |text: &str| PhysicalName::new(text).unwrap();
        fake.make_topic(&name("a.b"), 2);
        fake.ensure_offsets(&name("billing"), &name("a.b"), &OffsetWish::At([(0.into(), 0)].into())).await.unwrap();
        let scrape = fake.scraper().scrape().await.unwrap();
        let picture = Picture::read(&scrape);
        assert_eq!((picture.topics[0].partitions, picture.topics[0].kept, picture.topics[0].rate_in), (2, Some(0), None));
        let on = GroupOn { topic: name("a.b"), lag: Some(0), unknown: 1 };
        assert_eq!((picture.groups[0].lag, &picture.groups[0].on[..]), (Some(0), &[on][..]));
    }
}

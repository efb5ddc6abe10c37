//! Scraping the cluster in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zms_core::names::PhysicalName;

use super::admin::{ends, summary, view};
use super::state::{FakeCluster, GroupState, State};
use crate::broker::{BrokerError, BrokerId, Cost, Scrape, ScrapedGroup, Scraper};

/// Groups in one request, as on Kafka.
const MOST_GROUPS: usize = 100;

impl FakeCluster {
    /// Asks this cluster again and again.
    pub fn scraper(self: &Arc<Self>) -> Box<dyn Scraper> {
        Box::new(FakeScraper { cluster: Arc::clone(self) })
    }
}

struct FakeScraper {
    cluster: Arc<FakeCluster>,
}

impl State {
    fn speaks(&self, broker: i32) -> bool {
        !self.silent.contains(&broker)
    }

    /// The same for a name each time, and not the same for all names.
    fn coordinator(&self, group: &PhysicalName) -> Option<i32> {
        let sum: usize = group.as_str().bytes().map(usize::from).sum();
        self.brokers.get(sum % self.brokers.len().max(1)).and_then(|broker| broker.id.plain())
    }

    fn scraped(&self, cluster: &str, name: &PhysicalName, group: &GroupState) -> ScrapedGroup {
        let committed = match self.coordinator(name).filter(|id| !self.speaks(*id)) {
            None => Ok(group.committed.clone()),
            Some(id) => {
                let why = format!("broker {id}, which coordinates group {name}: silent");
                Err(BrokerError::Unreachable { cluster: cluster.to_owned(), why })
            }
        };
        let members = u32::try_from(group.members.len()).ok();
        ScrapedGroup { summary: summary(name, Some(group)), members, committed }
    }

    /// What Kafka's scraper would need.
    fn cost(&self) -> Cost {
        let partitions = self.topics.values().flat_map(|topic| &topic.partitions);
        let leaders: BTreeSet<i32> = partitions.filter_map(|partition| partition.leader).collect();
        let (fetches, lists) = (self.groups.len().div_ceil(MOST_GROUPS), leaders.len());
        let round_trips = u32::from(fetches > 0) + u32::from(lists > 0);
        let requests = (fetches + lists) as u64;
        Cost { took: Duration::from_millis(1), requests, round_trips, rare_requests: 0, bytes: requests * 100 }
    }
}

#[async_trait]
impl Scraper for FakeScraper {
    async fn scrape(&mut self) -> Result<Scrape, BrokerError> {
        self.cluster.read(|state| {
            if state.ids().all(|id| !state.speaks(id)) {
                return Err(self.cluster.unreachable());
            }
            let topics = state.topics.iter().map(|(name, topic)| (view(name, topic), ends(topic, |leader| state.speaks(leader))));
            let groups = state.groups.iter().map(|(name, group)| state.scraped(&self.cluster.name, name, group));
            Ok(Scrape {
                view: self.cluster.view_of(state),
                topics: topics.collect(),
                groups: groups.collect(),
                counters: Vec::new(),
                silent: state.silent.iter().map(|id| (BrokerId::from(*id), "silent".to_owned())).collect(),
                cost: state.cost(),
            })
        })
    }
}

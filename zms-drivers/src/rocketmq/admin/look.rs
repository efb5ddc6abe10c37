//! Reading: who is there, topics, ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use serde::de::DeserializeOwned;
use zms_core::names::PhysicalName;

use super::bodies::{TopicConfig, TopicStats, Topics};
use super::own::is_internal_topic;
use super::{RocketMqAdmin, topic_named};
use crate::broker::{Broker, BrokerError, BrokerId, ClusterView, Ends, Partition, PartitionId, Range, Topic};
use crate::rocketmq::remoting::{RemotingError, Request, RequestCode, answers};
use crate::rocketmq::route::{BrokerSet, ClusterInfo, MASTER, Route};

/// Who is there. There is no controller: each master is its own.
pub(in crate::rocketmq) fn view(info: &ClusterInfo) -> ClusterView {
    let broker = |(id, address): (BrokerId, &str)| {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        Broker { id, host: host.to_owned(), port: port.parse().unwrap_or(0), rack: None }
    };
    let mut clusters: Vec<&str> = info.brokers.values().map(|set| set.cluster.as_str()).collect();
    clusters.sort_unstable();
    clusters.dedup();
    ClusterView { id: clusters.join(","), controller: None, brokers: info.all().map(broker).collect() }
}

/// Queues of a topic on one broker. `seen`: ids of brokers that are missed when they are not there.
fn partitions(broker: &Arc<str>, set: &BrokerSet, seen: BTreeSet<i64>, count: i32) -> impl Iterator<Item = Partition> {
    let named = |id: &i64| BrokerId::named(Arc::clone(broker), *id);
    let isr: Vec<BrokerId> = set.addresses.keys().map(named).collect();
    // Name servers forget a master at once when it goes; it is missed all the same.
    let all: BTreeSet<i64> = set.addresses.keys().copied().chain(seen).chain([MASTER]).collect();
    let replicas: Vec<BrokerId> = all.iter().map(named).collect();
    let leader = set.master().map(|_| BrokerId::named(Arc::clone(broker), MASTER));
    (0..count).map(move |number| {
        let id = PartitionId::queue(Arc::clone(broker), number);
        Partition { id, leader: leader.clone(), replicas: replicas.clone(), isr: isr.clone() }
    })
}

/// Topics by name, from what each broker has. `seen`: see [`partitions`]. Names that this program has no type for are left out; no client could use them.
pub(in crate::rocketmq) fn topics_of<'a>(
    info: &ClusterInfo,
    brokers: impl Iterator<Item = (&'a Arc<str>, &'a BTreeMap<String, TopicConfig>)>,
    seen: impl Fn(&str) -> BTreeSet<i64>,
) -> Vec<Topic> {
    let mut topics: BTreeMap<PhysicalName, Topic> = BTreeMap::new();
    for (broker, configs) in brokers {
        let Some(set) = info.brokers.get(broker) else { continue };
        for (text, config) in configs {
            let Ok(name) = PhysicalName::new(text.clone()) else {
                tracing::debug!(topic = text, "left a topic out whose name cannot be shown");
                continue;
            };
            let internal = is_internal_topic(text, info);
            let topic = topics.entry(name.clone()).or_insert_with(|| Topic { name, internal, partitions: Vec::new() });
            topic.partitions.extend(partitions(broker, set, seen(broker), config.queues()));
        }
    }
    topics.into_values().collect()
}

impl RocketMqAdmin {
    pub(super) async fn cluster(&self, what: &str) -> Result<ClusterInfo, BrokerError> {
        self.names.cluster().await.map_err(|error| self.classify(what, error))
    }

    pub(super) async fn route(&self, name: &PhysicalName) -> Result<Option<Route>, BrokerError> {
        self.names.route(name.as_str()).await.map_err(|error| self.classify(&topic_named(name), error))
    }

    /// Asks each master the same. In the order of their names; an error belongs to its broker.
    pub(super) async fn ask_masters<T: DeserializeOwned>(
        &self,
        info: &ClusterInfo,
        request: &Request,
    ) -> Vec<(Arc<str>, Result<T, RemotingError>)> {
        let asks =
            info.masters().map(|(name, address)| async move { (Arc::clone(name), self.ask(address, request.clone()).await) });
        join_all(asks).await
    }

    /// Asks each broker the same: its master, and where that one is away or silent the slaves, whose answer is seconds old.
    pub(super) async fn ask_each<T: DeserializeOwned>(
        &self,
        info: &ClusterInfo,
        what: &str,
        request: &Request,
    ) -> Result<BTreeMap<Arc<str>, T>, BrokerError> {
        let asks = info.brokers.iter().map(|(name, set)| async move {
            let patience = self.remoting.options().call_deadline / 2;
            let mut first = None;
            for address in set.addresses.values() {
                match self.ask_within(address, request.clone(), patience).await {
                    Ok(answer) => return Ok((Arc::clone(name), answer)),
                    Err(error) => first = first.or(Some(error)),
                }
            }
            let away = || BrokerError::Passing { what: what.to_owned(), why: format!("broker {name} has no address now") };
            Err(first.map_or_else(away, |error| self.classify(what, error)))
        });
        join_all(asks).await.into_iter().collect()
    }

    pub(super) async fn all_topics(&self) -> Result<Vec<Topic>, BrokerError> {
        let info = self.cluster("topics").await?;
        // A slave's copy may lack topics, and a list without a broker's queues would look whole.
        if let Some((name, _)) = info.brokers.iter().find(|(_, set)| set.master().is_none()) {
            let why = format!("the master of {name} is away, so its queues are not known");
            return Err(BrokerError::Passing { what: "topics".to_owned(), why });
        }
        let asked = self.ask_masters::<Topics>(&info, &Request::new(RequestCode::GetAllTopicConfig)).await;
        let configs = asked.into_iter().map(|(name, topics)| Ok((name, topics.map_err(|error| self.classify("topics", error))?)));
        let configs: BTreeMap<Arc<str>, Topics> = configs.collect::<Result<_, BrokerError>>()?;
        Ok(topics_of(&info, configs.iter().map(|(name, topics)| (name, &topics.topics)), |_| BTreeSet::new()))
    }

    pub(super) async fn one_topic(&self, name: &PhysicalName) -> Result<Option<Topic>, BrokerError> {
        let Some(route) = self.route(name).await? else { return Ok(None) };
        let info = ClusterInfo { brokers: route.brokers.clone() };
        let mut topic = Topic { name: name.clone(), internal: is_internal_topic(name.as_str(), &info), partitions: Vec::new() };
        for queues in &route.queues {
            let Some(set) = route.brokers.get(&queues.broker) else { continue };
            topic.partitions.extend(partitions(&queues.broker, set, BTreeSet::new(), queues.read.max(queues.write)));
        }
        Ok(Some(topic))
    }

    pub(super) async fn topic_that_is_there(&self, name: &PhysicalName) -> Result<Topic, BrokerError> {
        self.one_topic(name).await?.ok_or_else(|| BrokerError::Missing { what: topic_named(name) })
    }

    /// What 202 says of each broker that has queues of the topic; an error belongs to its broker.
    pub(super) async fn stats(&self, name: &PhysicalName, route: &Route) -> Vec<(Arc<str>, Result<TopicStats, RemotingError>)> {
        let request = Request::new(RequestCode::GetTopicStatsInfo).with("topic", name);
        self.ask_masters(&ClusterInfo { brokers: route.brokers.clone() }, &request).await
    }

    pub(super) async fn ends_of(&self, name: &PhysicalName) -> Result<Ends, BrokerError> {
        let missing = || BrokerError::Missing { what: topic_named(name) };
        let route = self.route(name).await?.ok_or_else(missing)?;
        let ids = route.queues.iter().flat_map(|queues| {
            (0..queues.read.max(queues.write)).map(|number| PartitionId::queue(Arc::clone(&queues.broker), number))
        });
        let mut ends: Ends = ids.map(|id| (id, None)).collect();
        for (broker, stats) in self.stats(name, &route).await {
            match stats {
                Ok(stats) => {
                    for (key, found) in stats.offset_table {
                        if let Some(range) = ends.get_mut(&PartitionId::queue(Arc::clone(&broker), key.number)) {
                            *range = Some(Range { start: found.min_offset, end: found.max_offset });
                        }
                    }
                }
                Err(error @ RemotingError::Denied { .. }) => return Err(self.classify(&topic_named(name), error)),
                Err(error) if error.answer().is_some_and(|code| code != answers::NO_TOPIC) => {
                    return Err(self.classify(&topic_named(name), error));
                }
                Err(error) => tracing::debug!(%error, %broker, topic = %name, "ends are not known"),
            }
        }
        Ok(ends)
    }
}

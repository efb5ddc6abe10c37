//! Topics: make, grow, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use zms_core::names::PhysicalName;

use super::bodies::{TopicConfig, Topics};
use super::settings::{self, Changed, DEFAULT_PERM};
use super::spread::{Counts, spread};
use super::{RocketMqAdmin, topic_named};
use crate::broker::{BrokerError, Ensured, Setting, TopicWish};
use crate::rocketmq::remoting::{RemotingError, Request, RequestCode, answers};
use crate::rocketmq::route::ClusterInfo;

/// What masters have of a topic.
struct OnMasters {
    info: ClusterInfo,
    /// By broker; those without the topic are absent.
    configs: BTreeMap<Arc<str>, TopicConfig>,
    /// They know attributes.
    attributes: bool,
    /// Queues on brokers whose master is away.
    away: Counts,
}

impl OnMasters {
    fn counts(&self) -> Counts {
        let count = |name: &Arc<str>| self.configs.get(name).map_or(0, TopicConfig::queues);
        self.info.masters().map(|(name, _)| (Arc::clone(name), count(name))).collect()
    }

    /// Where a topic is changed, each master that has it must be there: it would go on with what it had.
    fn all_are_there(&self, what: &str) -> Result<(), BrokerError> {
        match self.away.keys().next() {
            None => Ok(()),
            Some(name) => {
                let why = format!("the master of {name}, which has it too, is away: start it first");
                Err(BrokerError::Passing { what: what.to_owned(), why })
            }
        }
    }

    fn address(&self, broker: &str) -> &str {
        self.info.brokers.get(broker).and_then(|set| set.master()).expect("only masters are asked about topics")
    }

    /// A master that is away keeps what is taken from the others, and brings it back.
    fn nobody_is_away(&self, what: &str) -> Result<(), BrokerError> {
        match self.info.brokers.iter().find(|(_, set)| set.master().is_none()) {
            None => Ok(()),
            Some((name, _)) => {
                let why = format!("the master of {name} is away and would bring it back: start it first");
                Err(BrokerError::Passing { what: what.to_owned(), why })
            }
        }
    }
}

fn put(name: &PhysicalName, config: &TopicConfig, attributes: &str) -> Request {
    let filter = if config.topic_filter_type.is_empty() { "SINGLE_TAG" } else { &config.topic_filter_type };
    let request = Request::new(RequestCode::UpdateAndCreateTopic)
        .with("topic", name)
        .with("defaultTopic", "TBW102")
        .with("readQueueNums", config.read_queue_nums)
        .with("writeQueueNums", config.write_queue_nums)
        .with("perm", config.perm)
        .with("topicFilterType", filter)
        .with("topicSysFlag", config.topic_sys_flag)
        .with("order", config.order);
    if attributes.is_empty() { request } else { request.with("attributes", attributes) }
}

impl RocketMqAdmin {
    /// The topic on one master; `None` if it is not there. With it, whether the broker knows attributes.
    async fn config_at(&self, address: &str, name: &PhysicalName) -> Result<(Option<TopicConfig>, bool), RemotingError> {
        let one = Request::new(RequestCode::GetTopicConfig).with("topic", name);
        match self.ask::<TopicConfig>(address, one).await {
            Ok(config) => Ok((Some(config), true)),
            Err(error) if error.answer() == Some(answers::NO_TOPIC) => Ok((None, true)),
            // Before 5.0 a single one cannot be asked for.
            Err(error) if error.answer() == Some(answers::UNKNOWN_REQUEST) => {
                let mut all: Topics = self.ask(address, Request::new(RequestCode::GetAllTopicConfig)).await?;
                Ok((all.topics.remove(name.as_str()), false))
            }
            Err(error) => Err(error),
        }
    }

    async fn on_masters(&self, name: &PhysicalName) -> Result<OnMasters, BrokerError> {
        let what = topic_named(name);
        let info = self.cluster(&what).await?;
        let asks = info.masters().map(|(broker, address)| async move {
            let (config, attributes) = self.config_at(address, name).await?;
            Ok((Arc::clone(broker), config, attributes))
        });
        let found = try_join_all(asks).await.map_err(|error| self.classify(&what, error))?;
        let attributes = !found.is_empty() && found.iter().all(|(_, _, attributes)| *attributes);
        let configs = found.into_iter().filter_map(|(broker, config, _)| Some((broker, config?))).collect();
        let route = self.route(name).await?.unwrap_or_default();
        let away =
            route.queues.iter().filter(|queues| route.brokers.get(&queues.broker).is_some_and(|set| set.master().is_none()));
        let away = away.map(|queues| (Arc::clone(&queues.broker), queues.read.max(queues.write))).collect();
        Ok(OnMasters { info, configs, attributes, away })
    }

    async fn there_on_masters(&self, name: &PhysicalName) -> Result<OnMasters, BrokerError> {
        let found = self.on_masters(name).await?;
        if !found.configs.is_empty() {
            return Ok(found);
        }
        found.all_are_there(&topic_named(name))?;
        Err(BrokerError::Missing { what: topic_named(name) })
    }

    /// Writes to masters, one after the other, so that a cluster without room fails at the first.
    async fn write(&self, name: &PhysicalName, on: &OnMasters, changes: &BTreeMap<Arc<str>, Changed>) -> Result<(), BrokerError> {
        for (broker, Changed { config, attributes }) in changes {
            let asked = self.remoting.ask(on.address(broker), put(name, config, attributes)).await;
            asked.map_err(|error| self.classify(&topic_named(name), error))?;
        }
        self.read_back(name, changes).await
    }

    /// Waits until each master has what was written, and name servers tell it.
    async fn read_back(&self, name: &PhysicalName, changes: &BTreeMap<Arc<str>, Changed>) -> Result<(), BrokerError> {
        loop {
            let there = self.on_masters(name).await?;
            let route = self.route(name).await?.unwrap_or_default();
            let told = |broker: &Arc<str>, config: &TopicConfig| {
                let queues = route.queues.iter().find(|queues| queues.broker == *broker);
                queues.is_some_and(|queues| {
                    (queues.read, queues.write, queues.perm) == (config.read_queue_nums, config.write_queue_nums, config.perm)
                })
            };
            let written = |(broker, changed): (&Arc<str>, &Changed)| {
                there.configs.get(broker).is_some_and(|config| same(config, &changed.config)) && told(broker, &changed.config)
            };
            if changes.iter().all(written) {
                return Ok(());
            }
            self.pause().await;
        }
    }

    pub(super) async fn config_of(&self, name: &PhysicalName) -> Result<BTreeMap<String, Setting>, BrokerError> {
        let found = self.there_on_masters(name).await?;
        Ok(settings::settings(&found.configs, found.attributes))
    }

    pub(super) async fn make_topic(&self, wish: &TopicWish) -> Result<Ensured, BrokerError> {
        let what = topic_named(&wish.name);
        if wish.partitions < 1 || wish.replicas < 1 {
            let why = format!("{} queues with {} replicas: at least one of each", wish.partitions, wish.replicas);
            return Err(BrokerError::Refused { what, why });
        }
        let on = self.on_masters(&wish.name).await?;
        let there = on.counts();
        if there.is_empty() {
            return Err(BrokerError::Passing { what, why: "no master is there to have it".to_owned() });
        }
        let total: i32 = there.values().chain(on.away.values()).sum();
        if total == wish.partitions {
            return Ok(Ensured::There);
        }
        on.all_are_there(&what)?;
        // Some masters may have it already: whoever made it was interrupted.
        let planned = spread(there.keys().map(|name| (Arc::clone(name), 0)).collect(), wish.partitions);
        if there.iter().any(|(broker, count)| *count != 0 && planned[broker] != *count) {
            let why = format!("has {total} queues, not {}", wish.partitions);
            return Err(BrokerError::Conflict { what, why });
        }
        let config = wish.config.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        let mut changes = BTreeMap::new();
        for (broker, count) in planned.into_iter().filter(|(broker, count)| *count > 0 && there[broker] == 0) {
            let plain = TopicConfig {
                read_queue_nums: count,
                write_queue_nums: count,
                perm: DEFAULT_PERM,
                topic_filter_type: "SINGLE_TAG".to_owned(),
                ..TopicConfig::default()
            };
            let changed = settings::changed(&what, &plain, &config, on.attributes)?;
            let changed = changed.unwrap_or(Changed { config: plain, attributes: String::new() });
            changes.insert(broker, changed);
        }
        self.write(&wish.name, &on, &changes).await?;
        Ok(Ensured::Made)
    }

    pub(super) async fn add_queues(&self, name: &PhysicalName, total: i32) -> Result<Ensured, BrokerError> {
        let on = self.there_on_masters(name).await?;
        let there = on.counts();
        if there.values().chain(on.away.values()).sum::<i32>() >= total {
            return Ok(Ensured::There);
        }
        on.all_are_there(&topic_named(name))?;
        let wanted = spread(there.clone(), total);
        // A master that had none gets it as the others have it.
        let like = on.configs.values().next().expect("somebody has it");
        let mut changes = BTreeMap::new();
        for (broker, count) in wanted.into_iter().filter(|(broker, count)| there[broker] != *count) {
            let known = on.configs.get(&broker);
            let config = TopicConfig { read_queue_nums: count, write_queue_nums: count, ..known.unwrap_or(like).clone() };
            let attributes = if known.is_some() { Vec::new() } else { config.attributes.iter().collect() };
            let attributes = attributes.iter().map(|(name, value)| format!("+{name}={value}")).collect::<Vec<_>>().join(",");
            changes.insert(broker, Changed { config, attributes });
        }
        self.write(name, &on, &changes).await?;
        Ok(Ensured::Made)
    }

    pub(super) async fn change_config(
        &self,
        name: &PhysicalName,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Ensured, BrokerError> {
        let (on, what) = (self.there_on_masters(name).await?, topic_named(name));
        let changed = on.configs.iter().map(|(broker, config)| {
            let changed = settings::changed(&what, config, changes, on.attributes)?;
            Ok(changed.map(|changed| (Arc::clone(broker), changed)))
        });
        let changed: BTreeMap<Arc<str>, Changed> = changed.filter_map(Result::transpose).collect::<Result<_, BrokerError>>()?;
        on.all_are_there(&what)?;
        if changed.is_empty() {
            return Ok(Ensured::There);
        }
        self.write(name, &on, &changed).await?;
        Ok(Ensured::Made)
    }

    pub(super) async fn remove_topic(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        let on = self.on_masters(name).await?;
        if on.configs.is_empty() && self.route(name).await?.is_none() {
            return Ok(Ensured::There);
        }
        on.nobody_is_away(&topic_named(name))?;
        self.delete_topic(name).await?;
        Ok(Ensured::Made)
    }

    /// Takes it from masters and name servers until nobody has it. A registration that was on its way may have brought it back in between.
    pub(super) async fn delete_topic(&self, name: &PhysicalName) -> Result<(), BrokerError> {
        let failed = |error| self.classify(&topic_named(name), error);
        loop {
            let on = self.on_masters(name).await?;
            if on.configs.is_empty() && self.route(name).await?.is_none() {
                return Ok(());
            }
            for broker in on.configs.keys() {
                let request = Request::new(RequestCode::DeleteTopicInBroker).with("topic", name);
                self.remoting.ask(on.address(broker), request).await.map_err(failed)?;
            }
            let request = Request::new(RequestCode::DeleteTopicInNamesrv).with("topic", name);
            let patience = self.remoting.options().call_deadline / 4;
            let asks = self.names.addresses().iter().map(|address| self.remoting.ask_within(address, request.clone(), patience));
            for error in join_all(asks).await.into_iter().filter_map(Result::err) {
                // One that is away learns from brokers what there is, when it comes back.
                tracing::debug!(%error, topic = %name, "a name server did not forget the topic");
            }
            self.pause().await;
        }
    }

    /// See [`OnMasters::nobody_is_away`].
    pub(super) async fn nobody_is_away(&self, what: &str) -> Result<ClusterInfo, BrokerError> {
        let on = OnMasters { info: self.cluster(what).await?, configs: BTreeMap::new(), attributes: false, away: Counts::new() };
        on.nobody_is_away(what)?;
        Ok(on.info)
    }
}

/// What was written is there; the broker may add to it.
fn same(there: &TopicConfig, wanted: &TopicConfig) -> bool {
    (there.read_queue_nums, there.write_queue_nums, there.perm, there.order)
        == (wanted.read_queue_nums, wanted.write_queue_nums, wanted.perm, wanted.order)
        && there.attributes == wanted.attributes
}

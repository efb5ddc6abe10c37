//! Topics: look, make, change, remove.

use std::collections::{BTreeMap, BTreeSet};

use zms_core::names::PhysicalName;
use zms_kafka_wire::messages as m;
use zms_kafka_wire::messages::create_partitions_request::CreatePartitionsTopic;
use zms_kafka_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use zms_kafka_wire::messages::delete_topics_request::DeleteTopicState;
use zms_kafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use zms_kafka_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use zms_kafka_wire::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use zms_kafka_wire::{Code, StrBytes, WireError};

use super::KafkaAdmin;
use crate::broker::{BrokerError, BrokerId, Ends, Ensured, Partition, Range, Setting, Topic, TopicWish};

/// Kafka's number for topics among things with settings.
const TOPIC: i8 = 2;
/// Kafka's number for settings that were made for one topic.
const OWN: i8 = 1;
/// Kafka's times for the two ends of a log.
pub(in crate::kafka) const EARLIEST: i64 = -2;
pub(in crate::kafka) const LATEST: i64 = -1;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &PhysicalName) -> m::TopicName {
    m::TopicName(text(name.as_str()))
}

fn named(name: &PhysicalName) -> String {
    format!("topic {name}")
}

/// `None` for a name that this program has no type for, and for a topic that goes at this moment.
pub(in crate::kafka) fn read(found: &MetadataResponseTopic) -> Option<Topic> {
    let name = PhysicalName::new(found.name.as_ref()?.as_str()).ok()?;
    let partition = |found: &MetadataResponsePartition| Partition {
        id: found.partition_index.into(),
        leader: Some(found.leader_id.0).filter(|id| *id >= 0).map(BrokerId::from),
        replicas: found.replica_nodes.iter().map(|id| id.0.into()).collect(),
        isr: found.isr_nodes.iter().map(|id| id.0.into()).collect(),
    };
    let mut partitions: Vec<Partition> = found.partitions.iter().map(partition).collect();
    partitions.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    (found.error_code == 0).then_some(Topic { name, internal: found.is_internal, partitions })
}

impl KafkaAdmin {
    pub(super) async fn all_topics(&self) -> Result<Vec<Topic>, BrokerError> {
        let answer = self.wire.metadata(None).await.map_err(|error| self.classify("topics", error))?;
        let mut topics: Vec<Topic> = answer.topics.iter().filter_map(read).collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    pub(super) async fn one_topic(&self, name: &PhysicalName) -> Result<Option<Topic>, BrokerError> {
        let answer = self.wire.metadata(Some(&[name.to_string()])).await.map_err(|error| self.classify(&named(name), error))?;
        self.found(name, &answer)
    }

    fn found(&self, name: &PhysicalName, answer: &m::MetadataResponse) -> Result<Option<Topic>, BrokerError> {
        let Some(found) = answer.topics.first() else { return Ok(None) };
        match Code::try_from_code(found.error_code) {
            None => Ok(read(found)),
            // A name that Kafka does not allow cannot be there.
            Some(Code::UnknownTopicOrPartition | Code::InvalidTopicException) => Ok(None),
            // It was made this moment: leaders are being chosen.
            Some(Code::LeaderNotAvailable) => {
                let mut found = found.clone();
                found.error_code = 0;
                Ok(read(&found))
            }
            Some(code) => Err(self.classify(&named(name), WireError::Answer { call: "Metadata", code, message: String::new() })),
        }
    }

    pub(super) async fn topic_that_is_there(&self, name: &PhysicalName) -> Result<Topic, BrokerError> {
        self.one_topic(name).await?.ok_or_else(|| BrokerError::Missing { what: named(name) })
    }

    pub(super) async fn ends_of(&self, name: &PhysicalName) -> Result<Ends, BrokerError> {
        let asked = self.wire.list_offsets(name.as_str(), &[EARLIEST, LATEST]).await;
        let offsets = asked.map_err(|error| self.classify(&named(name), error))?;
        let range = |(id, found): (i32, Result<Vec<i64>, WireError>)| match found.as_deref() {
            Ok([start, end]) => (id.into(), Some(Range { start: *start, end: *end })),
            _ => (id.into(), None),
        };
        Ok(offsets.into_iter().map(range).collect())
    }

    pub(super) async fn config_of(&self, name: &PhysicalName) -> Result<BTreeMap<String, Setting>, BrokerError> {
        let failed = |error| self.classify(&named(name), error);
        let resource = DescribeConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(name.as_str()));
        let request = m::DescribeConfigsRequest::default().with_resources(vec![resource.with_configuration_keys(None)]);
        let answer = self.wire.describe_configs(&request).await.map_err(failed)?;
        let mut settings = BTreeMap::new();
        for result in &answer.results {
            WireError::check("DescribeConfigs", result.error_code, result.error_message.as_deref()).map_err(failed)?;
            for found in &result.configs {
                let value = found.value.as_ref().filter(|_| !found.is_sensitive).map(ToString::to_string);
                let setting = Setting { value, own: found.config_source == OWN, read_only: found.read_only };
                settings.insert(found.name.to_string(), setting);
            }
        }
        Ok(settings)
    }

    pub(super) async fn make_topic(&self, wish: &TopicWish) -> Result<Ensured, BrokerError> {
        let what = named(&wish.name);
        // Kafka takes -1 for "as the broker likes", which nobody wished.
        if wish.partitions < 1 || wish.replicas < 1 {
            let why = format!("{} partitions with {} replicas: at least one of each", wish.partitions, wish.replicas);
            return Err(BrokerError::Refused { what, why });
        }
        let mut ensured = Ensured::There;
        if self.one_topic(&wish.name).await?.is_none() {
            let setting = |(name, value): (&String, &String)| {
                CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
            };
            let topic = CreatableTopic::default()
                .with_name(topic_name(&wish.name))
                .with_num_partitions(wish.partitions)
                .with_replication_factor(wish.replicas)
                .with_configs(wish.config.iter().map(setting).collect());
            let request = m::CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(self.broker_timeout());
            let answer = self.wire.create_topics(&request).await.map_err(|error| self.classify(&what, error))?;
            for result in &answer.topics {
                match Code::try_from_code(result.error_code) {
                    None => ensured = Ensured::Made,
                    // Somebody else was quicker.
                    Some(Code::TopicAlreadyExists) => {}
                    Some(code) => {
                        let message = result.error_message.as_deref().unwrap_or_default().to_owned();
                        return Err(self.classify(&what, WireError::Answer { call: "CreateTopics", code, message }));
                    }
                }
            }
        }
        let there = self.known_to_leaders(&wish.name, 1).await?;
        let (partitions, replicas) = (there.partitions.len(), there.replicas());
        if usize::try_from(wish.partitions) == Ok(partitions) && usize::try_from(wish.replicas) == Ok(replicas) {
            return Ok(ensured);
        }
        let why = format!("has {partitions} partitions with {replicas} replicas, not {} with {}", wish.partitions, wish.replicas);
        Err(BrokerError::Conflict { what, why })
    }

    /// Waits until each broker that leads a partition says so itself: the controller answers before they know.
    async fn known_to_leaders(&self, name: &PhysicalName, least: usize) -> Result<Topic, BrokerError> {
        loop {
            if let Some(topic) = self.one_topic(name).await?
                && topic.partitions.len() >= least
            {
                let leaders: BTreeSet<i32> =
                    topic.partitions.iter().filter_map(|partition| partition.leader.as_ref()?.plain()).collect();
                let mut known = topic.partitions.iter().all(|partition| partition.leader.is_some());
                for leader in leaders {
                    known &= match self.seen_by(leader, name).await {
                        Ok(seen) => seen.is_some_and(|seen| seen.partitions.len() == topic.partitions.len()),
                        // It led a moment ago; another will be chosen, and is asked then.
                        Err(error) if error.is_away() => false,
                        Err(error) => return Err(self.classify(&named(name), error)),
                    };
                }
                if known {
                    return Ok(topic);
                }
            }
            tokio::time::sleep(self.wire.options().pause).await;
        }
    }

    /// The topic as one broker knows it.
    async fn seen_by(&self, broker: i32, name: &PhysicalName) -> Result<Option<Topic>, WireError> {
        let broker = self.wire.broker(broker).await?;
        let answer = self.wire.metadata_of(&broker, Some(&[name.to_string()])).await?;
        Ok(answer.topics.first().and_then(read))
    }

    /// How long the broker itself may work at a request, in milliseconds.
    fn broker_timeout(&self) -> i32 {
        i32::try_from(self.wire.options().call_deadline.as_millis()).unwrap_or(i32::MAX)
    }

    pub(super) async fn add_partitions(&self, name: &PhysicalName, partitions: i32) -> Result<Ensured, BrokerError> {
        let there = self.topic_that_is_there(name).await?.partitions.len();
        let wanted = usize::try_from(partitions).unwrap_or(0);
        if there >= wanted {
            return Ok(Ensured::There);
        }
        let failed = |error| self.classify(&named(name), error);
        let topic = CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(partitions).with_assignments(None);
        let request = m::CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(self.broker_timeout());
        let answer = self.wire.create_partitions(&request).await.map_err(failed)?;
        for result in &answer.results {
            WireError::check("CreatePartitions", result.error_code, result.error_message.as_deref()).map_err(failed)?;
        }
        self.known_to_leaders(name, wanted).await?;
        Ok(Ensured::Made)
    }

    pub(super) async fn change_config(
        &self,
        name: &PhysicalName,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Ensured, BrokerError> {
        let failed = |error| self.classify(&named(name), error);
        self.topic_that_is_there(name).await?;
        let differing = differing(&self.config_of(name).await?, changes);
        if differing.is_empty() {
            return Ok(Ensured::There);
        }
        let change = |(name, value): &(&String, &Option<String>)| {
            let operation = if value.is_some() { 0 } else { 1 };
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value.as_deref().map(text))
        };
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name.as_str()))
            .with_configs(differing.iter().map(change).collect());
        let request = m::IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.wire.incremental_alter_configs(&request).await.map_err(failed)?;
        for result in &answer.responses {
            WireError::check("IncrementalAlterConfigs", result.error_code, result.error_message.as_deref()).map_err(failed)?;
        }
        while !self::differing(&self.config_of(name).await?, changes).is_empty() {
            tokio::time::sleep(self.wire.options().pause).await;
        }
        Ok(Ensured::Made)
    }

    pub(super) async fn remove_topic(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        if self.one_topic(name).await?.is_none() {
            return Ok(Ensured::There);
        }
        let failed = |error| self.classify(&named(name), error);
        let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = m::DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(self.broker_timeout());
        let answer = self.wire.delete_topics(&request).await.map_err(failed)?;
        let mut ensured = Ensured::Made;
        for result in &answer.responses {
            match WireError::check("DeleteTopics", result.error_code, result.error_message.as_deref()) {
                Err(WireError::Answer { code: Code::UnknownTopicOrPartition, .. }) => ensured = Ensured::There,
                done => done.map_err(failed)?,
            }
        }
        for id in self.wire.brokers() {
            loop {
                match self.seen_by(id, name).await {
                    Ok(None) => break,
                    Ok(Some(_)) => tokio::time::sleep(self.wire.options().pause).await,
                    // When it comes back it learns that the topic is gone before it serves.
                    Err(error) if error.is_away() => break,
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(ensured)
    }
}

/// Changes that are not made yet.
fn differing<'a>(
    there: &BTreeMap<String, Setting>,
    changes: &'a BTreeMap<String, Option<String>>,
) -> Vec<(&'a String, &'a Option<String>)> {
    let differs = |name: &String, wanted: &Option<String>| {
        let own = there.get(name).filter(|setting| setting.own);
        match (own, wanted) {
            (own, None) => own.is_some(),
            (None, Some(_)) => true,
            // A value that the broker hides cannot be compared.
            (Some(own), Some(wanted)) => own.value.as_ref().is_some_and(|value| value != wanted),
        }
    };
    changes.iter().filter(|(name, wanted)| differs(name, wanted)).collect()
}

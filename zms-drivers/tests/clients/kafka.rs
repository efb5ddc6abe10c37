//! Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use zms_core::metadata::BrokerKind;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Consumer, PartitionId, Producer, Subscription};
use zms_drivers::open::{self, Endpoint};
use zms_testbed::{Kafka, KafkaLine, KafkaWish};

use crate::support::{kafka_endpoint, kafka_name};

use super::bench::{Bench, DELIVERY, Kind};

pub fn producer(endpoint: &Endpoint, delivery: Duration) -> Arc<dyn Producer> {
    open::producer(BrokerKind::Kafka, endpoint, delivery).unwrap()
}

pub fn consumer(endpoint: &Endpoint, subscription: &Subscription) -> Arc<dyn Consumer> {
    open::consumer(BrokerKind::Kafka, endpoint, subscription).unwrap()
}

pub fn start(line: KafkaLine) -> Kafka {
    Kafka::start(KafkaWish { line, secure: true, ..KafkaWish::default() })
}

pub struct RealBench<'a> {
    kafka: &'a Kafka,
    secure: bool,
}

impl<'a> RealBench<'a> {
    pub fn new(kafka: &'a Kafka, secure: bool) -> Self {
        Self { kafka, secure }
    }

    pub fn endpoint(&self) -> Endpoint {
        kafka_endpoint(self.kafka, self.secure, Duration::from_secs(10))
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.plain());
        config
    }
}

#[async_trait]
impl Bench for RealBench<'_> {
    fn name(&self) -> &'static str {
        kafka_name(self.kafka, self.secure)
    }

    fn kind(&self) -> Kind {
        Kind::Kafka
    }

    async fn make_topic(&self, name: &PhysicalName, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let topic = NewTopic::new(name.as_str(), i32::try_from(partitions).unwrap(), TopicReplication::Fixed(1));
        let made = admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(DELIVERY))).await.unwrap();
        made.into_iter().for_each(|topic| drop(topic.unwrap()));
    }

    fn producer(&self, delivery: Duration) -> Arc<dyn Producer> {
        producer(&self.endpoint(), delivery)
    }

    fn lost_producer(&self) -> Arc<dyn Producer> {
        let mut endpoint = Endpoint::plain("lost", [format!("127.0.0.1:{}", zms_testbed::free_port())]);
        endpoint.deadline = Duration::from_secs(2);
        producer(&endpoint, DELIVERY)
    }

    fn consumer(&self, subscription: &Subscription) -> Arc<dyn Consumer> {
        consumer(&self.endpoint(), subscription)
    }

    async fn committed(&self, group: &PhysicalName, topic: &PhysicalName) -> BTreeMap<PartitionId, i64> {
        let (mut config, topic) = (self.config(), topic.clone());
        config.set("group.id", group.as_str());
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let metadata = consumer.fetch_metadata(Some(topic.as_str()), DELIVERY).unwrap();
            let mut list = rdkafka::TopicPartitionList::new();
            list.add_partition_range(topic.as_str(), 0, i32::try_from(metadata.topics()[0].partitions().len()).unwrap() - 1);
            let committed = consumer.committed_offsets(list, DELIVERY).unwrap();
            let offsets = committed
                .elements()
                .into_iter()
                .filter_map(|e| Some((e.partition().into(), e.offset().to_raw().filter(|o| *o >= 0)?)));
            offsets.collect()
        })
        .await
        .unwrap()
    }

    fn freeze(&self, frozen: bool) {
        self.kafka.freeze(0, frozen);
    }
}

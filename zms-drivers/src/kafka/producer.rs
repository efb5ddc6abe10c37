//! Sending to Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig};
use rdkafka::util::Timeout;
use zms_core::names::PhysicalName;

use super::client::{Ear, config};
use super::within::Within;
use crate::broker::{BrokerError, Outgoing, Placed, Producer, TAG_HEADER};
use crate::open::Endpoint;

/// Messages that wait in the client for their turn, at most. Kafka counts key, value and headers.
const QUEUE_KIB: u32 = 128 << 10;
/// Larger ones are refused without asking; what a topic takes is decided by its broker.
const LARGEST: u32 = 16 << 20;

/// Every in-sync replica has a message before its send ends; messages are neither doubled nor reordered by retries.
pub struct KafkaProducer {
    /// `None` once it was dropped.
    client: Option<FutureProducer<Ear>>,
    ear: Ear,
    deadline: Duration,
    delivery: Duration,
    closed: AtomicBool,
    /// Sends that have not ended; those that were dropped never do.
    open: Arc<AtomicUsize>,
    _within: Option<Within>,
}

impl KafkaProducer {
    /// Makes a client; it connects when it is first used.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint cannot be right, for example with a certificate that is none.
    pub fn new(endpoint: &Endpoint, delivery: Duration) -> Result<Self, BrokerError> {
        let ear = Ear::new(&endpoint.cluster);
        let config = Self::settings(endpoint, delivery);
        let client: FutureProducer<Ear> = config.create_with_context(ear.clone()).map_err(|error: KafkaError| {
            BrokerError::Refused { what: format!("client for cluster {}", endpoint.cluster), why: error.to_string() }
        })?;
        let within = Within::bind(endpoint, &ear, client.client().native_ptr())?;
        let (deadline, closed, open) = (endpoint.deadline, AtomicBool::new(false), Arc::default());
        Ok(Self { client: Some(client), ear, deadline, delivery, closed, open, _within: within })
    }

    /// What librdkafka is told. Public for a benchmark, whose plain client must be told the same.
    pub fn settings(endpoint: &Endpoint, delivery: Duration) -> ClientConfig {
        let mut config = config(endpoint);
        let delivery_ms = delivery.as_millis().clamp(1_000, 3_600_000);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // Java's default partitioner: a key goes to the same partition whoever sends it.
            .set("partitioner", "murmur2_random")
            // Long enough to fill batches under load, short enough not to be felt by one sender.
            .set("linger.ms", "1")
            .set("delivery.timeout.ms", delivery_ms.to_string())
            // A lost broker is noticed in time to try the next leader within the delivery deadline.
            .set("request.timeout.ms", (delivery_ms / 2).clamp(1_000, 30_000).to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
            .set("message.max.bytes", LARGEST.to_string())
            // Topics are announced after every broker knows them.
            .set("topic.metadata.propagation.max.ms", "5000");
        config
    }

    fn client(&self) -> Result<&FutureProducer<Ear>, BrokerError> {
        self.client.as_ref().filter(|_| !self.closed.load(Ordering::Acquire)).ok_or(BrokerError::Closed)
    }
}

#[async_trait]
impl Producer for KafkaProducer {
    async fn send(&self, message: Outgoing) -> Result<Placed, BrokerError> {
        let client = self.client()?;
        if message.delay.is_some() {
            let what = format!("send to topic {} with a delay: Kafka has none", message.topic);
            return Err(BrokerError::Unsupported { cluster: self.ear.cluster.to_string(), what });
        }
        let mut record = FutureRecord::<[u8], [u8]>::to(message.topic.as_str());
        if let Some(value) = &message.value {
            record = record.payload(value);
        }
        if let Some(key) = &message.key {
            record = record.key(key);
        }
        if !message.headers.is_empty() || message.tag.is_some() {
            let mut headers = OwnedHeaders::new_with_capacity(message.headers.len() + 1);
            if let Some(tag) = &message.tag {
                headers = headers.insert(Header { key: TAG_HEADER, value: Some(tag.as_bytes()) });
            }
            for (key, value) in &message.headers {
                headers = headers.insert(Header { key, value: Some(value.as_ref()) });
            }
            record = record.headers(headers);
        }
        self.open.fetch_add(1, Ordering::AcqRel);
        let sent = client.send(record, Timeout::After(self.delivery)).await;
        self.open.fetch_sub(1, Ordering::AcqRel);
        match sent {
            Ok(placed) => {
                self.ear.worked();
                Ok(Placed { partition: placed.partition.into(), offset: placed.offset })
            }
            Err((error, _)) => {
                Err(self.ear.classify(format!("send to topic {}", message.topic), &error, self.delivery.as_secs()))
            }
        }
    }

    async fn warm(&self, topic: &PhysicalName) -> Result<(), BrokerError> {
        let (client, topic, deadline) = (self.client()?.clone(), topic.clone(), self.deadline);
        let what = format!("learn leaders of topic {topic}");
        let warmed = blocking(move || warm(&client, &topic, deadline)).await;
        warmed.map_err(|error| self.ear.classify(&what, &error, deadline.as_secs()))?;
        self.ear.worked();
        Ok(())
    }

    async fn close(&self, deadline: Duration) -> usize {
        if self.closed.swap(true, Ordering::AcqRel) {
            return 0;
        }
        let Some(client) = self.client.clone() else { return 0 };
        let open = Arc::clone(&self.open);
        blocking(move || {
            // The reason is the same for every message, and their senders get it.
            let _ = client.flush(deadline);
            // The library counts what it has to tell us as well.
            let left = usize::try_from(client.in_flight_count()).unwrap_or(0).min(open.load(Ordering::Acquire));
            client.purge(PurgeConfig::default().queue().inflight());
            left
        })
        .await
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        // The last handle joins the library's threads.
        let client = self.client.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(client))),
            Err(_outside_of_one) => drop(client),
        }
    }
}

/// Asks for the topic, then every leader of one of its partitions: the answer means that its connection stands.
fn warm(client: &FutureProducer<Ear>, topic: &PhysicalName, deadline: Duration) -> Result<(), KafkaError> {
    let end = Instant::now() + deadline;
    let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let metadata = client.client().fetch_metadata(Some(topic.as_str()), left())?;
    let mut leaders = BTreeMap::new();
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
        if partition.leader() >= 0 {
            leaders.entry(partition.leader()).or_insert(partition.id());
        }
    }
    if leaders.is_empty() {
        let error = metadata.topics().first().and_then(rdkafka::metadata::MetadataTopic::error);
        return Err(KafkaError::MetadataFetch(error.map_or(RDKafkaErrorCode::LeaderNotAvailable, RDKafkaErrorCode::from)));
    }
    for partition in leaders.into_values() {
        client.client().fetch_watermarks(topic.as_str(), partition, left())?;
    }
    Ok(())
}

/// Runs something that blocks beside the runtime; every call inside has its own deadline.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic, and is not aborted")
}

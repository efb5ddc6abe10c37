//! Consuming from Kafka.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zms_core::names::PhysicalName;

use super::client::{Ear, config};
use super::within::Within;
use crate::broker::{BrokerError, Consumer, Delivery, Incoming, PartitionId, Placed, Positions, Subscription, TAG_HEADER};
use crate::open::Endpoint;

/// Messages taken from librdkafka and not yet received by the application.
const QUEUE: usize = 256;
/// A member that does not ask for so long is thrown out of its group. The client asks all the time, so this ends only hanging processes.
const POLL_INTERVAL: Duration = Duration::from_secs(300);
/// An application that takes nothing for so long is behind: its partitions pause, so that the client can go on asking.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message that failed comes again after this; then after twice as long, and so on.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// A member of a classic consumer group with the assignors that Java's client has by default, so that both can be in one group.
pub struct KafkaConsumer {
    shared: Arc<Shared>,
    /// For messages that failed.
    again: mpsc::WeakSender<Result<Taken, BrokerError>>,
    queue: tokio::sync::Mutex<mpsc::Receiver<Result<Taken, BrokerError>>>,
    /// Taken by [`Consumer::close`].
    polling: Mutex<Option<Polling>>,
    _within: Option<Within>,
}

/// The library's consumer, and the task that asks it.
type Polling = (Arc<StreamConsumer<Context>>, JoinHandle<()>);

struct Shared {
    ear: Ear,
    positions: Mutex<Positions>,
    subscription: Subscription,
    closed: AtomicBool,
}

/// A message, and which giving of its partition it belongs to.
struct Taken {
    message: Incoming,
    generation: u64,
}

struct Context(Arc<Shared>);

impl Shared {
    fn positions(&self) -> MutexGuard<'_, Positions> {
        self.positions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl KafkaConsumer {
    /// Joins the group; messages come as soon as partitions are given to it. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint or the subscription cannot be right.
    pub fn new(endpoint: &Endpoint, subscription: &Subscription) -> Result<Self, BrokerError> {
        let broadcast = subscription.mode == Delivery::Broadcast;
        // Brokers share partitions among the members of a group: who wants all of them is a group of its own, which never commits.
        let group = if broadcast { alone(&subscription.group) } else { subscription.group.to_string() };
        let what = format!("join group {group} on cluster {}", endpoint.cluster);
        let refused = |error: KafkaError| BrokerError::Refused { what: what.clone(), why: error.to_string() };
        let shared = Arc::new(Shared {
            ear: Ear::new(&endpoint.cluster),
            positions: Mutex::default(),
            subscription: subscription.clone(),
            closed: AtomicBool::new(false),
        });
        let mut config = config(endpoint);
        config
            .set("group.id", &group)
            .set("enable.auto.commit", (!broadcast).to_string())
            .set("auto.commit.interval.ms", "1000")
            // Only what is done may be committed: see `done`.
            .set("enable.auto.offset.store", "false")
            // Kafka has the same two words.
            .set("auto.offset.reset", subscription.from.as_str())
            .set("max.poll.interval.ms", POLL_INTERVAL.as_millis().to_string())
            .set("isolation.level", "read_committed")
            .set("queued.max.messages.kbytes", (32 << 10).to_string())
            // A new topic or more partitions are found soon.
            .set("topic.metadata.refresh.interval.ms", "60000");
        let consumer: StreamConsumer<Context> = config.create_with_context(Context(Arc::clone(&shared))).map_err(refused)?;
        let within = Within::bind(endpoint, &shared.ear, consumer.client().native_ptr())?;
        let topics: Vec<&str> = subscription.topics.iter().map(PhysicalName::as_str).collect();
        consumer.subscribe(&topics).map_err(refused)?;
        let consumer = Arc::new(consumer);
        let (sender, queue) = mpsc::channel(QUEUE);
        let again = sender.downgrade();
        let polling = tokio::spawn(poll(Arc::clone(&consumer), Arc::clone(&shared), sender));
        let (queue, polling) = (tokio::sync::Mutex::new(queue), Mutex::new(Some((consumer, polling))));
        Ok(Self { shared, again, queue, polling, _within: within })
    }

    fn take(&self) -> Option<Polling> {
        self.polling.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn receive(&self) -> Result<Incoming, BrokerError> {
        let mut queue = self.queue.lock().await;
        loop {
            let taken = queue.recv().await.ok_or(BrokerError::Closed)??;
            let message = &taken.message;
            // Its partition may have gone to somebody else while it waited here.
            if self.shared.positions().holds(&message.topic, &message.placed.partition, taken.generation) {
                return Ok(taken.message);
            }
        }
    }

    fn done(&self, message: &Incoming) -> Result<(), BrokerError> {
        let polling = self.polling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (consumer, _) = polling.as_ref().ok_or(BrokerError::Closed)?;
        // Held while storing, so that a partition cannot be taken in between and a lower offset cannot overtake.
        let mut positions = self.shared.positions();
        let partition = &message.placed.partition;
        let Some(offset) = positions.done(&message.topic, partition, message.placed.offset) else { return Ok(()) };
        if self.shared.subscription.mode == Delivery::Broadcast {
            return Ok(());
        }
        let what = || format!("store offset {offset} of topic {}", message.topic);
        let mut list = TopicPartitionList::with_capacity(1);
        let added = list.add_partition_offset(message.topic.as_str(), partition.number, Offset::Offset(offset));
        match added.and_then(|()| consumer.store_offsets(&list)) {
            // The library knows before us that the partition is gone.
            Ok(()) | Err(KafkaError::StoreOffset(Code::State | Code::UnknownPartition)) => Ok(()),
            Err(error) => Err(self.shared.ear.classify(what(), &error, 0)),
        }
    }

    async fn failed(&self, message: &Incoming) -> Result<(), BrokerError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(BrokerError::Closed);
        }
        if self.shared.subscription.ordered {
            let what = "deliver a message again before those that came after it".to_owned();
            return Err(BrokerError::Unsupported { cluster: self.shared.ear.cluster.to_string(), what });
        }
        let generation = self.shared.positions().generation(&message.topic, &message.placed.partition);
        let Some(generation) = generation else { return Ok(()) };
        let mut message = message.clone();
        let wait = AGAIN.saturating_mul(1 << message.attempt.min(10)).min(AGAIN_AT_MOST);
        message.attempt += 1;
        let again = self.again.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // Until it is done its position waits, so nothing is lost if the consumer is gone by now.
            if let Some(queue) = again.upgrade() {
                let _ = queue.send(Ok(Taken { message, generation })).await;
            }
        });
        Ok(())
    }

    fn assigned(&self) -> Vec<(PhysicalName, PartitionId)> {
        self.shared.positions().held()
    }

    async fn close(&self, deadline: Duration) -> Result<(), BrokerError> {
        self.shared.closed.store(true, Ordering::Release);
        let Some((consumer, polling)) = self.take() else { return Ok(()) };
        polling.abort();
        let _aborted = polling.await;
        let ear = self.shared.ear.clone();
        let what = "commit and leave the group";
        // Committing waits for the coordinator, leaving for both; neither may hold a thread of the runtime.
        let leave = tokio::task::spawn_blocking(move || {
            let committed = consumer.commit_consumer_state(CommitMode::Sync);
            drop(consumer);
            committed
        });
        match tokio::time::timeout(deadline, leave).await {
            Ok(Ok(Ok(()) | Err(KafkaError::ConsumerCommit(Code::NoOffset)))) => Ok(()),
            Ok(Ok(Err(error))) => Err(ear.classify(what, &error, deadline.as_secs())),
            Ok(Err(_)) | Err(_) => {
                Err(BrokerError::Timeout { cluster: ear.cluster.to_string(), what: what.to_owned(), seconds: deadline.as_secs() })
            }
        }
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        // Leaving the group waits for its coordinator.
        let Some((consumer, polling)) = self.take() else { return };
        polling.abort();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(consumer))),
            Err(_outside_of_one) => drop(consumer),
        }
    }
}

/// Asks the library all the time: that is how it hears of new assignments, and how its coordinator hears that we are alive.
async fn poll(consumer: Arc<StreamConsumer<Context>>, shared: Arc<Shared>, queue: mpsc::Sender<Result<Taken, BrokerError>>) {
    loop {
        let item = next(&consumer, &shared).await;
        let Some(item) = item else { continue };
        let full = match tokio::time::timeout(PATIENCE, queue.reserve()).await {
            Ok(Ok(place)) => {
                place.send(item);
                continue;
            }
            Ok(Err(_closed)) => return,
            Err(_full) => item,
        };
        if !wait_paused(&consumer, &shared, &queue, full).await {
            return;
        }
    }
}

/// The application takes nothing: partitions pause until it does. Few messages can still come, those the library had at hand.
async fn wait_paused(
    consumer: &StreamConsumer<Context>,
    shared: &Shared,
    queue: &mpsc::Sender<Result<Taken, BrokerError>>,
    first: Result<Taken, BrokerError>,
) -> bool {
    let mut waiting = std::collections::VecDeque::from([first]);
    while !waiting.is_empty() {
        // Again each time: partitions given meanwhile are not paused.
        pause(consumer, true);
        tokio::select! {
            place = queue.reserve() => match place {
                Ok(place) => place.send(waiting.pop_front().expect("the loop goes on only while there is one")),
                Err(_closed) => return false,
            },
            item = next(consumer, shared) => waiting.extend(item),
        }
    }
    pause(consumer, false);
    true
}

fn pause(consumer: &StreamConsumer<Context>, pause: bool) {
    let Ok(assigned) = consumer.assignment() else { return };
    let result = if pause { consumer.pause(&assigned) } else { consumer.resume(&assigned) };
    if let Err(error) = result {
        tracing::debug!(%error, pause, "pausing partitions");
    }
}

/// The next message or an error that needs a person; `None` for what passes by itself.
async fn next(consumer: &StreamConsumer<Context>, shared: &Shared) -> Option<Result<Taken, BrokerError>> {
    match consumer.recv().await {
        Ok(message) => {
            shared.ear.worked();
            let message = incoming(&message)?;
            let Placed { partition, offset } = &message.placed;
            let mut positions = shared.positions();
            let generation = positions.received(&message.topic, partition, *offset)?;
            if !shared.subscription.wants(message.tag.as_deref()) {
                // What is stored with the next message that is asked for passes it.
                positions.skip(&message.topic, partition, *offset);
                return None;
            }
            drop(positions);
            Some(Ok(Taken { message, generation }))
        }
        Err(error) => {
            let error = shared.ear.classify("consume topic of the subscription", &error, 0);
            if error.is_passing() {
                tracing::debug!(cluster = %shared.ear.cluster, %error, "consuming goes on after this");
                return None;
            }
            Some(Err(error))
        }
    }
}

fn incoming(message: &BorrowedMessage<'_>) -> Option<Incoming> {
    // Brokers have no topic that is no physical name.
    let topic = PhysicalName::new(message.topic()).ok()?;
    let mut headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map_or_else(Bytes::new, Bytes::copy_from_slice)))
            .collect()
    });
    let tag = headers.iter().position(|(name, _): &(String, Bytes)| name == TAG_HEADER).map(|at| headers.remove(at).1);
    Some(Incoming {
        topic,
        placed: Placed { partition: message.partition().into(), offset: message.offset() },
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers,
        tag: tag.map(|tag| String::from_utf8_lossy(&tag).into_owned()),
        attempt: 0,
    })
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.ear.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.ear.error(error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // The library commits what is stored for partitions that it gives away; after this nothing more is stored for them.
        let mut positions = self.0.positions();
        match rebalance {
            Rebalance::Assign(list) => each(list, |topic, partition| positions.give(topic, partition)),
            Rebalance::Revoke(list) => each(list, |topic, partition| positions.take(&topic, &partition)),
            Rebalance::Error(error) => {
                tracing::warn!(cluster = %self.0.ear.cluster, %error, "partitions are given out anew");
                positions.take_all();
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) | Err(KafkaError::ConsumerCommit(Code::NoOffset)) => {}
            Err(error) => tracing::warn!(cluster = %self.0.ear.cluster, %error, "offsets were not committed; it is tried again"),
        }
    }
}

/// A group that nobody else is in.
fn alone(group: &PhysicalName) -> String {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's generator works");
    format!("{group}-{:016x}", u64::from_ne_bytes(bytes))
}

fn each(list: &TopicPartitionList, mut act: impl FnMut(PhysicalName, PartitionId)) {
    for element in list.elements() {
        if let Ok(topic) = PhysicalName::new(element.topic()) {
            act(topic, element.partition().into());
        }
    }
}

//! Consuming from Kafka: the member of a group; [`partitions`] is how it reads what it was given.

mod partitions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use zms_core::names::PhysicalName;

use self::partitions::{Context, Readers, poll};
use super::client::{Ear, config};
use super::within::Within;
use crate::broker::{BrokerError, Consumer, Delivery, Incoming, PartitionId, Positions, Subscription};
use crate::open::Endpoint;

/// A member that does not ask for so long is thrown out of its group. The client asks all the time, so this ends only hanging processes.
const POLL_INTERVAL: Duration = Duration::from_secs(300);
/// What librdkafka keeps ready of each partition, besides what is [open](Consumer), in KiB; it may be one answer of a broker more.
const READY_KIB: u32 = 2 << 10;
/// After so long it looks again whether that much is still there. Its own value, a second, would be a pause in each two megabytes.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A message that failed comes again after this; then after twice as long, and so on.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// A member of a classic consumer group with the assignors that Java's client has by default, so that both can be in one group.
pub struct KafkaConsumer {
    shared: Arc<Shared>,
    /// For messages that failed.
    again: mpsc::WeakUnboundedSender<Received>,
    /// How much waits in it is bounded by what may be open of each partition.
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Received>>,
    /// Taken by [`Consumer::close`].
    polling: Mutex<Option<Polling>>,
}

/// The library's consumer, where it may dial for as long as it is there, and the task that asks it.
type Polling = (Client, JoinHandle<()>);

/// Dropped in this order.
type Client = (Arc<StreamConsumer<Context>>, Option<Within>);

/// A message, or what needs a person.
type Received = Result<Incoming, BrokerError>;

struct Shared {
    ear: Ear,
    positions: Mutex<Positions>,
    readers: Readers,
    subscription: Subscription,
    closed: AtomicBool,
}

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
            readers: Readers::default(),
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
            .set("queued.max.messages.kbytes", READY_KIB.to_string())
            .set("fetch.queue.backoff.ms", LOOK_AGAIN.as_millis().to_string())
            // A new topic or more partitions are found soon.
            .set("topic.metadata.refresh.interval.ms", "60000");
        let (context, given) = Context::new(Arc::clone(&shared));
        let consumer: Arc<StreamConsumer<Context>> = Arc::new(config.create_with_context(context).map_err(refused)?);
        consumer.context().set(&consumer);
        let within = Within::bind(endpoint, &shared.ear, consumer.client().native_ptr())?;
        let topics: Vec<&str> = subscription.topics.iter().map(PhysicalName::as_str).collect();
        consumer.subscribe(&topics).map_err(refused)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "bounded by what may be open of each partition; waiting here would stop all of them"
        )]
        let (sender, queue) = mpsc::unbounded_channel();
        let again = sender.downgrade();
        let polling = tokio::spawn(poll(Arc::clone(&consumer), Arc::clone(&shared), given, sender));
        let (queue, polling) = (tokio::sync::Mutex::new(queue), Mutex::new(Some(((consumer, within), polling))));
        Ok(Self { shared, again, queue, polling })
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
            let message = queue.recv().await.ok_or(BrokerError::Closed)??;
            // Its partition may have gone to somebody else while it waited here.
            if self.shared.positions().is_open(&message) {
                return Ok(message);
            }
        }
    }

    fn done(&self, message: &Incoming) -> Result<(), BrokerError> {
        let polling = self.polling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ((consumer, _), _) = polling.as_ref().ok_or(BrokerError::Closed)?;
        // Held while storing, so that a partition cannot be taken in between and a lower offset cannot overtake.
        let mut positions = self.shared.positions();
        let partition = &message.placed.partition;
        let done = positions.done(&message.topic, partition, message.placed.offset);
        self.shared.readers.room(&message.topic, partition);
        let Some(offset) = done else { return Ok(()) };
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
        if !self.is_open(message) {
            return Ok(());
        }
        let mut message = message.clone();
        let wait = AGAIN.saturating_mul(1 << message.attempt.min(10)).min(AGAIN_AT_MOST);
        message.attempt += 1;
        let again = self.again.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // Until it is done its position waits, so nothing is lost if the consumer is gone by now.
            if let Some(queue) = again.upgrade() {
                let _ = queue.send(Ok(message));
            }
        });
        Ok(())
    }

    fn is_open(&self, message: &Incoming) -> bool {
        self.shared.positions().is_open(message)
    }

    fn assigned(&self) -> Vec<(PhysicalName, PartitionId)> {
        self.shared.positions().held()
    }

    async fn close(&self, deadline: Duration) -> Result<(), BrokerError> {
        self.shared.closed.store(true, Ordering::Release);
        let Some((consumer, polling)) = self.take() else { return Ok(()) };
        polling.abort();
        let _aborted = polling.await;
        self.shared.readers.forget();
        let ear = self.shared.ear.clone();
        let what = "commit and leave the group";
        // Committing waits for the coordinator, leaving for both.
        let left = apart(move || {
            let committed = consumer.0.commit_consumer_state(CommitMode::Sync);
            drop(consumer);
            committed
        });
        match tokio::time::timeout(deadline, left).await {
            Ok(Ok(Ok(()) | Err(KafkaError::ConsumerCommit(Code::NoOffset)))) => Ok(()),
            Ok(Ok(Err(error))) => Err(ear.classify(what, &error, deadline.as_secs())),
            Ok(Err(_)) | Err(_) => {
                Err(BrokerError::Timeout { cluster: ear.cluster.to_string(), what: what.to_owned(), seconds: deadline.as_secs() })
            }
        }
    }
}

/// In a thread of its own, for as long as it takes: neither may it hold a thread of the runtime, nor may the end of the runtime, and so of the
/// application, wait until a cluster is there again.
fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (sender, done) = oneshot::channel();
    let work = move || drop(sender.send(work()));
    if let Err(error) = std::thread::Builder::new().name("kafka-leave".to_owned()).spawn(work) {
        tracing::warn!(%error, "a group is left without a word: there is no thread for it");
    }
    done
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        let Some((consumer, polling)) = self.take() else { return };
        polling.abort();
        let shared = Arc::clone(&self.shared);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                let _aborted = polling.await;
                shared.readers.forget();
                // Leaving the group waits for its coordinator.
                drop(apart(move || drop(consumer)));
            })),
            Err(_outside_of_one) => {
                shared.readers.forget();
                drop(consumer);
            }
        }
    }
}

/// A group that nobody else is in.
fn alone(group: &PhysicalName) -> String {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's generator works");
    format!("{group}-{:016x}", u64::from_ne_bytes(bytes))
}

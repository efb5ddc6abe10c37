//! Partitions that the group gave to this member, each with a queue of its own in librdkafka.
//!
//! In one queue for all, as the library has it by default, a partition whose messages nobody handles stands before all others, and pausing it throws away
//! what was fetched of it. From a queue of its own nothing is taken while the application has enough of it, and the library fetches no more than it may
//! keep ready.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use futures::stream::{BoxStream, SelectAll, unfold};
use futures::{FutureExt, StreamExt};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::stream_consumer::StreamPartitionQueue;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{Notify, mpsc, oneshot};
use zms_core::names::PhysicalName;

use super::{Received, Shared};
use crate::broker::{Incoming, PartitionId, Placed, TAG_HEADER};

type Here = (PhysicalName, PartitionId);
type Queue = StreamPartitionQueue<Context>;

/// Of each partition that this member ever had: its queue, and what its reader hears.
#[derive(Default)]
pub(super) struct Readers(Mutex<HashMap<Here, Reader>>);

struct Reader {
    /// Kept when the partition goes: of two for one partition, the one that ends would take the other's wake-ups with it.
    queue: Arc<Queue>,
    /// Something was handled.
    room: Arc<Notify>,
    /// Ends the reader when it is dropped.
    mine: Option<oneshot::Sender<()>>,
}

/// What comes from one partition until it goes to another member.
pub(super) type Reading = BoxStream<'static, Option<Received>>;

/// What librdkafka calls.
pub(super) struct Context {
    shared: Arc<Shared>,
    consumer: OnceLock<Weak<StreamConsumer<Self>>>,
    given: mpsc::UnboundedSender<Reading>,
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Here, Reader>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something of this partition was handled.
    pub fn room(&self, topic: &PhysicalName, partition: &PartitionId) {
        if let Some(reader) = self.lock().get(&(topic.clone(), partition.clone())) {
            reader.room.notify_one();
        }
    }

    /// Queues hold the library's consumer, which holds these.
    pub fn forget(&self) {
        drop(std::mem::take(&mut *self.lock()));
    }
}

impl Context {
    /// And where the partitions come that are given to it.
    pub fn new(shared: Arc<Shared>) -> (Self, mpsc::UnboundedReceiver<Reading>) {
        #[expect(
            clippy::disallowed_methods,
            reason = "one for each partition of an assignment, from a callback that may not wait"
        )]
        let (given, receiver) = mpsc::unbounded_channel();
        (Self { shared, consumer: OnceLock::new(), given }, receiver)
    }

    /// Whose it is; before this consumer is asked for the first time.
    pub fn set(&self, consumer: &Arc<StreamConsumer<Self>>) {
        let _first = self.consumer.set(Arc::downgrade(consumer));
    }

    /// Before the library begins to fetch, so that all of it comes into the partition's own queue.
    fn give(&self, topic: PhysicalName, partition: PartitionId) {
        self.shared.positions().give(topic.clone(), partition.clone());
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return };
        let mut readers = self.shared.readers.lock();
        let queue = match readers.get(&(topic.clone(), partition.clone())) {
            Some(known) => Some(Arc::clone(&known.queue)),
            None => consumer.split_partition_queue(topic.as_str(), partition.number).map(Arc::new),
        };
        let Some(queue) = queue else { return };
        let (mine, gone) = oneshot::channel();
        let room = Arc::new(Notify::new());
        let reader = Reader { queue: Arc::clone(&queue), room: Arc::clone(&room), mine: Some(mine) };
        readers.insert((topic.clone(), partition.clone()), reader);
        let one = Partition { shared: Arc::clone(&self.shared), here: (topic, partition), queue, room };
        let _ended = self.given.send(one.read().take_until(gone).boxed());
    }

    fn take(&self, topic: PhysicalName, partition: PartitionId) {
        self.shared.positions().take(&topic, &partition);
        if let Some(reader) = self.shared.readers.lock().get_mut(&(topic, partition)) {
            drop(reader.mine.take());
        }
    }

    /// What was ready of partitions that went away is dropped by the library when somebody asks for it.
    fn drain(&self, topic: PhysicalName, partition: PartitionId) {
        let queue = self.shared.readers.lock().get(&(topic, partition)).map(|reader| Arc::clone(&reader.queue));
        while queue.as_ref().is_some_and(|queue| queue.recv().now_or_never().is_some()) {}
    }
}

/// One partition.
struct Partition {
    shared: Arc<Shared>,
    here: Here,
    queue: Arc<Queue>,
    room: Arc<Notify>,
}

impl Partition {
    fn read(self) -> impl futures::Stream<Item = Option<Received>> + Send + 'static {
        unfold(self, |one| async move {
            while one.is_full() {
                one.room.notified().await;
            }
            // Without a break from here to `taken`: a partition goes away between two looks at its queue, never in one.
            let item = taken(one.queue.recv().await, &one.shared);
            Some((item, one))
        })
    }

    fn is_full(&self) -> bool {
        self.shared.positions().is_full(&self.here.0, &self.here.1)
    }
}

/// Asks the library all the time: that is how it hears of new assignments, and how its coordinator hears that we are alive. It calls the [`Context`]
/// only from here, so what is ours does not change while a message is taken.
pub(super) async fn poll(
    consumer: Arc<StreamConsumer<Context>>,
    shared: Arc<Shared>,
    mut given: mpsc::UnboundedReceiver<Reading>,
    queue: mpsc::UnboundedSender<Received>,
) {
    let mut partitions = SelectAll::new();
    loop {
        let item = tokio::select! {
            // Errors that are about no partition.
            item = consumer.recv() => taken(item, &shared),
            Some(partition) = given.recv() => {
                partitions.push(partition);
                continue;
            }
            Some(item) = partitions.next() => item,
        };
        if item.is_some_and(|item| queue.send(item).is_err()) {
            return;
        }
    }
}

/// A message or an error that needs a person; `None` for what passes by itself.
fn taken(item: KafkaResult<BorrowedMessage<'_>>, shared: &Shared) -> Option<Received> {
    match item {
        Ok(message) => {
            shared.ear.worked();
            let mut message = incoming(&message)?;
            let mut positions = shared.positions();
            message.generation = positions.received(&message)?;
            if !shared.subscription.wants(message.tag.as_deref()) {
                // What is stored with the next message that is asked for passes it.
                positions.skip(&message.topic, &message.placed.partition, message.placed.offset);
                return None;
            }
            drop(positions);
            Some(Ok(message))
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
        generation: 0,
    })
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.shared.ear.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.ear.error(error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // The library commits what is stored for partitions that it gives away; after this nothing more is stored for them.
        match rebalance {
            Rebalance::Assign(list) => each(list, |topic, partition| self.give(topic, partition)),
            Rebalance::Revoke(list) => each(list, |topic, partition| self.take(topic, partition)),
            Rebalance::Error(error) => {
                tracing::warn!(cluster = %self.shared.ear.cluster, %error, "partitions are given out anew");
                let held = self.shared.positions().held();
                held.into_iter().for_each(|(topic, partition)| self.take(topic, partition));
            }
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            each(list, |topic, partition| self.drain(topic, partition));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) | Err(KafkaError::ConsumerCommit(Code::NoOffset)) => {}
            Err(error) => {
                tracing::warn!(cluster = %self.shared.ear.cluster, %error, "offsets were not committed; it is tried again")
            }
        }
    }
}

fn each(list: &TopicPartitionList, mut act: impl FnMut(PhysicalName, PartitionId)) {
    for element in list.elements() {
        if let Ok(topic) = PhysicalName::new(element.topic()) {
            act(topic, element.partition().into());
        }
    }
}

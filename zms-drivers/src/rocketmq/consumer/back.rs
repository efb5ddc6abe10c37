//! Messages that were not handled go back to the broker, which delivers them again later, at last into the group's dead letters.

use std::sync::Arc;

use super::shared::{Handled, Shared};
use crate::broker::{BrokerError, Incoming, PartitionId};
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Request, RequestCode};

/// After so many deliveries a message goes to `%DLQ%<group>`, as with Java's consumers.
const DELIVERIES: &str = "16";

impl Shared {
    /// The queue that a message was taken from: its topic's, or that of the same number where what was sent back waits.
    pub fn queue_of(&self, message: &Incoming) -> Option<Queue> {
        let PartitionId { broker, number } = message.placed.partition.clone();
        let own = Queue { topic: message.topic.as_str().into(), broker: broker?, number };
        if self.broadcast {
            return Some(own);
        }
        let back = Queue { topic: self.retry_topic().into(), ..own.clone() };
        let table = self.table();
        let came_from = |queue: &Queue| table.get(queue).is_some_and(|held| held.generation == message.generation);
        // In order, a message of the topic's own queue has more attempts too; only one that went away has to be told by them.
        let retried = came_from(&back) || !came_from(&own) && !self.ordered && message.attempt > 0;
        Some(if retried { back } else { own })
    }

    /// A message was handled. Nothing happens if the queue is not ours any more, and does not wait for this message.
    pub fn done(&self, queue: &Queue, offset: i64) {
        if let Some(held) = self.table().get_mut(queue)
            && let Some(window) = &mut held.window
        {
            let was_full = window.is_full();
            window.done(offset);
            if was_full && !window.is_full() {
                held.room.notify_one();
            }
            held.last_done_ms = crate::rocketmq::net::now_ms();
        }
        if self.ordered {
            self.said(queue, offset, Handled::Done);
        }
    }

    /// A message was not handled: it comes again later.
    pub async fn failed(&self, message: &Incoming) -> Result<(), BrokerError> {
        let Some(queue) = self.queue_of(message) else { return Ok(()) };
        let offset = message.placed.offset;
        if self.ordered {
            // It stays in its place and is delivered again; nothing overtakes it.
            self.said(&queue, offset, Handled::Failed);
            return Ok(());
        }
        if self.broadcast {
            let what = "deliver a message of a broadcast again: each member reads for itself".to_owned();
            return Err(BrokerError::Unsupported { cluster: self.net.cluster().to_owned(), what });
        }
        let open = self.table().get(&queue).and_then(|held| held.window.as_ref()?.open(offset));
        let Some(open) = open else { return Ok(()) };
        self.send_back(&queue, offset, open.log_offset, message.topic.as_str()).await
    }

    async fn send_back(&self, queue: &Queue, offset: i64, log_offset: i64, topic: &str) -> Result<(), BrokerError> {
        let what = format!("send back the message at offset {offset} of {queue}");
        let request = Request::new(RequestCode::ConsumerSendMsgBack)
            .with("group", &self.group)
            .with("originTopic", topic)
            .with("offset", log_offset)
            // The broker waits longer each time: 10 s, 30 s, 1 min …
            .with("delayLevel", 0)
            .with("maxReconsumeTimes", DELIVERIES)
            .with("unitMode", false)
            .with("bname", &queue.broker);
        let address = self.net.master_for(&queue.broker, &what)?;
        self.net.ask(&address, &what, request, self.waits.answer).await?;
        // The broker has it; its first retry may have made the topic of retries.
        self.done(queue, offset);
        let retries = self.retry_topic();
        if !self.table().keys().any(|held| *held.topic == *retries) {
            self.changed.notify_one();
        }
        Ok(())
    }
}

/// A message that nobody can read must not hold up its queue: the broker keeps it as one that failed, or, where there are no retries, it
/// is passed over; the application is told either way.
pub(super) async fn unreadable(shared: &Arc<Shared>, queue: &Queue, generation: u64, offset: i64, why: String) -> Option<()> {
    let what = format!("read the message at offset {offset} of {queue}");
    shared.tell(&what, shared.net.garbled(what.clone(), why));
    // It does not come again from this place: nothing is kept about it.
    shared.well(&what);
    let open = shared.with_window(queue, generation, |held| held.window.as_ref()?.open(offset))??;
    if shared.ordered || shared.broadcast {
        shared.done(queue, offset);
        return Some(());
    }
    let mut tries = 0;
    while let Err(error) = shared.send_back(queue, offset, open.log_offset, &queue.topic).await {
        tracing::warn!(%error, "a message that cannot be read is sent back later");
        tokio::time::sleep(crate::rocketmq::waits::back_off(tries, shared.waits.first_back_off, shared.waits.longest_back_off))
            .await;
        tries += 1;
    }
    Some(())
}

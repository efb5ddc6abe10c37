//! Members that handle what they get, and what is written down about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use zms_drivers::broker::{BrokerError, Consumer, Incoming, PartitionId};

use super::text;

/// What the members of one group handled.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    in_hands: BTreeSet<PartitionId>,
    texts: BTreeSet<String>,
    /// In the order in which they were handled.
    offsets: BTreeMap<PartitionId, Vec<i64>>,
    /// Queues of which two messages were in hands at once.
    at_once: Vec<String>,
}

impl Desk {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap()
    }

    pub fn begin(&self, message: &Incoming) {
        let mut written = self.written();
        let queue = &message.placed.partition;
        if !written.in_hands.insert(queue.clone()) {
            written.at_once.push(format!("{queue}, offset {}", message.placed.offset));
        }
    }

    /// It was handled, and its member is told so: from then on the next one may come.
    pub fn end(&self, message: &Incoming, consumer: &Arc<dyn Consumer>) {
        let mut written = self.written();
        written.in_hands.remove(&message.placed.partition);
        written.offsets.entry(message.placed.partition.clone()).or_default().push(message.placed.offset);
        drop(written);
        consumer.done(message).unwrap();
        self.written().texts.insert(text(message));
    }

    /// It failed, and comes again.
    pub fn put_back(&self, message: &Incoming) {
        self.written().in_hands.remove(&message.placed.partition);
    }

    pub fn count(&self) -> usize {
        self.written().offsets.values().map(Vec::len).sum()
    }

    pub fn missing(&self, numbers: std::ops::Range<u32>) -> Vec<u32> {
        let written = self.written();
        numbers.filter(|number| !written.texts.contains(&number.to_string())).collect()
    }

    /// Each message of so many queues was handled once, after the one before it, and never two of a queue at once.
    pub fn is_in_order(&self, queues: usize) {
        let written = self.written();
        assert!(written.at_once.is_empty(), "two handlers at once: {:?}", written.at_once);
        assert_eq!(written.offsets.len(), queues);
        for (queue, offsets) in &written.offsets {
            assert!(offsets.iter().copied().eq(0..i64::try_from(offsets.len()).unwrap()), "{queue}: {offsets:?}");
        }
    }
}

/// Handles everything that a member gets, until it closes; each message takes so long.
pub fn work(consumer: &Arc<dyn Consumer>, desk: &Desk, takes: Duration) -> JoinHandle<()> {
    let (consumer, desk) = (Arc::clone(consumer), desk.clone());
    tokio::spawn(async move {
        let mut handlers = JoinSet::new();
        loop {
            let message = match consumer.receive().await {
                Ok(message) => message,
                Err(BrokerError::Closed) => break,
                Err(error) => panic!("{error}"),
            };
            desk.begin(&message);
            let (consumer, desk) = (Arc::clone(&consumer), desk.clone());
            handlers.spawn(async move {
                // The work itself, not a wait for something.
                tokio::time::sleep(takes).await;
                desk.end(&message, &consumer);
            });
        }
        while let Some(handled) = handlers.join_next().await {
            handled.unwrap();
        }
    })
}

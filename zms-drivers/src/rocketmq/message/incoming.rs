//! From a broker's message to the application's.

use std::sync::Arc;

use bytes::Bytes;
use zms_core::names::PhysicalName;

use super::properties::{KEYS, RETRY_TOPIC, TAGS, is_reserved};
use super::stored::Stored;
use crate::broker::{Incoming, PartitionId, Placed};
use crate::rocketmq::queue::Queue;

/// A message of this queue as the application sees it; in words why it cannot. `retried`: the queue is of its group's topic of retries.
pub(crate) fn incoming(queue: &Queue, retried: bool, message: Stored) -> Result<Incoming, String> {
    let value = message.body.clone()?;
    let topic = match message.property(RETRY_TOPIC) {
        // What was sent back is still a message of its topic.
        Some(topic) if retried => topic,
        _ => &*queue.topic,
    };
    let topic = PhysicalName::new(topic).map_err(|error| error.to_string())?;
    let (key, tag) = (message.property(KEYS), message.property(TAGS));
    let (key, tag) = (key.map(|key| Bytes::copy_from_slice(key.as_bytes())), tag.map(str::to_owned));
    let mut headers: Vec<(String, Bytes)> =
        message.properties.into_iter().filter(|(name, _)| !is_reserved(name)).map(|(name, value)| (name, value.into())).collect();
    // Brokers write properties anew, in an order that means nothing.
    headers.sort();
    Ok(Incoming {
        topic,
        placed: Placed { partition: PartitionId::queue(Arc::clone(&queue.broker), queue.number), offset: message.offset },
        timestamp_ms: (message.born_ms > 0).then_some(message.born_ms),
        key,
        value: Some(value),
        headers,
        tag,
        attempt: attempt(retried, message.sent_back),
        generation: 0,
    })
}

/// How often it was delivered before. What comes from the topic of retries was delivered before, whatever its counter says: by this it is told apart
/// from the message with the same place in its own topic.
fn attempt(retried: bool, sent_back: i32) -> u32 {
    let again = u32::try_from(sent_back).unwrap_or(0);
    if retried { again.max(1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::stored::tests::message;
    use super::*;

    fn queue(topic: &str) -> Queue {
        Queue { topic: topic.into(), broker: "a".into(), number: 3 }
    }

    #[test]
    fn only_the_senders_headers_are_left_and_they_are_sorted() {
        let mut stored = message("orders", 7);
        for (name, value) in [("z", "1"), ("KEYS", "order-7"), ("CLUSTER", "c"), ("a", "2"), ("__CRC32#", "9")] {
            stored.properties.push((name.to_owned(), value.to_owned()));
        }
        let got = incoming(&queue("orders"), false, stored).unwrap();
        assert_eq!((got.topic.as_str(), got.key.as_deref(), got.tag.as_deref()), ("orders", Some(&b"order-7"[..]), Some("paid")));
        assert_eq!(got.headers, [("a".to_owned(), Bytes::from_static(b"2")), ("z".to_owned(), Bytes::from_static(b"1"))]);
        assert_eq!((got.placed.offset, got.attempt, got.timestamp_ms), (7, 0, Some(1_795_824_001_000)));
    }

    #[test]
    fn what_was_sent_back_is_a_message_of_its_topic_and_counts_as_another_attempt() {
        for (sent_back, attempt) in [(0, 1), (1, 1), (3, 3)] {
            let mut stored = message("%RETRY%g", 7);
            stored.sent_back = sent_back;
            stored.properties.push(("RETRY_TOPIC".to_owned(), "orders".to_owned()));
            let got = incoming(&queue("%RETRY%g"), true, stored).unwrap();
            assert_eq!((got.topic.as_str(), got.attempt), ("orders", attempt));
        }
    }

    #[test]
    fn a_body_that_cannot_be_read_says_why() {
        let mut stored = message("orders", 7);
        stored.body = Err("lz4: damaged".to_owned());
        assert_eq!(incoming(&queue("orders"), false, stored), Err("lz4: damaged".to_owned()));
    }
}

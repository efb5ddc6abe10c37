//! Messages by id and key: brokers keep an index of both.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::future::join_all;
use zms_core::names::PhysicalName;

use super::RocketMqAdmin;
use crate::broker::{BrokerError, FoundMessage, Lookup, MOST_FOUND};
use crate::rocketmq::message::incoming::incoming;
use crate::rocketmq::message::properties::{KEYS, UNIQUE};
use crate::rocketmq::message::stored::{Stored, decode};
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{BY_UNIQUE_ID, RemotingError, Request, RequestCode, answers};

/// The id that a broker answers with: its address, its port and where the message is in its log, all in hexadecimal.
fn broker_id(id: &str) -> Option<(SocketAddr, u64)> {
    if id.len() != 32 {
        return None;
    }
    let part = |from: usize, to: usize| u64::from_str_radix(id.get(from..to)?, 16).ok();
    let address = Ipv4Addr::from_bits(u32::try_from(part(0, 8)?).ok()?);
    Some((SocketAddr::from((address, u16::try_from(part(8, 16)?).ok()?)), part(16, 32)?))
}

/// The index goes by hashes, so it also finds what is none of it.
fn fits(message: &Stored, topic: &PhysicalName, by: &Lookup) -> bool {
    let said = match by {
        Lookup::Id(id) => message.property(UNIQUE).is_some_and(|known| known.eq_ignore_ascii_case(id)),
        Lookup::Key(key) => message.property(KEYS).is_some_and(|keys| keys.split(' ').any(|known| known == key) || keys == key),
    };
    said && message.topic == topic.as_str()
}

/// What of it stands in the index: of a key with blanks each word, because blanks divide keys.
fn indexed(by: &Lookup) -> Vec<&str> {
    match by {
        Lookup::Id(id) => vec![id],
        Lookup::Key(key) => {
            let mut words: Vec<&str> = key.split(' ').filter(|word| !word.is_empty()).collect();
            words.sort_unstable();
            words.dedup();
            words
        }
    }
}

fn query(topic: &PhysicalName, word: &str, by: &Lookup) -> Request {
    let request = Request::new(RequestCode::QueryMessage)
        .with("topic", topic)
        .with("key", word)
        .with("maxNum", MOST_FOUND)
        .with("beginTimestamp", 0)
        .with("endTimestamp", i64::MAX);
    if matches!(by, Lookup::Id(_)) { request.with(BY_UNIQUE_ID, true) } else { request }
}

fn found(broker: &Arc<str>, message: Stored) -> Option<FoundMessage> {
    let id = message.property(UNIQUE).map(str::to_owned);
    let queue = Queue { topic: message.topic.as_str().into(), broker: Arc::clone(broker), number: message.queue };
    let unreadable = message.body.as_ref().err().cloned();
    let message = Stored { body: message.body.or_else(|_| Ok(bytes::Bytes::new())), ..message };
    let mut message = incoming(&queue, false, message).ok()?;
    if unreadable.is_some() {
        message.value = None;
    }
    Some(FoundMessage { id, message, unreadable })
}

impl RocketMqAdmin {
    /// Asks all masters. Without the answer of one a list of messages would look whole, so there is none; an id that was found is found.
    pub(super) async fn find(&self, topic: &PhysicalName, by: &Lookup) -> Result<Vec<FoundMessage>, BrokerError> {
        let what = format!("messages of topic {topic}");
        let info = self.cluster(&what).await?;
        let requests: Vec<Request> = indexed(by).into_iter().map(|word| query(topic, word, by)).collect();
        let asks = info.masters().flat_map(|(broker, address)| {
            requests
                .iter()
                .map(move |request| async move { (Arc::clone(broker), self.messages_of(address, request.clone()).await) })
        });
        let (mut all, mut failed) = (Vec::<FoundMessage>::new(), None);
        for (broker, answer) in join_all(asks).await {
            match answer {
                Ok(messages) => {
                    let fitting = messages.into_iter().filter(|message| fits(message, topic, by));
                    for message in fitting.filter_map(|message| found(&broker, message)) {
                        if !all.iter().any(|known| known.message.placed == message.message.placed) {
                            all.push(message);
                        }
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Lookup::Id(id) = by
            && all.is_empty()
            && let Some((address, offset)) = broker_id(id)
            // Only brokers of this cluster are asked, whatever the id says.
            && let Some((broker, address)) = info.brokers.iter().find_map(|(name, set)| {
                let known = set.addresses.values().find(|known| known.parse() == Ok(address))?;
                Some((Arc::clone(name), known))
            })
        {
            let view = Request::new(RequestCode::ViewMessageById).with("topic", topic).with("offset", offset);
            let seen = match self.messages_of(address, view).await {
                // So brokers say that there is no message at that place.
                Err(error) if error.answer() == Some(answers::SYSTEM_ERROR) => Vec::new(),
                seen => seen.map_err(|error| self.classify(&what, error))?,
            };
            all.extend(seen.into_iter().filter(|seen| seen.topic == topic.as_str()).filter_map(|seen| found(&broker, seen)));
        }
        match failed {
            Some(error) if all.is_empty() || matches!(by, Lookup::Key(_)) => Err(self.classify(&what, error)),
            _ => {
                all.sort_by_key(|found| std::cmp::Reverse(found.message.timestamp_ms));
                all.truncate(MOST_FOUND);
                Ok(all)
            }
        }
    }

    async fn messages_of(&self, address: &str, request: Request) -> Result<Vec<Stored>, RemotingError> {
        let code = request.code;
        match self.remoting.ask(address, request).await {
            Ok(answer) => {
                let garbled = |why| RemotingError::Garbled { address: address.to_owned(), code, why };
                decode(answer.body).map_err(garbled)
            }
            Err(error) if error.answer() == Some(answers::NOT_FOUND) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocketmq::message::stored::tests::message;

    #[test]
    fn an_id_that_a_broker_gave_tells_where_the_message_is() {
        let good = broker_id("7F00000100002A9F00000000000003E8");
        assert_eq!(good, Some(("127.0.0.1:10911".parse().unwrap(), 1000)));
        for bad in [
            "",
            "7F000001",
            "7F00000100FF2A9F00000000000003E8",
            "zF00000100002A9F00000000000003E8",
            "7F0000010000000002A9F0000000000000003E8",
        ] {
            assert_eq!(broker_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_the_index_finds_beside_is_left_out() {
        let topic = PhysicalName::new("orders").unwrap();
        let mut stored = message("orders", 7);
        stored.properties.push(("KEYS".into(), "order-7 2026".into()));
        for (by, expected) in [
            (Lookup::Key("order-7".into()), true),
            (Lookup::Key("2026".into()), true),
            (Lookup::Key("order-7 2026".into()), true),
            (Lookup::Key("order".into()), false),
            (Lookup::Id("7f00".into()), true),
            (Lookup::Id("7F".into()), false),
        ] {
            assert_eq!(fits(&stored, &topic, &by), expected, "{by:?}");
        }
        assert!(!fits(&stored, &PhysicalName::new("other").unwrap(), &Lookup::Key("order-7".into())));
    }

    #[test]
    fn a_body_that_cannot_be_read_is_found_with_its_reason() {
        let mut stored = message("orders", 7);
        stored.body = Err("lz4: damaged".to_owned());
        let found = found(&Arc::from("broker-a"), stored).unwrap();
        assert_eq!((found.message.value, found.unreadable.as_deref()), (None, Some("lz4: damaged")));
        assert_eq!((found.id.as_deref(), found.message.placed.partition.to_string().as_str()), (Some("7F00"), "broker-a/3"));
    }
}

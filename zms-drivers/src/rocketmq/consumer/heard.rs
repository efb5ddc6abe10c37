//! What brokers ask of a member.

use std::sync::{Arc, OnceLock, Weak};

use serde_json::Value;

use super::running::running_info;
use super::shared::Shared;
use crate::rocketmq::json;
use crate::rocketmq::queue::Queue;
use crate::rocketmq::remoting::{Answer, Handler, Request, SUCCESS, answers};

/// Members of the group changed.
const MEMBERS_CHANGED: i32 = 40;
/// An operator set the group to another place; brokers before 5.0 leave that to the members.
const RESET: i32 = 220;
/// What a console shows of a member.
const POSITIONS: i32 = 221;
const RUNNING_INFO: i32 = 307;

/// The member that hears; it is there a moment after the connection that it hears on.
pub(super) type Hearer = Arc<OnceLock<Weak<Shared>>>;

/// Hears for a member.
pub(super) struct Ears(pub Hearer);

impl Handler for Ears {
    fn asked(&self, _address: &str, request: Request) -> Option<Answer> {
        let shared = self.0.get()?.upgrade()?;
        answer(&shared, &request)
    }
}

fn answer(shared: &Arc<Shared>, request: &Request) -> Option<Answer> {
    // One connection serves one group.
    let group = request.fields.get("consumerGroup").or_else(|| request.fields.get("group"));
    if group.is_some_and(|group| *group != shared.group) {
        return Some(refused(format!("this is a member of group {}", shared.group)));
    }
    match request.code {
        MEMBERS_CHANGED => {
            shared.changed.notify_one();
            None
        }
        RESET => {
            match reset(&request.body) {
                Ok(places) => shared.reset(places),
                Err(why) => tracing::warn!(group = %shared.group, why, "the places that the group was set to cannot be read"),
            }
            None
        }
        POSITIONS => Some(with_body(positions(shared, request.fields.get("topic").map(String::as_str)))),
        RUNNING_INFO => Some(with_body(running_info(shared))),
        code => Some(refused(format!("this client cannot do {code}"))),
    }
}

fn with_body(body: String) -> Answer {
    Answer { code: SUCCESS, body: body.into(), ..Answer::default() }
}

fn refused(remark: String) -> Answer {
    Answer { code: answers::SYSTEM_ERROR, remark, ..Answer::default() }
}

/// Queues and the places that they were set to: the body names a queue by an object, which is no JSON.
fn reset(body: &[u8]) -> Result<Vec<(Queue, i64)>, String> {
    let body = json::loose(body).map_err(|error| error.to_string())?;
    let table = body.get("offsetTable").and_then(Value::as_object).ok_or("there is no offsetTable")?;
    table
        .iter()
        .map(|(name, place)| {
            let queue: Value = serde_json::from_str(name).map_err(|error| format!("queue {name}: {error}"))?;
            let text = |field: &str| queue.get(field).and_then(Value::as_str).ok_or_else(|| format!("queue {name}: no {field}"));
            let number = queue.get("queueId").and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
            let number = number.ok_or_else(|| format!("queue {name}: no queueId"))?;
            let place = place.as_i64().ok_or_else(|| format!("queue {name}: {place} is no place"))?;
            Ok((Queue { topic: text("topic")?.into(), broker: text("brokerName")?.into(), number }, place))
        })
        .collect()
}

impl Shared {
    /// Goes on at these places, as far as the queues are ours.
    fn reset(&self, places: Vec<(Queue, i64)>) {
        for (queue, place) in places {
            let ours = self.table().get(&queue).is_some_and(|held| held.window.is_some());
            if ours {
                tracing::info!(group = %self.group, %queue, place, "the group was set to another place");
                self.open(&queue, place, false);
            }
        }
    }
}

fn positions(shared: &Shared, topic: Option<&str>) -> String {
    let table = shared.table();
    let positions =
        table.iter().filter(|(queue, _)| topic.is_none_or(|topic| *queue.topic == *topic)).filter_map(|(queue, held)| {
            let position = held.window.as_ref()?.position();
            Some(format!("{}:{position}", queue_name(queue)))
        });
    format!("{{\"messageQueueTable\":{{{}}}}}", positions.collect::<Vec<_>>().join(","))
}

/// As Java's JSON names a queue inside a map.
pub(super) fn queue_name(queue: &Queue) -> String {
    serde_json::json!({"brokerName": &*queue.broker, "queueId": queue.number, "topic": &*queue.topic}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_a_java_broker_pushes_are_read() {
        let body = br#"{"offsetTable":{{"brokerName":"a","queueId":3,"topic":"orders"}:42,{"brokerName":"b","queueId":0,"topic":"orders"}:0}}"#;
        let queue = |broker: &str, number| Queue { topic: "orders".into(), broker: broker.into(), number };
        let mut places = reset(body).unwrap();
        places.sort();
        assert_eq!(places, [(queue("a", 3), 42), (queue("b", 0), 0)]);
        assert!(reset(b"{}").unwrap_err().contains("offsetTable"));
        assert!(reset(br#"{"offsetTable":{{"brokerName":"a"}:1}}"#).unwrap_err().contains("queueId"));
    }
}

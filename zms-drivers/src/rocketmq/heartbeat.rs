//! What a client says about itself to every broker, each half a minute.

use bytes::Bytes;
use serde_json::{Value, json};

use super::message::outgoing::java_hash;

/// A topic, and which of its tags; no tags: all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interest {
    pub topic: String,
    pub tags: Vec<String>,
    /// Grows when the tags change; all members of a group should say the same tags.
    pub version: i64,
}

impl Interest {
    /// As brokers write it: `paid || late`, or `*`.
    pub fn expression(&self) -> String {
        if self.tags.is_empty() { "*".to_owned() } else { self.tags.join(" || ") }
    }

    pub fn json(&self) -> Value {
        let codes: Vec<i32> = self.tags.iter().map(|tag| java_hash(tag)).collect();
        json!({
            "topic": self.topic, "subString": self.expression(), "tagsSet": self.tags, "codeSet": codes,
            "subVersion": self.version, "expressionType": "TAG", "classFilterMode": false,
        })
    }
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(super) struct Member<'a> {
    pub client_id: &'a str,
    pub group: &'a str,
    pub broadcast: bool,
    /// For a group without a position.
    pub latest: bool,
    pub interests: &'a [Interest],
}

/// Body of a heartbeat (34) of a producer.
pub(super) fn producer(client_id: &str, group: &str) -> Bytes {
    json!({"clientID": client_id, "producerDataSet": [{"groupName": group}], "consumerDataSet": []}).to_string().into()
}

/// Body of a heartbeat (34) of a member.
pub(super) fn member(member: &Member<'_>) -> Bytes {
    let subscriptions: Vec<Value> = member.interests.iter().map(Interest::json).collect();
    json!({
        "clientID": member.client_id,
        "producerDataSet": [],
        "consumerDataSet": [{
            "groupName": member.group,
            "consumeType": "CONSUME_PASSIVELY",
            "messageModel": if member.broadcast { "BROADCASTING" } else { "CLUSTERING" },
            "consumeFromWhere": if member.latest { "CONSUME_FROM_LAST_OFFSET" } else { "CONSUME_FROM_FIRST_OFFSET" },
            "subscriptionDataSet": subscriptions,
            "unitMode": false,
        }],
    })
    .to_string()
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_says_what_a_java_consumer_says() {
        let interest = Interest { topic: "orders".into(), tags: vec!["paid".into(), "late".into()], version: 7 };
        let interests = [interest];
        let body =
            member(&Member { client_id: "10.0.0.1@1", group: "g", broadcast: false, latest: false, interests: &interests });
        let body: Value = serde_json::from_slice(&body).unwrap();
        let consumer = &body["consumerDataSet"][0];
        assert_eq!((&body["clientID"], &consumer["groupName"]), (&json!("10.0.0.1@1"), &json!("g")));
        assert_eq!(consumer["consumeType"], "CONSUME_PASSIVELY");
        assert_eq!(
            (&consumer["messageModel"], &consumer["consumeFromWhere"]),
            (&json!("CLUSTERING"), &json!("CONSUME_FROM_FIRST_OFFSET"))
        );
        let subscription = &consumer["subscriptionDataSet"][0];
        assert_eq!((&subscription["subString"], &subscription["subVersion"]), (&json!("paid || late"), &json!(7)));
        assert_eq!(subscription["codeSet"], json!([java_hash("paid"), java_hash("late")]));
    }
}

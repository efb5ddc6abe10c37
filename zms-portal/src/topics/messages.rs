//! Messages of a topic by id and key, for those who answer for it. Each look is audited: what is in a message is its owner's.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zms_drivers::broker::{BrokerError, FoundMessage, Lookup};

use super::Topic;
use crate::access::{Actor, Role, User};
use crate::app::App;
use crate::clusters::Cluster;
use crate::environments::Environment;
use crate::error::{Error, Result, Text};
use crate::hindrance::Hindrance;

/// Longest text that is looked for, bytes.
const LONGEST: usize = 256;
/// How much of a value is shown, bytes.
const SHOWN: usize = 64 * 1024;

/// By what a message is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SearchBy)]
pub enum By {
    /// One of its keys.
    #[default]
    Key,
    /// The id that its producer gave it, or its broker answered with.
    Id,
}

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = MessageSearch, example = json!({ "by": "key", "text": "order-7" }))]
pub struct Search {
    /// Key or id.
    pub by: By,
    /// The key or the id.
    pub text: String,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = FoundMessage)]
pub struct Found {
    /// The id that its producer gave it.
    pub id: Option<String>,
    /// `3` on Kafka, `broker-a/3` on RocketMQ.
    pub partition: String,
    /// In its partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Its keys.
    pub key: Option<String>,
    /// Its tag.
    pub tag: Option<String>,
    /// Headers, by name.
    pub headers: Vec<(String, String)>,
    /// Bytes of its value, uncompressed; absent if it cannot be read.
    pub size: Option<usize>,
    /// The value, or its beginning.
    pub value: Option<String>,
    /// `text` or `hex`.
    pub encoding: &'static str,
    /// There is more of it than is shown.
    pub cut: bool,
    /// Why its value cannot be read.
    pub unreadable: Option<String>,
}

/// May this person see what is in its messages?
pub fn may_look(user: &User, topic: &Topic) -> bool {
    user.may(Role::Operator) || topic.owner == user.name
}

/// Finds messages, the newest first.
///
/// # Errors
/// [`Error::Forbidden`] for whoever does not answer for the topic; [`Error::Invalid`] at `text`; [`Error::Conflict`] where brokers keep no
/// index; [`Error::Unavailable`] while they do not answer.
pub async fn search(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    topic: &Topic,
    cluster: &Cluster,
    search: &Search,
    now_ms: i64,
) -> Result<Vec<Found>> {
    let target = format!("environment/{}/topic/{}", environment.name, topic.name);
    let detail = json!({ "by": search.by, "text": search.text.chars().take(LONGEST).collect::<String>() });
    if !may_look(actor.user, topic) {
        actor.record_refusal(&app.db, "topic.messages", &target, detail, now_ms).await?;
        return Err(Error::Forbidden);
    }
    let text = search.text.trim();
    if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(Error::invalid("text", |m| m.topics_bad_search(LONGEST)));
    }
    // Before anything is read: nobody sees a message without a line about it.
    let mut tx = app.db.begin().await?;
    actor.record(&mut tx, "topic.messages", &target, detail, now_ms).await?;
    tx.commit().await?;
    let by = match search.by {
        By::Key => Lookup::Key(text.to_owned()),
        By::Id => Lookup::Id(text.to_owned()),
    };
    let found = match app.brokers.admin(cluster) {
        Ok(admin) => admin.find_messages(&topic.name.clone().into(), &by).await,
        Err(error) => Err(error),
    };
    found.map(|found| found.into_iter().map(Found::from).collect()).map_err(refused)
}

fn refused(error: BrokerError) -> Error {
    let why = Text::new({
        let why = error.to_string();
        move |_| why.clone()
    });
    match Hindrance::from(error) {
        Hindrance::Later(_) => Error::Unavailable(why),
        Hindrance::Stuck(_) | Hindrance::Failed(_) => Error::Conflict(why),
    }
}

/// Text with line breaks, or something else?
fn is_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// For people: JSON is laid out; what is no text is hexadecimal.
fn shown(value: &[u8]) -> (String, &'static str, bool) {
    let whole = value.len() <= SHOWN;
    if whole && let Ok(json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(value) {
        // What was read is written again.
        return (serde_json::to_string_pretty(&json).unwrap_or_default(), "text", false);
    }
    let begin = &value[..value.len().min(SHOWN)];
    let text = match std::str::from_utf8(begin) {
        Ok(text) => Some(text),
        // Cut within a character.
        Err(error) if !whole && error.error_len().is_none() => std::str::from_utf8(&begin[..error.valid_up_to()]).ok(),
        Err(_) => None,
    };
    match text.filter(|text| is_text(text)) {
        Some(text) => (text.to_owned(), "text", !whole),
        None => {
            let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            (begin.chunks(16).map(line).collect::<Vec<_>>().join("\n"), "hex", !whole)
        }
    }
}

impl From<FoundMessage> for Found {
    fn from(found: FoundMessage) -> Self {
        let FoundMessage { id, message, unreadable } = found;
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = message.value.as_deref().map(shown);
        let (encoding, cut) = value.as_ref().map_or(("text", false), |(_, encoding, cut)| (*encoding, *cut));
        Self {
            id,
            partition: message.placed.partition.to_string(),
            offset: message.placed.offset,
            timestamp_ms: message.timestamp_ms,
            key: message.key.as_deref().map(lossy),
            tag: message.tag,
            headers: message.headers.into_iter().map(|(name, value)| (name, lossy(&value))).collect(),
            size: message.value.as_ref().map(bytes::Bytes::len),
            value: value.map(|(text, _, _)| text),
            encoding,
            cut,
            unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::now_ms;
    use crate::clusters::test_support::{Stage, actor, user};

    #[test]
    fn a_value_is_shown_as_what_it_is() {
        let long = "ä".repeat(SHOWN);
        for (value, text, encoding, cut) in [
            (&b"{\"a\":[1]}"[..], "{\n  \"a\": [\n    1\n  ]\n}", "text", false),
            (b"12", "12", "text", false),
            ("zwei\nZeilen ☃".as_bytes(), "zwei\nZeilen ☃", "text", false),
            (b"", "", "text", false),
            (b"a\x1b[31m", "61 1b 5b 33 31 6d", "hex", false),
            (&[0xff, 0x00], "ff 00", "hex", false),
            (&[7; 17], "07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07\n07", "hex", false),
            (long.as_bytes(), &long[..SHOWN], "text", true),
        ] {
            assert_eq!(shown(value), (text.to_owned(), encoding, cut));
        }
        let odd = format!("x{long}");
        assert_eq!(shown(odd.as_bytes()).0.len(), SHOWN - 1, "cut between characters");
    }

    #[tokio::test]
    async fn only_who_answers_for_a_topic_sees_its_messages_and_every_look_is_audited() {
        let stage = Stage::set().await;
        let cluster = stage.published().await;
        let name = zms_core::names::TopicName::new("orders").unwrap();
        stage.brokers.make_topic(&name.clone().into(), 1);
        let producer = stage.brokers.producer(std::time::Duration::from_secs(5));
        let message = zms_drivers::broker::Outgoing::new(name.clone().into(), "{\"total\":7}");
        producer.send(zms_drivers::broker::Outgoing { key: Some("order-7".into()), ..message }).await.unwrap();
        let topic = Topic {
            id: "t".into(),
            environment_id: stage.environment.id.clone(),
            name,
            cluster_id: cluster.id.clone(),
            partitions: 1,
            replicas: 1,
            config: std::collections::BTreeMap::new(),
            owner: "dora".into(),
            about: String::new(),
            state: super::super::State::Active,
            order: zms_core::metadata::Order::default(),
            created_at: 0,
        };
        let look = async |who: &User, text: &str| {
            let wanted = Search { by: By::Key, text: text.into() };
            search(&stage.app, actor(who), &stage.environment, &topic, &cluster, &wanted, now_ms()).await
        };
        let (dora, eve, olga) = (user("dora", Role::Developer), user("eve", Role::Approver), user("olga", Role::Operator));
        let found = look(&dora, " order-7 ").await.unwrap();
        assert_eq!((found.len(), found[0].value.as_deref()), (1, Some("{\n  \"total\": 7\n}")));
        assert_eq!(look(&olga, "order-7").await.unwrap(), found);
        assert_eq!(look(&dora, "order-8").await.unwrap(), []);
        assert!(matches!(look(&eve, "order-7").await, Err(Error::Forbidden)));
        for bad in ["", "  ", "a\nb", &"x".repeat(LONGEST + 1)] {
            assert!(matches!(look(&dora, bad).await, Err(Error::Invalid(_))), "{bad:?}");
        }
        let lines: Vec<(String, String)> =
            sqlx::query_as("select who, result from audit where act = 'topic.messages' order by day, n")
                .fetch_all(stage.app.db.read())
                .await
                .unwrap();
        let lines: Vec<(&str, &str)> = lines.iter().map(|(who, result)| (who.as_str(), result.as_str())).collect();
        assert_eq!(lines, [("dora", "done"), ("olga", "done"), ("dora", "done"), ("eve", "denied")]);
        stage.brokers.cut();
        assert!(matches!(look(&dora, "order-7").await, Err(Error::Unavailable(_))));
    }
}

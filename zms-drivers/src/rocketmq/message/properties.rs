//! The text beside a body: `name 0x01 value 0x02`, again and again.

const VALUE: char = '\u{1}';
const END: char = '\u{2}';
/// Brokers keep the length in a signed 16-bit number.
pub(crate) const LONGEST: usize = i16::MAX as usize;

/// Keys, divided by blanks; by these a message is found again.
pub(crate) const KEYS: &str = "KEYS";
/// The tag, by which brokers filter.
pub(crate) const TAGS: &str = "TAGS";
/// The id that its producer gave a message.
pub(crate) const UNIQUE: &str = "UNIQ_KEY";
/// `false` says: do not wait until it is on disk and on slaves.
pub(crate) const WAIT: &str = "WAIT";
/// One of the broker's levels, from 1.
pub(crate) const DELAY_LEVEL: &str = "DELAY";
/// Milliseconds; from 5.0 on.
pub(crate) const DELAY_MS: &str = "TIMER_DELAY_MS";
/// Where a message stood before it was sent back.
pub(crate) const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// Id of the message that was sent back.
pub(crate) const ORIGIN_ID: &str = "ORIGIN_MESSAGE_ID";

/// Names that RocketMQ gives a meaning of its own, in any of its versions.
const RESERVED: &[&str] = &[
    "1ST_POP_TIME",
    "ARRIVE_TIME",
    "BORN_TIMESTAMP",
    "BUYER_ID",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "CLUSTER",
    "CONSUME_START_TIME",
    "CORRECTION_FLAG",
    "CORRELATION_ID",
    DELAY_LEVEL,
    "DLQ_ORIGIN_MESSAGE_ID",
    "DLQ_ORIGIN_TOPIC",
    "DUP_INFO",
    "EXTEND_UNIQ_INFO",
    "INNER_BASE",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "INNER_NUM",
    "INSTANCE_ID",
    KEYS,
    "MAX_OFFSET",
    "MAX_RECONSUME_TIMES",
    "MIN_OFFSET",
    "MQ2_FLAG",
    "MSG_REGION",
    "MSG_TYPE",
    ORIGIN_ID,
    "PGROUP",
    "POP_CK",
    "POP_CK_OFFSET",
    "PROPERTY_FORWARD_QUEUE_ID",
    "PUSH_REPLY_TIME",
    "REAL_QID",
    "REAL_TOPIC",
    "RECONSUME_TIME",
    "REDIRECT",
    "REPLY_TO_CLIENT",
    RETRY_TOPIC,
    TAGS,
    "TIMER_DELAY_LEVEL",
    DELAY_MS,
    "TIMER_DELAY_SEC",
    "TIMER_DELIVER_MS",
    "TIMER_DEL_UNIQKEY",
    "TIMER_DEQUEUE_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_OUT_MS",
    "TIMER_ROLL_TIMES",
    "TRACE_CONTEXT",
    "TRACE_ON",
    "TRANSACTION_CHECK_TIMES",
    "TRANSFER_FLAG",
    "TRAN_MSG",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TTL",
    UNIQUE,
    WAIT,
];

/// Whether RocketMQ gives this name a meaning of its own: no header can have it.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with("__") || RESERVED.contains(&name)
}

/// Adds a property to a text.
pub(crate) fn push(text: &mut String, name: &str, value: &str) {
    text.reserve(name.len() + value.len() + 2);
    text.push_str(name);
    text.push(VALUE);
    text.push_str(value);
    text.push(END);
}

/// Why this cannot be a name or a value; `None` if it can.
pub(crate) fn objection(text: &str) -> Option<&'static str> {
    // An empty one vanishes when a broker writes the properties anew.
    if text.is_empty() {
        return Some("is empty, which RocketMQ does not keep");
    }
    text.contains([VALUE, END]).then_some("has the character 0x01 or 0x02, with which RocketMQ divides properties")
}

/// Reads a text; bytes that are no UTF-8 are replaced. Of a name that is there twice the last counts, as in Java.
pub(crate) fn parse(text: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(text);
    let mut properties: Vec<(String, String)> = Vec::new();
    for (name, value) in text.split(END).filter_map(|pair| pair.split_once(VALUE)) {
        match properties.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => properties.push((name.to_owned(), value.to_owned())),
        }
    }
    properties
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_java_brokers_are_read() {
        for (text, properties) in [
            ("", vec![]),
            ("KEYS\u{1}a b\u{2}TAGS\u{1}t\u{2}", vec![("KEYS", "a b"), ("TAGS", "t")]),
            // The last divider may be missing.
            ("a\u{1}1\u{2}b\u{1}2", vec![("a", "1"), ("b", "2")]),
            ("a\u{1}1\u{2}garbage\u{2}a\u{1}2\u{2}", vec![("a", "2")]),
            ("a\u{1}x=\u{1}y\u{2}", vec![("a", "x=\u{1}y")]),
        ] {
            let properties: Vec<_> = properties.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(parse(text.as_bytes()), properties, "{text:?}");
        }
    }

    #[test]
    fn names_of_rocketmq_are_reserved_and_others_are_not() {
        for name in ["KEYS", "TAGS", "UNIQ_KEY", "DELAY", "__STARTDELIVERTIME", "TIMER_DELAY_MS"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["keys", "trace-id", "_one", "KEY"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(pairs in proptest::collection::btree_map("[^\u{1}\u{2}]{1,9}", "[^\u{1}\u{2}]{1,20}", 0..9)) {
            let mut text = String::new();
            for (name, value) in &pairs {
                prop_assert_eq!((objection(name), objection(value)), (None, None));
                push(&mut text, name, value);
            }
            prop_assert_eq!(parse(text.as_bytes()), pairs.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            parse(&bytes);
        }
    }
}

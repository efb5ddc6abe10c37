//! What becomes of a message that is sent.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::delay::Delay;
use super::properties::{DELAY_LEVEL, DELAY_MS, KEYS, LONGEST, TAGS, UNIQUE, WAIT, is_reserved, objection, push};

/// Body and text of one message, alone or in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub body: Bytes,
    pub properties: String,
}

impl Ready {
    /// Bytes that it takes in a batch.
    pub fn size(&self) -> usize {
        20 + self.body.len() + 2 + self.properties.len()
    }
}

/// The text of a message.
///
/// # Errors
/// In words, what RocketMQ cannot keep as it is: it knows text only, and names once.
pub(crate) fn text(
    key: Option<&[u8]>,
    tag: Option<&str>,
    headers: &[(String, Bytes)],
    delay: Option<Delay>,
    id: &str,
) -> Result<String, String> {
    let mut text = String::with_capacity(96);
    push(&mut text, UNIQUE, id);
    push(&mut text, WAIT, "true");
    if let Some(key) = key {
        push(&mut text, KEYS, keepable("key", key)?);
    }
    if let Some(tag) = tag {
        if tag.contains("||") || tag.trim() != tag || tag == "*" {
            return Err(format!("tag {tag:?}: with ||, blanks around it or as * no consumer could ask for it"));
        }
        push(&mut text, TAGS, keepable("tag", tag.as_bytes())?);
    }
    match delay {
        None => {}
        Some(Delay::Level(level)) => push(&mut text, DELAY_LEVEL, &level.to_string()),
        Some(Delay::Millis(millis)) => push(&mut text, DELAY_MS, &millis.to_string()),
    }
    for (at, (name, value)) in headers.iter().enumerate() {
        if let Some(why) = objection(name) {
            return Err(format!("the name of header {name:?} {why}"));
        }
        if is_reserved(name) {
            return Err(format!("header {name:?}: RocketMQ uses this name itself"));
        }
        if headers[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("header {name:?} is there twice; RocketMQ keeps one of each name"));
        }
        push(&mut text, name, keepable(&format!("header {name:?}"), value)?);
    }
    if text.len() > LONGEST {
        return Err(format!("key, tag and headers take {} bytes; at most {LONGEST}", text.len()));
    }
    Ok(text)
}

fn keepable<'a>(what: &str, value: &'a [u8]) -> Result<&'a str, String> {
    let value = std::str::from_utf8(value).map_err(|_| format!("{what} is not UTF-8 text, which is all that RocketMQ keeps"))?;
    match objection(value) {
        None => Ok(value),
        Some(why) => Err(format!("{what} {why}")),
    }
}

/// Several messages as the body of one request.
pub(crate) fn batch<'a>(messages: impl IntoIterator<Item = &'a Ready> + Clone) -> Bytes {
    let mut bytes = BytesMut::with_capacity(messages.clone().into_iter().map(Ready::size).sum());
    for message in messages {
        bytes.put_u32(u32::try_from(message.size()).unwrap_or(u32::MAX));
        // Magic, checksum and flag: the broker makes its own.
        bytes.put_bytes(0, 12);
        bytes.put_u32(u32::try_from(message.body.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&message.body);
        bytes.put_u16(u16::try_from(message.properties.len()).unwrap_or(u16::MAX));
        bytes.put_slice(message.properties.as_bytes());
    }
    bytes.freeze()
}

/// Java's `String.hashCode`, by which its clients choose a queue and brokers a tag.
pub(crate) fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The place of a key among so many queues, as Java's `SelectMessageQueueByHash` finds it. A key that is no text was refused before.
pub(crate) fn place_of(key: &[u8], queues: usize) -> usize {
    let hash = java_hash(&String::from_utf8_lossy(key));
    let count = i32::try_from(queues.max(1)).unwrap_or(i32::MAX);
    usize::try_from((hash % count).unsigned_abs()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::properties;
    use super::*;

    fn header(name: &str, value: &[u8]) -> (String, Bytes) {
        (name.to_owned(), Bytes::copy_from_slice(value))
    }

    #[test]
    fn what_rocketmq_can_keep_is_written() {
        let headers = [header("trace", b"1"), header("b", "ü".as_bytes())];
        let text = text(Some(b"order-7 late"), Some("paid"), &headers, Some(Delay::Millis(1_500)), "ID").unwrap();
        let expected = [
            ("UNIQ_KEY", "ID"),
            ("WAIT", "true"),
            ("KEYS", "order-7 late"),
            ("TAGS", "paid"),
            ("TIMER_DELAY_MS", "1500"),
            ("trace", "1"),
            ("b", "ü"),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        assert_eq!(properties::parse(text.as_bytes()), expected);
    }

    #[test]
    fn what_it_cannot_keep_is_refused_by_name() {
        for (key, tag, headers, said) in [
            (Some(&b"\xff"[..]), None, vec![], "key is not UTF-8"),
            (Some(&b""[..]), None, vec![], "key is empty"),
            (None, Some("a||b"), vec![], "tag \"a||b\""),
            (None, Some("*"), vec![], "tag \"*\""),
            (None, None, vec![header("h", &[0xff])], "header \"h\" is not UTF-8"),
            (None, None, vec![header("h", b"")], "header \"h\" is empty"),
            (None, None, vec![header("h", b"a\x01b")], "header \"h\" has the character 0x01"),
            (None, None, vec![header("a\u{2}", b"v")], "name of header \"a\\u{2}\""),
            (None, None, vec![header("h", b"1"), header("h", b"2")], "header \"h\" is there twice"),
            (None, None, vec![header("KEYS", b"k")], "header \"KEYS\""),
            (None, None, vec![header("h", &[b'x'; 40_000])], "at most 32767"),
        ] {
            let why = text(key, tag, &headers, None, "ID").unwrap_err();
            assert!(why.contains(said), "{said}: {why}");
        }
    }

    #[test]
    fn a_key_goes_to_the_queue_that_java_chooses() {
        // "polygenelubricants".hashCode() is the smallest number there is.
        for (text, hash) in [("", 0), ("a", 97), ("order-7", -1_207_111_304), ("ü", 252), ("polygenelubricants", i32::MIN)] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
        assert_eq!((place_of(b"a", 4), place_of(b"polygenelubricants", 7)), (1, 2));
    }

    #[test]
    fn a_batch_is_one_message_after_the_other() {
        let one = Ready { body: Bytes::from_static(b"body"), properties: "a\u{1}b\u{2}".to_owned() };
        let bytes = batch([&one, &one]);
        assert_eq!(bytes.len(), 2 * one.size());
        assert_eq!(&bytes[..4], &30_u32.to_be_bytes());
        assert_eq!(&bytes[16..24], b"\0\0\0\x04body");
    }

    proptest! {
        #[test]
        fn every_key_has_a_place(key: Vec<u8>, queues in 1_usize..999) {
            prop_assert!(place_of(&key, queues) < queues);
        }
    }
}

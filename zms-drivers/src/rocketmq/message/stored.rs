//! Messages as brokers keep them and hand them out.

use bytes::{Buf as _, Bytes};

use super::inflate::inflate;
use super::properties;

/// Topic names with a length of one byte, and, from 5.1 on, of two.
const MAGIC: [i32; 2] = [-626_843_481, -626_843_477];
/// Parts of the flag that say how an address was written.
const BORN_V6: i32 = 0x10;
const STORED_V6: i32 = 0x20;

/// A message from a broker's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub topic: String,
    pub queue: i32,
    /// In its queue.
    pub offset: i64,
    /// In the broker's commit log: by this it is sent back.
    pub log_offset: i64,
    /// Milliseconds since 1970, by its producer.
    pub born_ms: i64,
    /// How often it was sent back.
    pub sent_back: i32,
    /// In the order of the broker, each name once.
    pub properties: Vec<(String, String)>,
    /// Uncompressed; in words why it cannot be read.
    pub body: Result<Bytes, String>,
}

impl Stored {
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// All messages of an answer.
///
/// # Errors
/// In words, where it could not be understood; a body that cannot be uncompressed is no error here.
pub(crate) fn decode(mut answer: Bytes) -> Result<Vec<Stored>, String> {
    let mut messages = Vec::new();
    while !answer.is_empty() {
        let at = messages.len();
        let size = answer.try_get_i32().map_err(|_| format!("message {at}: {} bytes left", answer.len()))?;
        let size = usize::try_from(size).ok().and_then(|size| size.checked_sub(4)).filter(|size| *size <= answer.len());
        let size = size.ok_or_else(|| format!("message {at}: its size does not fit into {} bytes", answer.len()))?;
        messages
            .push(one(answer.split_to(size)).ok_or_else(|| format!("message {at} of {size} bytes: cut off or unknown format"))?);
    }
    Ok(messages)
}

fn one(mut bytes: Bytes) -> Option<Stored> {
    let magic = bytes.try_get_i32().ok()?;
    let wide = magic == MAGIC[1];
    if !MAGIC.contains(&magic) {
        return None;
    }
    let _checksum = bytes.try_get_i32().ok()?;
    let queue = bytes.try_get_i32().ok()?;
    let _user_flag = bytes.try_get_i32().ok()?;
    let offset = bytes.try_get_i64().ok()?;
    let log_offset = bytes.try_get_i64().ok()?;
    let flag = bytes.try_get_i32().ok()?;
    let born_ms = bytes.try_get_i64().ok()?;
    take(&mut bytes, address(flag & BORN_V6 != 0))?;
    let _stored_ms = bytes.try_get_i64().ok()?;
    take(&mut bytes, address(flag & STORED_V6 != 0))?;
    let sent_back = bytes.try_get_i32().ok()?;
    let _prepared_transaction = bytes.try_get_i64().ok()?;
    let length = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    let body = take(&mut bytes, length)?;
    let length = if wide { usize::from(bytes.try_get_u16().ok()?) } else { usize::from(bytes.try_get_u8().ok()?) };
    let topic = String::from_utf8_lossy(&take(&mut bytes, length)?).into_owned();
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let properties = properties::parse(&take(&mut bytes, length)?);
    Some(Stored { topic, queue, offset, log_offset, born_ms, sent_back, properties, body: inflate(body, flag) })
}

/// Bytes of an address with its port.
fn address(v6: bool) -> usize {
    if v6 { 20 } else { 8 }
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::{BufMut as _, BytesMut};
    use proptest::prelude::*;

    use super::*;

    /// As a broker writes it. Only what a consumer looks at can be chosen.
    pub(crate) fn encode(message: &Stored, flag: i32, wide: bool) -> Bytes {
        let mut text = String::new();
        message.properties.iter().for_each(|(name, value)| properties::push(&mut text, name, value));
        let body = message.body.clone().unwrap();
        let mut bytes = BytesMut::new();
        bytes.put_i32(MAGIC[usize::from(wide)]);
        bytes.put_i32(0);
        bytes.put_i32(message.queue);
        bytes.put_i32(0);
        bytes.put_i64(message.offset);
        bytes.put_i64(message.log_offset);
        bytes.put_i32(flag);
        bytes.put_i64(message.born_ms);
        bytes.put_bytes(0, address(flag & BORN_V6 != 0));
        bytes.put_i64(0);
        bytes.put_bytes(0, address(flag & STORED_V6 != 0));
        bytes.put_i32(message.sent_back);
        bytes.put_i64(0);
        bytes.put_i32(body.len().try_into().unwrap());
        bytes.put_slice(&body);
        if wide {
            bytes.put_u16(message.topic.len().try_into().unwrap());
        } else {
            bytes.put_u8(message.topic.len().try_into().unwrap());
        }
        bytes.put_slice(message.topic.as_bytes());
        bytes.put_i16(text.len().try_into().unwrap());
        bytes.put_slice(text.as_bytes());
        let mut whole = BytesMut::new();
        whole.put_i32((bytes.len() + 4).try_into().unwrap());
        whole.put_slice(&bytes);
        whole.freeze()
    }

    pub(crate) fn message(topic: &str, offset: i64) -> Stored {
        Stored {
            topic: topic.to_owned(),
            queue: 3,
            offset,
            log_offset: offset * 200,
            born_ms: 1_795_824_001_000,
            sent_back: 0,
            properties: vec![("TAGS".into(), "paid".into()), ("UNIQ_KEY".into(), "7F00".into())],
            body: Ok(Bytes::from_static(b"body")),
        }
    }

    #[test]
    fn both_formats_and_both_kinds_of_address_are_read() {
        let (first, second) = (message("orders", 7), message("orders", 8));
        for flag in [0, BORN_V6, STORED_V6, BORN_V6 | STORED_V6] {
            for wide in [false, true] {
                let mut answer = encode(&first, flag, wide).to_vec();
                answer.extend_from_slice(&encode(&second, flag, wide));
                assert_eq!(decode(answer.into()).unwrap(), [first.clone(), second.clone()], "{flag} {wide}");
            }
        }
    }

    #[test]
    fn a_damaged_body_does_not_hide_the_next_message() {
        let mut answer = encode(&message("orders", 7), 1, false).to_vec();
        answer.extend_from_slice(&encode(&message("orders", 8), 0, false));
        let messages = decode(answer.into()).unwrap();
        assert!(messages[0].body.is_err());
        assert_eq!(messages[1].body.as_deref().unwrap(), b"body");
    }

    #[test]
    fn an_answer_that_is_cut_off_says_where() {
        let whole = encode(&message("orders", 7), 0, false);
        for length in 1..whole.len() {
            assert!(decode(whole.slice(..length)).unwrap_err().contains("message 0"), "{length} bytes");
        }
        assert_eq!(decode(Bytes::new()), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, wide: bool, index in 0_usize..90, byte: u8) {
            let _ = decode(bytes.into());
            let mut damaged = encode(&message("orders", 7), 0, wide).to_vec();
            damaged[index] = byte;
            let _ = decode(damaged.into());
        }
    }
}

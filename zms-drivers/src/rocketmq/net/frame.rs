//! Frames of RocketMQ's remoting protocol: length, header, body.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// A frame is larger only by a fault.
const LARGEST: usize = 64 << 20;
/// Headers as JSON, as name servers and old brokers may answer.
const JSON: u8 = 0;
/// Headers as bytes, which is quicker on both sides; every version since 3.5 reads it and answers with it.
const BINARY: u8 = 1;
/// "Another language": known to every version.
const LANGUAGE: u8 = 7;
/// 4.9.3: brokers take clients of newer versions to know things that this one does not do.
const VERSION: i16 = 399;
const IS_RESPONSE: i32 = 1;
const IS_ONE_WAY: i32 = 2;

/// A request or an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub code: i32,
    pub version: i32,
    pub opaque: i32,
    pub flag: i32,
    pub remark: String,
    pub fields: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Frame {
    pub fn is_response(&self) -> bool {
        self.flag & IS_RESPONSE != 0
    }

    pub fn is_one_way(&self) -> bool {
        self.flag & IS_ONE_WAY != 0
    }
}

/// Writes a frame; `answers`: it is an answer.
pub(crate) fn encode<'a>(
    to: &mut BytesMut,
    (code, opaque, answers): (i32, i32, bool),
    remark: &str,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) {
    let begin = to.len();
    to.put_u32(0);
    to.put_u32(0);
    // Codes have 16 bits in this format; there is none beyond.
    to.put_i16(i16::try_from(code).unwrap_or(i16::MAX));
    to.put_u8(LANGUAGE);
    to.put_i16(VERSION);
    to.put_i32(opaque);
    to.put_i32(if answers { IS_RESPONSE } else { 0 });
    put_text(to, remark);
    let at = to.len();
    to.put_u32(0);
    for (name, value) in fields {
        to.put_u16(u16::try_from(name.len()).unwrap_or(0));
        to.put_slice(name.as_bytes());
        put_text(to, value);
    }
    put_length(to, at, to.len() - at - 4);
    let header = to.len() - begin - 8;
    put_length(to, begin + 4, header | usize::from(BINARY) << 24);
    to.put_slice(body);
    put_length(to, begin, to.len() - begin - 4);
}

fn put_text(to: &mut BytesMut, text: &str) {
    to.put_u32(u32::try_from(text.len()).unwrap_or(0));
    to.put_slice(text.as_bytes());
}

fn put_length(to: &mut BytesMut, at: usize, length: usize) {
    to[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

/// Takes the next frame out of what was read; `None` while it is not all there.
///
/// # Errors
/// In words, if this is no such frame: nothing that follows can be read.
pub(crate) fn decode(read: &mut BytesMut) -> Result<Option<Frame>, String> {
    let Some(length) = read.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if !(4..=LARGEST).contains(&length) {
        return Err(format!("a frame of {length} bytes"));
    }
    if read.len() < 4 + length {
        read.reserve(4 + length - read.len());
        return Ok(None);
    }
    let mut frame = read.split_to(4 + length).freeze().slice(4..);
    let mark = frame.get_u32();
    let header = (mark & 0x00ff_ffff) as usize;
    if header > frame.len() {
        return Err(format!("a header of {header} bytes in a frame of {length}"));
    }
    let header = frame.split_to(header);
    match u8::try_from(mark >> 24).unwrap_or(u8::MAX) {
        BINARY => binary(header, frame).map(Some).ok_or_else(|| "a header that is cut off".to_owned()),
        JSON => json(&header, frame).map(Some),
        other => Err(format!("a header in format {other}")),
    }
}

fn binary(mut header: Bytes, body: Bytes) -> Option<Frame> {
    let code = i32::from(header.try_get_i16().ok()?);
    let _language = header.try_get_u8().ok()?;
    let version = i32::from(header.try_get_i16().ok()?);
    let opaque = header.try_get_i32().ok()?;
    let flag = header.try_get_i32().ok()?;
    let length = header.try_get_u32().ok()?;
    let remark = text(&mut header, length)?;
    let length = header.try_get_u32().ok()? as usize;
    let mut list = header.get(..length).map(Bytes::copy_from_slice)?;
    let mut fields = BTreeMap::new();
    while !list.is_empty() {
        let length = u32::from(list.try_get_u16().ok()?);
        let name = text(&mut list, length)?;
        let length = list.try_get_u32().ok()?;
        fields.insert(name, text(&mut list, length)?);
    }
    Some(Frame { code, version, opaque, flag, remark, fields, body })
}

fn text(from: &mut Bytes, length: u32) -> Option<String> {
    let length = length as usize;
    (length <= from.len()).then(|| String::from_utf8_lossy(&from.split_to(length)).into_owned())
}

fn json(header: &[u8], body: Bytes) -> Result<Frame, String> {
    let header = crate::rocketmq::json::parse(header).map_err(|error| format!("a header that is no JSON: {error}"))?;
    let number =
        |name: &str| header.get(name).and_then(serde_json::Value::as_i64).and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
    let fields = header.get("extFields").and_then(serde_json::Value::as_object);
    let fields =
        fields.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let remark = header.get("remark").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let (code, version, opaque, flag) = (number("code"), number("version"), number("opaque"), number("flag"));
    Ok(Frame { code, version, opaque, flag, remark, fields, body })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(fields: &[(&str, &str)], body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        encode(&mut bytes, (310, 7, true), "why", fields.iter().copied(), body);
        bytes
    }

    #[test]
    fn a_frame_is_read_when_it_is_whole_and_not_before() {
        let whole = frame(&[("topic", "orders"), ("e", "")], b"body");
        for length in 0..whole.len() {
            assert_eq!(decode(&mut BytesMut::from(&whole[..length])), Ok(None), "{length} bytes");
        }
        let mut two = whole.clone();
        two.extend_from_slice(&whole);
        for left in [whole.len(), 0] {
            let frame = decode(&mut two).unwrap().unwrap();
            assert_eq!((frame.code, frame.opaque, frame.version, frame.remark.as_str()), (310, 7, 399, "why"));
            assert!(frame.is_response() && !frame.is_one_way());
            assert_eq!(frame.fields, BTreeMap::from([("topic", "orders"), ("e", "")].map(|(k, v)| (k.to_owned(), v.to_owned()))));
            assert_eq!((&frame.body[..], two.len()), (&b"body"[..], left));
        }
    }

    #[test]
    fn answers_with_a_header_in_json_are_read() {
        let header =
            br#"{"code":17,"extFields":{"a":"b"},"flag":1,"language":"JAVA","opaque":9,"remark":"no topic","version":407}"#;
        let mut bytes = BytesMut::new();
        bytes.put_u32(u32::try_from(header.len()).unwrap() + 6);
        bytes.put_u32(u32::try_from(header.len()).unwrap());
        bytes.put_slice(header);
        bytes.put_slice(b"xy");
        let frame = decode(&mut bytes).unwrap().unwrap();
        assert_eq!((frame.code, frame.opaque, frame.version, &frame.body[..]), (17, 9, 407, &b"xy"[..]));
    }

    #[test]
    fn what_is_no_frame_says_so() {
        for bytes in [
            &b"\xff\xff\xff\xff"[..],
            b"\0\0\0\x02xx",
            b"HTTP/1.1 400 Bad Request",
            b"\0\0\0\x04\0\0\0\x09",
            b"\0\0\0\x04\x09\0\0\0",
        ] {
            assert!(decode(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, at in 0_usize..60, byte: u8) {
            let _ = decode(&mut BytesMut::from(&bytes[..]));
            let mut damaged = frame(&[("topic", "orders")], b"body");
            let length = damaged.len();
            damaged[4 + at % (length - 4)] = byte;
            let _ = decode(&mut damaged);
        }
    }
}

//! Kafka's protocol as far as a probe needs it: ApiVersions 0 and Metadata 1, written and read by hand.
//!
//! Both are older than flexible versions, so their frames have no tagged fields, and every broker from 0.10 on
//! speaks them. Metadata must list the broker itself: a broker that started but is fenced by its controller
//! answers ApiVersions as well.

use super::{REPLY_LIMIT, Verdict};

const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const METADATA_VERSION: i16 = 1;

/// The correlation id of the first question; the second has the next one. Unlikely in bytes that are no answer.
const CORRELATION: i32 = 0x5a4d_5301;

/// The first question: which calls does it know?
pub(super) fn api_versions() -> Vec<u8> {
    frame(API_VERSIONS, 0, CORRELATION, &[])
}

/// The second question: who are the brokers? An empty array asks for no topics.
fn metadata() -> Vec<u8> {
    frame(METADATA, METADATA_VERSION, CORRELATION + 1, &0i32.to_be_bytes())
}

/// A request: length, key, version, correlation id, client id, body.
fn frame(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    const CLIENT: &[u8] = b"zms-probe";
    let mut out = vec![0; 4];
    out.extend(key.to_be_bytes());
    out.extend(version.to_be_bytes());
    out.extend(correlation.to_be_bytes());
    out.extend((CLIENT.len() as i16).to_be_bytes());
    out.extend(CLIENT);
    out.extend(body);
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// Judges the answer to ApiVersions (0) or Metadata (1).
pub(super) fn check(question: usize, reply: &[u8], end: bool, node_id: i32) -> Verdict {
    let body = match whole_frame(reply, end) {
        Ok(body) => body,
        Err(verdict) => return verdict,
    };
    let judged = match question {
        0 => check_api_versions(body),
        1 => check_metadata(body, node_id),
        _ => Err("there was no such question".to_owned()),
    };
    judged.unwrap_or_else(Verdict::NotYet)
}

/// The frame without its length, once it is whole; before that, what to do instead.
fn whole_frame(reply: &[u8], end: bool) -> Result<&[u8], Verdict> {
    let cut = |wanted: usize| {
        Err(match (end, reply.len()) {
            (false, _) => Verdict::Partial,
            (true, 0) => Verdict::NotYet("the connection closed without an answer".to_owned()),
            (true, length) => Verdict::NotYet(format!("the connection closed after {length} of {wanted} bytes")),
        })
    };
    let Some((head, rest)) = reply.split_first_chunk::<4>() else { return cut(4) };
    let length = i32::from_be_bytes(*head);
    let Some(length) = usize::try_from(length).ok().filter(|length| (4..=REPLY_LIMIT - 4).contains(length)) else {
        let hint = if head[0] == 0x15 { ": this listener wants TLS" } else { ": this is no Kafka broker" };
        return Err(Verdict::NotYet(format!("it answers with a frame of {length} bytes{hint}")));
    };
    match rest.len() {
        got if got < length => cut(length + 4),
        got if got > length => Err(Verdict::NotYet(format!("it sends {} bytes more than its answer has", got - length))),
        _ => Ok(rest),
    }
}

fn check_api_versions(body: &[u8]) -> Result<Verdict, String> {
    let mut reader = Reader { rest: body, what: "ApiVersions" };
    reader.correlation(CORRELATION)?;
    let error = reader.i16()?;
    if error != 0 {
        return Err(format!("it answers ApiVersions with error {error}"));
    }
    let mut metadata_range = None;
    for _ in 0..reader.count()? {
        let (key, oldest, newest) = (reader.i16()?, reader.i16()?, reader.i16()?);
        if key == METADATA {
            metadata_range = Some((oldest, newest));
        }
    }
    reader.end()?;
    match metadata_range {
        Some((oldest, newest)) if (oldest..=newest).contains(&METADATA_VERSION) => {
            Ok(Verdict::Ask { request: metadata(), reconnect: false })
        }
        Some((oldest, newest)) => Err(format!("it speaks Metadata {oldest} to {newest}, not {METADATA_VERSION}")),
        None => Err("it does not know the call Metadata".to_owned()),
    }
}

fn check_metadata(body: &[u8], node_id: i32) -> Result<Verdict, String> {
    let mut reader = Reader { rest: body, what: "Metadata" };
    reader.correlation(CORRELATION + 1)?;
    let mut listed = false;
    for _ in 0..reader.count()? {
        let id = reader.i32()?;
        let host = reader.string()?.unwrap_or_default();
        let _port = reader.i32()?;
        let _rack = reader.string()?;
        listed |= id == node_id && !host.is_empty();
    }
    let _controller = reader.i32()?;
    let topics = reader.count()?;
    if topics != 0 {
        return Err(format!("its answer to Metadata lists {topics} topics, though none was asked for"));
    }
    reader.end()?;
    if listed { Ok(Verdict::Healthy) } else { Err(format!("broker {node_id} is not among the brokers that it lists yet")) }
}

/// Reads numbers and texts off a frame, never beyond its end and without allocating for a length it only claims.
struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| format!("its answer to {} ends too early", self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, String> {
        let bytes = self.take(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn i32(&mut self) -> Result<i32, String> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The length of an array.
    fn count(&mut self) -> Result<usize, String> {
        let count = self.i32()?;
        usize::try_from(count).map_err(|_| format!("its answer to {} has an array of {count} entries", self.what))
    }

    /// A nullable string; `None` for null.
    fn string(&mut self) -> Result<Option<&'a [u8]>, String> {
        match self.i16()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(format!("its answer to {} has a text of {length} bytes", self.what)),
            },
        }
    }

    fn correlation(&mut self, wanted: i32) -> Result<(), String> {
        let got = self.i32()?;
        if got == wanted { Ok(()) } else { Err(format!("its answer to {} belongs to another question", self.what)) }
    }

    fn end(&self) -> Result<(), String> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(format!("its answer to {} has {} bytes too many", self.what, self.rest.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(correlation: i32, body: &[u8]) -> Vec<u8> {
        let mut out = ((body.len() + 4) as i32).to_be_bytes().to_vec();
        out.extend(correlation.to_be_bytes());
        out.extend(body);
        out
    }

    fn versions(error: i16, apis: &[(i16, i16, i16)]) -> Vec<u8> {
        let mut body = error.to_be_bytes().to_vec();
        body.extend((apis.len() as i32).to_be_bytes());
        for (key, oldest, newest) in apis {
            body.extend([key.to_be_bytes(), oldest.to_be_bytes(), newest.to_be_bytes()].concat());
        }
        framed(CORRELATION, &body)
    }

    fn brokers(list: &[(i32, &str)]) -> Vec<u8> {
        let mut body = (list.len() as i32).to_be_bytes().to_vec();
        for (id, host) in list {
            body.extend(id.to_be_bytes());
            body.extend((host.len() as i16).to_be_bytes());
            body.extend(host.as_bytes());
            body.extend(9092i32.to_be_bytes());
            body.extend((-1i16).to_be_bytes());
        }
        body.extend(1i32.to_be_bytes());
        body.extend(0i32.to_be_bytes());
        framed(CORRELATION + 1, &body)
    }

    fn why(verdict: Verdict) -> String {
        match verdict {
            Verdict::NotYet(why) => why,
            other => panic!("expected NotYet, got {other:?}"),
        }
    }

    #[test]
    fn the_questions_are_what_a_broker_expects() {
        assert_eq!(api_versions(), b"\0\0\0\x13\0\x12\0\0\x5a\x4d\x53\x01\0\x09zms-probe");
        assert_eq!(metadata(), b"\0\0\0\x17\0\x03\0\x01\x5a\x4d\x53\x02\0\x09zms-probe\0\0\0\0");
    }

    #[test]
    fn a_broker_that_lists_itself_is_healthy() {
        let asked = check(0, &versions(0, &[(0, 0, 13), (3, 0, 13), (18, 0, 4)]), false, 1);
        assert_eq!(asked, Verdict::Ask { request: metadata(), reconnect: false });
        assert_eq!(check(1, &brokers(&[(2, "b"), (1, "10.0.0.1")]), false, 1), Verdict::Healthy);
    }

    #[test]
    fn every_beginning_of_an_answer_is_partial_and_a_cut_one_says_how_much_came() {
        for (question, reply) in [(0, versions(0, &[(3, 0, 13)])), (1, brokers(&[(1, "h")]))] {
            for length in 0..reply.len() {
                assert_eq!(check(question, &reply[..length], false, 1), Verdict::Partial, "{length}");
                let said = why(check(question, &reply[..length], true, 1));
                let expected = match length {
                    0 => "without an answer".to_owned(),
                    1..4 => format!("after {length} of 4 bytes"),
                    _ => format!("after {length} of {} bytes", reply.len()),
                };
                assert!(said.contains(&expected), "{said}");
            }
        }
    }

    #[test]
    fn everything_else_is_a_sentence() {
        let mut crowded = versions(0, &[(3, 0, 13)]);
        crowded.push(0);
        let cases: [(usize, Vec<u8>, &str); 16] = [
            (0, versions(35, &[]), "error 35"),
            (0, versions(0, &[(18, 0, 4)]), "does not know the call Metadata"),
            (0, versions(0, &[(3, 4, 13)]), "speaks Metadata 4 to 13, not 1"),
            (0, crowded, "1 bytes more"),
            (0, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "this is no Kafka broker"),
            (0, b"\x15\x03\x03\x00\x02\x02\x46".to_vec(), "wants TLS"),
            (0, (-1i32).to_be_bytes().to_vec(), "frame of -1 bytes"),
            (0, (REPLY_LIMIT as i32).to_be_bytes().to_vec(), "this is no Kafka broker"),
            (0, i32::MAX.to_be_bytes().to_vec(), "this is no Kafka broker"),
            (0, framed(7, &[0; 6]), "another question"),
            (0, framed(CORRELATION, &[0, 0, 0x7f, 0xff, 0xff, 0xff]), "ends too early"),
            (0, framed(CORRELATION, &[0, 0, 0xff, 0xff, 0xff, 0xff]), "array of -1"),
            (1, framed(CORRELATION + 1, &[0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0]), "text of -32768"),
            (1, brokers(&[]), "broker 1 is not among the brokers that it lists yet"),
            (1, brokers(&[(2, "b")]), "broker 1 is not among the brokers that it lists yet"),
            (1, brokers(&[(1, "")]), "broker 1 is not among the brokers that it lists yet"),
        ];
        for (question, reply, expected) in cases {
            let said = why(check(question, &reply, false, 1));
            assert!(said.contains(expected), "{reply:?}: {said}");
        }
        assert!(why(check(2, &brokers(&[(1, "h")]), false, 1)).contains("no such question"));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_no_random_bytes_are_healthy(
            question in 0usize..3, reply in proptest::collection::vec(any::<u8>(), 0..600), end: bool, node_id: i32,
        ) {
            prop_assert!(check(question, &reply, end, node_id) != Verdict::Healthy);
            prop_assert!(check(question, &framed(CORRELATION + 1, &reply), end, node_id) != Verdict::Healthy);
        }

        #[test]
        fn a_damaged_answer_does_not_panic(at in 0usize..40, byte: u8, end: bool) {
            for reply in [versions(0, &[(3, 0, 13), (18, 0, 4)]), brokers(&[(1, "10.0.0.1"), (2, "b")])] {
                let mut reply = reply;
                let at = at % reply.len();
                reply[at] = byte;
                let _ = (check(0, &reply, end, 1), check(1, &reply, end, 1));
            }
        }
    }
}

//! Frames. The codec is `rocketmq-protocol`, which reads both kinds of header (JSON, binary); here are its bounds and our words.

use bytes::{Bytes, BytesMut};
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;
use rocketmq_protocol::protocol::{LanguageCode, SerializeType};

use super::{Answer, Request};

/// Largest frame in bytes that is accepted where nothing else is said.
pub const LARGEST_FRAME: usize = 64 << 20;

/// What we claim to be: a client that any broker from 4.9 on serves, and for which 5.x does nothing that 4.9 would not.
const VERSION: i32 = 399;

/// One frame, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Somebody asks; `oneway`: and wants no answer.
    Request {
        /// Number of the request.
        opaque: i32,
        /// No answer is wanted.
        oneway: bool,
        /// What is asked.
        request: Request,
    },
    /// Somebody answers.
    Answer {
        /// Number of the request.
        opaque: i32,
        /// What is answered.
        answer: Answer,
    },
}

/// Requests of which there are thousands a second: pulling and sending. Their header goes in bytes, which both sides read more quickly than
/// JSON; it keeps no field that is empty, and none of these needs one.
const OFTEN: [i32; 3] = [11, 310, 320];

fn command(code: i32, opaque: i32) -> RemotingCommand {
    let header = if OFTEN.contains(&code) { SerializeType::ROCKETMQ } else { SerializeType::JSON };
    // OTHER is a language that every version knows.
    RemotingCommand::with_resolved_defaults(VERSION, header).set_code(code).set_language(LanguageCode::OTHER).set_opaque(opaque)
}

/// The bytes of a frame.
///
/// # Errors
/// What cannot be written.
pub fn encode(frame: Frame) -> Result<Bytes, String> {
    let (mut command, fields, body) = match frame {
        Frame::Request { opaque, oneway, request } => {
            let command = command(request.code, opaque);
            (if oneway { command.mark_oneway_rpc() } else { command }, request.fields, request.body)
        }
        Frame::Answer { opaque, answer } => {
            let command = command(answer.code, opaque).mark_response_type();
            let remark = Some(answer.remark).filter(|remark| !remark.is_empty());
            (command.set_remark_option(remark), answer.fields, answer.body)
        }
    };
    for (name, value) in fields {
        command.add_ext_field(name, value);
    }
    if !body.is_empty() {
        command.set_body_mut_ref(body);
    }
    let mut bytes = BytesMut::new();
    command.try_fast_header_encode(&mut bytes).map_err(|error| error.to_string())?;
    if let Some(body) = command.body() {
        bytes.extend_from_slice(body);
    }
    Ok(bytes.freeze())
}

/// Takes the next frame out of what was read; `None` while it is not whole.
///
/// # Errors
/// Why the rest of the stream is of no use: a frame larger than `largest`, or one that is none.
pub fn decode(read: &mut BytesMut, largest: usize) -> Result<Option<Frame>, String> {
    let decoded = RemotingCommand::decode_with_max_frame_bytes(read, largest).map_err(|error| error.to_string())?;
    let Some(mut command) = decoded else { return Ok(None) };
    let opaque = command.opaque();
    let fields = command.ext_fields().into_iter().flatten().map(|(name, value)| (name.to_string(), value.to_string()));
    let fields = fields.collect();
    let body = command.take_body().unwrap_or_default();
    let (code, version) = (command.code(), command.version());
    if command.is_response_type() {
        let remark = command.remark().map(ToString::to_string).unwrap_or_default();
        return Ok(Some(Frame::Answer { opaque, answer: Answer { code, remark, version, fields, body } }));
    }
    let oneway = command.is_oneway_rpc();
    Ok(Some(Frame::Request { opaque, oneway, request: Request { code, fields, body } }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let fields = prop::collection::btree_map("[a-zA-Z]{1,12}", "\\PC{0,40}", 0..6);
        let body = prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        (any::<bool>(), any::<bool>(), any::<u16>(), any::<i32>(), "\\PC{0,40}", fields, body).prop_map(
            |(asks, oneway, code, opaque, remark, fields, body)| {
                let code = i32::from(code >> 1);
                if asks {
                    Frame::Request { opaque, oneway, request: Request { code, fields, body } }
                } else {
                    Frame::Answer { opaque, answer: Answer { code, remark, version: VERSION, fields, body } }
                }
            },
        )
    }

    /// As Java writes it: header kind and length, header, body.
    fn raw(kind: u8, header: &[u8], body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.put_u32(u32::try_from(4 + header.len() + body.len()).unwrap());
        bytes.put_u32((u32::from(kind) << 24) | u32::try_from(header.len()).unwrap());
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn both_kinds_of_header_are_read() {
        let json = br#"{"code":17,"extFields":{"a":"b"},"flag":1,"language":"JAVA","opaque":7,"remark":"no topic","serializeTypeCurrentRPC":"JSON","version":401}"#;
        let mut binary = BytesMut::new();
        binary.put_i16(17);
        binary.put_u8(0);
        binary.put_i16(401);
        binary.put_i32(7);
        binary.put_i32(1);
        binary.put_u32(8);
        binary.extend_from_slice(b"no topic");
        binary.put_u32(8);
        binary.put_u16(1);
        binary.extend_from_slice(b"a");
        binary.put_u32(1);
        binary.extend_from_slice(b"b");
        let fields = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let answer = Answer { code: 17, remark: "no topic".to_owned(), version: 401, fields, body: Bytes::from_static(b"body") };
        for (kind, header) in [(0, &json[..]), (1, &binary[..])] {
            let read = decode(&mut raw(kind, header, b"body"), LARGEST_FRAME);
            assert_eq!(read, Ok(Some(Frame::Answer { opaque: 7, answer: answer.clone() })), "kind {kind}");
        }
    }

    #[test]
    fn a_frame_that_is_larger_than_the_bound_is_refused_before_it_is_waited_for() {
        for announced in [LARGEST_FRAME as u32, u32::MAX, 1 << 31] {
            let mut read = BytesMut::from(&announced.to_be_bytes()[..]);
            assert!(decode(&mut read, LARGEST_FRAME).is_err(), "{announced}");
        }
        let mut read = BytesMut::from(&[0, 0, 1, 0][..]);
        assert_eq!(decode(&mut read, LARGEST_FRAME), Ok(None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_in_whatever_pieces_it_comes(frames in prop::collection::vec(frames(), 1..4), piece in 1..64_usize) {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| encode(frame.clone()).unwrap()).collect();
            let (mut read, mut seen) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(piece) {
                read.extend_from_slice(piece);
                while let Some(frame) = decode(&mut read, LARGEST_FRAME).unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn garbage_neither_panics_nor_grows(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut read = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut read, 1 << 16) {}
            prop_assert!(read.capacity() <= 1 << 16);
        }

        /// Headers of hostile lengths inside a frame that is whole.
        #[test]
        fn broken_headers_neither_panic_nor_grow(kind in 0..4_u8, header in prop::collection::vec(any::<u8>(), 0..100), flips in prop::collection::vec((0..200_usize, any::<u8>()), 0..4)) {
            let mut read = raw(kind, &header, b"x");
            for (at, byte) in flips {
                if at >= 4 && at < read.len() {
                    read[at] = byte;
                }
            }
            let _ = decode(&mut read, 1 << 16);
        }

        #[test]
        fn a_flipped_byte_of_a_real_frame_does_not_panic(frame in frames(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut read = BytesMut::from(&encode(frame).unwrap()[..]);
            let at = at.index(read.len());
            read[at] = byte;
            let _ = decode(&mut read, 1 << 16);
        }
    }
}

//! What a connection does when the peer is no good broker: a peer made of bytes.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiVersionsResponse, MetadataRequest, api_versions_response::ApiVersion};
use kafka_protocol::protocol::Encodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Connection, Options, WireError};

/// What the peer does after versions were agreed on.
#[derive(Clone, Copy)]
enum Then {
    Send(&'static [u8]),
    /// Sends and hangs up.
    Close(&'static [u8]),
}

async fn request(stream: &mut TcpStream) -> Option<i32> {
    let length = stream.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.ok()?;
    Some(i32::from_be_bytes(frame[4..8].try_into().unwrap()))
}

fn answer(id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len() + 4).unwrap());
    frame.put_i32(id);
    frame.put_slice(body);
    frame.to_vec()
}

fn versions(version: i16, code: i16) -> BytesMut {
    let key = |key, max| ApiVersion::default().with_api_key(key).with_min_version(0).with_max_version(max);
    let answer = ApiVersionsResponse::default().with_error_code(code).with_api_keys(vec![key(3, 1), key(18, 0)]);
    let mut body = BytesMut::new();
    answer.encode(&mut body, version).unwrap();
    body
}

/// A peer for one connection that knows ApiVersions 0 and Metadata 1 only.
async fn peer(then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for code in [35, 0] {
            let id = request(&mut stream).await.unwrap();
            stream.write_all(&answer(id, &versions(0, code))).await.unwrap();
        }
        while request(&mut stream).await.is_some() {
            match then {
                Then::Send(bytes) => stream.write_all(bytes).await.unwrap(),
                Then::Close(bytes) => return stream.write_all(bytes).await.unwrap(),
            }
        }
    });
    address
}

fn options(address: &str) -> Options {
    let call_deadline = Duration::from_millis(300);
    Options { call_deadline, connect_deadline: Duration::from_secs(5), max_frame: 1 << 20, ..Options::plain([address]) }
}

async fn call(then: Then) -> (WireError, Connection) {
    let address = peer(then).await;
    let connection = Connection::open(&address, &options(&address)).await.unwrap();
    (connection.metadata(&MetadataRequest::default()).await.unwrap_err(), connection)
}

#[tokio::test]
async fn silence_ends_with_the_deadline_and_the_connection_stays() {
    let (error, connection) = call(Then::Send(b"")).await;
    assert!(matches!(error, WireError::Silent { call: "Metadata", .. }), "{error}");
    assert!(connection.is_open(), "a late answer is no fault of the bytes");
}

#[tokio::test]
async fn half_a_frame_and_silence_ends_with_the_deadline() {
    let (error, _) = call(Then::Send(b"\0\0\0\x10\0\0\0\x03\0\0")).await;
    assert!(matches!(error, WireError::Silent { .. }), "{error}");
}

#[tokio::test]
async fn half_a_frame_and_a_close_is_a_lost_connection() {
    let (error, connection) = call(Then::Close(b"\0\0\0\x10\0\0\0\x03\0\0")).await;
    assert!(matches!(&error, WireError::Lost { why, .. } if why.contains("after 6 of 16 bytes")), "{error}");
    assert!(!connection.is_open());
    let next = connection.metadata(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(next, WireError::Lost { .. }), "no deadline is waited for: {next}");
}

#[tokio::test]
async fn a_close_is_a_lost_connection() {
    let (error, _) = call(Then::Close(b"")).await;
    assert!(matches!(error, WireError::Lost { .. }), "{error}");
}

#[tokio::test]
async fn a_huge_or_negative_length_is_not_believed() {
    for length in [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\x10\0\x01", b"\0\0\0\x03", b"HTTP"] {
        let (error, connection) = call(Then::Send(length)).await;
        assert!(matches!(error, WireError::Garbled { .. }), "{length:?}: {error}");
        assert!(!connection.is_open());
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let (error, connection) = call(Then::Send(b"\0\0\0\x08\0\0\x30\x39abcd")).await;
    assert!(matches!(&error, WireError::Garbled { why, .. } if why.contains("12345")), "{error}");
    assert!(!connection.is_open());
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_garbled() {
    // The third request of the connection; the body breaks off in the list of brokers.
    let (error, _) = call(Then::Send(b"\0\0\0\x0a\0\0\0\x03\0\0\0\x02\0\0")).await;
    assert!(matches!(error, WireError::Garbled { call: "Metadata", .. }), "{error}");
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_no_broker_and_one_that_is_away_neither() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hasty = Options { connect_deadline: Duration::from_millis(200), ..options(&address) };
    let error = Connection::open(&address, &hasty).await.unwrap_err();
    assert!(error.is_away(), "{error}");
    drop(listener);
    let error = Connection::open(&address, &hasty).await.unwrap_err();
    assert!(matches!(error, WireError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn calls_overlap_and_each_gets_its_own_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let id = request(&mut stream).await.unwrap();
        stream.write_all(&answer(id, &versions(4, 0))).await.unwrap();
        // Both requests are there before the first answer goes out; the answers come in the other order.
        let (first, second) = (request(&mut stream).await.unwrap(), request(&mut stream).await.unwrap());
        for id in [second, first] {
            let mut body = BytesMut::new();
            let controller = kafka_protocol::messages::BrokerId(id);
            let metadata = kafka_protocol::messages::MetadataResponse::default().with_controller_id(controller);
            metadata.encode(&mut body, 1).unwrap();
            stream.write_all(&answer(id, &body)).await.unwrap();
        }
        let _ = request(&mut stream).await;
    });
    let connection = Connection::open(&address, &options(&address)).await.unwrap();
    let request = MetadataRequest::default();
    let (one, two) = tokio::join!(connection.metadata(&request), connection.metadata(&request));
    assert_eq!((one.unwrap().controller_id.0, two.unwrap().controller_id.0), (2, 3));
    assert_eq!(connection.traffic().requests, 3);
}

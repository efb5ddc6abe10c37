//! One request and its answer, without a client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Header and body of an answer, as text; `None` if there is none.
pub(super) fn ask(port: u16, tls: Option<&Arc<ClientConfig>>, code: i32, fields: &serde_json::Value) -> Option<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    match tls {
        None => exchange(stream, code, fields),
        Some(config) => {
            let name = ServerName::try_from("localhost").expect("it is a name");
            let connection = ClientConnection::new(Arc::clone(config), name).expect("the name can have a certificate");
            exchange(StreamOwned::new(connection, stream), code, fields)
        }
    }
}

fn exchange(mut stream: impl Read + Write, code: i32, fields: &serde_json::Value) -> Option<String> {
    let header =
        serde_json::json!({"code": code, "flag": 0, "language": "OTHER", "opaque": 1, "version": 399, "extFields": fields})
            .to_string();
    let length = u32::try_from(header.len()).expect("it is short");
    stream.write_all(&[&(length + 4).to_be_bytes()[..], &length.to_be_bytes()[..], header.as_bytes()].concat()).ok()?;
    let mut word = [0; 4];
    stream.read_exact(&mut word).ok()?;
    let mut reply = vec![0; usize::try_from(u32::from_be_bytes(word)).ok()?.min(8 << 20)];
    stream.read_exact(&mut reply).ok()?;
    Some(String::from_utf8_lossy(&reply).into_owned())
}

//! A broker that says what a test tells it to say.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader, ResponseHeader, api_versions_response::ApiVersion};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request: which one, in which version, and its body.
pub struct Asked {
    pub key: ApiKey,
    pub version: i16,
    body: Bytes,
}

impl Asked {
    pub fn read<R: Decodable>(&self) -> R {
        R::decode(&mut self.body.clone(), self.version).unwrap()
    }

    /// An answer, as it goes over the wire.
    pub fn answer(&self, answer: &impl Encodable) -> Option<Bytes> {
        let mut body = BytesMut::new();
        answer.encode(&mut body, self.version).unwrap();
        Some(body.freeze())
    }
}

/// `host:port` of a broker that knows these requests in version 0 up to these, and answers all but ApiVersions with `says`; never where
/// that is `None`. It ends with the runtime of its test.
pub async fn start(knows: &[(ApiKey, i16)], says: impl Fn(&Asked) -> Option<Bytes> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let key =
        |(key, max): &(ApiKey, i16)| ApiVersion::default().with_api_key(*key as i16).with_min_version(0).with_max_version(*max);
    let ours = (ApiKey::ApiVersions, 3);
    let versions = ApiVersionsResponse::default().with_api_keys(knows.iter().chain([&ours]).map(key).collect());
    let says = Arc::new(move |asked: &Asked| match asked.key {
        ApiKey::ApiVersions => asked.answer(&versions),
        _ => says(asked),
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let says = says.clone();
            tokio::spawn(async move { serve(stream, &*says).await });
        }
    });
    address
}

/// Until the client hangs up.
async fn serve(mut stream: TcpStream, says: &(dyn Fn(&Asked) -> Option<Bytes> + Send + Sync)) {
    while let Ok(length) = stream.read_i32().await {
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let mut body = Bytes::from(frame);
        let key = ApiKey::try_from((&body[..]).get_i16()).unwrap();
        let version = (&body[2..]).get_i16();
        let header = RequestHeader::decode(&mut body, key.request_header_version(version)).unwrap();
        let Some(said) = says(&Asked { key, version, body }) else { continue };
        let mut answer = BytesMut::new();
        answer.put_i32(0);
        let id = ResponseHeader::default().with_correlation_id(header.correlation_id);
        id.encode(&mut answer, key.response_header_version(version)).unwrap();
        answer.put_slice(&said);
        let length = i32::try_from(answer.len() - 4).unwrap();
        answer[..4].copy_from_slice(&length.to_be_bytes());
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

//! One broker: [`Connection`].
//!
//! `dial` finds the way, `pipe` moves frames, `handshake` and `scram` open a connection, this file joins them to calls.

mod dial;
mod handshake;
mod pipe;
mod scram;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes, VersionRange};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use zms_core::tls::Handshake;

use crate::WireError;
use crate::options::{Options, Setup, split};
pub use dial::Resolver;
pub(crate) use pipe::Counters;
use pipe::Pipe;
pub use pipe::Traffic;

/// An open connection to one broker. Calls may overlap: the broker answers them in order. Dropping it closes it.
pub struct Connection {
    address: String,
    client_id: StrBytes,
    deadline: Duration,
    /// What the broker speaks: key of a request → versions.
    versions: HashMap<i16, VersionRange>,
    pipe: Pipe,
    /// The broker closes the connection then unless we say again who we are.
    good_until: Option<Instant>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).field("open", &self.is_open()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to a broker, agrees on versions and says who we are.
    ///
    /// # Errors
    /// [`WireError::Connect`], [`WireError::Denied`], [`WireError::Options`]; [`WireError::Garbled`] if it is no Kafka broker.
    pub async fn open(address: &str, options: &Options) -> Result<Self, WireError> {
        Self::open_with(address, &Setup::new(options.clone())?).await
    }

    pub(crate) async fn open_with(address: &str, setup: &Setup) -> Result<Self, WireError> {
        let deadline = setup.options.connect_deadline;
        match tokio::time::timeout(deadline, Self::try_open(address, setup)).await {
            Ok(done) => done,
            Err(_) => Err(WireError::Connect {
                address: address.to_owned(),
                why: format!("not ready within {} ms", deadline.as_millis()),
            }),
        }
    }

    async fn try_open(address: &str, setup: &Setup) -> Result<Self, WireError> {
        let failed = |why: String| WireError::Connect { address: address.to_owned(), why };
        let (host, port) = split(address)?;
        let tcp = dial::dial(address, (host, port), &setup.options).await?;
        tcp.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let mut connection = match &setup.tls {
            None => Self::over(address, tcp, setup),
            Some(tls) => {
                let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
                let stream = tls.connect(name, tcp).await.map_err(|error| tls_error(address, &error))?;
                Self::over(address, stream, setup)
            }
        };
        connection.negotiate().await?;
        if let Some(sasl) = &setup.options.sasl {
            connection.authenticate(sasl).await?;
        }
        connection.deadline = setup.options.call_deadline;
        Ok(connection)
    }

    fn over<S: AsyncRead + AsyncWrite + Send + 'static>(address: &str, stream: S, setup: &Setup) -> Self {
        let options = &setup.options;
        Self {
            address: address.to_owned(),
            client_id: StrBytes::from_string(options.client_id.clone()),
            deadline: options.connect_deadline,
            versions: HashMap::new(),
            pipe: Pipe::new(stream, options.max_frame, setup.traffic.clone()),
            good_until: None,
        }
    }

    /// `host:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// It can still be used.
    pub fn is_open(&self) -> bool {
        self.pipe.is_open() && self.good_until.is_none_or(|until| Instant::now() < until)
    }

    /// Counts of this connection since it was opened.
    pub fn traffic(&self) -> Traffic {
        self.pipe.traffic()
    }

    /// Whether the broker knows this version of a request.
    pub(crate) fn version<R: Request>(&self, call: &'static str) -> Result<i16, WireError> {
        let unsupported = |why| WireError::Unsupported { address: self.address.clone(), call, why };
        let theirs = self.versions.get(&R::KEY).ok_or_else(|| unsupported("the broker does not have it".to_owned()))?;
        // Not `ApiKey::valid_versions`: it names versions that the messages cannot be written in.
        let ours = <R as kafka_protocol::protocol::Message>::VERSIONS;
        let both = theirs.intersect(&ours);
        if both.is_empty() {
            return Err(unsupported(format!("the broker has versions {theirs}, this program {ours}")));
        }
        Ok(both.max)
    }

    pub(crate) async fn call<R: Request>(&self, call: &'static str, request: &R) -> Result<R::Response, WireError> {
        self.call_version(call, request, self.version::<R>(call)?).await
    }

    async fn call_version<R: Request>(&self, call: &'static str, request: &R, version: i16) -> Result<R::Response, WireError> {
        let mut body = self.exchange(call, request, version).await?;
        let response = R::Response::decode(&mut body, version).map_err(|error| self.garbled(call, format!("{error:#}")))?;
        if body.has_remaining() {
            return Err(self.garbled(call, format!("{} bytes left over in version {version}", body.remaining())));
        }
        Ok(response)
    }

    /// Sends a request; the body of its answer.
    async fn exchange<R: Request>(&self, call: &'static str, request: &R, version: i16) -> Result<Bytes, WireError> {
        let id = self.pipe.next_id();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(id)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::with_capacity(256);
        frame.put_i32(0);
        let written = header.encode(&mut frame, R::header_version(version)).and_then(|()| request.encode(&mut frame, version));
        // A field that this version lacks: the broker is too old for what is asked.
        written.map_err(|error| WireError::Unsupported {
            address: self.address.clone(),
            call,
            why: format!("version {version}: {error:#}"),
        })?;
        let mut answer = self.pipe.exchange(id, frame, self.deadline).await.map_err(|failure| match failure {
            pipe::Failure::Silent => WireError::Silent { address: self.address.clone(), call, deadline: self.deadline },
            pipe::Failure::Lost(why) => WireError::Lost { address: self.address.clone(), call, why },
            pipe::Failure::Garbled(why) => self.garbled(call, why),
        })?;
        ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(|error| self.garbled(call, format!("{error:#}")))?;
        Ok(answer)
    }

    fn garbled(&self, call: &'static str, why: String) -> WireError {
        WireError::Garbled { address: self.address.clone(), call, why }
    }
}

fn tls_error(address: &str, error: &std::io::Error) -> WireError {
    let address = address.to_owned();
    match zms_core::tls::failed(error) {
        Handshake::Denied(why) => WireError::Denied { address, why },
        Handshake::Passing(why) => WireError::Connect { address, why },
    }
}

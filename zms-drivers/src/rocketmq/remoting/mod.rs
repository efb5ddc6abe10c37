//! RocketMQ's remoting protocol: frames with a code, named fields and a body; each answer has the number of its request.
//!
//! [`Remoting`] is the way in: it keeps one connection for each address. `frame` is what goes over it (the codec is `rocketmq-protocol`),
//! `connection` one of them, `sign` how requests are signed, `tls` whom we trust, `error` what can go wrong and what it means.

mod connection;
mod error;
mod frame;
mod pool;
mod sign;
mod tls;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use zms_core::networks::Networks;

pub use error::{RemotingError, answers, classify};
pub use frame::{Frame, LARGEST_FRAME, decode, encode};
pub use pool::{Remoting, Traffic};
pub use rocketmq_protocol::code::request_code::RequestCode;
pub use sign::BY_UNIQUE_ID;

use super::json::{self, JsonError};
use crate::open::{Credentials, Endpoint};

/// What an answer's code says when it is no error.
pub const SUCCESS: i32 = 0;

/// How to speak to brokers and name servers.
#[derive(Debug, Clone)]
pub struct Options {
    /// TLS: certificates (PEM) of the authorities that are trusted. `None`: plain text.
    pub authority_pem: Option<String>,
    /// TLS with the authorities that this host trusts, where `authority_pem` names none.
    pub system_roots: bool,
    /// Where name servers and brokers may be, also those that routes name. `None`: anywhere.
    pub networks: Option<Networks>,
    /// Signs each request: `user` is the access key, `password` the secret key. Their mechanism is not looked at: there is but one.
    pub credentials: Option<Credentials>,
    /// To open a connection: TCP and TLS together.
    pub connect_deadline: Duration,
    /// From the request to the whole answer, where a call says nothing else.
    pub call_deadline: Duration,
    /// Largest frame in bytes that is accepted.
    pub largest_frame: usize,
    /// An address to which no connection could be opened is left alone for so long.
    pub back_off: Duration,
    /// Between two looks while the cluster finds its state.
    pub pause: Duration,
}

impl Options {
    /// Those that an endpoint asks for. One silent server must leave time to ask another within the deadline of a whole call.
    pub fn of(endpoint: &Endpoint) -> Self {
        Self {
            authority_pem: endpoint.authority_pem.clone(),
            system_roots: endpoint.system_roots,
            networks: endpoint.networks.clone(),
            credentials: endpoint.credentials.clone(),
            connect_deadline: endpoint.deadline / 3,
            call_deadline: endpoint.deadline / 2,
            largest_frame: LARGEST_FRAME,
            back_off: Duration::from_millis(100),
            pause: Duration::from_millis(100),
        }
    }
}

/// A request: ours to a broker, or a broker's to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub code: i32,
    /// Named fields.
    pub fields: BTreeMap<String, String>,
    /// May be empty.
    pub body: Bytes,
}

impl Request {
    /// Without fields and body.
    pub fn new(code: RequestCode) -> Self {
        Self { code: code.into(), fields: BTreeMap::new(), body: Bytes::new() }
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.fields.insert(name.to_owned(), value.to_string());
        self
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// What was answered, whatever its code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// [`SUCCESS`], or what went wrong.
    pub code: i32,
    /// What the broker says about it; may be empty.
    pub remark: String,
    /// Which version answers, as RocketMQ counts its versions; not looked at where we answer.
    pub version: i32,
    /// Named fields.
    pub fields: BTreeMap<String, String>,
    /// May be empty.
    pub body: Bytes,
}

impl Answer {
    /// A field that is a number; `None` if it is not there or none.
    pub fn number(&self, field: &str) -> Option<i64> {
        self.fields.get(field)?.parse().ok()
    }

    /// The body as a type.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        json::read(&self.body)
    }
}

/// Answers what brokers ask of their clients (notify 40, reset 220, running information 307, transaction check 39). Called while the
/// connection is read: must return at once.
pub trait Handler: Send + Sync + 'static {
    /// `address`: who asks. What is returned is sent back, unless the broker wants no answer.
    fn asked(&self, address: &str, request: Request) -> Option<Answer>;
}

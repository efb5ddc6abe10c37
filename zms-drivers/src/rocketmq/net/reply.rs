//! Requests, answers, and who is asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::Net;
use super::connection::{Connection, NoAnswer};
use super::frame::Frame;
use crate::broker::BrokerError;
use crate::open::Endpoint;
use crate::rocketmq::json;

/// A connection is made within this, or the next address is tried.
const CONNECT: Duration = Duration::from_secs(3);

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub code: i32,
    pub fields: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Request {
    pub const PULL: i32 = 11;
    pub const QUERY_OFFSET: i32 = 14;
    pub const COMMIT: i32 = 15;
    pub const MAX_OFFSET: i32 = 30;
    pub const MIN_OFFSET: i32 = 31;
    pub const HEARTBEAT: i32 = 34;
    pub const LEAVE: i32 = 35;
    pub const SEND_BACK: i32 = 36;
    pub const MEMBERS: i32 = 38;
    pub const LOCK: i32 = 41;
    pub const UNLOCK: i32 = 42;
    pub const ALL_OFFSETS: i32 = 43;
    const ROUTE: i32 = 105;
    pub const SEND: i32 = 310;
    pub const SEND_BATCH: i32 = 320;
}

/// An answer, whatever it says.
#[derive(Debug)]
pub(crate) struct Reply(Frame);

impl Reply {
    pub fn code(&self) -> i32 {
        self.0.code
    }

    pub fn remark(&self) -> &str {
        &self.0.remark
    }

    pub fn version(&self) -> i32 {
        self.0.version
    }

    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    pub fn number(&self, field: &str) -> Option<i64> {
        self.0.fields.get(field)?.parse().ok()
    }

    pub fn json(&self, net: &Net, what: &str) -> Result<Value, BrokerError> {
        json::parse(&self.0.body).map_err(|why| net.garbled(what.to_owned(), why))
    }

    /// What an answer that says no means.
    pub fn error(&self, net: &Net, what: String) -> BrokerError {
        classify(net.cluster(), self.0.code, &self.0.remark, what)
    }
}

fn classify(cluster: &str, code: i32, remark: &str, what: String) -> BrokerError {
    // Java says which class it was; the first line is for people.
    let why = format!("code {code}: {}", remark.lines().next().unwrap_or_default());
    match code {
        16 => BrokerError::Denied { cluster: cluster.to_owned(), what, why },
        17 => BrokerError::Missing { what: topic_in(what) },
        3 => BrokerError::Unsupported { cluster: cluster.to_owned(), what },
        1 | 2 | 14 | 24 | 25 => BrokerError::Passing { what, why },
        _ => BrokerError::Refused { what, why },
    }
}

/// `send to topic x` is what was asked; what is missing is the topic.
fn topic_in(what: String) -> String {
    match what.find("topic ") {
        Some(at) => what[at..].to_owned(),
        None => what,
    }
}

/// No answer.
#[derive(Debug)]
pub(crate) struct Lost {
    pub error: BrokerError,
    /// The request may have been carried out.
    pub doubt: bool,
}

/// What a broker asks of a client.
pub(crate) struct Asked(Frame);

impl From<Frame> for Asked {
    fn from(frame: Frame) -> Self {
        Self(frame)
    }
}

impl Asked {
    pub fn code(&self) -> i32 {
        self.0.code
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.fields.get(name).map(String::as_str)
    }

    pub fn body(&self) -> &[u8] {
        &self.0.body
    }
}

/// What a client answers.
pub(crate) struct Answer {
    pub code: i32,
    pub remark: String,
    pub body: Bytes,
}

impl Answer {
    pub fn body(body: String) -> Self {
        Self { code: 0, remark: String::new(), body: body.into() }
    }

    pub fn refused(remark: String) -> Self {
        Self { code: 1, remark, body: Bytes::new() }
    }
}

type Hear = dyn Fn(&Asked) -> Option<Answer> + Send + Sync;

/// Who hears what brokers ask.
#[derive(Clone)]
pub(crate) struct Hearing(Arc<Hear>);

impl Hearing {
    pub fn new(hear: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub fn nothing() -> Self {
        Self::new(|_| None)
    }

    pub(super) fn hear(&self, asked: Asked) -> Option<Answer> {
        (self.0)(&asked)
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

/// Connections by address.
pub(super) struct Remote {
    cluster: String,
    name_servers: Vec<String>,
    /// The name server that answered last.
    preferred: AtomicUsize,
    hearing: Hearing,
    slots: Mutex<HashMap<String, Slot>>,
}

impl Remote {
    pub fn new(endpoint: &Endpoint, hearing: Hearing) -> Result<Self, BrokerError> {
        let cluster = endpoint.cluster.clone();
        if endpoint.addresses.is_empty() {
            return Err(BrokerError::Refused {
                what: format!("client for cluster {cluster}"),
                why: "there is no address".to_owned(),
            });
        }
        if endpoint.authority_pem.is_some() || endpoint.credentials.is_some() {
            return Err(BrokerError::Unsupported { cluster, what: "use TLS or credentials with RocketMQ".to_owned() });
        }
        Ok(Self {
            cluster,
            name_servers: endpoint.addresses.clone(),
            preferred: AtomicUsize::new(0),
            hearing,
            slots: Mutex::default(),
        })
    }

    pub fn name_servers(&self) -> &[String] {
        &self.name_servers
    }

    pub async fn call(&self, address: &str, what: &str, request: Request, deadline: Duration) -> Result<Reply, Lost> {
        let begun = tokio::time::Instant::now();
        let unreachable =
            |why: String| BrokerError::Unreachable { cluster: self.cluster.clone(), why: format!("{address}: {why}") };
        let connection = self.connection(address, deadline.min(CONNECT)).await;
        let connection = connection.map_err(|error| Lost { error: unreachable(error.to_string()), doubt: false })?;
        match connection.call(&request, deadline.saturating_sub(begun.elapsed())).await {
            Ok(frame) => Ok(Reply(frame)),
            Err(NoAnswer::NotSent(why)) => Err(Lost { error: unreachable(why), doubt: false }),
            Err(NoAnswer::Closed(why)) => Err(Lost { error: unreachable(why), doubt: true }),
            Err(NoAnswer::TimedOut) => {
                let error =
                    BrokerError::Timeout { cluster: self.cluster.clone(), what: what.to_owned(), seconds: deadline.as_secs() };
                Err(Lost { error, doubt: true })
            }
        }
    }

    /// Only those that want the same address wait for its connection.
    async fn connection(&self, address: &str, deadline: Duration) -> std::io::Result<Arc<Connection>> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match slots.get(address) {
                Some(slot) => Arc::clone(slot),
                None => Arc::clone(slots.entry(address.to_owned()).or_default()),
            }
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_open()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(Connection::open(address, deadline, self.hearing.clone()).await?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Body of the answer to "where is this topic", from the first name server that answers.
    pub async fn route(&self, topic: &str, deadline: Duration) -> Result<Value, BrokerError> {
        let what = format!("ask for the route of topic {topic}");
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = None;
        for step in 0..self.name_servers.len() {
            let index = (first + step) % self.name_servers.len();
            let request = Request { code: Request::ROUTE, fields: vec![("topic", topic.to_owned())], body: Bytes::new() };
            match self.call(&self.name_servers[index], &what, request, deadline).await {
                Ok(reply) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    if reply.code() != 0 {
                        let why = if reply.code() == 17 { format!("topic {topic}") } else { what };
                        return Err(classify(&self.cluster, reply.code(), reply.remark(), why));
                    }
                    return json::parse(reply.body()).map_err(|why| BrokerError::Garbled {
                        cluster: self.cluster.clone(),
                        what,
                        why,
                    });
                }
                Err(lost) => last = Some(lost.error),
            }
        }
        Err(last.expect("there is an address, or it was not made"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_say_no_are_classified_by_what_to_do_about_them() {
        let said = |code| classify("c", code, "CODE: why\n at java.lang", "send to topic orders".to_owned());
        assert_eq!(said(17), BrokerError::Missing { what: "topic orders".to_owned() });
        for passing in [1, 2, 14, 24] {
            assert!(said(passing).is_passing(), "{passing}");
        }
        assert_eq!(
            said(13),
            BrokerError::Refused { what: "send to topic orders".to_owned(), why: "code 13: CODE: why".to_owned() }
        );
        assert!(matches!(said(16), BrokerError::Denied { .. }));
    }
}

//! One connection for each address, opened when it is needed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::sign::Signer;
use super::tls::{connector, split};
use super::{Answer, Handler, Options, RemotingError, Request, SUCCESS};

/// What went over all connections since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that were made.
    pub requests: u64,
    /// Bytes that were received.
    pub bytes: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    pub fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Options that were checked, with what is made from them once.
pub(super) struct Setup {
    pub options: Options,
    pub tls: Option<TlsConnector>,
    pub handler: Option<Arc<dyn Handler>>,
    pub traffic: Counters,
}

/// Speaks to any number of servers. Calls may run side by side; one to a server that hangs delays none to another.
pub struct Remoting {
    setup: Arc<Setup>,
    signer: Option<Signer>,
    slots: Mutex<HashMap<String, Slot>>,
}

/// Held while a connection is opened: who comes then waits for the same one.
type Slot = Arc<tokio::sync::Mutex<Last>>;

#[derive(Default)]
struct Last {
    open: Option<Arc<Connection>>,
    /// When opening failed last, and why.
    failed: Option<(Instant, RemotingError)>,
}

impl std::fmt::Debug for Remoting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remoting").field("options", &self.setup.options).finish_non_exhaustive()
    }
}

impl Remoting {
    /// Connects later. `handler` answers what brokers ask; without one they get no answer.
    ///
    /// # Errors
    /// [`RemotingError::Options`] if the certificates cannot be right.
    pub fn new(options: Options, handler: Option<Arc<dyn Handler>>) -> Result<Self, RemotingError> {
        let tls = match &options.authority_pem {
            None if !options.system_roots => None,
            pem => Some(connector(pem.as_deref())?),
        };
        let signer = options.credentials.as_ref().map(Signer::new);
        let setup = Setup { options, tls, handler, traffic: Counters::default() };
        Ok(Self { setup: Arc::new(setup), signer, slots: Mutex::default() })
    }

    /// Whether an address can be right.
    ///
    /// # Errors
    /// [`RemotingError::Options`] if not.
    pub fn check(address: &str) -> Result<(), RemotingError> {
        split(address).map(drop)
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.setup.options
    }

    /// What went over all connections so far.
    pub fn traffic(&self) -> Traffic {
        let Counters { requests, bytes } = &self.setup.traffic;
        Traffic { requests: requests.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
    }

    /// Asks; what is not [`SUCCESS`] is an error.
    ///
    /// # Errors
    /// [`RemotingError`]: no connection, no answer, or an answer that says no.
    pub async fn ask(&self, address: &str, request: Request) -> Result<Answer, RemotingError> {
        self.ask_within(address, request, self.setup.options.call_deadline).await
    }

    /// As [`Self::ask`], within a deadline of its own.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_within(&self, address: &str, request: Request, deadline: Duration) -> Result<Answer, RemotingError> {
        let code = request.code;
        let answer = self.call(address, request, deadline).await?;
        if answer.code == SUCCESS {
            return Ok(answer);
        }
        let remark = answer.remark.chars().take(300).collect();
        Err(RemotingError::Answer { address: address.to_owned(), code, answer: answer.code, remark })
    }

    /// Asks, and gives the answer whatever its code. The deadline includes opening a connection.
    ///
    /// # Errors
    /// [`RemotingError`]: no connection, or no answer.
    pub async fn call(&self, address: &str, mut request: Request, deadline: Duration) -> Result<Answer, RemotingError> {
        let (begun, code) = (Instant::now(), request.code);
        let connection = self.connection_within(address, code, deadline).await?;
        if let Some(signer) = &self.signer {
            signer.sign(&mut request);
        }
        self.setup.traffic.requests.fetch_add(1, Ordering::Relaxed);
        connection.call(request, deadline.saturating_sub(begun.elapsed())).await
    }

    /// Tells something that is not answered. Ends when it waits to be written.
    ///
    /// # Errors
    /// [`RemotingError`]: no connection, or a full one.
    pub async fn tell(&self, address: &str, mut request: Request, deadline: Duration) -> Result<(), RemotingError> {
        let (begun, code) = (Instant::now(), request.code);
        let connection = self.connection_within(address, code, deadline).await?;
        if let Some(signer) = &self.signer {
            signer.sign(&mut request);
        }
        self.setup.traffic.requests.fetch_add(1, Ordering::Relaxed);
        connection.tell(request, deadline.saturating_sub(begun.elapsed())).await
    }

    /// Opens a connection now, so that the first request does not wait.
    ///
    /// # Errors
    /// [`RemotingError::Connect`], [`RemotingError::Denied`].
    pub async fn warm(&self, address: &str) -> Result<(), RemotingError> {
        self.connection(address).await.map(drop)
    }

    /// Ends all connections, and forgets addresses that are not used any more. Whoever waits for an answer is told.
    pub fn forget_all_but(&self, keep: impl Fn(&str) -> bool) {
        self.slots().retain(|address, _| keep(address));
    }

    async fn connection_within(&self, address: &str, code: i32, deadline: Duration) -> Result<Arc<Connection>, RemotingError> {
        let late = |_| Err(RemotingError::Silent { address: address.to_owned(), code, deadline });
        tokio::time::timeout(deadline, self.connection(address)).await.unwrap_or_else(late)
    }

    async fn connection(&self, address: &str) -> Result<Arc<Connection>, RemotingError> {
        let slot = Arc::clone(self.slots().entry(address.to_owned()).or_default());
        let mut last = slot.lock().await;
        if let Some(open) = last.open.as_ref().filter(|open| open.is_open()) {
            return Ok(Arc::clone(open));
        }
        last.open = None;
        // Those who waited while it failed are told the same, and do not try one after the other.
        if let Some((_, error)) = last.failed.as_ref().filter(|(at, _)| at.elapsed() < self.setup.options.back_off) {
            return Err(error.clone());
        }
        match Connection::open(address, &self.setup).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *last = Last { open: Some(Arc::clone(&connection)), failed: None };
                Ok(connection)
            }
            Err(error) => {
                last.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::open::Endpoint;
    use crate::rocketmq::remoting::RequestCode;

    #[tokio::test]
    async fn a_server_outside_the_networks_is_not_dialled() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let said = async |networks: &str| {
            let endpoint = Endpoint { networks: Some(networks.parse().unwrap()), ..Endpoint::plain("main", [address.clone()]) };
            let remoting = Remoting::new(Options::of(&endpoint), None).unwrap();
            remoting
                .call(&address, Request::new(RequestCode::GetBrokerClusterInfo), Duration::from_millis(200))
                .await
                .unwrap_err()
        };
        let outside = said("10.0.0.0/8").await;
        assert!(matches!(outside, RemotingError::Outside { .. }), "{outside}");
        assert!(outside.to_string().contains("10.0.0.0/8") && outside.to_string().contains("127.0.0.1"), "{outside}");
        // The control: this one was dialled, and nobody answers.
        let inside = said("127.0.0.0/8").await;
        assert!(matches!(inside, RemotingError::Silent { .. }), "{inside}");
        tokio::time::timeout(Duration::from_secs(5), server.accept()).await.unwrap().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), server.accept()).await.is_err(), "and only this one");
    }
}

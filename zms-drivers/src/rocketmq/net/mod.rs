//! What producers and consumers share: connections, routes, heartbeats.
//!
//! 1. [`Route`]: the queues of a topic, as clients of every language list them.
//! 2. [`Net`]: asks name servers and brokers, and remembers what they said.
//! 3. [`beat`]: telling brokers that a client is there, and that it leaves.

mod beat;
mod identity;
mod reply;
mod route;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) use self::reply::{Lost, Reply};
pub(super) use self::route::Route;
use super::names::NameServers;
use super::remoting::{Handler, Options, Remoting, RemotingError, Request, classify};
use super::version::Version;
use crate::broker::BrokerError;
use crate::open::Endpoint;

/// A route that was said to be wrong is not asked for more often.
const ROUTE_PAUSE: Duration = Duration::from_millis(200);
/// A connection over which nothing came for so long, while an answer was waited for, is given up.
const SILENT: Duration = Duration::from_secs(10);

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Connections of one client, and what it knows of its cluster.
pub(super) struct Net {
    cluster: String,
    deadline: Duration,
    client_id: String,
    own_address: Ipv4Addr,
    number: u32,
    remoting: Arc<Remoting>,
    names: NameServers,
    routes: Mutex<HashMap<String, Known>>,
    /// Addresses of a broker by its id; 0 is the master.
    brokers: Mutex<BTreeMap<Arc<str>, BTreeMap<i64, String>>>,
    /// By address.
    versions: Mutex<HashMap<String, (Instant, Version)>>,
    met: Notify,
}

#[derive(Default)]
struct Known {
    route: Option<Arc<Route>>,
    asked: Option<Instant>,
    /// Somebody found it to be wrong.
    doubted: bool,
    /// One asks, the others wait for what it hears.
    asking: Arc<tokio::sync::Mutex<()>>,
}

impl Net {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint cannot be right.
    pub fn new(endpoint: &Endpoint, hearer: Option<Arc<dyn Handler>>) -> Result<Arc<Self>, BrokerError> {
        let what = format!("client for cluster {}", endpoint.cluster);
        let refused = |error: RemotingError| classify(&endpoint.cluster, &what, error);
        let remoting = Arc::new(Remoting::new(Options::of(endpoint), hearer).map_err(refused)?);
        let names = NameServers::new(endpoint.addresses.clone(), Arc::clone(&remoting)).map_err(refused)?;
        let own_address = identity::own_address(&endpoint.addresses);
        let number = identity::random();
        Ok(Arc::new(Self {
            cluster: endpoint.cluster.clone(),
            deadline: endpoint.deadline,
            client_id: identity::client_id(own_address, &endpoint.client_id, std::process::id(), number),
            own_address,
            number,
            remoting,
            names,
            routes: Mutex::default(),
            brokers: Mutex::default(),
            versions: Mutex::default(),
            met: Notify::new(),
        }))
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// As brokers and other members know this client.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Another one for each client.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn own_address(&self) -> Ipv4Addr {
        self.own_address
    }

    pub fn name_servers(&self) -> &[String] {
        self.names.addresses()
    }

    pub fn passing(&self, what: String, why: String) -> BrokerError {
        BrokerError::Passing { what, why }
    }

    pub fn garbled(&self, what: String, why: String) -> BrokerError {
        BrokerError::Garbled { cluster: self.cluster.clone(), what, why }
    }

    /// Any answer, whatever its code.
    pub async fn call(&self, address: &str, what: &str, request: Request, deadline: Duration) -> Result<Reply, Lost> {
        let code = request.code;
        // A connection counts as dead when a call ends without anything heard; that is judged by calls that wait long enough.
        let call = self.remoting.call(address, request, deadline.max(SILENT));
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(answer)) => Ok(Reply { answer, address: address.to_owned(), code }),
            Ok(Err(error)) => Err(Lost::of(&self.cluster, what, error)),
            Err(_) => Err(Lost::of(&self.cluster, what, RemotingError::Silent { address: address.to_owned(), code, deadline })),
        }
    }

    /// An answer that says yes.
    pub async fn ask(&self, address: &str, what: &str, request: Request, deadline: Duration) -> Result<Reply, BrokerError> {
        let reply = self.call(address, what, request, deadline).await.map_err(|lost| lost.error)?;
        if reply.code() == 0 { Ok(reply) } else { Err(reply.error(self, what)) }
    }

    /// The route of a topic, not older than `age`. While name servers are silent the last one known is right enough.
    ///
    /// # Errors
    /// [`BrokerError::Missing`] if there is no such topic; passing ones while nothing is known.
    pub async fn route(&self, topic: &str, age: Duration) -> Result<Arc<Route>, BrokerError> {
        if let Some(route) = self.known(topic, age) {
            return Ok(route);
        }
        let asking = Arc::clone(&lock(&self.routes).entry(topic.to_owned()).or_default().asking);
        let _turn = asking.lock().await;
        // Somebody may have asked while this one waited.
        if let Some(route) = self.known(topic, age.max(ROUTE_PAUSE)) {
            return Ok(route);
        }
        let asked = self.names.route(topic).await;
        let asked = asked.map_err(|error| classify(&self.cluster, &format!("topic {topic}"), error));
        let answer = asked.and_then(|route| route.ok_or_else(|| BrokerError::Missing { what: format!("topic {topic}") }));
        let mut routes = lock(&self.routes);
        let known = routes.entry(topic.to_owned()).or_default();
        match answer {
            Ok(answer) => {
                let (route, brokers) = Route::of(topic, &answer);
                let route = Arc::new(route);
                let asking = Arc::clone(&asking);
                *known = Known { route: Some(Arc::clone(&route)), asked: Some(Instant::now()), doubted: false, asking };
                drop(routes);
                self.meet(brokers);
                Ok(route)
            }
            Err(error) if error.is_passing() => match &known.route {
                Some(route) => {
                    tracing::debug!(topic, %error, "the last known route is used");
                    Ok(Arc::clone(route))
                }
                None => Err(error),
            },
            Err(error) => {
                routes.remove(topic);
                Err(error)
            }
        }
    }

    /// The route as it is known, asked for again meanwhile when it is older than `age`; `None` if nothing is known, or it was doubted.
    pub fn at_hand(self: &Arc<Self>, topic: &str, age: Duration) -> Option<Arc<Route>> {
        let (route, fresh) = {
            let routes = lock(&self.routes);
            let known = routes.get(topic).filter(|known| !known.doubted)?;
            let fresh = known.asked.is_some_and(|asked| asked.elapsed() < age) || known.asking.try_lock().is_err();
            (Arc::clone(known.route.as_ref()?), fresh)
        };
        if !fresh {
            let (net, topic) = (Arc::clone(self), topic.to_owned());
            tokio::spawn(async move {
                if let Err(error) = net.route(&topic, age).await {
                    tracing::debug!(topic, %error, "asking for a route again");
                    net.forget_route(&topic);
                }
            });
        }
        Some(route)
    }

    /// As [`Self::at_hand`], and waits while nothing is known.
    ///
    /// # Errors
    /// As [`Self::route`].
    pub async fn route_at_hand(self: &Arc<Self>, topic: &str, age: Duration) -> Result<Arc<Route>, BrokerError> {
        match self.at_hand(topic, age) {
            Some(route) => Ok(route),
            None => self.route(topic, age).await,
        }
    }

    fn known(&self, topic: &str, age: Duration) -> Option<Arc<Route>> {
        let routes = lock(&self.routes);
        let known = routes.get(topic)?;
        let since = known.asked?.elapsed();
        (since < age && (!known.doubted || since < ROUTE_PAUSE)).then(|| known.route.clone()).flatten()
    }

    /// What it says was found to be wrong: it is asked for again before it is used.
    pub fn forget_route(&self, topic: &str) {
        if let Some(known) = lock(&self.routes).get_mut(topic) {
            known.doubted = true;
        }
    }

    fn meet(&self, brokers: BTreeMap<Arc<str>, BTreeMap<i64, String>>) {
        let mut known = lock(&self.brokers);
        let mut new = false;
        for (name, addresses) in brokers {
            new |= known.get(&name) != Some(&addresses);
            known.insert(name, addresses);
        }
        if new {
            self.met.notify_one();
        }
    }

    /// Ends when there is a broker that was told nothing yet.
    pub async fn met_a_broker(&self) {
        self.met.notified().await;
    }

    /// Address of a broker's master.
    pub fn master(&self, broker: &str) -> Option<String> {
        lock(&self.brokers).get(broker)?.get(&0).cloned()
    }

    /// Address of a broker's master.
    ///
    /// # Errors
    /// [`BrokerError::Passing`] while it has none.
    pub fn master_for(&self, broker: &str, what: &str) -> Result<String, BrokerError> {
        self.master(broker).ok_or_else(|| self.passing(what.to_owned(), format!("broker {broker} has no master now")))
    }

    /// Address to read from: the master, or a slave while there is no master.
    ///
    /// # Errors
    /// [`BrokerError::Passing`] while there is neither.
    pub fn reader(&self, broker: &str, what: &str) -> Result<String, BrokerError> {
        let address = lock(&self.brokers).get(broker).and_then(|addresses| addresses.values().next().cloned());
        address.ok_or_else(|| self.passing(what.to_owned(), format!("broker {broker} is not there now")))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

//! What producers and consumers share: connections, routes, heartbeats.
//!
//! 1. [`Route`]: the queues of a topic, as clients of every language list them.
//! 2. [`Net`]: asks name servers and brokers, and remembers what they said.
//! 3. [`beat`]: telling brokers that a client is there, and that it leaves.

mod beat;
mod connection;
mod frame;
mod identity;
mod reply;
mod route;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) use self::reply::{Answer, Asked, Hearing, Lost, Reply, Request};
pub(super) use self::route::Route;
use crate::broker::BrokerError;
use crate::open::Endpoint;

/// `V5_0_0` in the list of versions, which answers carry.
pub(super) const FIRST_5: i32 = 413;
/// A route that was said to be wrong is not asked for more often.
const ROUTE_PAUSE: Duration = Duration::from_millis(200);

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
    remote: reply::Remote,
    routes: Mutex<HashMap<String, Known>>,
    /// Addresses of a broker by its id; 0 is the master.
    brokers: Mutex<BTreeMap<Arc<str>, BTreeMap<i64, String>>>,
    versions: Mutex<HashMap<String, i32>>,
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
    /// [`BrokerError::Refused`] without an address, [`BrokerError::Unsupported`] for what this client cannot.
    pub fn new(endpoint: &Endpoint, hearing: Hearing) -> Result<Arc<Self>, BrokerError> {
        let remote = reply::Remote::new(endpoint, hearing)?;
        let own_address = identity::own_address(&endpoint.addresses);
        let number = identity::random();
        Ok(Arc::new(Self {
            cluster: endpoint.cluster.clone(),
            deadline: endpoint.deadline,
            client_id: identity::client_id(own_address, &endpoint.client_id, std::process::id(), number),
            own_address,
            number,
            remote,
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
        self.remote.name_servers()
    }

    pub fn passing(&self, what: String, why: String) -> BrokerError {
        BrokerError::Passing { what, why }
    }

    pub fn garbled(&self, what: String, why: String) -> BrokerError {
        BrokerError::Garbled { cluster: self.cluster.clone(), what, why }
    }

    /// Any answer, whatever its code.
    pub async fn call(&self, address: &str, what: &str, request: Request, deadline: Duration) -> Result<Reply, Lost> {
        let reply = self.remote.call(address, what, request, deadline).await?;
        let mut versions = lock(&self.versions);
        if versions.get(address) != Some(&reply.version()) {
            versions.insert(address.to_owned(), reply.version());
        }
        Ok(reply)
    }

    /// An answer that says yes.
    pub async fn ask(&self, address: &str, what: &str, request: Request, deadline: Duration) -> Result<Reply, BrokerError> {
        let reply = self.call(address, what, request, deadline).await.map_err(|lost| lost.error)?;
        if reply.code() == 0 { Ok(reply) } else { Err(reply.error(self, what.to_owned())) }
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
        let answer = self.remote.route(topic, self.deadline.min(Duration::from_secs(5))).await;
        let mut routes = lock(&self.routes);
        let known = routes.entry(topic.to_owned()).or_default();
        match answer {
            Ok(body) => {
                let (route, brokers) =
                    Route::read(topic, &body).map_err(|why| self.garbled(format!("ask for the route of topic {topic}"), why))?;
                let route = Arc::new(route);
                *known = Known {
                    route: Some(Arc::clone(&route)),
                    asked: Some(Instant::now()),
                    doubted: false,
                    asking: Arc::clone(&asking),
                };
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

//! All brokers of a cluster: [`Cluster`].
//!
//! `link` keeps connections, this file knows who is who, `topics` and `groups` ask those who are responsible and look again when
//! that has changed. `scrape` asks what a collector wants of single brokers, and never waits for one that is away.

mod groups;
mod link;
mod scrape;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::options::{Options, Setup};
use crate::{Connection, Traffic, WireError};
pub use groups::{Answers, Listed, PerGroup, WireGroup, WireMember};
use link::{Link, STAGGER};
pub use topics::{ByTopic, Offsets};

/// A cluster. Connects when it is first asked; keeps one connection for each broker.
pub struct Cluster {
    setup: Arc<Setup>,
    links: Mutex<HashMap<String, Arc<Link>>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Id → `host:port`
    brokers: BTreeMap<i32, String>,
    controller: Option<i32>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("addresses", &self.setup.options.addresses).finish_non_exhaustive()
    }
}

pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

impl Cluster {
    /// Connects later.
    ///
    /// # Errors
    /// [`WireError::Options`].
    pub fn new(options: Options) -> Result<Self, WireError> {
        let setup = Arc::new(Setup::new(options)?);
        Ok(Self { setup, links: Mutex::default(), known: Mutex::default() })
    }

    /// How it is spoken to.
    pub fn options(&self) -> &Options {
        &self.setup.options
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, address: &str) -> Arc<Link> {
        self.links().entry(address.to_owned()).or_insert_with(|| Arc::new(Link::new(address.to_owned()))).clone()
    }

    /// Ids of the brokers that were there when metadata was read last.
    pub fn brokers(&self) -> Vec<i32> {
        self.known().brokers.keys().copied().collect()
    }

    /// Counts of all connections since the cluster was made, closed ones too.
    pub fn traffic(&self) -> Traffic {
        self.setup.traffic.read()
    }

    /// Where its brokers listen: those known first, then those it was given.
    fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self.known().brokers.values().cloned().collect();
        addresses.extend(self.options().addresses.iter().cloned());
        let mut seen = BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        addresses
    }

    /// Nobody answered: what all of them said.
    fn nobody(&self, mut errors: Vec<WireError>) -> WireError {
        // What somebody has to repair says more than who is away.
        let telling = errors.iter().position(|error| !matches!(error, WireError::Connect { .. }));
        if errors.len() == 1 || telling.is_some() {
            return errors.swap_remove(telling.unwrap_or(0));
        }
        let why = errors.iter().map(WireError::to_string).collect::<Vec<_>>().join("; ");
        WireError::Connect { address: self.options().addresses.join(","), why }
    }

    /// A connection to any broker: one that is open, or the first of all addresses that answers.
    ///
    /// # Errors
    /// [`WireError::Denied`] if one of them refused us; [`WireError::Connect`] with all reasons otherwise.
    pub async fn any(&self) -> Result<Arc<Connection>, WireError> {
        let open = self.links().values().find_map(|link| link.current());
        if let Some(connection) = open {
            return Ok(connection);
        }
        let mut attempts: FuturesUnordered<_> = (0..)
            .zip(self.addresses())
            .map(|(turn, address)| {
                let (link, setup) = (self.link(&address), self.setup.clone());
                async move {
                    tokio::time::sleep(STAGGER * turn).await;
                    link.get(&setup).await
                }
            })
            .collect();
        let mut errors = Vec::new();
        while let Some(done) = attempts.next().await {
            match done {
                Ok(connection) => return Ok(connection),
                Err(error) => errors.push(error),
            }
        }
        Err(self.nobody(errors))
    }

    /// The connection to one broker.
    ///
    /// # Errors
    /// [`WireError::Connect`] also if no broker with this id is known.
    pub async fn broker(&self, id: i32) -> Result<Arc<Connection>, WireError> {
        let mut address = self.known().brokers.get(&id).cloned();
        if address.is_none() {
            self.metadata(Some(&[])).await?;
            address = self.known().brokers.get(&id).cloned();
        }
        let Some(address) = address else {
            return Err(WireError::Connect {
                address: format!("broker {id}"),
                why: "the cluster does not know it now".to_owned(),
            });
        };
        self.link(&address).get(&self.setup).await
    }

    /// The connection to the controller, or to any broker while that one is not reached: Kafka without ZooKeeper names a random broker as
    /// controller, for some seconds also one that has just died, and every broker passes requests on. With ZooKeeper another one answers
    /// that it is not the controller.
    ///
    /// # Errors
    /// As [`Cluster::broker`] and [`Cluster::any`].
    pub async fn controller(&self) -> Result<Arc<Connection>, WireError> {
        let mut controller = self.known().controller;
        if controller.is_none() {
            self.metadata(Some(&[])).await?;
            controller = self.known().controller;
        }
        let Some(id) = controller else { return self.any().await };
        match self.broker(id).await {
            Err(error @ WireError::Connect { .. }) => {
                tracing::debug!(%error, "asking another broker instead of the controller");
                self.any().await
            }
            done => done,
        }
    }

    /// Brokers and these topics (`None`: all), from any broker.
    ///
    /// # Errors
    /// As [`Cluster::any`]; those of single topics are left in the answer.
    pub async fn metadata(&self, topics: Option<&[String]>) -> Result<MetadataResponse, WireError> {
        let mut attempts = self.options().addresses.len().max(2);
        loop {
            let connection = self.any().await?;
            attempts -= 1;
            match self.metadata_of(&connection, topics).await {
                Err(error) if error.is_away() && attempts > 0 => tracing::debug!(%error, "asking another broker for metadata"),
                done => return done,
            }
        }
    }

    /// Brokers and these topics, as one broker knows them.
    ///
    /// # Errors
    /// As every call.
    pub async fn metadata_of(&self, broker: &Arc<Connection>, topics: Option<&[String]>) -> Result<MetadataResponse, WireError> {
        let one = |name: &String| MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
        let topics = topics.map(|topics| topics.iter().map(one).collect());
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
        let answer = self.settle(broker, broker.metadata(&request).await)?;
        let address = |host: &str, port| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let brokers: BTreeMap<i32, String> =
            answer.brokers.iter().map(|broker| (broker.node_id.0, address(&broker.host, broker.port))).collect();
        let controller = Some(answer.controller_id.0).filter(|id| brokers.contains_key(id));
        // A broker that has just lost the others says so, and must not make us forget them.
        if !brokers.is_empty() {
            *self.known() = Known { brokers, controller };
        }
        Ok(answer)
    }

    /// Puts a connection away that is of no more use.
    pub(crate) fn settle<T>(&self, connection: &Arc<Connection>, done: Result<T, WireError>) -> Result<T, WireError> {
        if let Err(error) = &done
            && error.ends_connection()
        {
            self.link(connection.address()).discard(connection, error);
        }
        done
    }
}

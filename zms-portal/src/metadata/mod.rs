//! The metadata that applications read: one ZooKeeper tree an environment, written by this portal alone.
//!
//! 1. [`Metadata::store`]: the environment's ZooKeeper, connected when it is first needed. 2. [`Metadata::publish`]: one node made as it
//!    is wanted. `api`: how applications are let in. `tree`: what stands there before any topic. `node`: how a node is changed without losing what others put into it.

mod api;
mod node;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Mutex;
use zms_core::host::{InstanceSpec, Port};
use zms_core::metadata::{BrokerKind, ConsumeFrom, Order, Security};
use zms_core::names::{ClusterName, PhysicalName};
use zms_drivers::meta::zookeeper::{Identities, Identity, Options, Tls, ZooKeeper, digest};
use zms_drivers::meta::{MetaError, MetaStore};

pub use api::{api, pages};

use crate::access::token;
use crate::app::now_ms;
use crate::authority::Authority;
use crate::db::Db;
use crate::environments::Environment;
use crate::error::{Error, Result, Text};
use crate::secrets::Vault;
use crate::services;

/// Who has an identity in an environment's ZooKeeper; each has a password in the vault.
pub const IDENTITIES: [&str; 4] = ["portal", "sdk", "collector", "backup"];

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Metadata(Arc<Parts>);

struct Parts {
    db: Db,
    vault: Vault,
    authority: Option<Authority>,
    /// By environment id.
    open: Mutex<BTreeMap<String, Opened>>,
}

#[derive(Clone)]
struct Opened {
    /// How it was reached; another way means another store.
    way: Way,
    store: Arc<dyn MetaStore>,
    /// The tree was seen to be ours.
    prepared: bool,
}

/// How an environment's ZooKeeper is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// `host:port,…`.
    pub addresses: String,
    /// On the port with TLS, where identities count.
    pub secure: bool,
}

/// What should stand in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the nodes in zms_core::metadata")]
pub enum Wanted {
    /// A cluster's node.
    Cluster {
        name: ClusterName,
        broker: BrokerKind,
        boot_addr: String,
        /// How applications must speak; `None` leaves what stands there.
        security: Option<Security>,
    },
    /// A topic's node.
    Topic { name: PhysicalName, cluster: ClusterName },
    /// A group's node.
    Group { name: PhysicalName, topic: PhysicalName, cluster: ClusterName, from: ConsumeFrom, broadcast: bool },
    /// No node of this topic.
    NoTopic(PhysicalName),
    /// No node of this group.
    NoGroup(PhysicalName),
    /// No node of this cluster.
    NoCluster(ClusterName),
}

/// Why a node is not as it is wanted.
#[derive(Debug, Clone)]
pub enum PublishError {
    /// It may be later, without anybody doing anything.
    Passing(String),
    /// A person has to look.
    Refused(String),
}

impl From<MetaError> for PublishError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Changed(_) | MetaError::Exists(_) | MetaError::Missing(_) => Self::Passing(error.to_string()),
            passing if passing.is_passing() => Self::Passing(passing.to_string()),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl Metadata {
    /// Of this portal. Nothing is dialled yet.
    pub fn new(db: Db, vault: Vault, authority: Authority) -> Self {
        Self(Arc::new(Parts { db, vault, authority: Some(authority), open: Mutex::default() }))
    }

    /// A store instead of the environment's own.
    #[cfg(test)]
    pub async fn with(&self, environment_id: &str, store: Arc<dyn MetaStore>) {
        let way = Way { addresses: "fake".to_owned(), secure: false };
        self.0.open.lock().await.insert(environment_id.to_owned(), Opened { way, store, prepared: false });
    }

    /// How the environment's ZooKeeper is reached; `None` if it has none.
    pub async fn way(&self, environment_id: &str) -> Result<Option<Way>> {
        let instances = services::instances_of_store(&self.0.db, environment_id, "metadata").await?;
        let ports = |name: &str| -> Vec<String> {
            let of = |spec: &InstanceSpec| spec.body.ports.iter().find(|port| port.name == name).map(Port::socket);
            instances.iter().filter_map(of).collect()
        };
        let (secure, plain) = (ports("secure"), ports("client"));
        Ok(match (secure.is_empty(), plain.is_empty()) {
            (false, _) => Some(Way { addresses: secure.join(","), secure: true }),
            (true, false) => Some(Way { addresses: plain.join(","), secure: false }),
            (true, true) => None,
        })
    }

    /// The environment's store, connected in the background.
    ///
    /// # Errors
    /// [`Error::Unavailable`] that says what to do when it has none.
    pub async fn store(&self, environment_id: &str) -> Result<Arc<dyn MetaStore>> {
        self.opened(environment_id).await.map(|opened| opened.store)
    }

    async fn opened(&self, environment_id: &str) -> Result<Opened> {
        #[cfg(test)]
        if let Some(opened) = self.0.open.lock().await.get(environment_id).filter(|opened| opened.way.addresses == "fake") {
            return Ok(opened.clone());
        }
        let way = self.way(environment_id).await?;
        let Some(way) = way else {
            return Err(Error::Unavailable(Text::new(|m| m.metadata_none().to_owned())));
        };
        let mut open = self.0.open.lock().await;
        if let Some(opened) = open.get(environment_id).filter(|opened| opened.way == way) {
            return Ok(opened.clone());
        }
        let mut options = Options { addresses: way.addresses.clone(), ..Options::default() };
        if way.secure {
            options.tls = self.0.authority.as_ref().map(|authority| Tls { authority_pem: authority.ca_pem().to_owned() });
            options.identity = Some(self.identity(environment_id, "portal").await?);
            options.access = Some(self.identities(environment_id).await?);
        }
        let opened = Opened { way, store: ZooKeeper::start(options), prepared: false };
        open.insert(environment_id.to_owned(), opened.clone());
        Ok(opened)
    }

    /// Name and password of somebody in this environment's ZooKeeper; made when first asked for.
    pub async fn identity(&self, environment_id: &str, who: &str) -> Result<Identity> {
        let reference = format!("metadata/{environment_id}/{who}");
        let make = || URL_SAFE_NO_PAD.encode(token::random::<24>());
        let password = self.0.vault.get_or_make(&reference, make, now_ms()).await?;
        Ok(Identity { user: who.to_owned(), password })
    }

    async fn identities(&self, environment_id: &str) -> Result<Identities> {
        let mut digests = Vec::new();
        for who in IDENTITIES {
            let identity = self.identity(environment_id, who).await?;
            digests.push(digest(&identity.user, &identity.password));
        }
        let [portal, sdk, collector, backup]: [String; 4] = digests.try_into().expect("there are four identities");
        Ok(Identities { portal, sdk, collector, backup, world_reads: false })
    }

    /// Makes one node as it is wanted: read, changed where it differs, written in one transaction with the check that this portal may
    /// still write. `known`: what our database says of it. The order that the node has then.
    pub async fn publish(&self, environment: &Environment, wanted: &Wanted, known: Order) -> Result<Order, PublishError> {
        let opened = self.opened(&environment.id).await.map_err(unavailable)?;
        if !opened.prepared {
            tree::prepare(opened.store.as_ref(), environment).await?;
            if let Some(opened) = self.0.open.lock().await.get_mut(&environment.id) {
                opened.prepared = true;
            }
        }
        node::publish(opened.store.as_ref(), wanted, known).await
    }
}

fn unavailable(error: Error) -> PublishError {
    match error {
        Error::Unavailable(text) => PublishError::Passing(text.say(crate::web::messages::Messages::ENGLISH)),
        other => PublishError::Passing(format!("{other:?}")),
    }
}

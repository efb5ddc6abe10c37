//! The metadata that applications read: one ZooKeeper tree an environment, written by this portal alone.
//!
//! 1. [`Metadata::store`]: the environment's ZooKeeper, connected when it is first needed. 2. [`Metadata::publish`]: one node made as it
//!    is wanted. `tree`: what stands there before any topic. `node`: how a node is changed without losing what others put into it.
//! 3. [`external`]: a ZooKeeper that ZMS did not install. 4. [`rights`]: who may write there. [`heartbeat`]: that it can be written. `client_file`: how applications are let in.
//!    `web` pages, `api` REST.

mod api;
mod client_file;
pub mod external;
pub mod heartbeat;
mod node;
pub mod rights;
#[cfg(test)]
mod tests;
mod tree;
mod web;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use zms_core::host::{InstanceSpec, Port};
use zms_core::metadata::{BrokerKind, ConsumeFrom, Order, Security};
use zms_core::names::{ClusterName, PhysicalName};
use zms_core::networks::Networks;
use zms_drivers::meta::zookeeper::{Identities, Identity, Options, Tls, ZooKeeper, digest};
use zms_drivers::meta::{MetaError, MetaStore};

pub use api::api;
pub use web::pages;

use crate::access::token;
use crate::app::now_ms;
use crate::authority::Authority;
use crate::db::Db;
use crate::environments::{self, Environment};
use crate::error::{Error, Result, Text};
use crate::secrets::Vault;
use crate::services;
use external::External;
use rights::Mode;

/// Who has an identity in an environment's ZooKeeper; each has a password in the vault.
pub const IDENTITIES: [&str; 4] = ["portal", "sdk", "collector", "backup"];

/// Instead of addresses, for the store of a test.
#[cfg(test)]
const FAKE: &str = "fake";

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Metadata(Arc<Parts>);

struct Parts {
    db: Db,
    vault: Vault,
    authority: Option<Authority>,
    /// By environment id.
    open: Mutex<BTreeMap<String, Opened>>,
    /// The same.
    beats: std::sync::Mutex<BTreeMap<String, heartbeat::Told>>,
}

#[derive(Clone)]
struct Opened {
    /// How it was reached; another way means another store.
    way: Way,
    /// What nodes are made with.
    mode: Mode,
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
    /// PEM of whoever signed the servers' certificates; empty without TLS.
    pub authority: String,
    /// ZMS did not install it.
    pub external: bool,
    /// It is dialled within these only; `None`: ZMS installed it, so it is where our hosts are.
    pub networks: Option<Networks>,
    /// When what is known of it was changed last, milliseconds since 1970; 0 for a service.
    pub changed_at: i64,
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
        Self(Arc::new(Parts {
            db,
            vault,
            authority: Some(authority),
            open: Mutex::default(),
            beats: std::sync::Mutex::default(),
        }))
    }

    /// A store instead of the environment's own.
    #[cfg(test)]
    pub async fn with(&self, environment_id: &str, store: Arc<dyn MetaStore>) {
        let authority = String::new();
        let way = Way { addresses: FAKE.to_owned(), secure: true, authority, external: false, networks: None, changed_at: 0 };
        let opened = Opened { way, mode: Mode::Secured, store, prepared: false };
        self.0.open.lock().await.insert(environment_id.to_owned(), opened);
    }

    /// How the environment's ZooKeeper is reached; `None` if it has none.
    pub async fn way(&self, environment_id: &str) -> Result<Option<Way>> {
        if let Some(found) = external::find(&self.0.db, environment_id).await? {
            let External { addresses, authority, changed_at, .. } = found;
            let networks = Some(environments::networks(&self.0.db, environment_id).await?);
            return Ok(Some(Way { addresses, secure: !authority.is_empty(), authority, external: true, networks, changed_at }));
        }
        let instances = services::instances_of_store(&self.0.db, environment_id, "metadata").await?;
        let ports = |name: &str| -> Vec<String> {
            let of = |spec: &InstanceSpec| spec.body.ports.iter().find(|port| port.name == name).map(Port::socket);
            instances.iter().filter_map(of).collect()
        };
        let (secure, plain) = (ports("secure"), ports("client"));
        let authority = self.0.authority.as_ref().map(|authority| authority.ca_pem().to_owned()).unwrap_or_default();
        let way = |addresses: Vec<String>, secure, authority| {
            Some(Way { addresses: addresses.join(","), secure, authority, external: false, networks: None, changed_at: 0 })
        };
        Ok(match (secure.is_empty(), plain.is_empty()) {
            (false, _) => way(secure, true, authority),
            (true, false) => way(plain, false, String::new()),
            (true, true) => None,
        })
    }

    /// Do identities count in the environment's store?
    pub async fn is_secure(&self, environment_id: &str) -> Result<bool> {
        self.opened(environment_id).await.map(|opened| opened.way.secure)
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
        if let Some(opened) = self.0.open.lock().await.get(environment_id).filter(|opened| opened.way.addresses == FAKE) {
            return Ok(Opened { mode: rights::mode(&self.0.db, environment_id).await?, ..opened.clone() });
        }
        let way = self.way(environment_id).await?;
        let Some(way) = way else {
            return Err(Error::Unavailable(Text::new(|m| m.metadata_none().to_owned())));
        };
        let mode = rights::mode(&self.0.db, environment_id).await?;
        let mut open = self.0.open.lock().await;
        if let Some(opened) = open.get(environment_id).filter(|opened| opened.way == way && opened.mode == mode) {
            return Ok(opened.clone());
        }
        let mut options = Options { addresses: way.addresses.clone(), networks: way.networks.clone(), ..Options::default() };
        if way.secure {
            options.tls = Some(Tls { authority_pem: way.authority.clone() });
            options.identity = Some(self.identity(environment_id, "portal").await?);
            options.access = Some(self.identities(environment_id, mode).await?);
        }
        let opened = Opened { way, mode, store: ZooKeeper::start(options), prepared: false };
        open.insert(environment_id.to_owned(), opened.clone());
        Ok(opened)
    }

    /// Name and password of somebody in this environment's ZooKeeper; made when first asked for. The portal's own may be given instead.
    pub async fn identity(&self, environment_id: &str, who: &str) -> Result<Identity> {
        let external = external::find(&self.0.db, environment_id).await?;
        if let Some(External { user, .. }) = external.as_ref().filter(|external| who == "portal" && !external.user.is_empty()) {
            let password = self.0.vault.get(&external::reference(environment_id)).await?;
            return Ok(Identity { user: user.clone(), password: String::from_utf8(password).map_err(anyhow::Error::new)? });
        }
        // Servers that somebody else vouches for are told other passwords: whoever chooses them would have those of the store before.
        let authority = external.map(|external| external.authority).filter(|pem| !pem.is_empty());
        let of_store = authority.map(|pem| format!("@{}", URL_SAFE_NO_PAD.encode(Sha256::digest(pem)))).unwrap_or_default();
        let reference = format!("metadata/{environment_id}/{who}{of_store}");
        let make = || URL_SAFE_NO_PAD.encode(token::random::<24>());
        let password = self.0.vault.get_or_make(&reference, make, now_ms()).await?;
        Ok(Identity { user: who.to_owned(), password })
    }

    async fn identities(&self, environment_id: &str, mode: Mode) -> Result<Identities> {
        let mut digests = Vec::new();
        for who in IDENTITIES {
            let identity = self.identity(environment_id, who).await?;
            digests.push(digest(&identity.user, &identity.password));
        }
        let [portal, sdk, collector, backup]: [String; 4] = digests.try_into().expect("there are four identities");
        Ok(Identities { portal, sdk, collector, backup, world_reads: mode == Mode::Legacy })
    }

    /// Makes one node as it is wanted: read, changed where it differs, written in one transaction with the check that this portal may
    /// still write. `known`: what our database says of it. The order that the node has then.
    pub async fn publish(&self, environment: &Environment, wanted: &Wanted, known: Order) -> Result<Order, PublishError> {
        let opened = self.opened(&environment.id).await.map_err(unavailable)?;
        if !opened.prepared {
            tree::prepare(opened.store.as_ref(), environment, opened.mode).await?;
            if let Some(opened) = self.0.open.lock().await.get_mut(&environment.id) {
                opened.prepared = true;
            }
        }
        node::publish(opened.store.as_ref(), wanted, known, opened.mode).await
    }

    /// There is no such node. Without a metadata store nobody reads one either.
    pub async fn withdraw(&self, environment: &Environment, gone: &Wanted) -> Result<(), PublishError> {
        let Err(error) = self.publish(environment, gone, Order::default()).await else { return Ok(()) };
        match self.way(&environment.id).await.map_err(unavailable)? {
            None => Ok(()),
            Some(_) => Err(error),
        }
    }

    /// Makes the nodes that a tree of this environment lacks. Whether it worked is seen when it is looked at next.
    async fn complete(&self, environment_id: &str) {
        // The store of the present mode: what is made here gets its rights.
        let Ok(opened) = self.opened(environment_id).await else { return };
        if let Err(why) = tree::ensure_what_came_later(opened.store.as_ref()).await {
            tracing::debug!(environment = environment_id, ?why, "the tree lacks nodes still");
        }
    }

    /// The tree of a first ZMS becomes this environment's: what is missing of ours is made, what is there stays. `term`: the highest there.
    pub(crate) async fn adopt(&self, environment: &Environment, term: u64) -> Result<(), PublishError> {
        let opened = self.opened(&environment.id).await.map_err(unavailable)?;
        tree::adopt(opened.store.as_ref(), environment, opened.mode, term).await
    }
}

pub(crate) fn unavailable(error: Error) -> PublishError {
    match error {
        Error::Unavailable(text) => PublishError::Passing(text.say(crate::web::messages::Messages::ENGLISH)),
        other => PublishError::Passing(format!("{other:?}")),
    }
}

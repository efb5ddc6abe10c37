//! The real one, over the `zookeeper-client` crate, whose traps end here: persistent watches that stay silent after a reconnect, an
//! expired session that never comes back, requests that queue without an end while there is no connection.
//!
//! 1. `link`: one task that keeps a connection and makes a new client when a session ended. 2. `rights`: who may do what with a node.
//! 3. `follow`: readers of a node or a tree, that list again after each reconnect and on a timer. 4. `ephemeral`: nodes that go with us.

mod ephemeral;
mod follow;
mod link;
mod rights;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};
use zms_core::networks::Networks;
use zookeeper_client as zk;

use super::{Access, Change, Link, MetaError, MetaStore, Node, Seen, Tree};
use link::Up;

pub use rights::{Identities, digest};

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// `host:port,host:port`.
    pub addresses: String,
    /// TLS on the secure client port.
    pub tls: Option<Tls>,
    /// Who we are.
    pub identity: Option<Identity>,
    /// Who else there is, for the rights of nodes that we make; `None`: everybody may do everything.
    pub access: Option<Identities>,
    /// Where servers may be; `None`: anywhere. Those that are elsewhere are not dialled.
    pub networks: Option<Networks>,
    /// After so long without us our ephemeral nodes go.
    pub session_timeout: Duration,
    /// Of one call.
    pub deadline: Duration,
    /// Everything that is followed is read again after about so long: half to one and a half of it.
    pub relist: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addresses: String::new(),
            tls: None,
            identity: None,
            access: None,
            networks: None,
            session_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(10),
            relist: Duration::from_secs(45),
        }
    }
}

/// Whom we trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of authorities (PEM).
    pub authority_pem: String,
}

/// A digest identity.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A request must stay below the servers' `jute.maxbuffer` (1 MiB), or they close the connection.
const LARGEST: usize = 900_000;
/// Requests under way at once.
const IN_FLIGHT: usize = 256;

/// See the module.
pub struct ZooKeeper {
    shared: Arc<Shared>,
}

/// What all tasks of a store share.
struct Shared {
    options: Options,
    up: watch::Receiver<Option<Up>>,
    link: watch::Receiver<Link>,
    closing: watch::Sender<bool>,
    permits: Semaphore,
}

impl ZooKeeper {
    /// Connects in the background, for ever. Must be called in a tokio runtime.
    pub fn start(options: Options) -> Arc<Self> {
        let (up_sender, up) = watch::channel(None);
        let (link_sender, link) = watch::channel(Link::Down("not connected yet".to_owned()));
        let closing = watch::Sender::new(false);
        tokio::spawn(link::keep(options.clone(), up_sender, link_sender, closing.subscribe()));
        let shared = Shared { options, up, link, closing, permits: Semaphore::new(IN_FLIGHT) };
        Arc::new(Self { shared: Arc::new(shared) })
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}

impl Shared {
    /// The connection, or why there is none.
    fn up(&self) -> Result<Up, MetaError> {
        self.up.borrow().clone().ok_or_else(|| {
            MetaError::Unavailable(match &*self.link.borrow() {
                Link::Down(why) => why.clone(),
                Link::Up(_) => "the connection was lost".to_owned(),
            })
        })
    }

    /// Does one call in time. What is sent cannot be taken back, so whether a late one was done is open.
    async fn call<T, F, Work>(&self, what: &str, work: Work) -> Result<Result<T, zk::Error>, MetaError>
    where
        Work: FnOnce(zk::Client) -> F,
        F: Future<Output = Result<T, zk::Error>>,
    {
        let client = zk::Client::clone(&*self.up()?.client);
        let in_time = async {
            let _permit = self.permits.acquire().await;
            work(client).await
        };
        tokio::time::timeout(self.options.deadline, in_time).await.map_err(|_late| MetaError::Unknown(what.to_owned()))
    }
}

/// What an error of the library means. `path`: of the node that it is about.
fn classify(error: zk::Error, what: &'static str, path: &str) -> MetaError {
    let path = path.to_owned();
    match error {
        zk::Error::NoNode => MetaError::Missing(path),
        zk::Error::NodeExists => MetaError::Exists(path),
        zk::Error::BadVersion => MetaError::Changed(path),
        zk::Error::NotEmpty => MetaError::HasChildren(path),
        zk::Error::NoAuth => MetaError::Denied { what, path },
        zk::Error::ConnectionLoss | zk::Error::SessionExpired | zk::Error::SessionMoved | zk::Error::Timeout => {
            MetaError::Unknown(format!("{what} {path}"))
        }
        zk::Error::NoHosts | zk::Error::ClientClosed | zk::Error::AuthFailed | zk::Error::Throttled => {
            MetaError::Unavailable(error.to_string())
        }
        other => MetaError::Other { what: format!("{what} {path}"), why: other.to_string() },
    }
}

fn node(data: Vec<u8>, stat: &zk::Stat) -> Node {
    Node { data: data.into(), version: stat.version, mzxid: stat.mzxid, ephemeral: stat.ephemeral_owner != 0 }
}

fn bounded(size: usize) -> Result<(), MetaError> {
    if size > LARGEST { Err(MetaError::Large { size, limit: LARGEST }) } else { Ok(()) }
}

impl Change {
    /// Path, and what is asked.
    fn about(&self) -> (&str, &'static str) {
        match self {
            Self::Check { path, .. } => (path, "check"),
            Self::Create { path, .. } => (path, "create"),
            Self::Set { path, .. } => (path, "change"),
            Self::Delete { path, .. } => (path, "delete"),
        }
    }

    fn size(&self) -> usize {
        let data = match self {
            Self::Create { data, .. } | Self::Set { data, .. } => data.len(),
            Self::Check { .. } | Self::Delete { .. } => 0,
        };
        // Versions, rights and lengths are some hundred bytes at most.
        self.about().0.len() + data + 256
    }
}

#[async_trait]
impl MetaStore for ZooKeeper {
    async fn get(&self, path: &str) -> Result<Option<Node>, MetaError> {
        let read = self.shared.call(&format!("read {path}"), async |client| client.get_data(path).await).await?;
        match read {
            Ok((data, stat)) => Ok(Some(node(data, &stat))),
            Err(zk::Error::NoNode) => Ok(None),
            Err(error) => Err(classify(error, "read", path)),
        }
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, MetaError> {
        let listed = self.shared.call(&format!("list {path}"), async |client| client.list_children(path).await).await?;
        match listed {
            Ok(mut names) => {
                names.sort_unstable();
                Ok(Some(names))
            }
            Err(zk::Error::NoNode) => Ok(None),
            Err(error) => Err(classify(error, "list", path)),
        }
    }

    async fn apply(&self, changes: &[Change]) -> Result<Vec<i32>, MetaError> {
        bounded(changes.iter().map(Change::size).sum())?;
        let Some((path, what)) = changes.first().map(Change::about) else { return Ok(Vec::new()) };
        let client = zk::Client::clone(&*self.shared.up()?.client);
        let rights = |access: Access| rights::list(self.shared.options.access.as_ref(), access);
        let mut writer = client.new_multi_writer();
        for change in changes {
            let (path, what) = change.about();
            let added = match change {
                Change::Check { path, version } => writer.add_check_version(path, *version),
                Change::Create { path, data, access } => {
                    writer.add_create(path, data, &zk::CreateMode::Persistent.with_acls(zk::Acls::new(&rights(*access))))
                }
                Change::Set { path, data, version } => writer.add_set_data(path, data, *version),
                Change::Delete { path, version } => writer.add_delete(path, *version),
            };
            added.map_err(|error| classify(error, what, path))?;
        }
        let in_time = async {
            let _permit = self.shared.permits.acquire().await;
            writer.commit().await
        };
        let late = || MetaError::Unknown(format!("{what} {path} and what belongs to it"));
        match tokio::time::timeout(self.shared.options.deadline, in_time).await.map_err(|_late| late())? {
            Ok(results) => Ok(results
                .iter()
                .map(|result| match result {
                    zk::MultiWriteResult::SetData { stat } => stat.version,
                    zk::MultiWriteResult::Create { .. } => 0,
                    _ => -1,
                })
                .collect()),
            Err(zk::MultiWriteError::OperationFailed { index, source }) => {
                let (path, what) = changes.get(index).map_or((path, what), Change::about);
                Err(classify(source, what, path))
            }
            Err(zk::MultiWriteError::RequestFailed { source }) => Err(classify(source, what, path)),
        }
    }

    async fn ensure_access(&self, path: &str, access: Access) -> Result<bool, MetaError> {
        let wanted = rights::list(self.shared.options.access.as_ref(), access);
        let what = "change the rights of";
        let has = self.shared.call(&format!("read the rights of {path}"), async |client| client.get_acl(path).await).await?;
        let (has, stat) = has.map_err(|error| classify(error, what, path))?;
        if has.len() == wanted.len() && wanted.iter().all(|acl| has.contains(acl)) {
            return Ok(false);
        }
        let set = async |client: zk::Client| client.set_acl(path, &wanted, Some(stat.aversion)).await;
        let set = self.shared.call(&format!("{what} {path}"), set).await?;
        set.map(|_stat| true).map_err(|error| classify(error, what, path))
    }

    fn node(&self, path: &str) -> watch::Receiver<Seen> {
        let (sender, receiver) = watch::channel(Seen::NotYet);
        tokio::spawn(follow::node(Arc::clone(&self.shared), path.to_owned(), sender));
        receiver
    }

    fn tree(&self, prefix: &str) -> watch::Receiver<Option<Arc<Tree>>> {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(follow::tree(Arc::clone(&self.shared), prefix.to_owned(), sender));
        receiver
    }

    fn ephemeral(&self, path: &str, data: Vec<u8>) -> watch::Sender<Vec<u8>> {
        let (sender, wanted) = watch::channel(data);
        tokio::spawn(ephemeral::keep(Arc::clone(&self.shared), path.to_owned(), wanted));
        sender
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.clone()
    }

    async fn close(&self) {
        self.shared.closing.send_replace(true);
        let mut link = self.shared.link.clone();
        // The keeper says so when the session ended, at its own deadline at the latest.
        let _ = link.wait_for(|link| matches!(link, Link::Down(why) if why == link::CLOSED)).await;
    }
}

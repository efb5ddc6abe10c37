//! What is at an address, without writing anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zms_core::metadata::path::{Path, ROOT};
use zms_drivers::meta::zookeeper::{Options, ZooKeeper};
use zms_drivers::meta::{Access, Change, Link, MetaError, MetaStore};

/// For a connection, and for each question after it.
const DEADLINE: Duration = Duration::from_secs(6);
/// Longest answer to `srvr` that is read, in bytes.
const LONGEST: u64 = 16 << 10;
/// A version that no node has.
const NEVER: i32 = i32::MAX;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Found {
    /// A session was made.
    pub reachable: bool,
    /// Why not, or what could not be read.
    pub problem: Option<String>,
    /// As the first server that answers says: `3.9.5`. Servers may be told not to say it.
    pub version: Option<String>,
    /// What stands there.
    pub tree: Option<Tree>,
    /// What we may do there. With identities a wrong password is no error, only another identity that may do less.
    pub rights: Option<Rights>,
}

/// What stands at `/zms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Tree {
    /// Nothing: a tree can be made.
    Absent,
    /// That of this environment.
    Ours,
    /// That of another environment of ours, or of this one before its database was lost.
    Other {
        /// Its id.
        id: String,
    },
    /// That of a first ZMS, or one without an id: it can be imported.
    First {
        /// Nodes below `/zms/topic`.
        topics: usize,
        /// Nodes below `/zms/consumergroup`.
        groups: usize,
    },
}

/// What we may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "may", rename_all = "snake_case")]
pub enum Rights {
    /// All that is needed.
    Write,
    /// Too little.
    TooFew {
        /// What is missing, on which node.
        why: String,
    },
}

/// Connects, looks, and leaves.
pub(super) async fn dial(options: Options, environment_id: &str) -> Found {
    let version = tokio::time::timeout(DEADLINE, version(&options)).await.ok().flatten();
    let store = ZooKeeper::start(Options { session_timeout: Duration::from_secs(5), deadline: DEADLINE, ..options });
    let mut link = store.link();
    let up = link.wait_for(|link| matches!(link, Link::Up(_)));
    let connected = tokio::time::timeout(DEADLINE, up).await.is_ok_and(|link| link.is_ok());
    let found = if connected {
        into(store.as_ref(), environment_id, version).await
    } else {
        let why = match &*store.link().borrow() {
            Link::Down(why) => why.clone(),
            Link::Up(_) => format!("no session within {} s", DEADLINE.as_secs()),
        };
        Found { reachable: false, problem: Some(why), version, tree: None, rights: None }
    };
    if tokio::time::timeout(Duration::from_secs(2), store.close()).await.is_err() {
        tracing::debug!("ZooKeeper did not answer the end of the session");
    }
    found
}

/// What a store holds.
pub(super) async fn into(store: &dyn MetaStore, environment_id: &str, version: Option<String>) -> Found {
    let (tree, rights) = (tree(store, environment_id).await, rights(store).await);
    let mut problems = [tree.as_ref().err(), rights.as_ref().err()].into_iter().flatten().map(ToString::to_string);
    let problem = problems.next();
    drop(problems);
    Found { reachable: true, problem, version, tree: tree.ok(), rights: rights.ok() }
}

async fn tree(store: &dyn MetaStore, environment_id: &str) -> Result<Tree, MetaError> {
    if let Some(id) = store.get(&Path::SystemId.to_string()).await? {
        let id = String::from_utf8_lossy(&id.data).chars().take(64).collect::<String>();
        return Ok(if id == environment_id { Tree::Ours } else { Tree::Other { id } });
    }
    let count = async |path: Path| Ok(store.children(&path.to_string()).await?.map(|names| names.len()));
    match (count(Path::Topics).await?, count(Path::Groups).await?) {
        (None, None) => Ok(Tree::Absent),
        (topics, groups) => Ok(Tree::First { topics: topics.unwrap_or_default(), groups: groups.unwrap_or_default() }),
    }
}

/// Asks for what is needed in transactions that cannot succeed: their last step checks for a version that no node has, so nothing is
/// written, but a missing right is said at the step that needs it.
async fn rights(store: &dyn MetaStore) -> Result<Rights, MetaError> {
    let mut first = None;
    for path in [ROOT.to_owned(), Path::Topics.to_string(), Path::Groups.to_string(), Path::Clusters.to_string()] {
        match store.children(&path).await {
            Ok(Some(names)) => {
                if let Some(name) = names.iter().find(|name| path != ROOT && !name.contains('|')) {
                    first = first.or_else(|| Some(format!("{path}/{name}")));
                }
                if let Some(too_few) = denied(store, &path, |path| create(&format!("{path}/zms-try"))).await? {
                    return Ok(too_few);
                }
            }
            Ok(None) if path == ROOT => return Ok(denied(store, "/", |_| create(ROOT)).await?.unwrap_or(Rights::Write)),
            Ok(None) => {}
            Err(error @ MetaError::Denied { .. }) => return Ok(Rights::TooFew { why: error.to_string() }),
            Err(error) => return Err(error),
        }
    }
    // One that is there stands for the others.
    let set = |path: &str| Change::Set { path: path.to_owned(), data: Vec::new(), version: None };
    let too_few = match &first {
        Some(path) => denied(store, path, set).await?,
        None => None,
    };
    Ok(too_few.unwrap_or(Rights::Write))
}

fn create(path: &str) -> Change {
    Change::Create { path: path.to_owned(), data: Vec::new(), access: Access::Portal }
}

async fn denied(store: &dyn MetaStore, path: &str, change: impl Fn(&str) -> Change) -> Result<Option<Rights>, MetaError> {
    let never = Change::Check { path: path.to_owned(), version: NEVER };
    match store.apply(&[change(path), never]).await {
        // Everything before the check would have been done.
        Err(MetaError::Changed(_) | MetaError::Exists(_) | MetaError::Missing(_)) | Ok(_) => Ok(None),
        Err(error @ MetaError::Denied { .. }) => Ok(Some(Rights::TooFew { why: error.to_string() })),
        Err(error) => Err(error),
    }
}

/// Of the first server that says it.
async fn version(options: &Options) -> Option<String> {
    for address in options.addresses.split(',') {
        let Ok(found) = tokio::net::lookup_host(address).await else { continue };
        let allowed = |at: &SocketAddr| options.networks.as_ref().is_none_or(|networks| networks.contain(at.ip()));
        let found: Vec<SocketAddr> = found.filter(allowed).collect();
        let Ok(stream) = TcpStream::connect(&found[..]).await else { continue };
        let answer = match &options.tls {
            None => srvr(stream).await,
            Some(tls) => {
                let mut roots = rustls::RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(tls.authority_pem.as_bytes()).flatten() {
                    roots.add(certificate).ok()?;
                }
                let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
                let host = address.rsplit_once(':')?.0.trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(host).ok()?;
                match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
                    Ok(stream) => srvr(stream).await,
                    Err(_) => None,
                }
            }
        };
        if answer.is_some() {
            return answer;
        }
    }
    None
}

async fn srvr(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<String> {
    stream.write_all(b"srvr").await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = Vec::new();
    // A server may close without the farewell of TLS; what came is judged.
    let _ = stream.take(LONGEST).read_to_end(&mut answer).await;
    version_in(&String::from_utf8_lossy(&answer))
}

/// `Zookeeper version: 3.9.5-…, built on …`.
fn version_in(answer: &str) -> Option<String> {
    let line = answer.lines().find_map(|line| line.strip_prefix("Zookeeper version: "))?;
    let version: String = line.chars().take_while(|c| c.is_ascii_digit() || *c == '.').take(20).collect();
    (!version.is_empty()).then_some(version)
}

#[cfg(test)]
mod tests {
    use zms_drivers::meta::fake::FakeMeta;

    use super::*;

    #[test]
    fn a_version_is_read_from_what_a_server_says() {
        let old =
            "Zookeeper version: 3.4.13-2d71af4dbe22557fda74f9a9b4309b15a7487f03, built on 06/29/2018 04:05 GMT\nMode: leader\n";
        assert_eq!(version_in(old).as_deref(), Some("3.4.13"));
        assert_eq!(version_in("srvr is not executed because it is not in the whitelist.\n"), None);
    }

    #[tokio::test]
    async fn what_stands_there_is_told_apart_and_nothing_is_written() {
        let store = FakeMeta::new();
        let found = async || into(&*store, "01ENV", None).await;
        assert_eq!(found().await.tree, Some(Tree::Absent));
        store.put("/zms/topic/orders", "clusterName=k1\n");
        store.put("/zms/consumergroup/billing", "clusterName=k1\n");
        let before = store.get("/zms/topic/orders").await.unwrap();
        let first = found().await;
        assert_eq!((first.tree, first.rights), (Some(Tree::First { topics: 1, groups: 1 }), Some(Rights::Write)));
        assert_eq!(store.get("/zms/topic/orders").await.unwrap(), before);
        assert_eq!(store.children("/zms/topic").await.unwrap().unwrap(), ["orders"]);
        store.put("/zms/system/id", "01OTHER");
        assert_eq!(found().await.tree, Some(Tree::Other { id: "01OTHER".to_owned() }));
        store.put("/zms/system/id", "01ENV");
        assert_eq!(found().await.tree, Some(Tree::Ours));
        store.cut();
        let lost = found().await;
        assert!(lost.problem.is_some() && lost.tree.is_none() && lost.rights.is_none(), "{lost:?}");
    }
}

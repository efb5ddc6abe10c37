//! The tree as it stands in ZooKeeper, read with bounds.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use zms_core::metadata::JavaPresence;
use zms_core::metadata::path::Path;
use zms_core::metadata::text::LONGEST;
use zms_drivers::meta::{MetaError, MetaStore};

/// Most nodes of one kind: more are no tree of a ZMS.
const MOST: usize = 100_000;
/// Nodes at once.
const AT_ONCE: usize = 64;

/// Everything that an import looks at.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Of `/zms/system/id`.
    pub id: Option<String>,
    pub clusters: Vec<Raw>,
    pub topics: Vec<Raw>,
    pub groups: Vec<Raw>,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Raw {
    pub name: String,
    pub value: Value,
    /// Java clients below it.
    pub java: usize,
    /// Other nodes below it.
    pub others: usize,
}

/// What it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bytes(Arc<[u8]>),
    /// Too long to be looked at; bytes.
    Huge(usize),
    /// We have no right to read it.
    Denied,
    /// It goes with a session, so no tree of a ZMS made it.
    Ephemeral,
}

impl Default for Value {
    fn default() -> Self {
        Self::Bytes(Arc::default())
    }
}

/// Reads it.
pub(super) async fn read(store: &dyn MetaStore) -> Result<Tree, MetaError> {
    let id = store.get(&Path::SystemId.to_string()).await?;
    let id = id.map(|node| String::from_utf8_lossy(&node.data).chars().take(64).collect());
    Ok(Tree {
        id,
        clusters: below(store, Path::Clusters).await?,
        topics: below(store, Path::Topics).await?,
        groups: below(store, Path::Groups).await?,
    })
}

async fn below(store: &dyn MetaStore, parent: Path) -> Result<Vec<Raw>, MetaError> {
    let names = store.children(&parent.to_string()).await?.unwrap_or_default();
    if names.len() > MOST {
        let why = format!("{} nodes; an import reads at most {MOST}", names.len());
        return Err(MetaError::Other { what: format!("reading {parent}"), why });
    }
    let clients = parent != Path::Clusters;
    let parent = parent.to_string();
    let one = |name: String| {
        let path = format!("{parent}/{name}");
        async move { one(store, name, &path, clients).await }
    };
    let read: Vec<Option<Raw>> = stream::iter(names).map(one).buffered(AT_ONCE).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// `None`: deleted meanwhile.
async fn one(store: &dyn MetaStore, name: String, path: &str, clients: bool) -> Result<Option<Raw>, MetaError> {
    let value = match store.get(path).await {
        Ok(None) => return Ok(None),
        Ok(Some(node)) if node.ephemeral => Value::Ephemeral,
        Ok(Some(node)) if node.data.len() > LONGEST => Value::Huge(node.data.len()),
        Ok(Some(node)) => Value::Bytes(node.data),
        Err(MetaError::Denied { .. }) => Value::Denied,
        Err(error) => return Err(error),
    };
    let mut raw = Raw { name, value, ..Raw::default() };
    if clients && raw.value != Value::Denied {
        for child in store.children(path).await?.unwrap_or_default() {
            if JavaPresence::parse(&child).is_ok() { raw.java += 1 } else { raw.others += 1 }
        }
    }
    Ok(Some(raw))
}

//! What stands in a tree before any topic, and whose tree it is.

use zms_core::metadata::path::{self, Path};
use zms_core::metadata::system::{Heartbeat, Role, SystemRole};
use zms_drivers::meta::{Access, Change, MetaError, MetaStore};

use super::PublishError;
use super::rights::Mode;
use crate::environments::Environment;

/// Makes what is missing. A tree of somebody else is left alone.
pub(super) async fn prepare(store: &dyn MetaStore, environment: &Environment, mode: Mode) -> Result<(), PublishError> {
    let id = store.get(&Path::SystemId.to_string()).await?;
    match id {
        Some(node) if *node.data == *environment.id.as_bytes() => return ensure_what_came_later(store).await,
        Some(node) => {
            let other = String::from_utf8_lossy(&node.data).chars().take(64).collect::<String>();
            return Err(PublishError::Refused(format!(
                "this ZooKeeper holds the metadata of another environment (id {other}); choose another metadata store, or import that environment"
            )));
        }
        None => {}
    }
    let topics = store.children(&Path::Topics.to_string()).await?.unwrap_or_default();
    if let Some(first) = topics.first() {
        return Err(PublishError::Refused(format!(
            "this ZooKeeper holds topics of another ZMS ({first}{}); nothing is written there before they are imported",
            if topics.len() > 1 { " and others" } else { "" }
        )));
    }
    make(store, environment, mode, 1).await
}

/// Makes what is missing of a tree that has no id yet. The id comes last and with the rest: a tree that has one is whole.
async fn make(store: &dyn MetaStore, environment: &Environment, mode: Mode, term: u64) -> Result<(), PublishError> {
    for path in path::skeleton() {
        if store.get(&path).await?.is_none() {
            let access = mode.access(&path);
            store.apply(&[Change::Create { path, data: Vec::new(), access }]).await?;
        }
    }
    let role = SystemRole { environment: environment.name.clone(), role: Role::Active, term };
    let create = |path: Path, data: Vec<u8>| Change::Create { path: path.to_string(), data, access: Access::Read };
    let role = serde_json::to_vec(&role).expect("a role has only string keys");
    store
        .apply(&[
            create(Path::SystemRole, role),
            create(Path::SystemRevision, Vec::new()),
            create(Path::SystemId, environment.id.as_bytes().to_vec()),
        ])
        .await?;
    tracing::info!(environment = environment.name, "made the metadata tree");
    ensure_what_came_later(store).await
}

/// A tree with topics of a first ZMS becomes this environment's: a person said so. Nothing that is there is changed. `term`: no node has a
/// higher one.
pub(super) async fn adopt(store: &dyn MetaStore, environment: &Environment, mode: Mode, term: u64) -> Result<(), PublishError> {
    match store.get(&Path::SystemId.to_string()).await? {
        Some(_) => prepare(store, environment, mode).await,
        None => make(store, environment, mode, term.max(1)).await,
    }
}

/// Nodes that a tree of before does not have: collectors write their lease in turn and may not make it, as they do not know who else has rights; portals
/// write the heartbeat.
pub(super) async fn ensure_what_came_later(store: &dyn MetaStore) -> Result<(), PublishError> {
    let heartbeat = serde_json::to_vec(&Heartbeat::default()).expect("a heartbeat has only numbers");
    for (path, data, access) in
        [(Path::Lease("collector"), Vec::new(), Access::Lease), (Path::SystemHeartbeat, heartbeat, Access::Read)]
    {
        let path = path.to_string();
        if store.get(&path).await?.is_some() {
            continue;
        }
        match store.apply(&[Change::Create { path, data, access }]).await {
            Ok(_) | Err(MetaError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

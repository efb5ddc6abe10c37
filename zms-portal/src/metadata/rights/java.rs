//! Who would be shut out by secured rights.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use zms_core::metadata::JavaPresence;
use zms_core::metadata::path::Path;
use zms_drivers::meta::{MetaError, MetaStore};

use crate::app::App;
use crate::error::{Error, Result, Text};

/// For looking at all topics and groups.
const DEADLINE: Duration = Duration::from_secs(30);
/// Nodes at once.
const AT_ONCE: usize = 64;

/// Java clients of the first ZMS that are connected to an environment.
///
/// # Errors
/// [`Error::Unavailable`]: as long as it is not known, nobody is shut out.
pub(super) async fn connected(app: &App, environment_id: &str) -> Result<usize> {
    let store = app.metadata.store(environment_id).await?;
    let unknown = |why: String| Error::Unavailable(Text::new(move |m| m.metadata_java_unknown(&why)));
    let counted = tokio::time::timeout(DEADLINE, count(store.as_ref())).await;
    let counted = counted.map_err(|_late| unknown(format!("no answer within {} s", DEADLINE.as_secs())))?;
    counted.map_err(|error| unknown(error.to_string()))
}

async fn count(store: &dyn MetaStore) -> Result<usize, MetaError> {
    let mut paths = Vec::new();
    for parent in [Path::Topics, Path::Groups] {
        let names = store.children(&parent.to_string()).await?.unwrap_or_default();
        paths.extend(names.into_iter().map(|name| format!("{parent}/{name}")));
    }
    let clients = |path: String| async move {
        let names = store.children(&path).await?.unwrap_or_default();
        Ok(names.iter().filter(|name| JavaPresence::parse(name).is_ok()).count())
    };
    stream::iter(paths).map(clients).buffer_unordered(AT_ONCE).try_fold(0, |sum, more| async move { Ok(sum + more) }).await
}

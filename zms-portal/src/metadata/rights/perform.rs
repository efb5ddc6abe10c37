//! Writes the rights of nodes.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use zms_core::metadata::path::{Path, skeleton};
use zms_drivers::meta::{MetaError, MetaStore};

use super::Mode;
use super::flow::{Command, Effect, Part, Switch};
use crate::app::App;
use crate::engine::{EffectContext, Outcome, Perform};
use crate::hindrance::Hindrance;
use crate::metadata::PublishError;

/// Nodes at once.
const AT_ONCE: usize = 32;

/// See the module.
pub(super) struct Performer(pub App);

impl Perform<Switch> for Performer {
    async fn perform(&self, _: &EffectContext, effect: &Effect) -> Outcome<Command> {
        let Effect::EnsureRights { environment, part } = effect;
        match self.ensure(environment, *part).await {
            Ok(changed) => Outcome::Done(Command::Rewritten { part: *part, changed }),
            Err(hindrance) => hindrance.outcome(),
        }
    }
}

impl Performer {
    async fn ensure(&self, environment: &str, part: Part) -> Result<u64, Hindrance> {
        let mode = super::mode(&self.0.db, environment).await?;
        let store = self.0.metadata.store(environment).await.map_err(crate::metadata::unavailable)?;
        rewrite(store, mode, part).await.map_err(|error| PublishError::from(error).into())
    }
}

/// Gives every node of a part the rights of the mode; how many had others. Nodes that are not there have none to be given.
pub(super) async fn rewrite(store: Arc<dyn MetaStore>, mode: Mode, part: Part) -> Result<u64, MetaError> {
    let children = async |parent: Path| {
        let names = store.children(&parent.to_string()).await?.unwrap_or_default();
        Ok::<_, MetaError>(names.into_iter().map(move |name| format!("{parent}/{name}")).collect::<Vec<_>>())
    };
    let paths = match part {
        Part::System => {
            let system = [Path::SystemId, Path::SystemRole, Path::SystemRevision, Path::SystemHeartbeat];
            let mut paths = skeleton();
            paths.extend(system.map(|path| path.to_string()));
            paths.extend(children(Path::Leases).await?);
            paths
        }
        Part::Clusters => children(Path::Clusters).await?,
        Part::Topics => children(Path::Topics).await?,
        Part::Groups => children(Path::Groups).await?,
    };
    let ensure = |path: String| {
        let store = store.clone();
        async move {
            match store.ensure_access(&path, mode.access(&path)).await {
                Ok(changed) => Ok(u64::from(changed)),
                Err(MetaError::Missing(_)) => Ok(0),
                Err(error) => Err(error),
            }
        }
    };
    stream::iter(paths).map(ensure).buffer_unordered(AT_ONCE).try_fold(0, |sum, changed| async move { Ok(sum + changed) }).await
}

//! What an environment's instances already use.

use super::preflight::InUse;
use super::{store, stored};
use crate::app::App;
use crate::environments::Environment;
use crate::error::Result;
use crate::hosts;

/// Instances and their memory, by host. A service whose kind is not in the catalogue any more counts without its memory.
pub(super) async fn in_use(app: &App, environment: &Environment) -> Result<InUse> {
    let services = store::services(app.db.read(), &environment.id).await?;
    let instances = store::instances_of_environment(app.db.read(), &environment.id).await?;
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let mut in_use = InUse::default();
    for row in &services {
        let own: Vec<_> = instances.iter().filter(|instance| instance.service_id == row.id).cloned().collect();
        let planned = app.catalogue.find(&row.kind).and_then(|kind| kind.plan(&stored::service(row, &own, &hosts)?).ok());
        for (instance, planned) in own.iter().zip(planned.unwrap_or_default()) {
            *in_use.memory_mib.entry(instance.host_id.clone()).or_default() += planned.memory_mib;
        }
    }
    in_use.instances = instances;
    Ok(in_use)
}

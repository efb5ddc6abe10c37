//! Which service holds an environment's metadata, and which its metrics.

use std::collections::BTreeMap;

use serde_json::json;
use zms_core::host::InstanceSpec;

use super::store;
use crate::access::{Actor, Role};
use crate::app::App;
use crate::db::{Db, Tx};
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::metadata::external;

/// What a store is for, and the kind of service that can be it.
pub const PURPOSES: [(&str, &str); 2] = [("metadata", "zookeeper"), ("metrics", "influxdb")];

/// What services of `kind` can store for their environment.
pub fn purpose_of(kind: &str) -> Option<&'static str> {
    PURPOSES.iter().find(|(_, of)| *of == kind).map(|(purpose, _)| *purpose)
}

/// Name of the chosen service, by purpose.
pub async fn stores(app: &App, environment: &Environment) -> Result<BTreeMap<String, String>> {
    store::stores(app.db.read(), &environment.id).await
}

/// What the instances of an environment's store run; empty if it has none for this purpose.
pub async fn instances_of_store(db: &Db, environment_id: &str, purpose: &str) -> Result<Vec<InstanceSpec>> {
    let Some(name) = store::stores(db.read(), environment_id).await?.remove(purpose) else { return Ok(Vec::new()) };
    let service = store::service(db.read(), environment_id, &name).await?;
    Ok(store::instances(db.read(), &service.id).await?.into_iter().map(|row| row.spec).collect())
}

/// What the instances of a service run.
pub async fn instances_of(db: &Db, service_id: &str) -> Result<Vec<InstanceSpec>> {
    Ok(store::instances(db.read(), service_id).await?.into_iter().map(|row| row.spec).collect())
}

/// No service is the store for this purpose any more.
pub(crate) async fn forget_store(tx: &mut Tx, environment_id: &str, purpose: &str) -> Result<()> {
    store::choose_store(tx, environment_id, purpose, None).await
}

/// Chooses stores: service name by purpose, an empty name for none. Purposes that are not named stay.
///
/// # Errors
/// [`Error::Invalid`] at the purpose if there is no such service or it is of another kind; [`Error::Conflict`] for another metadata store once nodes are
/// published: nothing copies them.
pub async fn choose_stores(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    chosen: &BTreeMap<String, String>,
    now_ms: i64,
) -> Result<()> {
    let target = format!("environment/{}", environment.name);
    actor.require(&app.db, Role::Operator, "environment.stores", &target, now_ms).await?;
    let published = external::published(&app.db, &environment.id).await?;
    let elsewhere = external::find(&app.db, &environment.id).await?.is_some();
    let mut tx = app.db.begin().await?;
    let before = store::stores(&mut *tx, &environment.id).await?;
    let services = store::services(&mut *tx, &environment.id).await?;
    for (purpose, name) in chosen {
        let Some((_, kind)) = PURPOSES.iter().find(|(known, _)| known == purpose) else {
            return Err(Error::invalid(purpose, |m| m.services_unknown_purpose().to_owned()));
        };
        let service = services.iter().find(|row| row.name == *name && row.kind == *kind);
        if service.is_none() && !name.is_empty() {
            let name = name.chars().take(64).collect::<String>();
            return Err(Error::invalid(purpose, move |m| m.services_not_a_store(&name, kind)));
        }
        let present = before.get(purpose);
        let moves = present.is_some_and(|present| present != name) || elsewhere && service.is_some();
        if purpose == "metadata" && moves && published > 0 {
            return Err(Error::conflict(move |m| m.services_store_published(published)));
        }
        store::choose_store(&mut tx, &environment.id, purpose, service.map(|row| row.id.as_str())).await?;
        if purpose == "metadata" && service.is_some() {
            external::forget_in(&mut tx, &environment.id).await?;
        }
    }
    let after = store::stores(&mut *tx, &environment.id).await?;
    actor.record(&mut tx, "environment.stores", &target, json!({ "before": before, "after": after }), now_ms).await?;
    tx.commit().await?;
    Ok(())
}

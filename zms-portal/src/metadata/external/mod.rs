//! A ZooKeeper that ZMS did not install, as the store of an environment's metadata.
//!
//! 1. This file: what is kept, [`choose`] and [`forget`]. 2. `check`: what was typed. 3. [`look`]: what is found there, before anything is
//!    kept. The password of its identity is sealed and never shown.

mod check;
pub(super) mod look;
mod store;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::json;
use zms_drivers::meta::zookeeper::{Identity, Options, Tls};

pub use look::{Found, Rights, Tree};

use crate::access::{Actor, Role};
use crate::app::App;
use crate::db::{Db, Tx};
use crate::environments::{self, Environment};
use crate::error::{Error, Result};
use crate::services;

/// What is kept of it, without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct External {
    /// `host:port,…`.
    pub addresses: String,
    /// PEM of whoever signed the servers' certificates; empty without TLS.
    pub authority: String,
    /// User of the portal's identity there; empty: the identity that the portal made for itself.
    pub user: String,
    /// Who chose it.
    pub changed_by: String,
    /// Milliseconds since 1970.
    pub changed_at: i64,
}

/// What a person gives.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "addresses": "127.0.0.1:2181", "authority": "", "user": "", "password": "" }))]
pub struct NewExternal {
    /// `host:port,…`, without a path behind it.
    pub addresses: String,
    /// PEM of whoever signed the servers' certificates; empty without TLS.
    pub authority: String,
    /// User of the portal's identity there, with TLS only; empty: one that the portal makes for itself.
    pub user: String,
    /// Its password; empty keeps the one that is known for this user. It is never shown again.
    pub password: String,
}

impl std::fmt::Debug for NewExternal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewExternal").field("addresses", &self.addresses).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Where the password of its identity is sealed.
pub(crate) fn reference(environment_id: &str) -> String {
    format!("metadata/{environment_id}/external")
}

/// The one of an environment, if it has one.
pub async fn find(db: &Db, environment_id: &str) -> Result<Option<External>> {
    store::find(db.read(), environment_id).await
}

/// Forgets it within `tx`: an installed service is the store now.
pub(crate) async fn forget_in(tx: &mut Tx, environment_id: &str) -> Result<bool> {
    store::delete(tx, environment_id).await
}

/// Keeps it within `tx`.
pub(crate) async fn put_in(tx: &mut Tx, environment_id: &str, external: &External) -> Result<()> {
    store::put(tx, environment_id, external).await
}

/// From now on the environment's metadata is there, instead of in a service; for operators. Nothing is written there by this.
///
/// # Errors
/// [`Error::Invalid`] at the field that is wrong.
pub async fn choose(app: &App, actor: Actor<'_>, environment: &Environment, new: NewExternal, now_ms: i64) -> Result<External> {
    let target = format!("environment/{}", environment.name);
    actor.require(&app.db, Role::Operator, "environment.metadata_store", &target, now_ms).await?;
    let before = find(&app.db, &environment.id).await?;
    let networks = environments::networks(&app.db, &environment.id).await?;
    let new = check::check(new, before.as_ref(), &networks)?;
    let NewExternal { addresses, authority, user, password } = new;
    let after = External { addresses, authority, user, changed_by: actor.user.name.clone(), changed_at: now_ms };
    let mut tx = app.db.begin().await?;
    if !password.is_empty() {
        app.vault.put(&mut tx, &reference(&environment.id), password.as_bytes(), now_ms).await?;
    }
    store::put(&mut tx, &environment.id, &after).await?;
    services::forget_store(&mut tx, &environment.id, "metadata").await?;
    let detail = |external: &External| json!({ "addresses": external.addresses, "tls": !external.authority.is_empty(), "user": external.user });
    let detail = json!({ "before": before.as_ref().map(detail), "after": detail(&after), "password": !password.is_empty() });
    actor.record(&mut tx, "environment.metadata_store", &target, detail, now_ms).await?;
    tx.commit().await?;
    Ok(after)
}

/// The environment has no such store any more; for operators. Nothing is deleted there.
///
/// # Errors
/// [`Error::NotFound`] when there was none.
pub async fn forget(app: &App, actor: Actor<'_>, environment: &Environment, now_ms: i64) -> Result<()> {
    let target = format!("environment/{}", environment.name);
    actor.require(&app.db, Role::Operator, "environment.metadata_store", &target, now_ms).await?;
    let mut tx = app.db.begin().await?;
    if !store::delete(&mut tx, &environment.id).await? {
        return Err(Error::NotFound);
    }
    actor.record(&mut tx, "environment.metadata_store", &target, json!({ "after": null }), now_ms).await?;
    tx.commit().await?;
    Ok(())
}

/// Looks what is at these addresses, without keeping or writing anything; for operators.
///
/// # Errors
/// [`Error::Invalid`] at the field that is wrong. What is found, a server that does not answer among it, is no error.
pub async fn attempt(app: &App, actor: Actor<'_>, environment: &Environment, new: NewExternal, now_ms: i64) -> Result<Found> {
    let target = format!("environment/{}", environment.name);
    actor.require(&app.db, Role::Operator, "environment.metadata_try", &target, now_ms).await?;
    let known = find(&app.db, &environment.id).await?;
    let networks = environments::networks(&app.db, &environment.id).await?;
    let new = check::check(new, known.as_ref(), &networks)?;
    let mut tx = app.db.begin().await?;
    actor.record(&mut tx, "environment.metadata_try", &target, json!({ "addresses": new.addresses }), now_ms).await?;
    tx.commit().await?;
    let secure = !new.authority.is_empty();
    let identity = match (secure, new.user.is_empty(), new.password.is_empty()) {
        (false, ..) => None,
        (true, true, _) => Some(app.metadata.made_identity(&environment.id, "portal").await?),
        (true, false, false) => Some(Identity { user: new.user.clone(), password: new.password.clone() }),
        (true, false, true) => Some(app.metadata.identity(&environment.id, "portal").await?),
    };
    let tls = secure.then(|| Tls { authority_pem: new.authority.clone() });
    let options = Options { addresses: new.addresses.clone(), tls, identity, networks: Some(networks), ..Options::default() };
    Ok(look::dial(options, &environment.id).await)
}

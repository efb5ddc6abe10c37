//! A ZooKeeper that ZMS did not install, as the store of an environment's metadata.
//!
//! 1. This file: what is kept, [`choose`] and [`forget`]. 2. `check`: what was typed. 3. [`look`]: what is found there, before anything is
//!    kept. The password of its identity is sealed and never shown.

mod check;
pub(super) mod look;
mod store;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zms_core::networks::Networks;
use zms_drivers::meta::zookeeper::{Identity, Options, Tls};

pub use look::{Found, Rights, Tree};

use crate::access::{Actor, Role, token};
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
    /// Its password; empty keeps the one that is known for this user, where addresses and authority stay or addresses become fewer: it is never
    /// sent where it was not typed for. It is never shown again.
    pub password: String,
}

impl std::fmt::Debug for NewExternal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewExternal").field("addresses", &self.addresses).field("user", &self.user).finish_non_exhaustive()
    }
}

impl External {
    /// Is everything that `new` would dial told our secrets already? No server is new, and nobody else vouches for them.
    fn covers(&self, new: &NewExternal) -> bool {
        let known: Vec<&str> = self.addresses.split(',').collect();
        new.authority == self.authority && new.addresses.split(',').all(|address| known.contains(&address))
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

/// Nodes that an environment has published. In another store applications that start would find none of them.
pub(crate) async fn published(db: &Db, environment_id: &str) -> Result<i64> {
    store::published(db.read(), environment_id).await
}

/// From now on the environment's metadata is there, instead of in a service; for operators. Nothing is written there by this.
///
/// # Errors
/// [`Error::Invalid`] at the field that is wrong; [`Error::Conflict`] when the environment has published nodes that are not there.
pub async fn choose(app: &App, actor: Actor<'_>, environment: &Environment, new: NewExternal, now_ms: i64) -> Result<External> {
    let target = format!("environment/{}", environment.name);
    actor.require(&app.db, Role::Operator, "environment.metadata_store", &target, now_ms).await?;
    let before = find(&app.db, &environment.id).await?;
    let networks = environments::networks(&app.db, &environment.id).await?;
    let new = check::check(new, before.as_ref(), &networks)?;
    must_hold_what_is_published(app, environment, &new, before.as_ref(), networks).await?;
    let NewExternal { addresses, authority, user, password } = new;
    let after = External { addresses, authority, user, changed_by: actor.user.name.clone(), changed_at: now_ms };
    let mut tx = app.db.begin().await?;
    // What was checked is what is changed: a kept password would go elsewhere otherwise.
    if store::find(&mut *tx, &environment.id).await? != before {
        return Err(Error::conflict(|m| m.metadata_again().to_owned()));
    }
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

/// A store that takes another's place has to hold the environment's tree already, once anything is published.
async fn must_hold_what_is_published(
    app: &App,
    environment: &Environment,
    new: &NewExternal,
    before: Option<&External>,
    networks: Networks,
) -> Result<()> {
    let stays = before.is_some_and(|before| before.covers(new));
    // What is in no store cannot be missing in another: the store before was forgotten, or removed.
    if stays || app.metadata.way(&environment.id).await?.is_none() {
        return Ok(());
    }
    let count = published(&app.db, &environment.id).await?;
    if count == 0 {
        return Ok(());
    }
    // An ensemble that grew is looked at as the portal will be there from now on: whoever vouched for its servers vouches for the new ones.
    let same = before.is_some_and(|before| before.authority == new.authority && before.user.is_empty() && new.user.is_empty());
    let identity = if same && !new.authority.is_empty() {
        Some(app.metadata.identity(&environment.id, "portal").await?)
    } else {
        identity_for(app, environment, new, before).await?
    };
    let found = dial(environment, new, identity, networks).await;
    if found.tree == Some(Tree::Ours) {
        return Ok(());
    }
    let problem = found.problem.unwrap_or_default();
    Err(Error::conflict(move |m| m.metadata_not_ours(count, &problem)))
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
    let identity = identity_for(app, environment, &new, known.as_ref()).await?;
    Ok(dial(environment, &new, identity, networks).await)
}

/// Looks what is where `new` says.
async fn dial(environment: &Environment, new: &NewExternal, identity: Option<Identity>, networks: Networks) -> Found {
    let tls = identity.is_some().then(|| Tls { authority_pem: new.authority.clone() });
    let options = Options { addresses: new.addresses.clone(), tls, identity, networks: Some(networks), ..Options::default() };
    look::dial(options, &environment.id).await
}

/// Who we are where somebody has us look. What the environment has of its own goes nowhere where it does not go already: whoever chooses
/// the address would read it there.
async fn identity_for(
    app: &App,
    environment: &Environment,
    new: &NewExternal,
    known: Option<&External>,
) -> Result<Option<Identity>> {
    if new.authority.is_empty() {
        return Ok(None);
    }
    if !new.password.is_empty() {
        return Ok(Some(Identity { user: new.user.clone(), password: new.password.clone() }));
    }
    if known.is_some_and(|known| known.user == new.user && known.covers(new)) {
        return app.metadata.identity(&environment.id, "portal").await.map(Some);
    }
    // Without a user nothing was typed that could be tried: somebody whom nobody knows sees what everybody may.
    Ok(Some(Identity { user: "zms-try".to_owned(), password: URL_SAFE_NO_PAD.encode(token::random::<24>()) }))
}

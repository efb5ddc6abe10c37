//! Where an environment's brokers may be: what a cluster advertises is dialled, so the portal and the collectors keep to these.

use serde::{Deserialize, Serialize};
use serde_json::json;
use zms_core::networks::{Networks, NetworksError};

use super::{Environment, store, target};
use crate::access::{Actor, Role};
use crate::db::Db;
use crate::error::{Error, Result};

/// Networks, as programs say them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "networks": ["10.0.0.0/8", "192.168.0.0/16"] }))]
pub struct NetworkList {
    /// Each an address and the length of its prefix, or one address. None: private ranges and loopback.
    pub networks: Vec<String>,
}

/// As a row has them; what cannot be read is the default, which is narrow.
pub fn read_networks(text: &str) -> Networks {
    text.parse().unwrap_or_default()
}

/// Of an environment.
pub async fn networks(db: &Db, environment_id: &str) -> Result<Networks> {
    Ok(read_networks(&store::networks(db, environment_id).await?))
}

/// Changes them; for operators. Connections follow at their next use.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong.
pub async fn set_networks(
    db: &Db,
    actor: Actor<'_>,
    environment: &Environment,
    texts: &[String],
    now_ms: i64,
) -> Result<Networks> {
    let target = target(&environment.name);
    actor.require(db, Role::Operator, "environment.networks", &target, now_ms).await?;
    let networks = if texts.is_empty() {
        Networks::default()
    } else {
        Networks::new(texts.iter().map(String::as_str)).map_err(|error| match error {
            NetworksError::Network(text) => Error::invalid("networks", move |m| m.environments_bad_network(&text)),
            NetworksError::Count(count) => Error::invalid("networks", move |m| m.environments_bad_networks(count)),
        })?
    };
    let before = self::networks(db, &environment.id).await?;
    let kept = if networks == Networks::default() { String::new() } else { networks.to_string().replace(',', "") };
    let mut tx = db.begin().await?;
    store::set_networks(&mut tx, &environment.id, &kept).await?;
    let detail = json!({ "before": before, "after": networks });
    actor.record(&mut tx, "environment.networks", &target, detail, now_ms).await?;
    tx.commit().await?;
    Ok(networks)
}

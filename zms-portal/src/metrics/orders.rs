//! What the collectors of an environment have to do.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use zms_core::collect::{Login, MetadataStore, Orders, Placed, Watched};
use zms_core::names::{ClusterName, HostId};

use super::TICK_S;
use crate::app::App;
use crate::clusters;
use crate::db::Db;
use crate::environments::{self, Environment};
use crate::error::Result;
use crate::{hosts, services};

/// Puts a revision on orders: the time at which they were first seen as they are now, by any portal. So a revision grows with each
/// change, and over restarts of the portal too; collectors ignore a lower one.
async fn stamp(db: &Db, environment_id: &str, mut orders: Orders, now_ms: i64) -> Result<Orders> {
    orders.revision = 0;
    let hash = hash(&orders)?;
    let known = "select hash, revision from orders_revisions where environment_id = $1";
    let read = |row: Option<AnyRow>| -> sqlx::Result<Option<(String, i64)>> {
        row.map(|row| Ok((row.try_get("hash")?, row.try_get("revision")?))).transpose()
    };
    let before = read(sqlx::query(known).bind(environment_id).fetch_optional(db.read()).await?)?;
    let revision = match before {
        Some((same, revision)) if same == hash => revision,
        _ => {
            let mut tx = db.begin().await?;
            // Another portal may have been quicker.
            let before = read(sqlx::query(known).bind(environment_id).fetch_optional(&mut *tx).await?)?;
            let revision = match before {
                Some((same, revision)) if same == hash => revision,
                Some((_, revision)) => now_ms.max(revision + 1),
                None => now_ms,
            };
            let upsert = "insert into orders_revisions (environment_id, hash, revision) values ($1, $2, $3) \
                          on conflict (environment_id) do update set hash = $2, revision = $3";
            sqlx::query(upsert).bind(environment_id).bind(&hash).bind(revision).execute(&mut *tx).await?;
            tx.commit().await?;
            revision
        }
    };
    orders.revision = u64::try_from(revision).unwrap_or_default();
    Ok(orders)
}

fn hash(orders: &Orders) -> Result<String> {
    let digest = Sha256::digest(serde_json::to_vec(orders)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Orders as of now.
pub(super) async fn of(app: &App, environment: &Environment, now_ms: i64) -> Result<Orders> {
    let networks = environments::networks(&app.db, &environment.id).await?;
    let metadata = match app.metadata.way(&environment.id).await? {
        None => None,
        Some(way) => {
            let identity = app.metadata.identity(&environment.id, "collector").await?;
            Some(MetadataStore {
                networks: way.external.then(|| networks.clone()),
                addresses: way.addresses,
                // Without TLS there are no identities.
                authority: way.authority,
                login: Login { user: identity.user, password: identity.password },
            })
        }
    };
    let metrics = app.metrics.stores.of_collectors(app, &environment.id).await?;
    let mut placed: BTreeMap<String, Vec<Placed>> = BTreeMap::new();
    for row in services::placed(&app.db, &environment.id).await? {
        let cluster = clusters::broker_of(row.kind.as_str()).and_then(|_| ClusterName::new(row.service.as_str()).ok());
        placed.entry(row.host_id).or_default().push(Placed {
            instance: row.instance,
            kind: row.kind,
            service: row.service,
            cluster,
            node_id: row.node_id,
        });
    }
    let (mut watched, mut revoked) = (Vec::new(), Vec::new());
    for host in hosts::peers(&app.db, &environment.id).await? {
        if host.revoked {
            revoked.push(host.serial);
        } else if let Ok(id) = HostId::new(host.id.as_str()) {
            watched.push(Watched { host: id, instances: placed.remove(&host.id).unwrap_or_default(), name: host.name });
        }
    }
    let (mut adopted, mut installed) = (Vec::new(), BTreeMap::new());
    for cluster in clusters::list(&app.db, &environment.id).await? {
        if cluster.is_adopted() {
            adopted.push(clusters::adopted(&app.vault, &cluster)?);
        } else {
            installed.insert(cluster.name, cluster.addresses);
        }
    }
    let orders = Orders {
        revision: 0,
        environment: environment.name.clone(),
        metadata,
        metrics,
        hosts: watched,
        revoked,
        adopted,
        installed,
        networks,
        tick_s: TICK_S,
    };
    stamp(&app.db, &environment.id, orders, now_ms).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_revision_grows_with_each_change_and_never_goes_back_whichever_portal_is_asked() {
        let orders = |tick_s| Orders {
            revision: 0,
            environment: "dev".to_owned(),
            metadata: None,
            metrics: None,
            hosts: Vec::new(),
            revoked: Vec::new(),
            adopted: Vec::new(),
            installed: BTreeMap::new(),
            networks: zms_core::networks::Networks::default(),
            tick_s,
        };
        let (test, db) = Db::temporary().await;
        let other = Db::open(test.url()).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let environment = "insert into environments (id, name, title, colour, created_at) values ('e', 'e', '', '', 1)";
        sqlx::query(environment).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        for (db, tick_s, now, expected) in
            [(&db, 10, 100, 100), (&other, 10, 200, 100), (&other, 5, 300, 300), (&db, 10, 250, 301), (&other, 10, 900, 301)]
        {
            assert_eq!(stamp(db, "e", orders(tick_s), now).await.unwrap().revision, expected, "{now}");
        }
    }
}

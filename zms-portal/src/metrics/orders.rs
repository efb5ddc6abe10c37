//! What the collectors of an environment have to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use zms_core::collect::{Login, MetadataStore, Orders, Placed, Watched};
use zms_core::names::{ClusterName, HostId};

use super::TICK_S;
use crate::app::App;
use crate::clusters;
use crate::environments::Environment;
use crate::error::Result;
use crate::{hosts, services};

/// Which revision an environment's orders have: the time at which they were first seen as they are now. So a revision grows with each
/// change, and over restarts of the portal too.
#[derive(Clone, Default)]
pub(super) struct Revisions(Arc<Mutex<BTreeMap<String, Orders>>>);

impl Revisions {
    /// Puts a revision on orders.
    fn stamp(&self, environment_id: &str, mut orders: Orders, now_ms: i64) -> Orders {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(environment_id);
        let now = u64::try_from(now_ms).unwrap_or_default();
        orders.revision = before.map_or(now, |before| before.revision);
        if before != Some(&orders) {
            orders.revision = before.map_or(now, |before| now.max(before.revision + 1));
            known.insert(environment_id.to_owned(), orders.clone());
        }
        orders
    }
}

/// Orders as of now.
pub(super) async fn of(app: &App, environment: &Environment, now_ms: i64) -> Result<Orders> {
    let metadata = match app.metadata.way(&environment.id).await? {
        None => None,
        Some(way) => {
            let identity = app.metadata.identity(&environment.id, "collector").await?;
            Some(MetadataStore {
                addresses: way.addresses,
                // Without TLS there are no identities.
                authority: if way.secure { app.authority.ca_pem().to_owned() } else { String::new() },
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
    let mut adopted = Vec::new();
    for cluster in clusters::list(&app.db, &environment.id).await?.iter().filter(|cluster| cluster.is_adopted()) {
        adopted.push(clusters::adopted(&app.vault, cluster)?);
    }
    let orders = Orders {
        revision: 0,
        environment: environment.name.clone(),
        metadata,
        metrics,
        hosts: watched,
        revoked,
        adopted,
        tick_s: TICK_S,
    };
    Ok(app.metrics.orders.stamp(&environment.id, orders, now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_grows_with_each_change_and_never_goes_back() {
        let orders = |tick_s| Orders {
            revision: 0,
            environment: "dev".to_owned(),
            metadata: None,
            metrics: None,
            hosts: Vec::new(),
            revoked: Vec::new(),
            adopted: Vec::new(),
            tick_s,
        };
        let revisions = Revisions::default();
        let stamp = |tick_s, now| revisions.stamp("e", orders(tick_s), now).revision;
        assert_eq!([stamp(10, 100), stamp(10, 200), stamp(5, 300), stamp(10, 250), stamp(10, 900)], [100, 100, 300, 301, 301]);
    }
}

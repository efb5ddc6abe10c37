//! Whether a cluster answers, before it is adopted, and if not, what would be right.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use zms_core::collect::{Adopted, BrokerLogin};
use zms_drivers::broker::BrokerError;
use zms_drivers::open::Endpoint;

use super::adopt::{Checked, NewCluster, check, target};
use super::{Cluster, store, way};
use crate::access::{Actor, Role};
use crate::app::App;
use crate::environments::{self, Environment};
use crate::error::Result;
use crate::web::messages::Messages;

/// A try takes no longer.
const DEADLINE: Duration = Duration::from_secs(8);

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Tried {
    /// It answers.
    Answers {
        /// Its own id.
        cluster_id: String,
        /// `id host:port` of its brokers.
        brokers: Vec<String>,
        /// The broker that answers for the controller.
        controller: Option<String>,
        /// Topics, its own among them.
        topics: usize,
    },
    /// It does not.
    Fails {
        /// What could be done about it.
        kind: Fault,
        /// What was said, by whom.
        why: String,
    },
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nobody listens, or TLS is spoken to a port without it.
    Unreachable,
    /// No answer in time.
    Silent,
    /// Wrong user, password, mechanism or certificate.
    Denied,
    /// Outside the networks, or settings that do not fit.
    Refused,
    /// It hung up: it wants TLS or a user.
    HungUp,
    /// It is something else, or it speaks TLS.
    Garbled,
    /// This version cannot do it.
    Unsupported,
}

impl Fault {
    const fn of(error: &BrokerError) -> Self {
        match error {
            BrokerError::Unreachable { .. } => Self::Unreachable,
            BrokerError::Timeout { .. } => Self::Silent,
            BrokerError::Denied { .. } => Self::Denied,
            BrokerError::Refused { .. } | BrokerError::Conflict { .. } | BrokerError::Missing { .. } => Self::Refused,
            BrokerError::Passing { .. } | BrokerError::Closed => Self::HungUp,
            BrokerError::Garbled { .. } => Self::Garbled,
            BrokerError::Unsupported { .. } => Self::Unsupported,
        }
    }

    /// What would be right.
    pub fn advice(self, m: &Messages) -> &'static str {
        match self {
            Self::Unreachable => m.clusters_try_unreachable(),
            Self::Silent => m.clusters_try_silent(),
            Self::Denied => m.clusters_try_denied(),
            Self::Refused => m.clusters_try_refused(),
            Self::HungUp => m.clusters_try_hung_up(),
            Self::Garbled => m.clusters_try_garbled(),
            Self::Unsupported => m.clusters_try_unsupported(),
        }
    }
}

/// Dials a cluster as it would be adopted; for operators. Nothing is kept but the audit. `known`: the cluster that it would change.
///
/// # Errors
/// [`Error::Invalid`](crate::error::Error::Invalid) with what is wrong before anything is dialled.
pub async fn try_out(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    new: &NewCluster,
    known: Option<&Cluster>,
    now_ms: i64,
) -> Result<Tried> {
    let target = target(environment, &new.name);
    actor.require(&app.db, Role::Operator, "cluster.try", &target, now_ms).await?;
    let mut tx = app.db.begin().await?;
    let networks = store::networks(&mut tx, &environment.id).await?;
    let Checked { cluster, password } = check(new, &environment.id, &networks, known)?;
    actor.record(&mut tx, "cluster.try", &target, json!({ "addresses": cluster.addresses }), now_ms).await?;
    tx.commit().await?;
    let adopted = match password {
        // It is sealed already.
        None => way::adopted(&app.vault, &cluster)?,
        Some(password) => Adopted {
            cluster: cluster.name.clone(),
            kind: cluster.broker,
            addresses: cluster.addresses.clone(),
            tls: cluster.way.tls.clone(),
            login: cluster.way.login.clone().map(|(mechanism, user)| BrokerLogin { mechanism, user, password }),
            networks: environments::read_networks(&networks),
        },
    };
    let endpoint = Endpoint { client_id: "zms-portal".to_owned(), deadline: DEADLINE, ..Endpoint::adopted(&adopted) };
    let late = || BrokerError::Timeout {
        cluster: cluster.name.to_string(),
        what: "its brokers and topics".to_owned(),
        seconds: DEADLINE.as_secs(),
    };
    let asked = tokio::time::timeout(DEADLINE, ask(app, &cluster, &endpoint)).await.unwrap_or_else(|_| Err(late()));
    Ok(asked.unwrap_or_else(|error| Tried::Fails { kind: Fault::of(&error), why: error.to_string() }))
}

async fn ask(app: &App, cluster: &Cluster, endpoint: &Endpoint) -> Result<Tried, BrokerError> {
    let admin = app.brokers.admin_at(cluster.broker, endpoint)?;
    let (view, topics) = (admin.describe().await?, admin.topics().await?);
    let broker = |broker: &zms_drivers::broker::Broker| format!("{} {}:{}", broker.id, broker.host, broker.port);
    Ok(Tried::Answers {
        cluster_id: view.id,
        brokers: view.brokers.iter().map(broker).collect(),
        controller: view.controller.map(|id| id.to_string()),
        topics: topics.len(),
    })
}

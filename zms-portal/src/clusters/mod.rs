//! Clusters: services of brokers, seen as places for topics.
//!
//! 1. This file: what a cluster is; `way`: how it is spoken to; `adopt`: one that ZMS did not install; `tried`: whether it answers.
//! 2. `flow`, `perform`: from a service whose brokers run to a node that applications find, and the
//!    environment's topics of statistics. 3. [`Brokers`]: connections for administration; `picture`: everything that is on a cluster; `governed`: what of it people asked for;
//!    `takeover`: what becomes so. 4. `web` pages, `api` REST, `store` SQL.

mod adopt;
mod api;
mod brokers;
pub mod flow;
mod governed;
mod let_go;
mod perform;
mod picture;
mod store;
mod takeover;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
mod tried;
mod way;
mod web;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use zms_core::host::Port;
use zms_core::metadata::BrokerKind;
use zms_core::names::ClusterName;

pub use adopt::{ClusterChange, NewCluster, adopt, adopt_in, change, publish};
pub use api::api;
pub use brokers::Brokers;
pub use governed::{Governed, Register};
pub use let_go::let_go;
pub use picture::{GroupOn, Look, PhysicalGroup, PhysicalTopic, Picture, look};
pub use takeover::{Choice, Preview, State, TakeOver, glob, preview, take_over};
pub use tried::{Tried, try_out};
pub use way::{Way, adopted};
pub use web::pages;

use crate::access::Actor;
use crate::app::{App, new_id};
use crate::db::{Db, Tx};
use crate::engine::{NewFlow, Next};
use crate::environments::Environment;
use crate::error::{Error, Result, Text};

/// A cluster of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// ULID.
    pub id: String,
    /// Where it belongs.
    pub environment_id: String,
    /// As it stands in the metadata.
    pub name: ClusterName,
    /// What runs there.
    pub broker: BrokerKind,
    /// The service that it is; `None` if ZMS did not install it.
    pub service_id: Option<String>,
    /// `host:port` of its brokers; RocketMQ: of its name servers.
    pub addresses: Vec<String>,
    /// Of its node as we last wrote it; 0: applications do not find it yet.
    pub epoch: u64,
    /// How its brokers are spoken to.
    pub way: Way,
}

impl Cluster {
    /// Does a topic have as many replicas as it is given? RocketMQ's are the slaves of its masters, for all topics alike.
    pub const fn chooses_replicas(&self) -> bool {
        matches!(self.broker, BrokerKind::Kafka)
    }

    /// Is a topic kept for as long as is wanted of it? RocketMQ keeps messages of all topics equally long.
    pub const fn chooses_retention(&self) -> bool {
        matches!(self.broker, BrokerKind::Kafka)
    }

    /// Does one of its brokers lead the others?
    pub const fn has_controller(&self) -> bool {
        matches!(self.broker, BrokerKind::Kafka)
    }

    /// Can messages be found by key and id? Kafka's brokers keep no index of them.
    pub const fn keeps_an_index(&self) -> bool {
        matches!(self.broker, BrokerKind::RocketMq)
    }

    /// What of a topic's wanted settings its brokers take.
    pub fn settings_of(&self, wanted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let takes = |key: &String| self.chooses_retention() || key != RETENTION;
        wanted.iter().filter(|(key, _)| takes(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// ZMS did not install it.
    pub const fn is_adopted(&self) -> bool {
        self.service_id.is_none()
    }
}

/// Makes the state machine of this slice known to the engine.
pub fn register(app: &App) {
    app.engine.register::<flow::Publish>(Arc::new(perform::Performer(app.clone())));
    app.engine.register::<TakeOver>(Arc::new(takeover::Performer(app.clone())));
    app.engine.register::<let_go::LetGo>(Arc::new(let_go::Performer(app.clone())));
}

/// Clusters of an environment, by name.
pub async fn list(db: &Db, environment_id: &str) -> Result<Vec<Cluster>> {
    store::list(db.read(), environment_id).await
}

/// A cluster by its name.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(db: &Db, environment_id: &str, name: &str) -> Result<Cluster> {
    store::find(db.read(), environment_id, name).await
}

/// A cluster by its id.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn by_id(db: &Db, id: &str) -> Result<Cluster> {
    store::by_id(db.read(), id).await
}

/// What a service of this kind is as a cluster; `None` for one that has no topics.
pub fn broker_of(kind: &str) -> Option<BrokerKind> {
    match kind {
        "kafka" => Some(BrokerKind::Kafka),
        "rocketmq" => Some(BrokerKind::RocketMq),
        _ => None,
    }
}

/// How long messages of a topic are kept, milliseconds.
pub(crate) const RETENTION: &str = "retention.ms";

/// The name of the port at which applications ask first.
const fn bootstrap_port(broker: BrokerKind) -> &'static str {
    match broker {
        BrokerKind::Kafka => "client",
        BrokerKind::RocketMq => "nameserver",
    }
}

/// Names of the ports that brokers have: as many brokers as ports.
const fn broker_ports(broker: BrokerKind) -> &'static [&'static str] {
    match broker {
        BrokerKind::Kafka => &["client"],
        BrokerKind::RocketMq => &["master", "slave"],
    }
}

/// A service of brokers runs for the first time: it becomes a cluster, which begins to be published. Nothing if it is one already.
pub(crate) async fn begin(app: &App, tx: &mut Tx, service: &NewService<'_>, now_ms: i64) -> Result<()> {
    let (Some(broker), Ok(name)) = (broker_of(service.kind), ClusterName::new(service.name)) else { return Ok(()) };
    let environment_id = service.environment_id;
    if store::of_service(&mut **tx, service.id).await?.is_some() {
        return Ok(());
    }
    let cluster = Cluster {
        id: new_id(),
        environment_id: environment_id.to_owned(),
        name,
        broker,
        service_id: Some(service.id.to_owned()),
        addresses: service.ports.iter().filter(|port| port.name == bootstrap_port(broker)).map(|port| port.socket()).collect(),
        epoch: 0,
        way: Way::default(),
    };
    store::insert(tx, &cluster, now_ms).await?;
    let brokers = service.ports.iter().filter(|port| broker_ports(broker).contains(&port.name.as_str())).count();
    let next = flow::begin(&cluster.id, cluster.name.as_str(), brokers);
    start_publishing(app, tx, &cluster, next, "", now_ms).await?;
    Ok(())
}

/// Adopts a cluster that was found in the metadata, within `tx`: applications know it already, by a node of this epoch (0: of a first ZMS).
pub(crate) async fn adopt_found(
    app: &App,
    tx: &mut Tx,
    actor: Actor<'_>,
    environment: &Environment,
    (found, epoch): (&NewCluster, u64),
    now_ms: i64,
) -> Result<()> {
    let cluster = adopt_in(app, tx, actor, environment, found, now_ms).await?;
    store::set_epoch(tx, &cluster.id, epoch.max(1)).await
}

/// Why a cluster that was found cannot be adopted; `None` if it can.
pub(crate) async fn unfit(db: &Db, environment_id: &str, found: &[NewCluster]) -> Result<Vec<Option<Text>>> {
    let networks = crate::environments::networks(db, environment_id).await?.to_string();
    let judge = |new: &NewCluster| match adopt::check(new, environment_id, &networks, None) {
        Err(Error::Invalid(problems)) => problems.into_iter().next().map(|problem| problem.text),
        Ok(_) | Err(_) => None,
    };
    Ok(found.iter().map(judge).collect())
}

/// The environment's topics of statistics are made where they are missing. Nothing if it has no cluster for them, or they are being made.
pub(crate) async fn begin_statistics(app: &App, tx: &mut Tx, environment_id: &str, by: &str, now_ms: i64) -> Result<()> {
    let clusters = store::list(&mut **tx, environment_id).await?;
    let Some(first) = perform::first(&clusters) else { return Ok(()) };
    let next = flow::begin_statistics(&first.id, first.name.as_str());
    match start_publishing(app, tx, first, next, by, now_ms).await {
        Ok(_) | Err(Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Starts a flow that makes a cluster known, or a part of it; its id. [`Error::Conflict`] while another flow about the cluster runs.
async fn start_publishing(
    app: &App,
    tx: &mut Tx,
    cluster: &Cluster,
    next: Next<flow::State, flow::Effect>,
    by: &str,
    now_ms: i64,
) -> Result<String> {
    let subject = subject(&cluster.name);
    let new = NewFlow::<flow::Publish> {
        environment_id: Some(&cluster.environment_id),
        subject: &subject,
        lock: Some(&subject),
        state: next.state,
        effects: next.effects,
        by,
        now_ms,
    };
    app.engine.start::<flow::Publish>(tx, new).await
}

/// A service that just became healthy.
#[derive(Debug)]
pub(crate) struct NewService<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub kind: &'a str,
    pub environment_id: &'a str,
    /// Of all of its instances.
    pub ports: Vec<&'a Port>,
}

/// The cluster that a service is; `None` while it is none.
pub(crate) async fn of_service(db: &Db, service_id: &str) -> Result<Option<Cluster>> {
    store::of_service(db.read(), service_id).await
}

/// How many topics live on the cluster of a service.
pub(crate) async fn topics_on_service(tx: &mut Tx, service_id: &str) -> Result<i64> {
    store::topics_on_service(&mut **tx, service_id).await
}

/// The row of a service's cluster goes, after its node; what it was.
pub(crate) async fn forget(tx: &mut Tx, service_id: &str) -> Result<Option<Cluster>> {
    let cluster = store::of_service(&mut **tx, service_id).await?;
    if let Some(cluster) = &cluster {
        store::delete(tx, &cluster.id).await?;
    }
    Ok(cluster)
}

/// What a flow about a cluster is about and holds.
pub fn subject(name: &ClusterName) -> String {
    format!("cluster/{name}")
}

/// The environment of a cluster.
pub(crate) async fn environment_of(db: &Db, cluster: &Cluster) -> Result<Environment> {
    crate::environments::by_id(db, &cluster.environment_id).await
}

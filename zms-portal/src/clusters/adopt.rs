//! A cluster that ZMS did not install becomes one of an environment, is changed, and is made known to applications.

use serde::{Deserialize, Serialize};
use serde_json::json;
use zms_core::collect::{BrokerTls, Mechanism};
use zms_core::metadata::BrokerKind;
use zms_core::names::ClusterName;

use super::way::reference;
use super::{Cluster, Way, flow, start_publishing, store};
use crate::access::{Actor, Role};
use crate::app::{App, new_id};
use crate::authority::pasted;
use crate::db::Tx;
use crate::engine::Next;
use crate::environments::{self, Environment};
use crate::error::{Error, Problem, Result};

/// Words that stand in paths beside names of clusters.
const RESERVED: [&str; 2] = ["adopt", "try"];
/// Most addresses of a cluster.
const MOST_ADDRESSES: usize = 32;
/// Longest user, password, in bytes.
const LONGEST: usize = 256;

/// A cluster to adopt, as people and programs say it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "old-kafka", "kind": "kafka", "addresses": "kafka-1.example:9093,kafka-2.example:9093", "tls": "system",
    "mechanism": "scram-sha-512", "user": "zms", "password": "…" }))]
pub struct NewCluster {
    /// 1 to 100 letters, digits and . _ -; other than every cluster and service of the environment.
    pub name: String,
    /// `kafka` or `rocketmq`.
    pub kind: String,
    /// `host:port` of some brokers (of name servers, where there are such), separated by commas or white space.
    pub addresses: String,
    /// `off`, `system` (authorities that the host trusts) or `authority` (those in `authority`). Empty means off.
    #[serde(default)]
    pub tls: String,
    /// Certificates of the trusted authorities, PEM.
    #[serde(default)]
    pub authority: String,
    /// SASL: `plain` (with TLS only), `scram-sha-256` or `scram-sha-512`. Empty or `none`: nobody.
    #[serde(default)]
    pub mechanism: String,
    /// Who we are.
    #[serde(default)]
    pub user: String,
    /// Never shown again.
    #[serde(default)]
    pub password: String,
}

impl std::fmt::Debug for NewCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewCluster").field("name", &self.name).field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// What becomes different; an absent field stays. A new mechanism or user, new addresses and other TLS need the password again: it is never sent where
/// it was not typed for. Fewer addresses do not.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "addresses": "kafka-3.example:9093" }))]
pub struct ClusterChange {
    /// As of a new one.
    pub addresses: Option<String>,
    /// As of a new one.
    pub tls: Option<String>,
    /// As of a new one.
    pub authority: Option<String>,
    /// As of a new one.
    pub mechanism: Option<String>,
    /// As of a new one.
    pub user: Option<String>,
    /// Never shown again; absent or empty: the present one stays.
    pub password: Option<String>,
}

/// What was said, checked.
pub(super) struct Checked {
    pub cluster: Cluster,
    /// A new one.
    pub password: Option<String>,
}

fn problem(
    problems: &mut Vec<Problem>,
    field: &str,
    say: impl Fn(crate::web::messages::Messages) -> String + Send + Sync + 'static,
) {
    problems.push(Problem::new(field, say));
}

/// `networks`: of the environment, as its row has them. `known`: the password that is there already counts.
pub(super) fn check(new: &NewCluster, environment_id: &str, networks: &str, known: Option<&Cluster>) -> Result<Checked> {
    let mut problems = Vec::new();
    let name = Some(new.name.trim()).filter(|name| !RESERVED.contains(name)).and_then(|name| ClusterName::new(name).ok());
    if name.is_none() {
        problem(&mut problems, "name", |m| m.clusters_bad_name().to_owned());
    }
    let broker = [BrokerKind::Kafka, BrokerKind::RocketMq].into_iter().find(|kind| kind.as_str() == new.kind);
    if broker.is_none() {
        problem(&mut problems, "kind", |m| m.clusters_bad_kind().to_owned());
    }
    let addresses = addresses(&new.addresses, &environments::read_networks(networks), &mut problems);
    let tls = match new.tls.as_str() {
        "" | "off" => BrokerTls::Off,
        "system" => BrokerTls::System,
        "authority" => BrokerTls::Authority(pasted(&new.authority).unwrap_or_else(|| {
            problem(&mut problems, "authority", |m| m.clusters_bad_authority().to_owned());
            String::new()
        })),
        _ => {
            problem(&mut problems, "tls", |m| m.clusters_bad_tls().to_owned());
            BrokerTls::Off
        }
    };
    let login = login(new, &addresses, &tls, known, &mut problems);
    let (Some(name), Some(broker), true) = (name, broker, problems.is_empty()) else { return Err(Error::Invalid(problems)) };
    let password = Some(new.password.clone()).filter(|password| login.is_some() && !password.is_empty());
    let sealed = known.and_then(|known| known.way.sealed.clone()).filter(|_| login.is_some());
    let way = Way { tls, login, networks: networks.to_owned(), sealed };
    let (id, epoch) = known.map_or_else(|| (new_id(), 0), |known| (known.id.clone(), known.epoch));
    let environment_id = environment_id.to_owned();
    Ok(Checked { cluster: Cluster { id, environment_id, name, broker, service_id: None, addresses, epoch, way }, password })
}

fn addresses(typed: &str, networks: &zms_core::networks::Networks, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut addresses: Vec<String> =
        typed.split([',', ';', ' ', '\t', '\r', '\n']).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    addresses.dedup();
    if !(1..=MOST_ADDRESSES).contains(&addresses.len()) {
        problem(problems, "addresses", |m| m.clusters_bad_addresses(MOST_ADDRESSES));
    }
    for address in &addresses {
        let parts = address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
        let host = parts.map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']')).unwrap_or_default();
        let characters = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
        let shown: String = address.chars().take(64).collect();
        if host.is_empty() || host.len() > 253 || !characters {
            problem(problems, "addresses", move |m| m.clusters_bad_address(&shown));
        } else if host.parse().is_ok_and(|ip| !networks.contain(ip)) {
            // A name is judged when it is dialled.
            let networks = networks.to_string();
            problem(problems, "addresses", move |m| m.clusters_outside(&shown, &networks));
        }
    }
    addresses
}

fn login(
    new: &NewCluster,
    addresses: &[String],
    tls: &BrokerTls,
    known: Option<&Cluster>,
    problems: &mut Vec<Problem>,
) -> Option<(Mechanism, String)> {
    if new.mechanism.is_empty() || new.mechanism == "none" {
        return None;
    }
    let Some(mechanism) = Mechanism::parse(&new.mechanism) else {
        problem(problems, "mechanism", |m| m.clusters_bad_mechanism().to_owned());
        return None;
    };
    if mechanism == Mechanism::Plain && *tls == BrokerTls::Off {
        problem(problems, "mechanism", |m| m.clusters_plain_without_tls().to_owned());
    }
    let wrong = |text: &str| text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control);
    if wrong(&new.user) {
        problem(problems, "user", |m| m.clusters_bad_user().to_owned());
    }
    let login = (mechanism, new.user.clone());
    let kept =
        known.filter(|known| new.password.is_empty() && known.way.sealed.is_some() && known.way.login.as_ref() == Some(&login));
    // With PLAIN a server reads the password, so it goes to none that does not have it yet.
    let heard = |known: &Cluster| known.way.tls == *tls && addresses.iter().all(|address| known.addresses.contains(address));
    if kept.is_some_and(|known| !heard(known)) {
        problem(problems, "password", |m| m.clusters_password_elsewhere().to_owned());
    } else if wrong(&new.password) && kept.is_none() {
        problem(problems, "password", |m| m.clusters_bad_password().to_owned());
    }
    Some(login)
}

/// What the audit keeps: no password, and of certificates that there are some.
fn detail(cluster: &Cluster) -> serde_json::Value {
    let login = cluster.way.login.as_ref().map(|(mechanism, user)| json!({ "mechanism": mechanism.as_str(), "user": user }));
    json!({ "kind": cluster.broker.as_str(), "addresses": cluster.addresses, "tls": cluster.way.tls_name(), "login": login })
}

/// A cluster in the audit.
pub(super) fn target(environment: &Environment, name: &str) -> String {
    let name: String = name.chars().take(100).collect();
    format!("environment/{}/cluster/{name}", environment.name)
}

/// Makes a cluster of an environment out of one that runs already; for operators. Nothing is made on its brokers, and applications do
/// not find it before [`publish`].
///
/// # Errors
/// [`Error::Invalid`] with what is wrong, also if the name is taken.
pub async fn adopt(app: &App, actor: Actor<'_>, environment: &Environment, new: &NewCluster, now_ms: i64) -> Result<Cluster> {
    actor.require(&app.db, Role::Operator, "cluster.adopt", &target(environment, &new.name), now_ms).await?;
    let mut tx = app.db.begin().await?;
    let cluster = adopt_in(app, &mut tx, actor, environment, new, now_ms).await?;
    tx.commit().await?;
    tracing::info!(cluster = %cluster.name, environment = environment.name, "adopted a cluster");
    Ok(cluster)
}

/// The same within `tx`, for acts that adopt several; the caller has asked for the role.
///
/// # Errors
/// As [`adopt`].
pub async fn adopt_in(
    app: &App,
    tx: &mut Tx,
    actor: Actor<'_>,
    environment: &Environment,
    new: &NewCluster,
    now_ms: i64,
) -> Result<Cluster> {
    let networks = store::networks(tx, &environment.id).await?;
    let Checked { cluster, password } = check(new, &environment.id, &networks, None)?;
    let name = cluster.name.to_string();
    let taken = move || Error::invalid("name", move |m| m.clusters_name_taken(&name));
    let known = store::find(&mut **tx, &environment.id, cluster.name.as_str()).await;
    if known.is_ok() || store::is_service(tx, &environment.id, cluster.name.as_str()).await? {
        return Err(taken());
    }
    store::insert(tx, &cluster, now_ms).await?;
    if let Some(password) = password {
        app.vault.put(tx, &reference(&cluster.id), password.as_bytes(), now_ms).await?;
    }
    actor.record(tx, "cluster.adopt", &target(environment, cluster.name.as_str()), detail(&cluster), now_ms).await?;
    store::by_id(&mut **tx, &cluster.id).await
}

/// Changes how an adopted cluster is reached; for operators. What applications read follows, if they find it.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] for one that ZMS installed; [`Error::Invalid`] with what is wrong.
pub async fn change(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    name: &str,
    change: ClusterChange,
    now_ms: i64,
) -> Result<Cluster> {
    let target = target(environment, name);
    actor.require(&app.db, Role::Operator, "cluster.change", &target, now_ms).await?;
    let mut tx = app.db.begin().await?;
    let before = store::find(&mut *tx, &environment.id, name).await?;
    must_be_adopted(&before)?;
    let (mechanism, user) = before.way.login.clone().map_or((String::new(), String::new()), |(m, u)| (m.as_str().to_owned(), u));
    let new = NewCluster {
        name: before.name.to_string(),
        kind: before.broker.to_string(),
        addresses: change.addresses.unwrap_or_else(|| before.addresses.join(",")),
        tls: change.tls.unwrap_or_else(|| before.way.tls_name().to_owned()),
        authority: change.authority.unwrap_or_else(|| before.way.authority().to_owned()),
        mechanism: change.mechanism.unwrap_or(mechanism),
        user: change.user.unwrap_or(user),
        password: change.password.unwrap_or_default(),
    };
    let Checked { cluster, password } = check(&new, &environment.id, &before.way.networks, Some(&before))?;
    store::update(&mut tx, &cluster).await?;
    match (&password, &cluster.way.login) {
        (Some(password), _) => app.vault.put(&mut tx, &reference(&cluster.id), password.as_bytes(), now_ms).await?,
        (None, None) => app.vault.remove(&mut tx, &reference(&cluster.id)).await?,
        (None, Some(_)) => {}
    }
    let mut record = json!({ "before": detail(&before), "after": detail(&cluster) });
    if password.is_some() {
        record["password"] = json!("changed");
    }
    actor.record(&mut tx, "cluster.change", &target, record, now_ms).await?;
    if cluster.epoch > 0 && (cluster.addresses != before.addresses || !cluster.way.looks_like(&before.way)) {
        start_publishing(app, &mut tx, &cluster, by_one(&cluster), &actor.user.name, now_ms).await?;
    }
    tx.commit().await?;
    app.engine.wake();
    super::by_id(&app.db, &cluster.id).await
}

/// Lets applications find an adopted cluster: its node is written, and the topics of statistics are made there if no other cluster
/// of the environment has them. The flow's id.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] for one that ZMS installed, which publishes itself, and while another flow holds it.
pub async fn publish(app: &App, actor: Actor<'_>, environment: &Environment, name: &str, now_ms: i64) -> Result<String> {
    let target = target(environment, name);
    actor.require(&app.db, Role::Operator, "cluster.publish", &target, now_ms).await?;
    let mut tx = app.db.begin().await?;
    let cluster = store::find(&mut *tx, &environment.id, name).await?;
    must_be_adopted(&cluster)?;
    let flow = start_publishing(app, &mut tx, &cluster, by_one(&cluster), &actor.user.name, now_ms).await?;
    actor.record(&mut tx, "cluster.publish", &target, json!({ "flow": flow }), now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow)
}

pub(super) fn must_be_adopted(cluster: &Cluster) -> Result<()> {
    if cluster.is_adopted() { Ok(()) } else { Err(Error::conflict(|m| m.clusters_is_installed().to_owned())) }
}

/// Which of its brokers are up is somebody else's matter: one that answers is enough.
fn by_one(cluster: &Cluster) -> Next<flow::State, flow::Effect> {
    flow::begin(&cluster.id, cluster.name.as_str(), 1)
}

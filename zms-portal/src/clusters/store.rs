//! SQL of clusters.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use zms_core::collect::{BrokerTls, Mechanism};
use zms_core::metadata::BrokerKind;
use zms_core::names::ClusterName;

use super::{Cluster, Way};
use crate::db::{Db, Tx};
use crate::error::{Error, Result};
use crate::secrets::Sealed;

const CLUSTER: &str = "select c.id, c.environment_id, c.name, c.broker, c.service_id, c.addresses, c.epoch, c.tls, c.authority, c.mechanism, \
    c.login, e.networks, s.version as sealed_version, s.sealed from clusters c join environments e on e.id = c.environment_id \
    left join secrets s on s.reference = 'cluster/' || c.id";

fn read(row: &AnyRow) -> Result<Cluster> {
    let broker: String = row.try_get("broker")?;
    let broker = if broker == BrokerKind::RocketMq.as_str() { BrokerKind::RocketMq } else { BrokerKind::Kafka };
    Ok(Cluster {
        id: row.try_get("id")?,
        environment_id: row.try_get("environment_id")?,
        name: ClusterName::new(row.try_get::<String, _>("name")?).map_err(anyhow::Error::new)?,
        broker,
        service_id: row.try_get("service_id")?,
        addresses: serde_json::from_str(&row.try_get::<String, _>("addresses")?)?,
        epoch: u64::try_from(row.try_get::<i64, _>("epoch")?).unwrap_or_default(),
        way: read_way(row)?,
    })
}

fn read_way(row: &AnyRow) -> Result<Way> {
    let tls = match row.try_get::<String, _>("tls")?.as_str() {
        "system" => BrokerTls::System,
        "authority" => BrokerTls::Authority(row.try_get("authority")?),
        _ => BrokerTls::Off,
    };
    let user: String = row.try_get("login")?;
    let version: Option<i64> = row.try_get("sealed_version")?;
    let text: Option<String> = row.try_get("sealed")?;
    Ok(Way {
        tls,
        login: Mechanism::parse(&row.try_get::<String, _>("mechanism")?).map(|mechanism| (mechanism, user)),
        networks: row.try_get("networks")?,
        sealed: version.zip(text).map(|(version, text)| Sealed { version, text }),
    })
}

pub(super) async fn list(db: impl Executor<'_, Database = Any>, environment_id: &str) -> Result<Vec<Cluster>> {
    let sql = sqlx::AssertSqlSafe(format!("{CLUSTER} where c.environment_id = $1 order by c.name"));
    sqlx::query(sql).bind(environment_id).fetch_all(db).await?.iter().map(read).collect()
}

pub(super) async fn find(db: impl Executor<'_, Database = Any>, environment_id: &str, name: &str) -> Result<Cluster> {
    let sql = sqlx::AssertSqlSafe(format!("{CLUSTER} where c.environment_id = $1 and c.name = $2"));
    let row = sqlx::query(sql).bind(environment_id).bind(name).fetch_optional(db).await?;
    row.as_ref().map(read).unwrap_or(Err(Error::NotFound))
}

pub(super) async fn by_id(db: impl Executor<'_, Database = Any>, id: &str) -> Result<Cluster> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{CLUSTER} where c.id = $1"))).bind(id).fetch_optional(db).await?;
    row.as_ref().map(read).unwrap_or(Err(Error::NotFound))
}

pub(super) async fn of_service(db: impl Executor<'_, Database = Any>, service_id: &str) -> Result<Option<Cluster>> {
    let sql = sqlx::AssertSqlSafe(format!("{CLUSTER} where c.service_id = $1"));
    sqlx::query(sql).bind(service_id).fetch_optional(db).await?.as_ref().map(read).transpose()
}

pub(super) async fn insert(tx: &mut Tx, cluster: &Cluster, now_ms: i64) -> Result<()> {
    let (mechanism, user) = login(&cluster.way);
    sqlx::query(
        "insert into clusters (id, environment_id, name, broker, service_id, addresses, epoch, created_at, tls, authority, mechanism, login) \
         values ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, $11)",
    )
    .bind(&cluster.id)
    .bind(&cluster.environment_id)
    .bind(cluster.name.as_str())
    .bind(cluster.broker.as_str())
    .bind(cluster.service_id.as_deref())
    .bind(serde_json::to_string(&cluster.addresses)?)
    .bind(now_ms)
    .bind(cluster.way.tls_name())
    .bind(cluster.way.authority())
    .bind(mechanism)
    .bind(user)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn login(way: &Way) -> (&'static str, &str) {
    way.login.as_ref().map_or(("", ""), |(mechanism, user)| (mechanism.as_str(), user.as_str()))
}

pub(super) async fn update(tx: &mut Tx, cluster: &Cluster) -> Result<()> {
    let (mechanism, user) = login(&cluster.way);
    sqlx::query("update clusters set addresses = $1, tls = $2, authority = $3, mechanism = $4, login = $5 where id = $6")
        .bind(serde_json::to_string(&cluster.addresses)?)
        .bind(cluster.way.tls_name())
        .bind(cluster.way.authority())
        .bind(mechanism)
        .bind(user)
        .bind(&cluster.id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn topics_on(tx: &mut Tx, cluster_id: &str) -> Result<i64> {
    let sql = "select count(*) as n from topics where cluster_id = $1";
    Ok(sqlx::query(sql).bind(cluster_id).fetch_one(&mut **tx).await?.try_get("n")?)
}

/// Is there a service of this name, which is or will be a cluster?
pub(super) async fn is_service(tx: &mut Tx, environment_id: &str, name: &str) -> Result<bool> {
    let sql = "select count(*) as n from services where environment_id = $1 and name = $2";
    Ok(sqlx::query(sql).bind(environment_id).bind(name).fetch_one(&mut **tx).await?.try_get::<i64, _>("n")? > 0)
}

pub(super) async fn set_epoch(tx: &mut Tx, id: &str, epoch: u64) -> Result<()> {
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    sqlx::query("update clusters set epoch = $1 where id = $2").bind(epoch).bind(id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, id: &str) -> Result<()> {
    sqlx::query("delete from clusters where id = $1").bind(id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn topics_on_service(db: impl Executor<'_, Database = Any>, service_id: &str) -> Result<i64> {
    let sql = "select count(*) as n from topics t join clusters c on c.id = t.cluster_id where c.service_id = $1";
    Ok(sqlx::query(sql).bind(service_id).fetch_one(db).await?.try_get("n")?)
}

/// Governed topics of each cluster: cluster id → count.
pub(super) async fn topics_by_cluster(db: impl Executor<'_, Database = Any>, environment_id: &str) -> Result<Vec<(String, i64)>> {
    let sql = "select cluster_id, count(*) as n from topics where environment_id = $1 group by cluster_id";
    let rows = sqlx::query(sql).bind(environment_id).fetch_all(db).await?;
    rows.iter().map(|row| Ok((row.try_get("cluster_id")?, row.try_get("n")?))).collect()
}

/// Networks of an environment, as its row has them.
pub(super) async fn networks(tx: &mut Tx, environment_id: &str) -> Result<String> {
    let sql = "select networks from environments where id = $1";
    Ok(sqlx::query(sql).bind(environment_id).fetch_one(&mut **tx).await?.try_get("networks")?)
}

/// Is there a user of this name?
pub(super) async fn is_user(db: &Db, name: &str) -> Result<bool> {
    let sql = "select count(*) as n from users where name = $1";
    Ok(sqlx::query(sql).bind(name).fetch_one(db.read()).await?.try_get::<i64, _>("n")? > 0)
}

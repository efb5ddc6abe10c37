//! SQL of clusters.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use zms_core::metadata::BrokerKind;
use zms_core::names::ClusterName;

use super::Cluster;
use crate::db::Tx;
use crate::error::{Error, Result};

const CLUSTER: &str = "select id, environment_id, name, broker, service_id, addresses, epoch from clusters";

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
    })
}

pub(super) async fn list(db: impl Executor<'_, Database = Any>, environment_id: &str) -> Result<Vec<Cluster>> {
    let sql = sqlx::AssertSqlSafe(format!("{CLUSTER} where environment_id = $1 order by name"));
    sqlx::query(sql).bind(environment_id).fetch_all(db).await?.iter().map(read).collect()
}

pub(super) async fn find(db: impl Executor<'_, Database = Any>, environment_id: &str, name: &str) -> Result<Cluster> {
    let sql = sqlx::AssertSqlSafe(format!("{CLUSTER} where environment_id = $1 and name = $2"));
    let row = sqlx::query(sql).bind(environment_id).bind(name).fetch_optional(db).await?;
    row.as_ref().map(read).unwrap_or(Err(Error::NotFound))
}

pub(super) async fn by_id(db: impl Executor<'_, Database = Any>, id: &str) -> Result<Cluster> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{CLUSTER} where id = $1"))).bind(id).fetch_optional(db).await?;
    row.as_ref().map(read).unwrap_or(Err(Error::NotFound))
}

pub(super) async fn of_service(tx: &mut Tx, service_id: &str) -> Result<Option<Cluster>> {
    let sql = sqlx::AssertSqlSafe(format!("{CLUSTER} where service_id = $1"));
    sqlx::query(sql).bind(service_id).fetch_optional(&mut **tx).await?.as_ref().map(read).transpose()
}

pub(super) async fn insert(tx: &mut Tx, cluster: &Cluster, now_ms: i64) -> Result<()> {
    sqlx::query(
        "insert into clusters (id, environment_id, name, broker, service_id, addresses, epoch, created_at) values ($1, $2, $3, $4, $5, $6, 0, $7)",
    )
    .bind(&cluster.id)
    .bind(&cluster.environment_id)
    .bind(cluster.name.as_str())
    .bind(cluster.broker.as_str())
    .bind(cluster.service_id.as_deref())
    .bind(serde_json::to_string(&cluster.addresses)?)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
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

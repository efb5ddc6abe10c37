//! SQL of topics.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use zms_core::metadata::Order;
use zms_core::names::TopicName;

use super::{State, Topic};
use crate::db::Tx;
use crate::error::{Error, Result};

const TOPIC: &str = "select id, environment_id, name, cluster_id, partitions, replicas, config, owner, about, state, term, epoch, created_at from topics";

fn number<T: TryFrom<i64> + Default>(row: &AnyRow, column: &str) -> sqlx::Result<T> {
    Ok(T::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
}

fn read(row: &AnyRow) -> Result<Topic> {
    Ok(Topic {
        id: row.try_get("id")?,
        environment_id: row.try_get("environment_id")?,
        name: TopicName::new(row.try_get::<String, _>("name")?).map_err(anyhow::Error::new)?,
        cluster_id: row.try_get("cluster_id")?,
        partitions: number(row, "partitions")?,
        replicas: number(row, "replicas")?,
        config: serde_json::from_str(&row.try_get::<String, _>("config")?)?,
        owner: row.try_get("owner")?,
        about: row.try_get("about")?,
        state: State::parse(&row.try_get::<String, _>("state")?),
        order: Order { term: number(row, "term")?, epoch: number(row, "epoch")? },
        created_at: row.try_get("created_at")?,
    })
}

pub(super) async fn list(db: impl Executor<'_, Database = Any>, environment_id: &str) -> Result<Vec<Topic>> {
    let sql = sqlx::AssertSqlSafe(format!("{TOPIC} where environment_id = $1 order by name"));
    sqlx::query(sql).bind(environment_id).fetch_all(db).await?.iter().map(read).collect()
}

pub(super) async fn find(db: impl Executor<'_, Database = Any>, environment_id: &str, name: &str) -> Result<Topic> {
    let sql = sqlx::AssertSqlSafe(format!("{TOPIC} where environment_id = $1 and name = $2"));
    let row = sqlx::query(sql).bind(environment_id).bind(name).fetch_optional(db).await?;
    row.as_ref().map(read).unwrap_or(Err(Error::NotFound))
}

pub(super) async fn by_id(db: impl Executor<'_, Database = Any>, id: &str) -> Result<Topic> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{TOPIC} where id = $1"))).bind(id).fetch_optional(db).await?;
    row.as_ref().map(read).unwrap_or(Err(Error::NotFound))
}

pub(super) async fn insert(tx: &mut Tx, topic: &Topic) -> sqlx::Result<()> {
    sqlx::query(
        "insert into topics (id, environment_id, name, cluster_id, partitions, replicas, config, owner, about, state, created_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&topic.id)
    .bind(&topic.environment_id)
    .bind(topic.name.as_str())
    .bind(&topic.cluster_id)
    .bind(i64::from(topic.partitions))
    .bind(i64::from(topic.replicas))
    .bind(serde_json::to_string(&topic.config).expect("texts are JSON"))
    .bind(&topic.owner)
    .bind(&topic.about)
    .bind(topic.state.as_str())
    .bind(topic.created_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, id: &str, state: State) -> Result<()> {
    sqlx::query("update topics set state = $1 where id = $2").bind(state.as_str()).bind(id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn set_order(tx: &mut Tx, id: &str, order: Order) -> Result<()> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let query = sqlx::query("update topics set term = $1, epoch = $2 where id = $3");
    query.bind(number(order.term)).bind(number(order.epoch)).bind(id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn set_layout(tx: &mut Tx, id: &str, partitions: i32, replicas: i16) -> Result<()> {
    let sql = "update topics set partitions = $1, replicas = $2 where id = $3";
    sqlx::query(sql).bind(i64::from(partitions)).bind(i64::from(replicas)).bind(id).execute(&mut **tx).await?;
    Ok(())
}

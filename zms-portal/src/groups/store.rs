//! SQL of consumer groups.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::any::AnyRow;
use zms_core::metadata::{ConsumeFrom, Order};
use zms_core::names::GroupName;

use super::Group;
use crate::db::{Db, Tx};
use crate::error::{Error, Result};
use crate::topics::State;

const GROUP: &str =
    "select id, environment_id, name, consume_from, broadcast, owner, about, state, term, epoch, created_at from consumer_groups";

fn read(row: &AnyRow) -> Result<Group> {
    let from: String = row.try_get("consume_from")?;
    let number = |column: &str| -> sqlx::Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default()) };
    Ok(Group {
        id: row.try_get("id")?,
        environment_id: row.try_get("environment_id")?,
        name: GroupName::new(row.try_get::<String, _>("name")?).map_err(anyhow::Error::new)?,
        from: if from == ConsumeFrom::Latest.as_str() { ConsumeFrom::Latest } else { ConsumeFrom::Earliest },
        broadcast: row.try_get::<i64, _>("broadcast")? != 0,
        owner: row.try_get("owner")?,
        about: row.try_get("about")?,
        state: State::parse(&row.try_get::<String, _>("state")?),
        topics: Vec::new(),
        order: Order { term: number("term")?, epoch: number("epoch")? },
        created_at: row.try_get("created_at")?,
    })
}

/// Two queries, however many groups there are.
pub(super) async fn list(db: &Db, environment_id: &str) -> Result<Vec<Group>> {
    let sql = sqlx::AssertSqlSafe(format!("{GROUP} where environment_id = $1 order by name"));
    let rows = sqlx::query(sql).bind(environment_id).fetch_all(db.read()).await?;
    let bound = "select b.group_id, b.topic_id from group_topics b join consumer_groups g on g.id = b.group_id where g.environment_id = $1";
    let mut topics: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in sqlx::query(bound).bind(environment_id).fetch_all(db.read()).await? {
        topics.entry(row.try_get("group_id")?).or_default().push(row.try_get("topic_id")?);
    }
    let with_topics = |row| -> Result<Group> {
        let mut group = read(row)?;
        group.topics = topics.get(&group.id).cloned().unwrap_or_default();
        Ok(group)
    };
    rows.iter().map(with_topics).collect()
}

pub(super) async fn find(db: &Db, environment_id: &str, name: &str) -> Result<Group> {
    let sql = sqlx::AssertSqlSafe(format!("{GROUP} where environment_id = $1 and name = $2"));
    let row = sqlx::query(sql).bind(environment_id).bind(name).fetch_optional(db.read()).await?;
    whole(db, row).await
}

pub(super) async fn by_id(db: &Db, id: &str) -> Result<Group> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{GROUP} where id = $1"))).bind(id).fetch_optional(db.read()).await?;
    whole(db, row).await
}

/// With its topics.
async fn whole(db: &Db, row: Option<AnyRow>) -> Result<Group> {
    let mut group = row.as_ref().map(read).unwrap_or(Err(Error::NotFound))?;
    let bound = sqlx::query("select topic_id from group_topics where group_id = $1 order by topic_id");
    for row in bound.bind(&group.id).fetch_all(db.read()).await? {
        group.topics.push(row.try_get("topic_id")?);
    }
    Ok(group)
}

pub(super) async fn insert(tx: &mut Tx, group: &Group) -> sqlx::Result<()> {
    sqlx::query(
        "insert into consumer_groups (id, environment_id, name, consume_from, broadcast, owner, about, state, created_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(&group.id)
    .bind(&group.environment_id)
    .bind(group.name.as_str())
    .bind(group.from.as_str())
    .bind(i64::from(group.broadcast))
    .bind(&group.owner)
    .bind(&group.about)
    .bind(group.state.as_str())
    .bind(group.created_at)
    .execute(&mut **tx)
    .await?;
    for topic in &group.topics {
        let query = sqlx::query("insert into group_topics (group_id, topic_id) values ($1, $2)");
        query.bind(&group.id).bind(topic).execute(&mut **tx).await?;
    }
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, id: &str, state: State) -> Result<()> {
    sqlx::query("update consumer_groups set state = $1 where id = $2").bind(state.as_str()).bind(id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn set_order(tx: &mut Tx, id: &str, order: Order) -> Result<()> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let query = sqlx::query("update consumer_groups set term = $1, epoch = $2 where id = $3");
    query.bind(number(order.term)).bind(number(order.epoch)).bind(id).execute(&mut **tx).await?;
    Ok(())
}

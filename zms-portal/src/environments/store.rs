//! SQL of environments.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::{Environment, NewEnvironment};
use crate::db::{Db, Tx};
use crate::error::Result;

const COLUMNS: &str = "select id, name, title, colour, protected from environments";

fn read(row: &AnyRow) -> sqlx::Result<Environment> {
    Ok(Environment {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        title: row.try_get("title")?,
        colour: row.try_get("colour")?,
        protected: row.try_get::<i64, _>("protected")? != 0,
    })
}

pub(super) async fn list(db: &Db) -> Result<Vec<Environment>> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} order by name"));
    let rows = sqlx::query(sql).fetch_all(db.read()).await?;
    Ok(rows.iter().map(read).collect::<sqlx::Result<_>>()?)
}

/// From a pool or within a transaction.
pub(super) async fn find_by_name<'e>(executor: impl Executor<'e, Database = Any>, name: &str) -> Result<Environment> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} where name = $1"));
    Ok(read(&sqlx::query(sql).bind(name).fetch_one(executor).await?)?)
}

pub(super) async fn by_id<'e>(executor: impl Executor<'e, Database = Any>, id: &str) -> Result<Environment> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} where id = $1"));
    Ok(read(&sqlx::query(sql).bind(id).fetch_one(executor).await?)?)
}

pub(super) async fn insert(tx: &mut Tx, id: &str, new: &NewEnvironment, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query("insert into environments (id, name, title, colour, protected, created_at) values ($1, $2, $3, $4, $5, $6)")
        .bind(id)
        .bind(new.name.as_str())
        .bind(new.title.as_str())
        .bind(new.colour.as_str())
        .bind(i64::from(new.protected))
        .bind(now_ms)
        .execute(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn update(tx: &mut Tx, environment: &Environment) -> sqlx::Result<()> {
    sqlx::query("update environments set title = $1, colour = $2, protected = $3 where id = $4")
        .bind(environment.title.as_str())
        .bind(environment.colour.as_str())
        .bind(i64::from(environment.protected))
        .bind(environment.id.as_str())
        .execute(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn networks(db: &Db, id: &str) -> Result<String> {
    let sql = "select networks from environments where id = $1";
    Ok(sqlx::query(sql).bind(id).fetch_one(db.read()).await?.try_get("networks")?)
}

pub(super) async fn set_networks(tx: &mut Tx, id: &str, networks: &str) -> Result<()> {
    sqlx::query("update environments set networks = $1 where id = $2").bind(networks).bind(id).execute(&mut **tx).await?;
    Ok(())
}

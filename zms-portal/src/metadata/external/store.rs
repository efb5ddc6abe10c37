//! SQL of metadata stores that ZMS did not install.

use sqlx::{Any, Executor, Row};

use super::External;
use crate::db::Tx;
use crate::error::Result;

pub(super) async fn find(db: impl Executor<'_, Database = Any>, environment_id: &str) -> Result<Option<External>> {
    let sql = "select addresses, authority, login, changed_by, changed_at from metadata_stores where environment_id = $1";
    let Some(row) = sqlx::query(sql).bind(environment_id).fetch_optional(db).await? else { return Ok(None) };
    Ok(Some(External {
        addresses: row.try_get("addresses")?,
        authority: row.try_get("authority")?,
        user: row.try_get("login")?,
        changed_by: row.try_get("changed_by")?,
        changed_at: row.try_get("changed_at")?,
    }))
}

/// Nodes of clusters, topics and groups that this environment has published.
pub(super) async fn published(db: impl Executor<'_, Database = Any>, environment_id: &str) -> Result<i64> {
    let sql = "select (select count(*) from clusters where environment_id = $1 and epoch > 0) \
               + (select count(*) from topics where environment_id = $1 and epoch > 0) \
               + (select count(*) from consumer_groups where environment_id = $1 and epoch > 0) as n";
    Ok(sqlx::query(sql).bind(environment_id).fetch_one(db).await?.try_get("n")?)
}

pub(super) async fn put(tx: &mut Tx, environment_id: &str, external: &External) -> Result<()> {
    delete(tx, environment_id).await?;
    sqlx::query(
        "insert into metadata_stores (environment_id, addresses, authority, login, changed_by, changed_at) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(environment_id)
    .bind(&external.addresses)
    .bind(&external.authority)
    .bind(&external.user)
    .bind(&external.changed_by)
    .bind(external.changed_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, environment_id: &str) -> Result<bool> {
    let sql = "delete from metadata_stores where environment_id = $1";
    Ok(sqlx::query(sql).bind(environment_id).execute(&mut **tx).await?.rows_affected() > 0)
}

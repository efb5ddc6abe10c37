//! Rows that tell other portals, and pages that are open there, that something changed.

use anyhow::anyhow;

use crate::db::{Db, Tx};
use crate::error::Result;

/// Portals that write in the same moment draw numbers one after the other; more than this in a row is a fault.
const TRIES: usize = 100;

/// Notes within `tx` that `topic` (`host/<id>`, `flow/<id>`) changed. Last in a transaction: on PostgreSQL the next number waits for its commit.
pub async fn note_change(tx: &mut Tx, topic: &str, now_ms: i64) -> Result<()> {
    let sql = "insert into changes (n, topic, at) select coalesce(max(n), 0) + 1, cast($1 as text), cast($2 as bigint) from changes where 1 = 1 \
               on conflict (n) do nothing";
    for _ in 0..TRIES {
        if sqlx::query(sql).bind(topic).bind(now_ms).execute(&mut **tx).await?.rows_affected() == 1 {
            return Ok(());
        }
    }
    Err(anyhow!("noting a change of {topic}: no number is free").into())
}

/// The number of the last change; 0 before the first.
pub(super) async fn last(db: &Db) -> Result<i64> {
    Ok(sqlx::query_scalar("select coalesce(max(n), 0) from changes").fetch_one(db.read()).await?)
}

/// Forgets changes before `before_ms`. The last one stays, because the next number comes from it.
pub(super) async fn prune(db: &Db, before_ms: i64) -> Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("delete from changes where at < $1 and n < (select max(n) from changes)")
        .bind(before_ms)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

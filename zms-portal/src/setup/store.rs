//! SQL of set-up codes; there is one row at most.

use sqlx::{Any, Executor};

use crate::app::new_id;
use crate::db::Tx;

pub(super) async fn has_administrator<'e>(executor: impl Executor<'e, Database = Any>) -> sqlx::Result<bool> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from role_grants where role = 'administrator'").fetch_one(executor).await?;
    Ok(count > 0)
}

pub(super) async fn replace_code(tx: &mut Tx, hash: &str, expires_at: i64) -> sqlx::Result<()> {
    sqlx::query("delete from setup_codes").execute(&mut **tx).await?;
    sqlx::query("insert into setup_codes (id, code_hash, expires_at) values ($1, $2, $3)")
        .bind(new_id())
        .bind(hash)
        .bind(expires_at)
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// Counts a try of the code that is good now and gives its hash; `None` if there is none.
pub(super) async fn count_try(tx: &mut Tx, most: i64, now_ms: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("update setup_codes set tries = tries + 1 where tries < $1 and expires_at > $2 returning code_hash")
        .bind(most)
        .bind(now_ms)
        .fetch_optional(&mut **tx)
        .await
}

/// Takes the code out; `false` if somebody was quicker.
pub(super) async fn use_code(tx: &mut Tx, hash: &str) -> sqlx::Result<bool> {
    let used = sqlx::query("delete from setup_codes where code_hash = $1").bind(hash).execute(&mut **tx).await?;
    Ok(used.rows_affected() == 1)
}

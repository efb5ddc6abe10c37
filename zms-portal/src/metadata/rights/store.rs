//! SQL of the mode.

use sqlx::{Any, Executor, Row};

use super::Mode;
use crate::db::Tx;
use crate::error::Result;

pub(super) async fn mode(db: impl Executor<'_, Database = Any>, environment_id: &str) -> Result<Mode> {
    let sql = "select mode from metadata_rights where environment_id = $1";
    let row = sqlx::query(sql).bind(environment_id).fetch_optional(db).await?;
    let mode: Option<String> = row.map(|row| row.try_get("mode")).transpose()?;
    Ok(if mode.as_deref() == Some(Mode::Legacy.as_str()) { Mode::Legacy } else { Mode::Secured })
}

pub(super) async fn put(tx: &mut Tx, environment_id: &str, mode: Mode, now_ms: i64) -> Result<()> {
    let sql = "insert into metadata_rights (environment_id, mode, changed_at) values ($1, $2, $3) \
               on conflict (environment_id) do update set mode = $2, changed_at = $3";
    sqlx::query(sql).bind(environment_id).bind(mode.as_str()).bind(now_ms).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, environment_id: &str) -> Result<()> {
    let sql = "delete from metadata_rights where environment_id = $1";
    sqlx::query(sql).bind(environment_id).execute(&mut **tx).await?;
    Ok(())
}

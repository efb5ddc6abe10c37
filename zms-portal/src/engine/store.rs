//! The engine's SQL. Every change of an effect names the token of its lease, or that it is still due.
//!
//! Locks of rows are taken in one order (flow, then its effects), so that PostgreSQL meets no deadlock.

use anyhow::anyhow;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::machine::Status;
use crate::app::new_id;
use crate::db::Tx;
use crate::error::Result;

pub(super) struct NewRow<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    pub environment_id: Option<&'a str>,
    pub subject: &'a str,
    pub state: &'a str,
    pub status: Status,
    pub by: &'a str,
    pub now_ms: i64,
}

pub(super) struct FlowRow {
    pub kind: String,
    pub state: String,
    pub version: i64,
    pub status: Status,
}

pub(super) struct NewEffect {
    pub name: &'static str,
    pub target: String,
    pub payload: String,
}

/// Who holds a resource.
pub(super) struct Holder {
    pub flow_id: String,
    pub subject: String,
    pub by: String,
}

pub(super) async fn insert_flow(tx: &mut Tx, flow: &NewRow<'_>) -> Result<()> {
    sqlx::query(
        "insert into flows (id, kind, environment_id, subject, state, version, status, created_by, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, 1, $6, $7, $8, $8)",
    )
    .bind(flow.id)
    .bind(flow.kind)
    .bind(flow.environment_id)
    .bind(flow.subject)
    .bind(flow.state)
    .bind(flow.status.as_str())
    .bind(flow.by)
    .bind(flow.now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes back a flow that was inserted in the same transaction and has nothing yet.
pub(super) async fn delete_flow(tx: &mut Tx, id: &str) -> Result<()> {
    sqlx::query("delete from flows where id = $1").bind(id).execute(&mut **tx).await?;
    Ok(())
}

/// Reads a flow, and holds its row until the transaction ends.
pub(super) async fn flow(tx: &mut Tx, id: &str) -> Result<Option<FlowRow>> {
    // An update that changes nothing is the portable `select … for update`.
    sqlx::query("update flows set version = version where id = $1").bind(id).execute(&mut **tx).await?;
    let row =
        sqlx::query("select kind, state, version, status from flows where id = $1").bind(id).fetch_optional(&mut **tx).await?;
    row.map(|row| {
        Ok(FlowRow {
            kind: row.try_get("kind")?,
            state: row.try_get("state")?,
            version: row.try_get("version")?,
            status: status(&row)?,
        })
    })
    .transpose()
}

/// The status column.
pub(super) fn status(row: &AnyRow) -> Result<Status> {
    let text: String = row.try_get("status")?;
    Status::parse(&text).ok_or_else(|| anyhow!("flow with status {text:?}: this portal does not know it").into())
}

/// False: somebody was quicker.
pub(super) async fn save_state(tx: &mut Tx, id: &str, version: i64, state: &str, status: Status, now_ms: i64) -> Result<bool> {
    let sql = "update flows set state = $1, status = $2, version = version + 1, updated_at = $3 where id = $4 and version = $5";
    let query = sqlx::query(sql).bind(state).bind(status.as_str()).bind(now_ms).bind(id).bind(version);
    Ok(query.execute(&mut **tx).await?.rows_affected() == 1)
}

pub(super) async fn insert_event(tx: &mut Tx, flow_id: &str, who: &str, what: &str, now_ms: i64) -> Result<()> {
    let last: i64 = sqlx::query_scalar("select coalesce(max(n), 0) from flow_events where flow_id = $1")
        .bind(flow_id)
        .fetch_one(&mut **tx)
        .await?;
    sqlx::query("insert into flow_events (flow_id, n, at, who, what) values ($1, $2, $3, $4, $5)")
        .bind(flow_id)
        .bind(last + 1)
        .bind(now_ms)
        .bind(who)
        .bind(what)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn insert_effects(tx: &mut Tx, flow_id: &str, effects: &[NewEffect], now_ms: i64) -> Result<()> {
    if effects.is_empty() {
        return Ok(());
    }
    let last: i64 = sqlx::query_scalar("select coalesce(max(n), 0) from effects where flow_id = $1")
        .bind(flow_id)
        .fetch_one(&mut **tx)
        .await?;
    for (n, effect) in (last + 1..).zip(effects) {
        sqlx::query(
            "insert into effects (id, flow_id, n, name, payload, target, due_at, state, created_at) values ($1, $2, $3, $4, $5, $6, $7, 'due', $7)",
        )
        .bind(new_id())
        .bind(flow_id)
        .bind(n)
        .bind(effect.name)
        .bind(&effect.payload)
        .bind(&effect.target)
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Effects of a flow that are due or under way: id and payload.
pub(super) async fn due_payloads(tx: &mut Tx, flow_id: &str) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query("select id, payload from effects where flow_id = $1 and state = 'due' order by n")
        .bind(flow_id)
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("payload")?))).collect()
}

/// Whoever performs it loses the lease, which says until then that somebody may still be at it.
pub(super) async fn cancel(tx: &mut Tx, effect_id: &str, now_ms: i64) -> Result<()> {
    let sql = "update effects set state = 'cancelled', done_at = $1 where id = $2 and state = 'due'";
    sqlx::query(sql).bind(now_ms).bind(effect_id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn cancel_all(tx: &mut Tx, flow_id: &str, now_ms: i64) -> Result<()> {
    let sql = "update effects set state = 'cancelled', lease_token = null, lease_until = 0, done_at = $1 where flow_id = $2 and state = 'due'";
    sqlx::query(sql).bind(now_ms).bind(flow_id).execute(&mut **tx).await?;
    Ok(())
}

/// False: another flow holds it.
pub(super) async fn lock(tx: &mut Tx, environment_id: Option<&str>, resource: &str, flow_id: &str) -> Result<bool> {
    let sql = "insert into resource_locks (environment_id, resource, flow_id) values ($1, $2, $3) on conflict (environment_id, resource) do nothing";
    let query = sqlx::query(sql).bind(environment_id.unwrap_or_default()).bind(resource).bind(flow_id);
    Ok(query.execute(&mut **tx).await?.rows_affected() == 1)
}

pub(super) async fn holder(tx: &mut Tx, environment_id: Option<&str>, resource: &str) -> Result<Option<Holder>> {
    let row = sqlx::query(
        "select f.id, f.subject, f.created_by from resource_locks l join flows f on f.id = l.flow_id where l.environment_id = $1 and l.resource = $2",
    )
    .bind(environment_id.unwrap_or_default())
    .bind(resource)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| Ok(Holder { flow_id: row.try_get("id")?, subject: row.try_get("subject")?, by: row.try_get("created_by")? }))
        .transpose()
}

pub(super) async fn unlock(tx: &mut Tx, flow_id: &str) -> Result<()> {
    sqlx::query("delete from resource_locks where flow_id = $1").bind(flow_id).execute(&mut **tx).await?;
    Ok(())
}

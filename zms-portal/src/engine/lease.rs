//! The SQL of leases: who performs an effect, and whether they still may say what came of it.

use std::collections::HashMap;

use sqlx::Row;

use super::Settings;
use super::settings::milliseconds;
use crate::app::new_id;
use crate::db::{Db, Tx};
use crate::error::Result;

/// Effects of one kind at one target that could begin now.
#[derive(Debug)]
pub(super) struct Ready {
    pub target: String,
    pub kind: String,
}

/// An effect that is ours as long as the token is in its row.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub effect_id: String,
    pub flow_id: String,
    pub target: String,
    pub payload: String,
    pub created_at: i64,
    pub attempt: i64,
    pub token: String,
}

/// Where something can begin, the longest waiting first.
pub(super) async fn ready(db: &Db, now_ms: i64) -> Result<Vec<Ready>> {
    let sql = "select e.target, f.kind, min(e.due_at) as since from effects e join flows f on f.id = e.flow_id \
               where e.state = 'due' and e.due_at <= $1 and e.lease_until <= $1 group by e.target, f.kind order by since, e.target, f.kind";
    let rows = sqlx::query(sql).bind(now_ms).fetch_all(db.read()).await?;
    rows.iter().map(|row| Ok(Ready { target: row.try_get("target")?, kind: row.try_get("kind")? })).collect()
}

/// How many effects are under way at each target, in all portals.
pub(super) async fn under_way(db: &Db, now_ms: i64) -> Result<HashMap<String, usize>> {
    let sql = "select target, count(*) as leased from effects where state = 'due' and lease_until > $1 group by target";
    let rows = sqlx::query(sql).bind(now_ms).fetch_all(db.read()).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("target")?, usize::try_from(row.try_get::<i64, _>("leased")?).unwrap_or(usize::MAX))))
        .collect()
}

/// Effects of `ready` that could begin, oldest first.
pub(super) async fn candidates(db: &Db, ready: &Ready, now_ms: i64, most: usize) -> Result<Vec<Lease>> {
    let sql = "select e.id, e.flow_id, e.payload, e.created_at, e.attempts from effects e join flows f on f.id = e.flow_id \
               where e.target = $1 and f.kind = $2 and e.state = 'due' and e.due_at <= $3 and e.lease_until <= $3 \
               order by e.due_at, e.flow_id, e.n limit $4";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(&ready.target).bind(&ready.kind).bind(now_ms).bind(most).fetch_all(db.read()).await?;
    rows.iter()
        .map(|row| {
            Ok(Lease {
                effect_id: row.try_get("id")?,
                flow_id: row.try_get("flow_id")?,
                target: ready.target.clone(),
                payload: row.try_get("payload")?,
                created_at: row.try_get("created_at")?,
                attempt: row.try_get::<i64, _>("attempts")? + 1,
                token: new_id(),
            })
        })
        .collect()
}

/// Takes the lease; false: somebody else did, or the target is full. A transaction of its own, the shortest there is.
pub(super) async fn take(db: &Db, settings: &Settings, lease: &Lease, now_ms: i64) -> Result<bool> {
    let sql = "update effects set lease_token = $1, lease_until = $2, attempts = $3, started_at = coalesce(started_at, $4) \
               where id = $5 and state = 'due' and due_at <= $4 and lease_until <= $4 and attempts = $3 - 1 \
               and (select count(*) from effects o where o.target = $6 and o.state = 'due' and o.lease_until > $4) < $7";
    let mut tx = db.begin().await?;
    let taken = sqlx::query(sql)
        .bind(&lease.token)
        .bind(now_ms + milliseconds(settings.lease))
        .bind(lease.attempt)
        .bind(now_ms)
        .bind(&lease.effect_id)
        .bind(&lease.target)
        .bind(i64::try_from(settings.per_target).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(taken.rows_affected() == 1)
}

/// Makes the lease last; false: it is lost.
pub(super) async fn renew(db: &Db, settings: &Settings, lease: &Lease, now_ms: i64) -> Result<bool> {
    let mut tx = db.begin().await?;
    let renewed = sqlx::query("update effects set lease_until = $1 where id = $2 and lease_token = $3 and state = 'due'")
        .bind(now_ms + milliseconds(settings.lease))
        .bind(&lease.effect_id)
        .bind(&lease.token)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(renewed.rows_affected() == 1)
}

/// Holds the flow's row: the order of row locks is flow, effect.
pub(super) async fn hold_flow(tx: &mut Tx, lease: &Lease) -> Result<()> {
    sqlx::query("update flows set version = version where id = $1").bind(&lease.flow_id).execute(&mut **tx).await?;
    Ok(())
}

/// Marks the effect as done; false: the lease is lost.
pub(super) async fn finish(tx: &mut Tx, lease: &Lease, now_ms: i64) -> Result<bool> {
    let sql = "update effects set state = 'done', note = '', lease_token = null, lease_until = 0, done_at = $1 \
               where id = $2 and lease_token = $3 and state = 'due'";
    let query = sqlx::query(sql).bind(now_ms).bind(&lease.effect_id).bind(&lease.token);
    Ok(query.execute(&mut **tx).await?.rows_affected() == 1)
}

/// Notes on a finished effect what came of its outcome.
pub(super) async fn annotate(tx: &mut Tx, lease: &Lease, note: &str) -> Result<()> {
    sqlx::query("update effects set note = $1 where id = $2").bind(note).bind(&lease.effect_id).execute(&mut **tx).await?;
    Ok(())
}

/// Nobody is at a cancelled effect any more.
pub(super) async fn let_go(db: &Db, lease: &Lease) -> Result<()> {
    let mut tx = db.begin().await?;
    let sql = "update effects set lease_token = null, lease_until = 0 where id = $1 and lease_token = $2 and state = 'cancelled'";
    sqlx::query(sql).bind(&lease.effect_id).bind(&lease.token).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Is another effect of the flow leased, whatever became of it?
pub(super) async fn is_busy_beside(db: &Db, flow_id: &str, effect_id: &str, now_ms: i64) -> Result<bool> {
    let sql = "select count(*) as n from effects where flow_id = $1 and id <> $2 and lease_until > $3";
    let row = sqlx::query(sql).bind(flow_id).bind(effect_id).bind(now_ms).fetch_one(db.read()).await?;
    Ok(row.try_get::<i64, _>("n")? > 0)
}

/// Gives the effect back, due later; false: the lease is lost. `attempts` counts failures in a row.
pub(super) async fn put_off(tx: &mut Tx, lease: &Lease, due_at: i64, attempts: i64, note: &str) -> Result<bool> {
    let sql = "update effects set due_at = $1, attempts = $2, note = $3, lease_token = null, lease_until = 0 \
               where id = $4 and lease_token = $5 and state = 'due'";
    let query = sqlx::query(sql).bind(due_at).bind(attempts).bind(note).bind(&lease.effect_id).bind(&lease.token);
    Ok(query.execute(&mut **tx).await?.rows_affected() == 1)
}

//! SQL of hosts, join tokens and enrolments.

use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Executor, Row};
use zms_core::host::{HostFacts, HostReport, InstanceSpec};

use super::row::{HostDetail, HostRow};
use crate::db::{Db, Tx};
use crate::error::Result;

const COLUMNS: &str = "select id, environment_id, name, address, facts, report, seen_at, revoked, generation, certificate_until, \
                       skew_ms, joined_at from hosts";

/// Whoever reports something that this portal cannot read has reported nothing yet.
fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> sqlx::Result<Option<T>> {
    let text: Option<String> = row.try_get(column)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn read(row: &AnyRow) -> sqlx::Result<HostDetail> {
    Ok(HostDetail {
        row: HostRow {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            address: row.try_get("address")?,
            facts: json::<HostFacts>(row, "facts")?.unwrap_or_default(),
            report: json::<HostReport>(row, "report")?,
            seen_at: row.try_get("seen_at")?,
            revoked: row.try_get::<i64, _>("revoked")? != 0,
            generation: row.try_get("generation")?,
        },
        environment_id: row.try_get("environment_id")?,
        certificate_until: row.try_get("certificate_until")?,
        skew_ms: row.try_get("skew_ms")?,
        joined_at: row.try_get("joined_at")?,
    })
}

pub(super) async fn list(db: &Db, environment_id: &str) -> Result<Vec<HostRow>> {
    let sql = AssertSqlSafe(format!("{COLUMNS} where environment_id = $1 order by name"));
    let rows = sqlx::query(sql).bind(environment_id).fetch_all(db.read()).await?;
    Ok(rows.iter().map(|row| Ok(read(row)?.row)).collect::<sqlx::Result<_>>()?)
}

pub(super) async fn detail<'e>(executor: impl Executor<'e, Database = Any>, host_id: &str) -> Result<HostDetail> {
    let sql = AssertSqlSafe(format!("{COLUMNS} where id = $1"));
    Ok(read(&sqlx::query(sql).bind(host_id).fetch_one(executor).await?)?)
}

/// Hosts that joined with a token, in the order in which they came.
pub(super) async fn joined_with(db: &Db, key_id: &str) -> Result<Vec<HostRow>> {
    let sql =
        AssertSqlSafe(format!("{COLUMNS} where id in (select host_id from enrolments where token = $1) order by joined_at, id"));
    let rows = sqlx::query(sql).bind(key_id).fetch_all(db.read()).await?;
    Ok(rows.iter().map(|row| Ok(read(row)?.row)).collect::<sqlx::Result<_>>()?)
}

/// Who a host of an environment is to a collector. Asked for every few seconds, so it leaves facts and reports where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// A ULID.
    pub id: String,
    /// As people call it.
    pub name: String,
    /// Of its present certificate, hexadecimal.
    pub serial: String,
    /// Nothing that it says counts any more.
    pub revoked: bool,
}

pub(super) async fn peers(db: &Db, environment_id: &str) -> Result<Vec<Peer>> {
    let sql = "select id, name, serial, revoked from hosts where environment_id = $1 order by name";
    let rows = sqlx::query(sql).bind(environment_id).fetch_all(db.read()).await?;
    let read = |row: &AnyRow| {
        Ok(Peer {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            serial: row.try_get("serial")?,
            revoked: row.try_get::<i64, _>("revoked")? != 0,
        })
    };
    Ok(rows.iter().map(read).collect::<sqlx::Result<_>>()?)
}

/// What a request of an agent is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub environment_id: String,
    pub name: String,
    pub key_hash: String,
    pub serial: String,
    pub certificate_until: i64,
    pub revoked: bool,
    pub generation: i64,
    pub run: String,
    pub seen_at: Option<i64>,
}

pub(super) async fn standing(db: &Db, host_id: &str) -> Result<Option<Standing>> {
    let sql = "select environment_id, name, key_hash, serial, certificate_until, revoked, generation, run, seen_at from hosts where id = $1";
    let row = sqlx::query(sql).bind(host_id).fetch_optional(db.read()).await?;
    let read = |row: AnyRow| {
        Ok(Standing {
            environment_id: row.try_get("environment_id")?,
            name: row.try_get("name")?,
            key_hash: row.try_get("key_hash")?,
            serial: row.try_get("serial")?,
            certificate_until: row.try_get("certificate_until")?,
            revoked: row.try_get::<i64, _>("revoked")? != 0,
            generation: row.try_get("generation")?,
            run: row.try_get("run")?,
            seen_at: row.try_get("seen_at")?,
        })
    };
    Ok(row.map(read).transpose().map_err(|error: sqlx::Error| error)?)
}

/// The certificate that a host shows from now on, unless a newer one was shown before.
pub(super) async fn set_certificate(tx: &mut Tx, host_id: &str, serial: &str, key_hash: &str, until: i64) -> Result<()> {
    sqlx::query("update hosts set serial = $1, key_hash = $2, certificate_until = $3 where id = $4 and certificate_until < $3")
        .bind(serial)
        .bind(key_hash)
        .bind(until)
        .bind(host_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Hosts of an environment that are in service.
pub(super) async fn ids(tx: &mut Tx, environment_id: &str) -> Result<Vec<String>> {
    let sql = "select id from hosts where environment_id = $1 and revoked = 0 order by id";
    Ok(sqlx::query_scalar(sql).bind(environment_id).fetch_all(&mut **tx).await?)
}

/// Where the collectors of a host's environment take frames, sorted.
pub(super) async fn collectors(tx: &mut Tx, host_id: &str) -> Result<Vec<String>> {
    let sql = "select i.spec from instances i join services s on s.id = i.service_id join hosts h on h.environment_id = s.environment_id \
               where s.kind = 'collector' and i.phase = 'running' and h.id = $1";
    let specs: Vec<String> = sqlx::query_scalar(sql).bind(host_id).fetch_all(&mut **tx).await?;
    let mut urls = Vec::new();
    for spec in specs {
        let spec: InstanceSpec = serde_json::from_str(&spec)?;
        if let Some(port) = spec.body.ports.iter().find(|port| port.name == "frames") {
            urls.push(format!("https://{}", port.socket()));
        }
    }
    urls.sort_unstable();
    Ok(urls)
}

/// What a sync brings.
pub(super) struct Word<'a> {
    pub run: &'a str,
    pub skew_ms: i64,
    pub report: Option<&'a HostReport>,
    pub facts: Option<&'a HostFacts>,
}

pub(super) async fn hear(tx: &mut Tx, host_id: &str, word: &Word<'_>, now_ms: i64) -> Result<()> {
    let text = |json: serde_json::Result<String>| json.map(Some);
    let report = word.report.map_or(Ok(None), |report| text(serde_json::to_string(report)))?;
    let facts = word.facts.map_or(Ok(None), |facts| text(serde_json::to_string(facts)))?;
    let sql = "update hosts set run = $1, skew_ms = $2, seen_at = $3, report = coalesce($4, report), facts = coalesce($5, facts) \
               where id = $6 and revoked = 0";
    sqlx::query(sql)
        .bind(word.run)
        .bind(word.skew_ms)
        .bind(now_ms)
        .bind(report)
        .bind(facts)
        .bind(host_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The generation that is wanted now.
pub(super) async fn generation(db: &Db, host_id: &str) -> Result<Option<(i64, bool)>> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("select generation, revoked from hosts where id = $1").bind(host_id).fetch_optional(db.read()).await?;
    Ok(row.map(|(generation, revoked)| (generation, revoked != 0)))
}

/// The desired state, JSON.
pub(super) async fn desired<'e>(executor: impl Executor<'e, Database = Any>, host_id: &str) -> Result<Option<String>> {
    Ok(sqlx::query_scalar("select desired from hosts where id = $1").bind(host_id).fetch_one(executor).await?)
}

/// Counts the generation up, at least beyond `above`; the new one, and the desired state so far. The row is held until the
/// transaction ends, so that two changes of one host come one after the other.
pub(super) async fn next_generation(tx: &mut Tx, host_id: &str, above: i64) -> Result<(i64, Option<String>)> {
    let sql = "update hosts set generation = case when generation < $1 then cast($1 as bigint) else generation end + 1 where id = $2 \
               returning generation, desired";
    Ok(sqlx::query_as(sql).bind(above).bind(host_id).fetch_one(&mut **tx).await?)
}

pub(super) async fn set_desired(tx: &mut Tx, host_id: &str, generation: i64, desired: &str) -> Result<()> {
    let sql = "update hosts set generation = $1, desired = $2 where id = $3";
    sqlx::query(sql).bind(generation).bind(desired).bind(host_id).execute(&mut **tx).await?;
    Ok(())
}

/// Specs of the instances of a host, JSON, by name.
pub(super) async fn specs(tx: &mut Tx, host_id: &str) -> Result<Vec<String>> {
    let sql = "select spec from instances where host_id = $1 order by name";
    Ok(sqlx::query_scalar(sql).bind(host_id).fetch_all(&mut **tx).await?)
}

pub(super) async fn rename(tx: &mut Tx, host_id: &str, name: &str) -> sqlx::Result<()> {
    sqlx::query("update hosts set name = $1 where id = $2").bind(name).bind(host_id).execute(&mut **tx).await.map(drop)
}

pub(super) async fn revoke(tx: &mut Tx, host_id: &str, name: &str) -> Result<()> {
    sqlx::query("update hosts set revoked = 1, name = $1 where id = $2").bind(name).bind(host_id).execute(&mut **tx).await?;
    Ok(())
}

/// Changes of hosts after change `n`, oldest first: number and host.
pub(super) async fn changes_after(db: &Db, n: i64) -> Result<Vec<(i64, String)>> {
    let sql = "select n, topic from changes where n > $1 and topic like 'host/%' order by n limit 1000";
    let rows: Vec<(i64, String)> = sqlx::query_as(sql).bind(n).fetch_all(db.read()).await?;
    Ok(rows.into_iter().map(|(n, topic)| (n, topic.trim_start_matches("host/").to_owned())).collect())
}

pub(super) async fn last_change(db: &Db) -> Result<i64> {
    Ok(sqlx::query_scalar("select coalesce(max(n), 0) from changes").fetch_one(db.read()).await?)
}

//! One hash chain a day. Each row's hash covers the row and the hash before it, so a row that is changed, taken out or moved breaks the
//! chain from there on.
//!
//! The first row of a day follows the day before, whose last row closes it: nothing is added to a closed day, and a day without that
//! row lost its end. The end of the present day has no row after it; it is compared with the log, which gets the hash of each closed day,
//! or with what [`verify`] said earlier.

use anyhow::anyhow;
use sha2::{Digest, Sha256};
use sqlx::Row as _;
use time::OffsetDateTime;

use super::store::{self, Row};
use super::{Entry, Outcome};
use crate::db::{Db, Tx};
use crate::error::Result;

/// The act of the row that closes a day.
pub const CLOSE: &str = "audit.close_day";
/// What the first row of all follows.
const BEGINNING: &str = "";
/// Portals that write in the same moment come one after the other; more than this in a row is a fault.
const TRIES: usize = 100;
/// Rows that [`verify`] reads at a time.
const BATCH: i64 = 1_000;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Chain {
    /// Rows that are as they were written.
    pub rows: u64,
    /// Day and number of the last of them, for example `2026-11-25.17`; empty if there is none.
    pub last: String,
    /// Its hash. Who keeps it elsewhere can tell later that nothing before it was taken out.
    pub hash: String,
    /// The first row that is not.
    pub broken: Option<Broken>,
}

/// Where the chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = AuditBreak)]
pub struct Broken {
    /// Day and number of the row.
    pub at: String,
    /// What is wrong with it.
    pub why: Break,
}

/// How a chain breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// The row, or the one before it, is not what was written.
    Changed,
    /// Rows before it are gone.
    Missing,
    /// The day before it has no last row.
    NotClosed,
}

/// Place and hash of a row.
#[derive(Debug, Clone)]
struct Link {
    day: String,
    n: i64,
    hash: String,
    closed: bool,
}

pub(super) async fn append(tx: &mut Tx, entry: &Entry<'_>) -> Result<()> {
    let day = day_of(entry.at)?;
    let detail = serde_json::to_string(&entry.detail)?;
    for _ in 0..TRIES {
        let last = last(tx).await?;
        let row = match &last {
            None => place(entry, &detail, &day, 1),
            // A clock that went back, or a portal whose clock is behind, writes into the day that is open.
            Some(last) if !last.closed && last.day >= day => place(entry, &detail, &last.day, last.n + 1),
            Some(last) if last.closed && last.day >= day => place(entry, &detail, &next_day(&last.day)?, 1),
            Some(last) if last.closed => place(entry, &detail, &day, 1),
            Some(open) => {
                close(tx, open, entry.at).await?;
                continue;
            }
        };
        let before = last.as_ref().map_or(BEGINNING, |last| last.hash.as_str());
        if insert(tx, &row, &hash(before, &row)).await? {
            return Ok(());
        }
    }
    Err(anyhow!("audit of {} on {}: no number is free", entry.act, entry.target).into())
}

/// Ends the day of `open`, unless somebody else was quicker.
async fn close(tx: &mut Tx, open: &Link, at: i64) -> Result<()> {
    let detail = serde_json::json!({ "rows": open.n }).to_string();
    let entry =
        Entry { at, who: "", address: "", act: CLOSE, target: &open.day, detail: serde_json::Value::Null, result: Outcome::Done };
    let row = place(&entry, &detail, &open.day, open.n + 1);
    let hash = hash(&open.hash, &row);
    if insert(tx, &row, &hash).await? {
        tracing::info!(day = open.day, rows = open.n, hash, "closed the audit of a day");
    }
    Ok(())
}

fn place(entry: &Entry<'_>, detail: &str, day: &str, n: i64) -> Row {
    Row {
        day: day.to_owned(),
        n,
        at: entry.at,
        who: entry.who.to_owned(),
        address: entry.address.to_owned(),
        act: entry.act.to_owned(),
        target: entry.target.to_owned(),
        detail: detail.to_owned(),
        result: entry.result,
    }
}

/// Each field with its length before it, so that no two rows read alike.
fn hash(before: &str, row: &Row) -> String {
    let (n, at) = (row.n.to_string(), row.at.to_string());
    let fields = [before, &row.day, &n, &at, &row.who, &row.address, &row.act, &row.target, &row.detail, row.result.as_str()];
    let mut sha = Sha256::new();
    for field in fields {
        sha.update(u64::try_from(field.len()).expect("a length fits 64 bits").to_be_bytes());
        sha.update(field);
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The UTC day of a time, as 2026-11-25.
fn day_of(at_ms: i64) -> Result<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000)
        .map_err(|error| anyhow!("audit at {at_ms}: {error}"))?;
    Ok(text_of(time.date()))
}

fn next_day(day: &str) -> Result<String> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(day, format).map_err(|error| anyhow!("audit of day {day:?}: {error}"))?;
    Ok(text_of(date.next_day().ok_or_else(|| anyhow!("audit of day {day}: there is no day after it"))?))
}

fn text_of(date: time::Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

async fn last(tx: &mut Tx) -> Result<Option<Link>> {
    let row =
        sqlx::query("select day, n, act, hash from audit order by day desc, n desc limit 1").fetch_optional(&mut **tx).await?;
    row.map(|row| {
        Ok(Link {
            day: row.try_get("day")?,
            n: row.try_get("n")?,
            hash: row.try_get("hash")?,
            closed: row.try_get::<&str, _>("act")? == CLOSE,
        })
    })
    .transpose()
}

/// False: the number is taken by now.
async fn insert(tx: &mut Tx, row: &Row, hash: &str) -> Result<bool> {
    let sql = "insert into audit (day, n, at, who, address, act, target, detail, result, hash) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
               on conflict (day, n) do nothing";
    let query = sqlx::query(sql)
        .bind(&row.day)
        .bind(row.n)
        .bind(row.at)
        .bind(&row.who)
        .bind(&row.address)
        .bind(&row.act)
        .bind(&row.target)
        .bind(&row.detail)
        .bind(row.result.as_str())
        .bind(hash);
    Ok(query.execute(&mut **tx).await?.rows_affected() == 1)
}

/// Reads the whole table and tells where it is not what was written.
pub async fn verify(db: &Db) -> Result<Chain> {
    let mut rows = 0_u64;
    let mut before = Link { day: String::new(), n: 0, hash: BEGINNING.to_owned(), closed: true };
    loop {
        let batch = store::after(db, &before.day, before.n, BATCH).await?;
        if batch.is_empty() {
            return Ok(found(rows, &before, None));
        }
        for (row, written) in batch {
            if let Some(why) = broken(&before, &row, &written) {
                let at = row.position();
                return Ok(found(rows, &before, Some(Broken { at, why })));
            }
            rows += 1;
            before = Link { closed: row.act == CLOSE, day: row.day, n: row.n, hash: written };
        }
    }
}

fn broken(before: &Link, row: &Row, written: &str) -> Option<Break> {
    let begins = row.day != before.day;
    if begins && !before.closed {
        return Some(Break::NotClosed);
    }
    if row.n != if begins { 1 } else { before.n + 1 } {
        return Some(Break::Missing);
    }
    (hash(&before.hash, row) != written).then_some(Break::Changed)
}

fn found(rows: u64, last: &Link, broken: Option<Broken>) -> Chain {
    let place = if rows == 0 { String::new() } else { store::position(&last.day, last.n) };
    Chain { rows, last: place, hash: last.hash.clone(), broken }
}

//! The list.

use anyhow::anyhow;
use serde::{Serialize, Serializer};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::Outcome;
use crate::db::Db;
use crate::error::Result;

/// Rows of a page at most.
const MOST: i64 = 500;

/// One act, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Row {
    /// The UTC day, as 2026-11-25.
    pub day: String,
    /// Its number within the day, from 1.
    pub n: i64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The person; empty is the portal itself.
    pub who: String,
    /// From which address.
    pub address: String,
    /// What was done.
    pub act: String,
    /// On what.
    pub target: String,
    /// JSON text, as it was hashed: before and after.
    #[serde(serialize_with = "as_json")]
    #[schema(value_type = Object)]
    pub detail: String,
    /// What came of it.
    pub result: Outcome,
}

impl Row {
    /// Day and number, for example `2026-11-25.17`.
    pub fn position(&self) -> String {
        position(&self.day, self.n)
    }
}

/// The API gives the JSON itself.
fn as_json<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => value.serialize(serializer),
        Err(_) => serializer.serialize_str(text),
    }
}

pub(super) fn position(day: &str, n: i64) -> String {
    format!("{day}.{n}")
}

/// What a list is asked for; empty means any.
#[derive(Debug, Clone, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Query {
    /// A part of the person's name, of the act, or of the target.
    #[param(example = "ada")]
    pub text: String,
    /// done, denied or failed.
    pub result: String,
    /// The first day, as 2026-11-25.
    pub from: String,
    /// The last day.
    pub to: String,
    /// Only rows older than this, as the page before said in `next`.
    pub before: String,
    /// At most so many; 0 is 50.
    #[param(example = 50)]
    pub limit: i64,
}

/// A part of the list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Page {
    /// The rows.
    pub items: Vec<Row>,
    /// Ask with `before` of this for the rows that follow; absent at the end.
    pub next: Option<String>,
}

/// Rows that fit `query`, newest first.
pub async fn list(db: &Db, query: &Query) -> Result<Page> {
    let limit = if query.limit <= 0 { 50 } else { query.limit.min(MOST) };
    let (day, n) = query.before.rsplit_once('.').unwrap_or_default();
    let n: i64 = n.parse().unwrap_or_default();
    let sql = "select day, n, at, who, address, act, target, detail, result, hash from audit \
               where ($1 = '' or lower(who) like $1 escape '!' or lower(act) like $1 escape '!' or lower(target) like $1 escape '!') \
               and ($2 = '' or result = $2) and ($3 = '' or day >= $3) and ($4 = '' or day <= $4) \
               and ($5 = '' or day < $5 or (day = $5 and n < $6)) order by day desc, n desc limit $7";
    let rows = sqlx::query(sql)
        .bind(part(&query.text))
        .bind(&query.result)
        .bind(&query.from)
        .bind(&query.to)
        .bind(day)
        .bind(n)
        .bind(limit + 1)
        .fetch_all(db.read())
        .await?;
    let mut items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    let more = i64::try_from(items.len()).unwrap_or(i64::MAX) > limit;
    if more {
        items.pop();
    }
    let next = items.last().filter(|_| more).map(Row::position);
    Ok(Page { items, next })
}

/// The pattern of a text that is a part, in lower case.
fn part(text: &str) -> String {
    let text = text.trim().to_lowercase();
    if text.is_empty() {
        return text;
    }
    let escaped: String = text.chars().flat_map(|c| matches!(c, '%' | '_' | '!').then_some('!').into_iter().chain([c])).collect();
    format!("%{escaped}%")
}

/// Rows after a place in the order they were written, with their hashes.
pub(super) async fn after(db: &Db, day: &str, n: i64, most: i64) -> Result<Vec<(Row, String)>> {
    let sql = "select day, n, at, who, address, act, target, detail, result, hash from audit where day > $1 or (day = $1 and n > $2) \
               order by day, n limit $3";
    let rows = sqlx::query(sql).bind(day).bind(n).bind(most).fetch_all(db.read()).await?;
    rows.iter().map(|row| Ok((read(row)?, row.try_get("hash")?))).collect()
}

fn read(row: &AnyRow) -> Result<Row> {
    let result: String = row.try_get("result")?;
    let result = Outcome::parse(&result).ok_or_else(|| anyhow!("audit with result {result:?}: this portal does not know it"))?;
    Ok(Row {
        day: row.try_get("day")?,
        n: row.try_get("n")?,
        at: row.try_get("at")?,
        who: row.try_get("who")?,
        address: row.try_get("address")?,
        act: row.try_get("act")?,
        target: row.try_get("target")?,
        detail: row.try_get("detail")?,
        result,
    })
}

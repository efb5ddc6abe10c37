//! SQL of requests.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::{Decision, Request, State, Wish};
use crate::db::{Db, Tx};
use crate::error::{Error, Result};

const REQUEST: &str = "select r.number, r.environment_id, e.name as environment, r.body, r.state, r.requested_by, r.requested_at, \
                       r.decided_by, r.decided_at, r.decision, r.flow_id from requests r join environments e on e.id = r.environment_id";
/// Newest requests that a list shows.
const MOST: i64 = 2000;

fn read(row: &AnyRow) -> Result<Request> {
    let decision: Option<String> = row.try_get("decision")?;
    Ok(Request {
        number: row.try_get("number")?,
        environment_id: row.try_get("environment_id")?,
        environment: row.try_get("environment")?,
        wish: serde_json::from_str(&row.try_get::<String, _>("body")?)?,
        state: State::parse(&row.try_get::<String, _>("state")?),
        requested_by: row.try_get("requested_by")?,
        requested_at: row.try_get("requested_at")?,
        decided_by: row.try_get("decided_by")?,
        decided_at: row.try_get("decided_at")?,
        decision: decision.as_deref().map(serde_json::from_str::<Decision>).transpose()?,
        flow_id: row.try_get("flow_id")?,
    })
}

pub(super) async fn list(db: impl Executor<'_, Database = Any>) -> Result<Vec<Request>> {
    let sql = sqlx::AssertSqlSafe(format!("{REQUEST} order by r.number desc limit {MOST}"));
    sqlx::query(sql).fetch_all(db).await?.iter().map(read).collect()
}

pub(super) async fn find(db: impl Executor<'_, Database = Any>, number: i64) -> Result<Request> {
    let sql = sqlx::AssertSqlSafe(format!("{REQUEST} where r.number = $1"));
    let row = sqlx::query(sql).bind(number).fetch_optional(db).await?;
    row.as_ref().map(read).unwrap_or(Err(Error::NotFound))
}

/// Requests that nobody has decided.
pub async fn count_open(db: &Db) -> Result<i64> {
    let row = sqlx::query("select count(*) as n from requests where state = 'open'").fetch_one(db.read()).await?;
    Ok(row.try_get("n")?)
}

pub(super) async fn insert(tx: &mut Tx, environment_id: &str, wish: &Wish, by: &str, now_ms: i64) -> sqlx::Result<i64> {
    let last = sqlx::query("select coalesce(max(number), 0) as n from requests").fetch_one(&mut **tx).await?;
    let number = last.try_get::<i64, _>("n")? + 1;
    sqlx::query(
        "insert into requests (number, environment_id, kind, subject, body, state, requested_by, requested_at) \
         values ($1, $2, $3, $4, $5, 'open', $6, $7)",
    )
    .bind(number)
    .bind(environment_id)
    .bind(wish.kind())
    .bind(wish.name())
    .bind(serde_json::to_string(wish).expect("a wish has only string keys"))
    .bind(by)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(number)
}

/// What is decided of an open request.
pub(super) struct Decided<'a> {
    pub state: State,
    pub by: &'a str,
    pub decision: Option<&'a Decision>,
    pub flow_id: Option<&'a str>,
    pub now_ms: i64,
}

/// Decides an open request; false if somebody was quicker.
pub(super) async fn decide(tx: &mut Tx, number: i64, decided: Decided<'_>) -> Result<bool> {
    let done = sqlx::query(
        "update requests set state = $1, decided_by = $2, decided_at = $3, decision = $4, flow_id = $5 where number = $6 and state = 'open'",
    )
    .bind(decided.state.as_str())
    .bind(decided.by)
    .bind(decided.now_ms)
    .bind(decided.decision.map(serde_json::to_string).transpose()?)
    .bind(decided.flow_id)
    .bind(number)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes what a cancelled creation had kept: topic and groups that never became active.
pub(super) async fn delete_creating(tx: &mut Tx, topics: &[String], groups: &[String]) -> Result<()> {
    for group in groups {
        for sql in [
            "delete from group_topics where group_id in (select id from consumer_groups where id = $1 and state = 'creating')",
            "delete from consumer_groups where id = $1 and state = 'creating'",
        ] {
            sqlx::query(sql).bind(group).execute(&mut **tx).await?;
        }
    }
    for topic in topics {
        sqlx::query("delete from topics where id = $1 and state = 'creating'").bind(topic).execute(&mut **tx).await?;
    }
    Ok(())
}

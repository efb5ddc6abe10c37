//! Questions to hosts that are connected to another portal: a row asks, the portal that holds the host's request takes it and writes
//! the answer.

use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::Row as _;
use tokio::time::{Instant, sleep, timeout_at};
use zms_core::host::{Ask, Finding};

use super::hub::{Hub, unavailable};
use crate::app::{App, new_id, now_ms};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::web::messages::Messages;

/// Between two looks for the answer, while a person waits.
const PAUSE: Duration = Duration::from_millis(100);
/// A question that no portal took within this time has no host: each looks twice a second.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);
/// Questions whose askers died are forgotten after this time.
const FORGET_MS: i64 = 60_000;

/// What a host says, or why it said nothing.
type Said = std::result::Result<Finding, String>;

/// Asks a host, whichever portal it is connected to, and waits for its answer.
///
/// # Errors
/// [`Error::Unavailable`] with a sentence: the host is connected to no portal, did not answer within `deadline`, or could not answer.
pub async fn ask(app: &App, host_id: &str, ask: Ask, deadline: Duration) -> Result<Finding> {
    if !app.db.is_shared() || app.hub.holds(host_id) {
        return app.hub.ask(host_id, ask, deadline).await;
    }
    let id = new_id();
    insert(&app.db, &id, host_id, &ask, deadline).await?;
    let said = wait(&app.db, &id, deadline).await;
    // Whoever still works on it finds no row to answer, which is no harm.
    let mut tx = app.db.begin().await?;
    sqlx::query("delete from questions where id = $1").bind(&id).execute(&mut *tx).await?;
    tx.commit().await?;
    said?.map_err(|why| unavailable(move |_| why.clone()))
}

async fn insert(db: &Db, id: &str, host_id: &str, ask: &Ask, deadline: Duration) -> Result<()> {
    let now = now_ms();
    let until = now.saturating_add(i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX));
    let mut tx = db.begin().await?;
    sqlx::query("delete from questions where until < $1").bind(now - FORGET_MS).execute(&mut *tx).await?;
    sqlx::query("insert into questions (id, host_id, ask, until) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(host_id)
        .bind(serde_json::to_string(ask)?)
        .bind(until)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

async fn wait(db: &Db, id: &str, deadline: Duration) -> Result<Said> {
    let begun = Instant::now();
    loop {
        let row = sqlx::query("select taken, answer from questions where id = $1").bind(id).fetch_one(db.read()).await?;
        if let Some(answer) = row.try_get::<Option<String>, _>("answer")? {
            return Ok(parse(&answer)?);
        }
        if row.try_get::<i64, _>("taken")? == 0 && begun.elapsed() >= TAKEN_WITHIN.min(deadline) {
            return Err(unavailable(|m| m.hosts_not_connected().to_owned()));
        }
        if begun.elapsed() >= deadline {
            let seconds = deadline.as_secs();
            return Err(unavailable(move |m| m.hosts_no_answer(seconds)));
        }
        sleep(PAUSE).await;
    }
}

/// Takes the questions to hosts whose requests this portal holds.
pub(super) async fn answer(hub: &Hub, db: &Db) -> Result<()> {
    let sql = "select id, host_id, ask, until from questions where taken = 0 and until > $1 order by id limit 100";
    for row in sqlx::query(sql).bind(now_ms()).fetch_all(db.read()).await? {
        let host_id: String = row.try_get("host_id")?;
        if !hub.holds(&host_id) {
            continue;
        }
        let (id, ask): (String, String) = (row.try_get("id")?, row.try_get("ask")?);
        let left = Duration::from_millis(u64::try_from(row.try_get::<i64, _>("until")? - now_ms()).unwrap_or_default());
        let (hub, db) = (hub.clone(), db.clone());
        tokio::spawn(async move {
            let end = Instant::now() + left;
            // A deadline for the database too: who asked waits no longer.
            match timeout_at(end, answer_one(&hub, &db, &id, &host_id, &ask, left)).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => tracing::warn!(?error, host = host_id, "a question of another portal could not be answered"),
            }
        });
    }
    Ok(())
}

async fn answer_one(hub: &Hub, db: &Db, id: &str, host_id: &str, ask: &str, left: Duration) -> Result<()> {
    let mut tx = db.begin().await?;
    let taken = sqlx::query("update questions set taken = 1 where id = $1 and taken = 0").bind(id).execute(&mut *tx).await?;
    tx.commit().await?;
    if taken.rows_affected() == 0 {
        return Ok(());
    }
    let said: Said = match parse::<Ask>(ask) {
        // Of a newer portal.
        Err(error) => Err(format!("the portal that the host is connected to cannot ask this: {error}")),
        Ok(ask) => match hub.ask(host_id, ask, left.mul_f64(0.9)).await {
            Ok(finding) => Ok(finding),
            Err(Error::Unavailable(text)) => Err(text.say(Messages::ENGLISH)),
            Err(error) => return Err(error),
        },
    };
    let mut tx = db.begin().await?;
    sqlx::query("update questions set answer = $1 where id = $2")
        .bind(serde_json::to_string(&said)?)
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

fn parse<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text)
}

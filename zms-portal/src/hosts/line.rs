//! Join lines: who may make one, and what one is good for.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::HostRow;
use super::script::{AgentBinary, Rights, Script};
use super::store;
use super::token::Token;
use crate::access::{Actor, Role};
use crate::app::App;
use crate::db::{Db, Tx};
use crate::environments::Environment;
use crate::error::{Error, Problem, Result};

/// Most hosts that may join with one line.
pub const MOST_USES: i64 = 1_000;
/// Longest life of a line, in minutes (7 days).
pub const LONGEST_MINUTES: i64 = 7 * 24 * 60;
/// A minute, in milliseconds.
const MINUTE_MS: i64 = 60_000;

/// A line to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "uses": 1, "minutes": 60 }))]
pub struct NewLine {
    /// How many hosts may join with it, 1 to 1000.
    #[serde(default = "NewLine::one")]
    pub uses: i64,
    /// How long it is good for, 1 to 10080 minutes (7 days).
    #[serde(default = "NewLine::hour")]
    pub minutes: i64,
}

impl NewLine {
    fn one() -> i64 {
        1
    }

    fn hour() -> i64 {
        60
    }
}

impl Default for NewLine {
    fn default() -> Self {
        Self { uses: Self::one(), minutes: Self::hour() }
    }
}

/// What is known of a line after it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LineView {
    /// The public part of its token.
    pub key_id: String,
    /// Who made it.
    pub created_by: String,
    /// When, milliseconds since 1970.
    pub created_at: i64,
    /// Until when it is good, milliseconds since 1970.
    pub expires_at: i64,
    /// How many hosts may join with it.
    pub max_uses: i64,
    /// How many did.
    pub uses: i64,
    /// Was it taken back?
    pub withdrawn: bool,
}

impl LineView {
    /// Can a host still join with it?
    pub fn open(&self, now_ms: i64) -> bool {
        !self.withdrawn && self.expires_at > now_ms && self.uses < self.max_uses
    }
}

/// A line, shown once: it holds the token.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct MadeLine {
    /// To be pasted on a host where root rights are at hand.
    pub line: String,
    /// To be pasted where they are not: everything goes into the person's own folder.
    pub line_unprivileged: String,
    /// What stays known of it.
    #[serde(flatten)]
    pub view: LineView,
}

/// The script that hosts run now; none when no agent is at hand.
pub(super) async fn script(app: &App) -> Result<Option<(Script, Vec<AgentBinary>)>> {
    let agents = AgentBinary::find(&app.config).await?;
    if agents.is_empty() {
        return Ok(None);
    }
    Ok(Some((Script::render(&app.config.public_url, app.authority.ca_pem(), &agents)?, agents)))
}

/// Makes a line for hosts of `environment`; for operators and administrators.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong; [`Error::Conflict`] when there is no agent that a host could fetch.
pub async fn make(app: &App, actor: Actor<'_>, environment: &Environment, new: &NewLine, now_ms: i64) -> Result<MadeLine> {
    let target = format!("environment/{}", environment.name);
    actor.require(&app.db, Role::Operator, "join_line.make", &target, now_ms).await?;
    let mut problems = Vec::new();
    if !(1..=MOST_USES).contains(&new.uses) {
        problems.push(Problem::new("uses", |m| m.hosts_bad_uses(MOST_USES)));
    }
    if !(1..=LONGEST_MINUTES).contains(&new.minutes) {
        problems.push(Problem::new("minutes", |m| m.hosts_bad_minutes(LONGEST_MINUTES)));
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let Some((script, _)) = script(app).await? else {
        let place = AgentBinary::place(&app.config.packages, std::env::consts::ARCH).display().to_string();
        return Err(Error::conflict(move |m| m.hosts_no_agent(&place)));
    };
    let (token, text) = Token::random()?;
    let view = LineView {
        key_id: token.key_id.clone(),
        created_by: actor.user.name.clone(),
        created_at: now_ms,
        expires_at: now_ms + new.minutes * MINUTE_MS,
        max_uses: new.uses,
        uses: 0,
        withdrawn: false,
    };
    let mut tx = app.db.begin().await?;
    insert(&mut tx, &environment.id, &view, &token.secret_hash).await?;
    let detail = json!({ "key_id": view.key_id, "uses": view.max_uses, "expires_at": view.expires_at });
    actor.record(&mut tx, "join_line.make", &target, detail, now_ms).await?;
    tx.commit().await?;
    let line = |rights| script.line(&app.config.public_url, &text, rights);
    Ok(MadeLine { line: line(Rights::Root)?, line_unprivileged: line(Rights::Own)?, view })
}

/// Lines that are still good for something, newest first; for operators and administrators.
pub async fn open(db: &Db, actor: Actor<'_>, environment: &Environment, now_ms: i64) -> Result<Vec<LineView>> {
    actor.user.require(Role::Operator)?;
    let sql = "select key_id, created_by, created_at, expires_at, max_uses, uses, revoked_at from join_tokens \
               where environment_id = $1 and revoked_at is null and expires_at > $2 and uses < max_uses order by created_at desc";
    let rows = sqlx::query(sql).bind(environment.id.as_str()).bind(now_ms).fetch_all(db.read()).await?;
    Ok(rows.iter().map(read).collect::<sqlx::Result<_>>()?)
}

/// One line and the hosts that joined with it; for operators and administrators.
pub async fn see(db: &Db, actor: Actor<'_>, environment: &Environment, key_id: &str) -> Result<(LineView, Vec<HostRow>)> {
    actor.user.require(Role::Operator)?;
    let sql = "select key_id, created_by, created_at, expires_at, max_uses, uses, revoked_at from join_tokens \
               where environment_id = $1 and key_id = $2";
    let row = sqlx::query(sql).bind(environment.id.as_str()).bind(key_id).fetch_one(db.read()).await?;
    Ok((read(&row)?, store::joined_with(db, key_id).await?))
}

/// Takes a line back: nobody joins with it any more, and who has joined stays.
pub async fn withdraw(db: &Db, actor: Actor<'_>, environment: &Environment, key_id: &str, now_ms: i64) -> Result<()> {
    let target = format!("environment/{}", environment.name);
    actor.require(db, Role::Operator, "join_line.withdraw", &target, now_ms).await?;
    let mut tx = db.begin().await?;
    let sql = "update join_tokens set revoked_at = coalesce(revoked_at, $1) where environment_id = $2 and key_id = $3";
    let done = sqlx::query(sql).bind(now_ms).bind(environment.id.as_str()).bind(key_id).execute(&mut *tx).await?;
    if done.rows_affected() == 0 {
        return Err(Error::NotFound);
    }
    actor.record(&mut tx, "join_line.withdraw", &target, json!({ "key_id": key_id }), now_ms).await?;
    tx.commit().await?;
    Ok(())
}

fn read(row: &AnyRow) -> sqlx::Result<LineView> {
    Ok(LineView {
        key_id: row.try_get("key_id")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        max_uses: row.try_get("max_uses")?,
        uses: row.try_get("uses")?,
        withdrawn: row.try_get::<Option<i64>, _>("revoked_at")?.is_some(),
    })
}

async fn insert(tx: &mut Tx, environment_id: &str, view: &LineView, secret_hash: &str) -> Result<()> {
    let sql = "insert into join_tokens (key_id, secret_hash, environment_id, created_by, created_at, expires_at, max_uses) \
               values ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(sql)
        .bind(view.key_id.as_str())
        .bind(secret_hash)
        .bind(environment_id)
        .bind(view.created_by.as_str())
        .bind(view.created_at)
        .bind(view.expires_at)
        .bind(view.max_uses)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

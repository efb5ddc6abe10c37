//! Sign-in and sign-out.

use serde::Deserialize;
use serde_json::{Value, json};

use super::store;
use crate::access::name::{UserName, shown};
use crate::access::session::{self, Limits};
use crate::access::throttle::{Attempt, Throttle, Verdict, too_many};
use crate::access::token::Token;
use crate::access::{User, password};
use crate::audit::{self, Entry, Outcome};
use crate::db::Db;
use crate::error::{Error, Result};

/// What a person signs in with.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ada", "password": "correct horse battery" }))]
pub struct Credentials {
    /// The user name; capitals do not matter.
    pub name: String,
    /// The password.
    pub password: String,
}

/// Begins a session of a person who knows their password, and ends `before`, the session that the browser had: whoever planted that
/// token has nothing of the new one.
///
/// # Errors
/// [`Error::Invalid`] that reads alike for a wrong name, a wrong password and a disabled person, and takes as long; [`Error::TooMany`].
pub async fn sign_in(
    db: &Db,
    throttle: &Throttle,
    limits: Limits,
    credentials: Credentials,
    before: Option<&Token>,
    address: &str,
    now_ms: i64,
) -> Result<Token> {
    let Credentials { name: typed, password } = credentials;
    let shown = shown(&typed);
    let attempt = admit(db, throttle, &typed, &shown, address, now_ms).await?;
    let known = match UserName::parse(&typed) {
        Some(name) => store::credentials(db, &name).await?,
        None => None,
    };
    let right = password::verify(&password, known.as_ref().map(|known| known.password.as_str())).await?;
    let id = match known {
        None => return refuse(db, &shown, "unknown", address, now_ms).await,
        Some(_) if !right => return refuse(db, &shown, "password", address, now_ms).await,
        Some(known) if known.disabled => return refuse(db, &shown, "disabled", address, now_ms).await,
        Some(known) => known.id,
    };
    let mut tx = db.begin().await?;
    attempt.forgive(&mut tx).await?;
    if let Some(before) = before {
        session::end(&mut tx, before).await?;
    }
    let token = session::start(&mut tx, &id, address, limits, now_ms).await?;
    store::note_sign_in(&mut tx, &id, now_ms).await?;
    audit::record(
        &mut tx,
        entry(&shown, &format!("user/{shown}"), "sign_in.accept", Value::Null, Outcome::Done, address, now_ms),
    )
    .await?;
    tx.commit().await?;
    Ok(token)
}

/// Ends the session of the browser.
pub async fn sign_out(db: &Db, user: Option<&User>, token: &Token, address: &str, now_ms: i64) -> Result<()> {
    let mut tx = db.begin().await?;
    if session::end(&mut tx, token).await?
        && let Some(user) = user
    {
        let target = format!("user/{}", user.name);
        audit::record(&mut tx, entry(&user.name, &target, "sign_out", Value::Null, Outcome::Done, address, now_ms)).await?;
    }
    Ok(tx.commit().await?)
}

/// Counts the try. A refusal is audited as long as the address is not refused itself, so that nobody can fill the audit.
async fn admit(db: &Db, throttle: &Throttle, typed: &str, shown: &str, address: &str, now_ms: i64) -> Result<Attempt> {
    let account = typed.trim().to_lowercase();
    let mut tx = db.begin().await?;
    let verdict = throttle.admit(&mut tx, Some(&account), address, now_ms).await?;
    if matches!(verdict, Verdict::Account) {
        let target = format!("user/{shown}");
        audit::record(
            &mut tx,
            entry(shown, &target, "sign_in.refuse", json!({ "why": "too many tries" }), Outcome::Denied, address, now_ms),
        )
        .await?;
    }
    tx.commit().await?;
    match verdict {
        Verdict::Admitted(attempt) => Ok(attempt),
        Verdict::Account | Verdict::Address => Err(too_many()),
    }
}

/// The reason is for the audit alone.
async fn refuse(db: &Db, shown: &str, why: &str, address: &str, now_ms: i64) -> Result<Token> {
    let mut tx = db.begin().await?;
    let target = format!("user/{shown}");
    audit::record(&mut tx, entry(shown, &target, "sign_in.refuse", json!({ "why": why }), Outcome::Denied, address, now_ms))
        .await?;
    tx.commit().await?;
    Err(Error::invalid("password", |m| m.users_sign_in_wrong().to_owned()))
}

fn entry<'a>(
    who: &'a str,
    target: &'a str,
    act: &'a str,
    detail: Value,
    result: Outcome,
    address: &'a str,
    now_ms: i64,
) -> Entry<'a> {
    Entry { at: now_ms, who, address, act, target, detail, result }
}

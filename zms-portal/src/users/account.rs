//! What everybody does to themselves.

use serde::Deserialize;
use serde_json::json;

use super::store;
use crate::access::session::{self, Limits};
use crate::access::throttle::{Throttle, Verdict, too_many};
use crate::access::token::Token;
use crate::access::{Actor, password};
use crate::db::Db;
use crate::error::{Error, Result};

/// A new password, which needs the present one.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "present": "correct horse battery", "new": "unrelated words are good" }))]
pub struct PasswordChange {
    /// The present password.
    pub present: String,
    /// 12 to 128 characters.
    pub new: String,
}

/// Changes the password, ends all sessions of the person and begins a new one for this browser.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong, among it the present password; [`Error::TooMany`], counted together with sign-ins.
pub async fn change_password(
    db: &Db,
    throttle: &Throttle,
    limits: Limits,
    actor: Actor<'_>,
    change: PasswordChange,
    now_ms: i64,
) -> Result<Token> {
    let (act, target) = ("account.change_password", format!("user/{}", actor.user.name));
    if let Some(problem) = password::problem("new", &change.new, &actor.user.name) {
        return Err(Error::Invalid(vec![problem]));
    }
    let mut tx = db.begin().await?;
    let verdict = throttle.admit(&mut tx, Some(&actor.user.name), actor.address, now_ms).await?;
    tx.commit().await?;
    let Verdict::Admitted(attempt) = verdict else { return Err(too_many()) };
    let before = store::password_of(db, &actor.user.id).await?;
    if !password::verify(&change.present, Some(&before)).await? {
        actor.record_refusal(db, act, &target, json!({ "why": "password" }), now_ms).await?;
        return Err(Error::invalid("present", |m| m.users_present_wrong().to_owned()));
    }
    let after = password::hash(&change.new).await?;
    let mut tx = db.begin().await?;
    attempt.forgive(&mut tx).await?;
    if !store::set_password(&mut tx, &actor.user.id, &before, &after).await? {
        return Err(Error::conflict(|m| m.users_password_changed_meanwhile().to_owned()));
    }
    let ended = session::end_all(&mut tx, &actor.user.id).await?;
    let token = session::start(&mut tx, &actor.user.id, actor.address, limits, now_ms).await?;
    actor.record(&mut tx, act, &target, json!({ "sessions_ended": ended }), now_ms).await?;
    tx.commit().await?;
    Ok(token)
}

/// Chooses the language of the person's pages: `en`, `zh`, or empty for the browser's.
///
/// # Errors
/// [`Error::Invalid`] for another language.
pub async fn set_language(db: &Db, actor: Actor<'_>, language: &str, now_ms: i64) -> Result<()> {
    if !["", "en", "zh"].contains(&language) {
        return Err(Error::invalid("language", |m| m.users_language_unknown().to_owned()));
    }
    if actor.user.language == language {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    store::set_language(&mut tx, &actor.user.id, language).await?;
    let detail = json!({ "before": actor.user.language, "after": language });
    actor.record(&mut tx, "account.change_language", &format!("user/{}", actor.user.name), detail, now_ms).await?;
    Ok(tx.commit().await?)
}

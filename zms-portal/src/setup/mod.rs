//! The first start: whoever can run a command on the portal's machine gets a code, and who has the code becomes the first administrator.
//! There is no default password, and once there is an administrator there is no set-up either.
//!
//! This file: use cases · `store` SQL · `web` the page · `api` REST.

mod api;
mod store;
#[cfg(test)]
mod tests;
mod web;

use serde::Deserialize;
use serde_json::json;

pub use api::api;
pub use web::pages;

use crate::access::name::UserName;
use crate::access::session::{self, Limits};
use crate::access::throttle::{Throttle, Verdict, too_many};
use crate::access::token::{Token, code_hash, new_code as random_code};
use crate::access::{Role, password};
use crate::audit::{self, Entry, Outcome};
use crate::config::Config;
use crate::db::{Db, is_taken};
use crate::error::{Error, Problem, Result};
use crate::users;

/// Wrong codes after which a code is good for nothing.
const TRIES: i64 = 5;

/// Is there an administrator?
pub async fn done(db: &Db) -> sqlx::Result<bool> {
    store::has_administrator(db.read()).await
}

/// Makes a code, good for the minutes of the configuration and for one use; the one before it is good for nothing then.
pub async fn new_code(db: &Db, config: &Config, now_ms: i64) -> anyhow::Result<String> {
    let made = make_code(db, i64::from(config.setup_code_minutes) * 60_000, now_ms).await;
    made.map_err(|error| match error {
        Error::Internal(cause) => anyhow::anyhow!("making a set-up code: {cause:#}"),
        other => anyhow::anyhow!("making a set-up code: {other:?}"),
    })
}

async fn make_code(db: &Db, valid_ms: i64, now_ms: i64) -> Result<String> {
    let code = random_code();
    let mut tx = db.begin().await?;
    store::replace_code(&mut tx, &code_hash(&code), now_ms + valid_ms).await?;
    let detail = json!({ "valid_until": now_ms + valid_ms });
    let entry = Entry { at: now_ms, who: "", address: "", act: "setup.code", target: "portal", detail, result: Outcome::Done };
    audit::record(&mut tx, entry).await?;
    tx.commit().await?;
    Ok(code)
}

/// What the first administrator enters.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "0123-4567-89AB-CDEF-GHJK-MNPQ-RS", "name": "ada", "password": "correct horse battery" }))]
pub struct FirstAdministrator {
    /// As `zms-portal setup-code` printed it.
    pub code: String,
    /// What to sign in with from now on.
    pub name: String,
    /// 12 to 128 characters.
    pub password: String,
}

/// Makes the first administrator and begins their session.
///
/// # Errors
/// [`Error::NotFound`] when there is an administrator already; [`Error::Invalid`] with what is wrong, among it a code that is wrong, too old,
/// used, or was tried too often, which all read alike; [`Error::TooMany`].
pub async fn finish(
    db: &Db,
    throttle: &Throttle,
    limits: Limits,
    first: FirstAdministrator,
    address: &str,
    now_ms: i64,
) -> Result<Token> {
    if done(db).await? {
        return Err(Error::NotFound);
    }
    // What is wrong with name and password costs no try.
    let name = UserName::parse(&first.name);
    let mut problems: Vec<Problem> = Vec::new();
    if name.is_none() {
        problems.push(users::name_problem("name"));
    }
    problems.extend(password::problem("password", &first.password, first.name.trim()));
    let Some(name) = name.filter(|_| problems.is_empty()) else { return Err(Error::Invalid(problems)) };
    let hash = code_hash(&first.code);
    try_code(db, throttle, &hash, address, now_ms).await?;
    let kept = password::hash(&first.password).await?;

    let mut tx = db.begin().await?;
    if !store::use_code(&mut tx, &hash).await? || store::has_administrator(&mut *tx).await? {
        return Err(wrong_code());
    }
    let id = users::insert(&mut tx, &name, &kept, &[Role::Administrator], now_ms).await;
    let id = id.map_err(|error| if is_taken(&error) { users::name_taken("name") } else { error.into() })?;
    let token = session::start(&mut tx, &id, address, limits, now_ms).await?;
    users::note_sign_in(&mut tx, &id, now_ms).await?;
    let (who, target) = (name.as_str(), format!("user/{name}"));
    let entry = Entry {
        at: now_ms,
        who,
        address,
        act: "setup.finish",
        target: &target,
        detail: json!({ "roles": ["administrator"] }),
        result: Outcome::Done,
    };
    audit::record(&mut tx, entry).await?;
    tx.commit().await?;
    Ok(token)
}

/// Counts a try and looks at the code; a wrong one is audited.
async fn try_code(db: &Db, throttle: &Throttle, hash: &str, address: &str, now_ms: i64) -> Result<()> {
    let mut tx = db.begin().await?;
    let verdict = throttle.admit(&mut tx, None, address, now_ms).await?;
    let right = match verdict {
        Verdict::Address | Verdict::Account => {
            tx.commit().await?;
            return Err(too_many());
        }
        Verdict::Admitted(attempt) => {
            let right = store::count_try(&mut tx, TRIES, now_ms).await?.is_some_and(|kept| kept == hash);
            if right {
                attempt.forgive(&mut tx).await?;
            }
            right
        }
    };
    if !right {
        let entry = Entry {
            at: now_ms,
            who: "",
            address,
            act: "setup.finish",
            target: "portal",
            detail: json!({ "why": "code" }),
            result: Outcome::Denied,
        };
        audit::record(&mut tx, entry).await?;
    }
    tx.commit().await?;
    if right { Ok(()) } else { Err(wrong_code()) }
}

fn wrong_code() -> Error {
    Error::invalid("code", |m| m.setup_code_wrong().to_owned())
}

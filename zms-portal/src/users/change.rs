//! What administrators do to others.

use serde::Deserialize;
use serde_json::json;

use super::{Person, name_problem, name_taken, roles_json, store};
use crate::access::name::{UserName, shown};
use crate::access::session::{self, Limits};
use crate::access::{Actor, Role, User, password};
use crate::db::{Db, is_taken};
use crate::error::{Error, Result};

/// A person whose first password an administrator sets, for scripts; people are invited.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "pipeline", "password": "correct horse battery", "roles": ["operator"] }))]
pub struct NewUser {
    /// What to sign in with: lower-case letters, digits and `.` `_` `-` `@`.
    pub name: String,
    /// 12 to 128 characters.
    pub password: String,
    /// At least one.
    pub roles: Vec<Role>,
}

/// What is to be changed; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "roles": ["developer", "approver"], "disabled": false, "end_sessions": true }))]
pub struct UserChange {
    /// All roles that the person has from now on.
    pub roles: Option<Vec<Role>>,
    /// May not sign in; sessions end at once.
    pub disabled: Option<bool>,
    /// Ends all sessions.
    pub end_sessions: bool,
}

/// Everybody, by name.
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn list(db: &Db, user: &User, limits: Limits, now_ms: i64) -> Result<Vec<Person>> {
    user.require(Role::Administrator)?;
    store::list(db, None, limits, now_ms).await
}

/// One person.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`].
pub async fn find(db: &Db, user: &User, name: &str, limits: Limits, now_ms: i64) -> Result<Person> {
    user.require(Role::Administrator)?;
    store::list(db, Some(name), limits, now_ms).await?.pop().ok_or(Error::NotFound)
}

/// Makes a person with a password.
///
/// # Errors
/// [`Error::Forbidden`]; [`Error::Invalid`] with what is wrong.
pub async fn create(db: &Db, actor: Actor<'_>, new: NewUser, now_ms: i64) -> Result<()> {
    let target = format!("user/{}", shown(&new.name));
    actor.require(db, Role::Administrator, "user.create", &target, now_ms).await?;
    let name = UserName::parse(&new.name);
    let mut problems = Vec::new();
    if name.is_none() {
        problems.push(name_problem("name"));
    }
    problems.extend(password::problem("password", &new.password, new.name.trim()));
    let roles = granted(&new.roles).map_err(|problem| problems.push(problem)).unwrap_or_default();
    let Some(name) = name.filter(|_| problems.is_empty()) else { return Err(Error::Invalid(problems)) };
    let kept = password::hash(&new.password).await?;
    let mut tx = db.begin().await?;
    let made = store::insert(&mut tx, &name, &kept, &roles, now_ms).await;
    made.map_err(|error| if is_taken(&error) { name_taken("name") } else { error.into() })?;
    actor.record(&mut tx, "user.create", &target, json!({ "roles": roles_json(&roles) }), now_ms).await?;
    Ok(tx.commit().await?)
}

/// Changes a person. The last administrator who may sign in stays one.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`]; [`Error::Conflict`] for the last administrator; [`Error::Invalid`] when no role is left.
pub async fn change(db: &Db, actor: Actor<'_>, name: &str, change: UserChange, now_ms: i64) -> Result<()> {
    let target = format!("user/{}", shown(name));
    actor.require(db, Role::Administrator, "user.change", &target, now_ms).await?;
    let roles = change.roles.as_deref().map(granted).transpose().map_err(|problem| Error::Invalid(vec![problem]))?;
    let mut tx = db.begin().await?;
    // From here on nobody else changes who is an administrator.
    store::lock_administrators(&mut tx).await?;
    let before = store::find(&mut tx, name).await?.ok_or(Error::NotFound)?;
    let is = before.roles.contains(&Role::Administrator) && !before.disabled;
    let roles_after = roles.as_ref().unwrap_or(&before.roles);
    let stays = roles_after.contains(&Role::Administrator) && !change.disabled.unwrap_or(before.disabled);
    if is && !stays && store::administrators(&mut tx).await? <= 1 {
        return Err(Error::conflict(|m| m.users_last_administrator().to_owned()));
    }
    if let Some(roles) = roles.filter(|roles| *roles != before.roles) {
        store::grant(&mut tx, &before.id, &roles).await?;
        let detail = json!({ "before": roles_json(&before.roles), "after": roles_json(&roles) });
        actor.record(&mut tx, "user.change_roles", &target, detail, now_ms).await?;
    }
    let disabled = change.disabled.filter(|disabled| *disabled != before.disabled);
    if let Some(disabled) = disabled {
        store::disable(&mut tx, &before.id, disabled).await?;
        let act = if disabled { "user.disable" } else { "user.enable" };
        actor.record(&mut tx, act, &target, serde_json::Value::Null, now_ms).await?;
    }
    if disabled == Some(true) || change.end_sessions {
        let ended = session::end_all(&mut tx, &before.id).await?;
        actor.record(&mut tx, "user.end_sessions", &target, json!({ "ended": ended }), now_ms).await?;
    }
    Ok(tx.commit().await?)
}

/// Each role once, in order; there must be one, or the person could do nothing and would not know why.
fn granted(roles: &[Role]) -> std::result::Result<Vec<Role>, crate::error::Problem> {
    let mut roles = roles.to_vec();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { Err(crate::error::Problem::new("roles", |m| m.users_no_role().to_owned())) } else { Ok(roles) }
}

//! SQL of people and invitations.

use sqlx::Row as _;

use super::Person;
use crate::access::Role;
use crate::access::name::UserName;
use crate::access::session::Limits;
use crate::app::new_id;
use crate::db::{Db, Tx};
use crate::error::Result;

/// What a sign-in is compared with.
pub(super) struct Known {
    pub id: String,
    pub password: String,
    pub disabled: bool,
}

/// A person before they are changed.
pub(super) struct Before {
    pub id: String,
    pub roles: Vec<Role>,
    pub disabled: bool,
}

/// An invitation that can be accepted now.
pub(super) struct OpenInvitation {
    pub hash: String,
    pub name: UserName,
    /// None: for a new password of somebody who is there.
    pub role: Option<Role>,
}

pub(super) async fn credentials(db: &Db, name: &UserName) -> Result<Option<Known>> {
    let sql = "select id, password, cast(disabled as bigint) as disabled from users where name = $1";
    let row = sqlx::query(sql).bind(name.as_str()).fetch_optional(db.read()).await?;
    let known = row.map(|row| {
        Ok::<_, sqlx::Error>(Known {
            id: row.try_get("id")?,
            password: row.try_get("password")?,
            disabled: row.try_get::<i64, _>("disabled")? != 0,
        })
    });
    Ok(known.transpose()?)
}

/// Everybody, or the one of this name.
pub(super) async fn list(db: &Db, name: Option<&str>, limits: Limits, now_ms: i64) -> Result<Vec<Person>> {
    let sql = "select name, cast(disabled as bigint) as disabled, signed_in_at, created_at, role_grants.role, \
               (select count(*) from sessions where sessions.user_id = users.id and seen_at > $2 and sessions.created_at > $3) as sessions \
               from users left join role_grants on role_grants.user_id = users.id where $1 = '' or name = $1 order by name";
    let rows = sqlx::query(sql)
        .bind(name.unwrap_or_default())
        .bind(now_ms - limits.idle_ms)
        .bind(now_ms - limits.absolute_ms)
        .fetch_all(db.read())
        .await?;
    let mut people: Vec<Person> = Vec::new();
    for row in rows {
        let name: String = row.try_get("name")?;
        if people.last().is_none_or(|last| last.name != name) {
            people.push(Person {
                name,
                roles: Vec::new(),
                disabled: row.try_get::<i64, _>("disabled")? != 0,
                signed_in_at: row.try_get("signed_in_at")?,
                created_at: row.try_get("created_at")?,
                sessions: row.try_get("sessions")?,
            });
        }
        let role: Option<String> = row.try_get("role")?;
        if let (Some(person), Some(role)) = (people.last_mut(), role.and_then(|role| role.parse().ok())) {
            person.roles.push(role);
            person.roles.sort_unstable();
        }
    }
    Ok(people)
}

pub(super) async fn find(tx: &mut Tx, name: &str) -> Result<Option<Before>> {
    let sql = "select id, cast(disabled as bigint) as disabled from users where name = $1";
    let Some(row) = sqlx::query(sql).bind(name).fetch_optional(&mut **tx).await? else { return Ok(None) };
    let id: String = row.try_get("id")?;
    let disabled = row.try_get::<i64, _>("disabled")? != 0;
    let names: Vec<String> =
        sqlx::query_scalar("select role from role_grants where user_id = $1").bind(&id).fetch_all(&mut **tx).await?;
    let mut roles: Vec<Role> = names.iter().filter_map(|name| name.parse().ok()).collect();
    roles.sort_unstable();
    Ok(Some(Before { id, roles, disabled }))
}

pub(super) async fn exists(tx: &mut Tx, name: &UserName) -> Result<bool> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from users where name = $1").bind(name.as_str()).fetch_one(&mut **tx).await?;
    Ok(count > 0)
}

/// Makes a person and gives their id; a name that is taken is a violated constraint.
pub async fn insert(tx: &mut Tx, name: &UserName, password: &str, roles: &[Role], now_ms: i64) -> sqlx::Result<String> {
    let id = new_id();
    sqlx::query("insert into users (id, name, password, created_at) values ($1, $2, $3, $4)")
        .bind(&id)
        .bind(name.as_str())
        .bind(password)
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    grant(tx, &id, roles).await?;
    Ok(id)
}

pub(super) async fn grant(tx: &mut Tx, id: &str, roles: &[Role]) -> sqlx::Result<()> {
    sqlx::query("delete from role_grants where user_id = $1").bind(id).execute(&mut **tx).await?;
    for role in roles {
        sqlx::query("insert into role_grants (user_id, role) values ($1, $2)")
            .bind(id)
            .bind(role.as_str())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Remembers when a person signed in last.
pub async fn note_sign_in(tx: &mut Tx, id: &str, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query("update users set signed_in_at = $1 where id = $2").bind(now_ms).bind(id).execute(&mut **tx).await.map(drop)
}

/// Locks the rows of all administrators (PostgreSQL; SQLite has one writer anyway), so that two cannot take each other's role away at the
/// same moment.
pub(super) async fn lock_administrators(tx: &mut Tx) -> sqlx::Result<()> {
    let sql = "update users set disabled = disabled where id in (select user_id from role_grants where role = 'administrator')";
    sqlx::query(sql).execute(&mut **tx).await.map(drop)
}

/// Administrators who may sign in.
pub(super) async fn administrators(tx: &mut Tx) -> sqlx::Result<i64> {
    let sql = "select count(*) from users join role_grants on role_grants.user_id = users.id where role = 'administrator' and disabled = 0";
    sqlx::query_scalar(sql).fetch_one(&mut **tx).await
}

pub(super) async fn disable(tx: &mut Tx, id: &str, disabled: bool) -> sqlx::Result<()> {
    sqlx::query("update users set disabled = $1 where id = $2")
        .bind(i64::from(disabled))
        .bind(id)
        .execute(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn password_of(db: &Db, id: &str) -> sqlx::Result<String> {
    sqlx::query_scalar("select password from users where id = $1").bind(id).fetch_one(db.read()).await
}

/// `false` if it is not `before` any more.
pub(super) async fn set_password(tx: &mut Tx, id: &str, before: &str, after: &str) -> sqlx::Result<bool> {
    let sql = "update users set password = $1 where id = $2 and password = $3";
    let set = sqlx::query(sql).bind(after).bind(id).bind(before).execute(&mut **tx).await?;
    Ok(set.rows_affected() == 1)
}

/// Gives somebody who may sign in another password, whatever the one before was; `None` if nobody of this name may.
pub(super) async fn replace_password(tx: &mut Tx, name: &UserName, password: &str) -> sqlx::Result<Option<String>> {
    let sql = "update users set password = $1 where name = $2 and disabled = 0 returning id";
    sqlx::query_scalar(sql).bind(password).bind(name.as_str()).fetch_optional(&mut **tx).await
}

pub(super) async fn set_language(tx: &mut Tx, id: &str, language: &str) -> sqlx::Result<()> {
    sqlx::query("update users set language = $1 where id = $2").bind(language).bind(id).execute(&mut **tx).await.map(drop)
}

/// Invites, in place of an open invitation of the same name.
pub(super) async fn replace_invitation(
    tx: &mut Tx,
    hash: &str,
    name: &UserName,
    role: Option<Role>,
    by: &str,
    now_ms: i64,
    expires_at: i64,
) -> sqlx::Result<()> {
    sqlx::query("delete from invitations where name = $1 and used_at is null").bind(name.as_str()).execute(&mut **tx).await?;
    let sql =
        "insert into invitations (token_hash, name, role, created_by, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)";
    sqlx::query(sql)
        .bind(hash)
        .bind(name.as_str())
        .bind(role.map_or("", Role::as_str))
        .bind(by)
        .bind(now_ms)
        .bind(expires_at)
        .execute(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn invitation(tx: &mut Tx, hash: String, now_ms: i64) -> Result<Option<OpenInvitation>> {
    let sql = "select name, role from invitations where token_hash = $1 and used_at is null and expires_at > $2";
    let Some(row) = sqlx::query(sql).bind(&hash).bind(now_ms).fetch_optional(&mut **tx).await? else { return Ok(None) };
    let (name, role) = (row.try_get::<String, _>("name")?, row.try_get::<String, _>("role")?);
    let role = if role.is_empty() { Ok(None) } else { role.parse().map(Some) };
    Ok(match (UserName::parse(&name), role) {
        (Some(name), Ok(role)) => Some(OpenInvitation { hash, name, role }),
        _ => None,
    })
}

/// `false` if somebody was quicker or its time is over.
pub(super) async fn use_invitation(tx: &mut Tx, hash: &str, now_ms: i64) -> sqlx::Result<bool> {
    let sql = "update invitations set used_at = $1 where token_hash = $2 and used_at is null and expires_at > $1";
    let used = sqlx::query(sql).bind(now_ms).bind(hash).execute(&mut **tx).await?;
    Ok(used.rows_affected() == 1)
}

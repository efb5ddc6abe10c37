//! The time between sign-in and sign-out. The browser has a random token in a cookie, the database its hash.
//!
//! A session ends when nobody used it for a while, at a fixed age, at sign-out, when its person is disabled, or when its person changes
//! the password. Each sign-in makes a new token, so a token that was planted before it is worth nothing after.

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::CookieJar;
use sqlx::Row as _;

use super::token::Token;
use super::{Role, User};
use crate::config::Config;
use crate::db::{Db, Tx};
use crate::error::Result;

/// The cookie. The prefix makes browsers refuse one that is not Secure, not for `/`, or set by a neighbouring host.
const COOKIE: &str = "__Host-zms";
/// The time of the last use is written at most this often.
const WRITTEN_EVERY_MS: i64 = 60_000;

/// When sessions end.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After so many milliseconds without use.
    pub idle_ms: i64,
    /// At this age, in milliseconds.
    pub absolute_ms: i64,
}

impl Limits {
    /// What the configuration says.
    pub fn of(config: &Config) -> Self {
        Self {
            idle_ms: i64::from(config.session_idle_minutes) * 60_000,
            absolute_ms: i64::from(config.session_hours) * 3_600_000,
        }
    }
}

/// Begins a session of a person; sessions of anybody that have ended are swept away on the way.
pub async fn start(tx: &mut Tx, user_id: &str, address: &str, limits: Limits, now_ms: i64) -> Result<Token> {
    sqlx::query("delete from sessions where seen_at <= $1 or created_at <= $2")
        .bind(now_ms - limits.idle_ms)
        .bind(now_ms - limits.absolute_ms)
        .execute(&mut **tx)
        .await?;
    let token = Token::random();
    sqlx::query("insert into sessions (token_hash, user_id, created_at, seen_at, address) values ($1, $2, $3, $3, $4)")
        .bind(token.hash())
        .bind(user_id)
        .bind(now_ms)
        .bind(address)
        .execute(&mut **tx)
        .await?;
    Ok(token)
}

/// Ends one session; `false` if there was none.
pub async fn end(tx: &mut Tx, token: &Token) -> Result<bool> {
    let ended = sqlx::query("delete from sessions where token_hash = $1").bind(token.hash()).execute(&mut **tx).await?;
    Ok(ended.rows_affected() > 0)
}

/// Ends all sessions of a person and tells how many there were.
pub async fn end_all(tx: &mut Tx, user_id: &str) -> Result<u64> {
    let ended = sqlx::query("delete from sessions where user_id = $1").bind(user_id).execute(&mut **tx).await?;
    Ok(ended.rows_affected())
}

/// Whose session it is, if it has not ended.
pub async fn find(db: &Db, token: &Token, limits: Limits, now_ms: i64) -> Result<Option<Session>> {
    let sql = "select users.id, users.name, users.language, sessions.seen_at, role_grants.role from sessions \
               join users on users.id = sessions.user_id left join role_grants on role_grants.user_id = users.id \
               where sessions.token_hash = $1 and sessions.seen_at > $2 and sessions.created_at > $3 and users.disabled = 0";
    let hash = token.hash();
    let rows =
        sqlx::query(sql).bind(&hash).bind(now_ms - limits.idle_ms).bind(now_ms - limits.absolute_ms).fetch_all(db.read()).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let mut roles = Vec::new();
    for row in &rows {
        roles.extend(row.try_get::<Option<&str>, _>("role")?.and_then(|role| role.parse::<Role>().ok()));
    }
    roles.sort_unstable();
    let user = User { id: first.try_get("id")?, name: first.try_get("name")?, roles, language: first.try_get("language")? };
    Ok(Some(Session { user, hash, seen_at: first.try_get("seen_at")? }))
}

/// A session that has not ended.
#[derive(Debug)]
pub struct Session {
    /// Whose it is.
    pub user: User,
    hash: String,
    seen_at: i64,
}

impl Session {
    /// It is in use: writes the time, at most once a minute.
    pub async fn touch(&self, db: &Db, now_ms: i64) -> Result<()> {
        if now_ms - self.seen_at < WRITTEN_EVERY_MS {
            return Ok(());
        }
        let mut tx = db.begin().await?;
        sqlx::query("update sessions set seen_at = $1 where token_hash = $2 and seen_at < $1")
            .bind(now_ms)
            .bind(&self.hash)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

/// The token that a request brings.
pub fn cookie_of(headers: &HeaderMap) -> Option<Token> {
    CookieJar::from_headers(headers).get(COOKIE).and_then(|cookie| Token::parse(cookie.value()))
}

/// Puts the session into the browser, until that is closed.
pub fn set_cookie(headers: &mut HeaderMap, token: &Token) {
    append(headers, &format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax", token.reveal()));
}

/// Takes it out of the browser.
pub fn clear_cookie(headers: &mut HeaderMap) {
    append(headers, &format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"));
}

fn append(headers: &mut HeaderMap, cookie: &str) {
    let mut value = HeaderValue::from_str(cookie).expect("a token is base64");
    value.set_sensitive(true);
    headers.append(SET_COOKIE, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::test_support::add;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const LIMITS: Limits = Limits { idle_ms: 30 * MINUTE, absolute_ms: 12 * HOUR };
    const NOW: i64 = 1_795_000_000_000;

    async fn begin(db: &Db, user_id: &str, now: i64) -> Token {
        let mut tx = db.begin().await.unwrap();
        let token = start(&mut tx, user_id, "192.0.2.1", LIMITS, now).await.unwrap();
        tx.commit().await.unwrap();
        token
    }

    async fn alive(db: &Db, token: &Token, now: i64) -> Option<Session> {
        find(db, token, LIMITS, now).await.unwrap()
    }

    #[tokio::test]
    async fn a_session_names_its_person_and_the_database_does_not_know_the_token() {
        let (_folder, db) = Db::temporary().await;
        let id = add(&db, "ada", &[Role::Operator, Role::Viewer]).await;
        let token = begin(&db, &id, NOW).await;
        let user = alive(&db, &token, NOW + 1).await.unwrap().user;
        assert_eq!(user, User { id, name: "ada".into(), roles: vec![Role::Viewer, Role::Operator], language: String::new() });
        let kept: String = sqlx::query_scalar("select token_hash from sessions").fetch_one(db.read()).await.unwrap();
        assert!(kept.len() == 64 && kept != token.reveal());
        assert!(alive(&db, &Token::random(), NOW).await.is_none());
    }

    #[tokio::test]
    async fn a_session_without_use_ends_and_use_is_written_once_a_minute() {
        let (_folder, db) = Db::temporary().await;
        let id = add(&db, "ada", &[Role::Viewer]).await;
        let token = begin(&db, &id, NOW).await;
        let seen = async || sqlx::query_scalar::<_, i64>("select seen_at from sessions").fetch_one(db.read()).await.unwrap();
        alive(&db, &token, NOW + MINUTE - 1).await.unwrap().touch(&db, NOW + MINUTE - 1).await.unwrap();
        assert_eq!(seen().await, NOW, "not yet a minute");
        alive(&db, &token, NOW + 29 * MINUTE).await.unwrap().touch(&db, NOW + 29 * MINUTE).await.unwrap();
        assert_eq!(seen().await, NOW + 29 * MINUTE);
        assert!(alive(&db, &token, NOW + 58 * MINUTE).await.is_some());
        assert!(alive(&db, &token, NOW + 59 * MINUTE).await.is_none());
    }

    #[tokio::test]
    async fn a_session_in_use_ends_at_its_absolute_age() {
        let (_folder, db) = Db::temporary().await;
        let id = add(&db, "ada", &[Role::Viewer]).await;
        let token = begin(&db, &id, NOW).await;
        for step in 1..36 {
            let now = NOW + step * 20 * MINUTE;
            alive(&db, &token, now).await.expect("in use").touch(&db, now).await.unwrap();
        }
        assert!(alive(&db, &token, NOW + 12 * HOUR - 1).await.is_some());
        assert!(alive(&db, &token, NOW + 12 * HOUR).await.is_none());
        begin(&db, &id, NOW + 12 * HOUR).await;
        let kept: i64 = sqlx::query_scalar("select count(*) from sessions").fetch_one(db.read()).await.unwrap();
        assert_eq!(kept, 1, "the next sign-in sweeps away what has ended");
    }

    #[tokio::test]
    async fn a_disabled_person_has_no_session_though_its_row_is_there() {
        let (_folder, db) = Db::temporary().await;
        let id = add(&db, "ada", &[Role::Viewer]).await;
        let token = begin(&db, &id, NOW).await;
        let mut tx = db.begin().await.unwrap();
        sqlx::query("update users set disabled = 1").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert!(alive(&db, &token, NOW + 1).await.is_none());
    }

    #[tokio::test]
    async fn ending_one_session_leaves_the_others() {
        let (_folder, db) = Db::temporary().await;
        let id = add(&db, "ada", &[Role::Viewer]).await;
        let (one, other) = (begin(&db, &id, NOW).await, begin(&db, &id, NOW).await);
        let mut tx = db.begin().await.unwrap();
        assert!(end(&mut tx, &one).await.unwrap());
        assert!(!end(&mut tx, &one).await.unwrap());
        tx.commit().await.unwrap();
        assert!(alive(&db, &one, NOW + 1).await.is_none());
        assert!(alive(&db, &other, NOW + 1).await.is_some());
    }

    #[test]
    fn the_cookie_is_bound_to_this_host_hidden_from_scripts_and_found_again() {
        let token = Token::random();
        let mut headers = HeaderMap::new();
        set_cookie(&mut headers, &token);
        let set = headers[SET_COOKIE].to_str().unwrap().to_owned();
        assert_eq!(set, format!("__Host-zms={}; Path=/; Secure; HttpOnly; SameSite=Lax", token.reveal()));
        assert!(headers[SET_COOKIE].is_sensitive());
        let mut request = HeaderMap::new();
        request.insert("cookie", format!("a=b; __Host-zms={}", token.reveal()).parse().unwrap());
        assert!(cookie_of(&request).is_some_and(|found| found == token));
        request.insert("cookie", "zms=AAAA; __Host-zms=forged".parse().unwrap());
        assert!(cookie_of(&request).is_none());
        clear_cookie(&mut headers);
        assert!(headers.get_all(SET_COOKIE).iter().next_back().unwrap().to_str().unwrap().contains("Max-Age=0"));
    }
}

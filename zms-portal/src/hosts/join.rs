//! A host joins: its token is used up and the host is there, in one transaction or not at all.

use std::net::IpAddr;

use serde_json::{Value, json};
use sqlx::Row;
use ulid::Ulid;
use zms_core::host::{HostFacts, JoinReply, JoinRequest};
use zms_core::names::HostId;

use super::token::Token;
use crate::app::{App, new_id};
use crate::audit::{self, Entry, Outcome};
use crate::authority::{SignError, Signed};
use crate::db::{Tx, is_taken};
use crate::error::{Error, Result};

/// A name or an enrolment that is taken at the same moment is tried again so often.
const TRIES: usize = 5;
/// Longest name, in characters: as long as a label of DNS.
pub(super) const LONGEST_NAME: usize = 63;

/// Why a host did not join. For the audit; the host hears the same of all but [`Refusal::OtherKey`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    NoToken,
    UnknownToken,
    Withdrawn,
    Expired,
    UsedUp,
    NoEnrolment,
    BadRequest(String),
    Revoked,
    /// The enrolment was made with another key (409).
    OtherKey,
}

impl Refusal {
    fn reason(&self) -> String {
        match self {
            Self::NoToken => "it is no token".to_owned(),
            Self::UnknownToken => "there is no such token".to_owned(),
            Self::Withdrawn => "the token was withdrawn".to_owned(),
            Self::Expired => "the token has expired".to_owned(),
            Self::UsedUp => "the token is used up".to_owned(),
            Self::NoEnrolment => "the enrolment is no ULID".to_owned(),
            Self::BadRequest(why) => why.clone(),
            Self::Revoked => "the host of this enrolment was taken out of service".to_owned(),
            Self::OtherKey => "the enrolment is known with another key".to_owned(),
        }
    }
}

/// Why there is no answer.
pub(super) enum JoinError {
    Refused(Refusal),
    Failed(Error),
}

impl<E: Into<Error>> From<E> for JoinError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A host that asks.
struct Asking<'a> {
    token: &'a Token,
    enrolment: &'a str,
    facts: &'a HostFacts,
    address: &'a str,
    host_id: &'a str,
    signed: &'a Signed,
    now_ms: i64,
}

/// Makes the host of `request` one of ours, or finds that it is already. `address`: the peer's.
pub(super) async fn join(app: &App, request: &JoinRequest, address: &str, now_ms: i64) -> Result<JoinReply, JoinError> {
    let token = Token::parse(&request.token);
    let joined = match &token {
        None => Err(JoinError::Refused(Refusal::NoToken)),
        Some(token) => enrol(app, request, token, address, now_ms).await,
    };
    if let Err(JoinError::Refused(refusal)) = &joined {
        let key_id = token.as_ref().map_or("", |token| &token.key_id);
        tracing::warn!(key_id, %address, reason = refusal.reason(), "a join was refused");
        record_refusal(app, key_id, address, refusal, &request.facts.hostname, now_ms).await?;
    }
    let (host, certificate) = joined?;
    let host = HostId::new(host).map_err(|error| anyhow::anyhow!("an id of our own: {error}"))?;
    Ok(JoinReply { host, certificate, agent_url: app.config.agent_url()? })
}

/// Id and certificate.
async fn enrol(
    app: &App,
    request: &JoinRequest,
    token: &Token,
    address: &str,
    now_ms: i64,
) -> Result<(String, String), JoinError> {
    if request.enrolment.parse::<Ulid>().is_err() {
        return Err(JoinError::Refused(Refusal::NoEnrolment));
    }
    // Signed first, because it needs no database; without a row for it the certificate opens nothing.
    let host_id = new_id();
    let signed = match app.authority.sign_host(&request.csr, &host_id, now_ms) {
        Ok(signed) => signed,
        Err(error @ SignError::Fault { .. }) => return Err(JoinError::Failed(anyhow::Error::new(error).into())),
        Err(error) => return Err(JoinError::Refused(Refusal::BadRequest(error.to_string()))),
    };
    let facts = &request.facts;
    let asking = Asking { token, enrolment: &request.enrolment, facts, address, host_id: &host_id, signed: &signed, now_ms };
    let mut tries = 0;
    loop {
        tries += 1;
        let mut tx = app.db.begin().await?;
        match attempt(&mut tx, &asking).await {
            Ok(answer) => {
                tx.commit().await?;
                return Ok(answer);
            }
            // Somebody was quicker with this name or with this very enrolment; the next look finds it.
            Err(Attempt::Taken) if tries < TRIES => tx.rollback().await?,
            Err(Attempt::Taken) => {
                return Err(JoinError::Failed(anyhow::anyhow!("no name is free for a host that joins").into()));
            }
            Err(Attempt::Ended(error)) => return Err(error),
        }
    }
}

enum Attempt {
    Taken,
    Ended(JoinError),
}

impl<E: Into<JoinError>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Ended(error.into())
    }
}

async fn attempt(tx: &mut Tx, asking: &Asking<'_>) -> Result<(String, String), Attempt> {
    let refused = |refusal| Attempt::Ended(JoinError::Refused(refusal));
    let sql = "select e.host_id, e.key_hash, e.certificate, e.token, h.revoked from enrolments e join hosts h on h.id = e.host_id where e.id = $1";
    if let Some(row) = sqlx::query(sql).bind(asking.enrolment).fetch_optional(&mut **tx).await? {
        let (token, key_hash): (String, String) = (row.try_get("token")?, row.try_get("key_hash")?);
        // The answer of before got lost, and the token may be used up since; it must be the same one.
        if token != asking.token.key_id || !is_secret_of(tx, asking.token).await? {
            return Err(refused(Refusal::UnknownToken));
        }
        if key_hash != asking.signed.key_hash {
            return Err(refused(Refusal::OtherKey));
        }
        if row.try_get::<i64, _>("revoked")? != 0 {
            return Err(refused(Refusal::Revoked));
        }
        return Ok((row.try_get("host_id")?, row.try_get("certificate")?));
    }
    let environment_id = consume(tx, asking).await.map_err(Attempt::from)?;
    let name = free_name(tx, &environment_id, &name_of(asking.facts)).await?;
    insert(tx, asking, &environment_id, &name).await?;
    let detail = json!({
        "name": name, "key_id": asking.token.key_id, "hostname": asking.facts.hostname, "key_hash": asking.signed.key_hash,
        "serial": asking.signed.serial,
    });
    record(tx, "host.join", asking.host_id, asking.address, detail, Outcome::Done, asking.now_ms).await?;
    tracing::info!(host = asking.host_id, %name, address = asking.address, "a host joined");
    Ok((asking.host_id.to_owned(), asking.signed.pem.clone()))
}

async fn is_secret_of(tx: &mut Tx, token: &Token) -> Result<bool> {
    let sql = "select key_id from join_tokens where key_id = $1 and secret_hash = $2";
    let found: Option<String> =
        sqlx::query_scalar(sql).bind(token.key_id.as_str()).bind(token.secret_hash.as_str()).fetch_optional(&mut **tx).await?;
    Ok(found.is_some())
}

/// Takes one use of the token; its environment.
async fn consume(tx: &mut Tx, asking: &Asking<'_>) -> Result<String, JoinError> {
    let (token, now_ms) = (asking.token, asking.now_ms);
    let take = "update join_tokens set uses = uses + 1 \
                where key_id = $1 and secret_hash = $2 and revoked_at is null and expires_at > $3 and uses < max_uses \
                returning environment_id";
    let taken: Option<String> = sqlx::query_scalar(take)
        .bind(token.key_id.as_str())
        .bind(token.secret_hash.as_str())
        .bind(now_ms)
        .fetch_optional(&mut **tx)
        .await?;
    if let Some(environment_id) = taken {
        return Ok(environment_id);
    }
    let why = "select expires_at, revoked_at from join_tokens where key_id = $1 and secret_hash = $2";
    let row = sqlx::query(why).bind(token.key_id.as_str()).bind(token.secret_hash.as_str()).fetch_optional(&mut **tx).await?;
    Err(JoinError::Refused(match row {
        None => Refusal::UnknownToken,
        Some(row) if row.try_get::<Option<i64>, _>("revoked_at")?.is_some() => Refusal::Withdrawn,
        Some(row) if row.try_get::<i64, _>("expires_at")? <= now_ms => Refusal::Expired,
        Some(_) => Refusal::UsedUp,
    }))
}

/// The host's own name as a name of ours.
fn name_of(facts: &HostFacts) -> String {
    let lower = facts.hostname.to_ascii_lowercase();
    let first = lower.split('.').next().unwrap_or_default();
    let fits: String = first.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    let name: String = fits.trim_matches('-').chars().take(LONGEST_NAME - 5).collect();
    if name.is_empty() { "host".to_owned() } else { name }
}

/// The name, or the first of `name-2`, `name-3` … that is free.
async fn free_name(tx: &mut Tx, environment_id: &str, name: &str) -> Result<String> {
    let sql = "select name from hosts where environment_id = $1 and (name = $2 or name like $3)";
    // A name of ours holds no sign that `like` obeys.
    let taken: Vec<String> =
        sqlx::query_scalar(sql).bind(environment_id).bind(name).bind(format!("{name}-%")).fetch_all(&mut **tx).await?;
    let candidates = std::iter::once(name.to_owned()).chain((2..).map(|n| format!("{name}-{n}")));
    Ok(candidates.into_iter().find(|name| !taken.contains(name)).expect("one of endlessly many names is free"))
}

/// The first address that the host names, or the one that it comes from.
fn address_of(facts: &HostFacts, peer: &str) -> String {
    let own = facts.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()).find(|address| !address.is_loopback());
    own.map_or_else(|| peer.to_owned(), |address| address.to_string())
}

async fn insert(tx: &mut Tx, asking: &Asking<'_>, environment_id: &str, name: &str) -> Result<(), Attempt> {
    let Asking { token, enrolment, facts, address, host_id, signed, now_ms } = asking;
    let host = "insert into hosts (id, environment_id, name, address, key_hash, serial, certificate_until, facts, joined_at) \
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let inserted = sqlx::query(host)
        .bind(*host_id)
        .bind(environment_id)
        .bind(name)
        .bind(address_of(facts, address))
        .bind(signed.key_hash.as_str())
        .bind(signed.serial.as_str())
        .bind(signed.until_ms)
        .bind(serde_json::to_string(facts)?)
        .bind(*now_ms)
        .execute(&mut **tx)
        .await;
    taken_or(inserted)?;
    let sql = "insert into enrolments (id, host_id, key_hash, certificate, token, created_at) values ($1, $2, $3, $4, $5, $6)";
    let inserted = sqlx::query(sql)
        .bind(*enrolment)
        .bind(*host_id)
        .bind(signed.key_hash.as_str())
        .bind(signed.pem.as_str())
        .bind(token.key_id.as_str())
        .bind(*now_ms)
        .execute(&mut **tx)
        .await;
    taken_or(inserted)
}

fn taken_or<T>(done: sqlx::Result<T>) -> Result<(), Attempt> {
    match done {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => Err(Attempt::Taken),
        Err(error) => Err(error.into()),
    }
}

async fn record_refusal(app: &App, key_id: &str, address: &str, refusal: &Refusal, hostname: &str, now_ms: i64) -> Result<()> {
    // Strangers must not be able to fill the audit; the log has them all.
    if !app.hub.may_record_refusal(now_ms) {
        return Ok(());
    }
    let hostname: String = hostname.chars().take(LONGEST_NAME).collect();
    let detail = json!({ "key_id": key_id, "hostname": hostname, "reason": refusal.reason() });
    let mut tx = app.db.begin().await?;
    record(&mut tx, "host.join", "", address, detail, Outcome::Denied, now_ms).await?;
    tx.commit().await?;
    Ok(())
}

/// An act of a host, which is nobody's name.
pub(super) async fn record(
    tx: &mut Tx,
    act: &str,
    host_id: &str,
    address: &str,
    detail: Value,
    result: Outcome,
    now_ms: i64,
) -> Result<()> {
    let target = if host_id.is_empty() { "host".to_owned() } else { format!("host/{host_id}") };
    audit::record(tx, Entry { at: now_ms, who: "", address, act, target: &target, detail, result }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_as_it_calls_itself_as_far_as_that_is_a_name() {
        for (hostname, expected) in [
            ("web-1", "web-1"),
            ("Web_1.example.com", "web-1"),
            ("", "host"),
            ("...", "host"),
            ("-", "host"),
            ("über", "ber"),
            ("a'; drop table hosts", "a---drop-table-hosts"),
        ] {
            assert_eq!(name_of(&HostFacts { hostname: hostname.to_owned(), ..HostFacts::default() }), expected, "{hostname:?}");
        }
        assert_eq!(name_of(&HostFacts { hostname: "x".repeat(300), ..HostFacts::default() }).len(), LONGEST_NAME - 5);
    }

    #[test]
    fn a_host_is_reached_by_the_first_address_that_it_names() {
        let facts = |addresses: &[&str]| HostFacts {
            addresses: addresses.iter().map(|a| (*a).to_owned()).collect(),
            ..HostFacts::default()
        };
        for (addresses, expected) in [
            (&["10.0.0.7", "10.1.0.7"][..], "10.0.0.7"),
            (&["127.0.0.1", "x", "fd00::7"], "fd00::7"),
            (&[], "192.0.2.9"),
            (&["; id"], "192.0.2.9"),
        ] {
            assert_eq!(address_of(&facts(addresses), "192.0.2.9"), expected, "{addresses:?}");
        }
    }
}

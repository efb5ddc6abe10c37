//! Guessing is made slow, without locking anybody out for good.
//!
//! After five failures in 15 minutes an account waits, longer after each further one; an address has 30 failures a minute. A try is
//! counted before its password is looked at and given back when it was right, so that tries at the same moment count each other.
//! What is kept is a keyed hash of account and address: who may read the table cannot tell who failed.

use std::net::IpAddr;

use aws_lc_rs::hmac;
use sqlx::Row as _;

use crate::app::{App, now_ms};
use crate::db::Tx;
use crate::error::{Error, Result, Text};

/// Failures of an account that cost nothing.
const FREE: i64 = 5;
/// What is older than this is forgotten.
const WINDOW_MS: i64 = 15 * 60_000;
/// The wait after the last free failure; each further one doubles it.
const FIRST_WAIT_MS: i64 = 30_000;
/// Failures an address has in a minute.
const ADDRESS_FAILURES: i64 = 30;
/// That minute.
const ADDRESS_WINDOW_MS: i64 = 60_000;
/// Where the key is sealed.
const KEY: &str = "portal/throttle-key";

/// Counts failures.
pub struct Throttle {
    key: hmac::Key,
}

/// May somebody try?
#[must_use]
pub enum Verdict {
    /// Yes; a right one is to be [`forgiven`](Attempt::forgive).
    Admitted(Attempt),
    /// The account has to wait.
    Account,
    /// The address has to wait.
    Address,
}

/// A try that counts as a failure until it is forgiven.
pub struct Attempt {
    account: Option<String>,
    address: String,
    at: i64,
}

impl Throttle {
    /// With the portal's key, which is made at the first use.
    pub async fn open(app: &App) -> Result<Self> {
        let key = match app.vault.get(KEY).await {
            Ok(key) => key,
            Err(Error::NotFound) => {
                let mut tx = app.db.begin().await?;
                app.vault.put(&mut tx, KEY, &super::token::random::<32>(), now_ms()).await?;
                tx.commit().await?;
                // Another portal may have been quicker; what is sealed now is everybody's.
                app.vault.get(KEY).await?
            }
            Err(error) => return Err(error),
        };
        Ok(Self::new(&key))
    }

    /// With this key.
    pub fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// Counts a try on `account` (none where a secret of its own is guessed) from `address`. Commit `tx` whatever the verdict is.
    pub async fn admit(&self, tx: &mut Tx, account: Option<&str>, address: &str, now_ms: i64) -> Result<Verdict> {
        sqlx::query("delete from sign_in_failures where at <= $1").bind(now_ms - WINDOW_MS).execute(&mut **tx).await?;
        let address = self.subject("address", &network(address));
        if failures(tx, &address, now_ms - ADDRESS_WINDOW_MS).await?.0 >= ADDRESS_FAILURES {
            ::metrics::counter!("zms_portal_sign_in_refused_total", "why" => "address").increment(1);
            return Ok(Verdict::Address);
        }
        count(tx, &address, now_ms).await?;
        let account = account.map(|account| self.subject("account", account));
        if let Some(account) = &account {
            let (failed, last) = failures(tx, account, now_ms - WINDOW_MS).await?;
            if now_ms < last + wait_ms(failed) {
                ::metrics::counter!("zms_portal_sign_in_refused_total", "why" => "account").increment(1);
                return Ok(Verdict::Account);
            }
            count(tx, account, now_ms).await?;
        }
        Ok(Verdict::Admitted(Attempt { account, address, at: now_ms }))
    }

    fn subject(&self, kind: &str, text: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{kind}/{text}").as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Attempt {
    /// It was right: the account starts afresh, and this try does not count for the address.
    pub async fn forgive(self, tx: &mut Tx) -> Result<()> {
        if let Some(account) = &self.account {
            sqlx::query("delete from sign_in_failures where subject = $1").bind(account).execute(&mut **tx).await?;
        }
        sqlx::query("delete from sign_in_failures where subject = $1 and at = $2")
            .bind(&self.address)
            .bind(self.at)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

/// What a person is told who has to wait; the same whether or not the account exists and the password was right.
pub fn too_many() -> Error {
    Error::TooMany(Text::new(|m| m.access_too_many().to_owned()))
}

/// From the last failure to the next try, after so many failures.
fn wait_ms(failed: i64) -> i64 {
    match failed - FREE {
        further @ 0..5 => FIRST_WAIT_MS << further,
        further if further >= 5 => WINDOW_MS,
        _ => 0,
    }
}

/// IPv4 as it is; of IPv6 the network, since one machine has all addresses of it.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V6(ip)) => ip.segments()[..4].iter().map(|part| format!("{part:x}:")).collect(),
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Err(_) => address.to_owned(),
    }
}

/// How many after `since`, and the last of them.
async fn failures(tx: &mut Tx, subject: &str, since: i64) -> Result<(i64, i64)> {
    let sql = "select count(*) as failed, coalesce(max(at), 0) as last from sign_in_failures where subject = $1 and at > $2";
    let row = sqlx::query(sql).bind(subject).bind(since).fetch_one(&mut **tx).await?;
    Ok((row.try_get("failed")?, row.try_get("last")?))
}

async fn count(tx: &mut Tx, subject: &str, now_ms: i64) -> Result<()> {
    sqlx::query("insert into sign_in_failures (subject, at) values ($1, $2)")
        .bind(subject)
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, TestDb};

    const NOW: i64 = 1_795_000_000_000;
    const SECOND: i64 = 1_000;

    struct Door {
        throttle: Throttle,
        db: Db,
        _folder: TestDb,
    }

    impl Door {
        async fn new() -> Self {
            let (folder, db) = Db::temporary().await;
            Self { throttle: Throttle::new(b"a key of the test"), db, _folder: folder }
        }

        async fn knock(&self, account: &str, address: &str, now: i64) -> Verdict {
            let mut tx = self.db.begin().await.unwrap();
            let verdict = self.throttle.admit(&mut tx, Some(account), address, now).await.unwrap();
            tx.commit().await.unwrap();
            verdict
        }

        async fn admitted(&self, account: &str, address: &str, now: i64) -> bool {
            matches!(self.knock(account, address, now).await, Verdict::Admitted(_))
        }

        async fn rows(&self) -> i64 {
            sqlx::query_scalar("select count(*) from sign_in_failures").fetch_one(self.db.read()).await.unwrap()
        }
    }

    #[tokio::test]
    async fn after_five_failures_an_account_waits_longer_and_longer_from_wherever_it_is_tried() {
        let door = Door::new().await;
        let mut now = NOW;
        for n in 0..5 {
            assert!(door.admitted("ada", &format!("192.0.2.{n}"), now).await);
        }
        for wait in [30, 60, 120, 240] {
            assert!(matches!(door.knock("ada", "198.51.100.1", now + wait * SECOND - 1).await, Verdict::Account), "{wait}");
            assert!(door.admitted("bob", "198.51.100.2", now + wait * SECOND - 1).await, "another account does not wait");
            now += wait * SECOND;
            assert!(door.admitted("ada", "198.51.100.3", now).await, "{wait}");
        }
    }

    #[tokio::test]
    async fn trying_while_one_has_to_wait_does_not_make_the_wait_longer() {
        let door = Door::new().await;
        for _ in 0..5 {
            assert!(door.admitted("ada", "192.0.2.1", NOW).await);
        }
        for n in 1..20 {
            assert!(!door.admitted("ada", &format!("192.0.2.{n}"), NOW + n * SECOND).await);
        }
        assert!(door.admitted("ada", "192.0.2.200", NOW + 30 * SECOND).await);
    }

    #[tokio::test]
    async fn an_address_has_thirty_failures_a_minute_over_all_accounts() {
        let door = Door::new().await;
        for n in 0..30 {
            assert!(door.admitted(&format!("user{n}"), "2001:db8:1:2::1", NOW).await);
        }
        assert!(matches!(door.knock("someone", "2001:db8:1:2:ffff::9", NOW + 1).await, Verdict::Address), "the same network");
        assert!(door.admitted("someone", "2001:db8:1:3::1", NOW + 1).await, "another network");
        assert!(door.admitted("someone", "2001:db8:1:2::1", NOW + 60 * SECOND).await, "a minute later");
    }

    #[tokio::test]
    async fn a_right_password_clears_the_account_and_costs_the_address_nothing() {
        let door = Door::new().await;
        for n in 0..4 {
            assert!(door.admitted("ada", "192.0.2.1", NOW + n).await);
        }
        let Verdict::Admitted(attempt) = door.knock("ada", "192.0.2.1", NOW + 9).await else { panic!("the fifth is free") };
        let mut tx = door.db.begin().await.unwrap();
        attempt.forgive(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(door.rows().await, 4, "the address's four failures stay");
        assert!(door.admitted("ada", "192.0.2.1", NOW + 10).await);
    }

    #[tokio::test]
    async fn old_failures_are_forgotten_and_names_are_not_kept() {
        let door = Door::new().await;
        assert!(door.admitted("ada", "192.0.2.1", NOW).await);
        let kept: Vec<String> =
            sqlx::query_scalar("select subject from sign_in_failures").fetch_all(door.db.read()).await.unwrap();
        assert!(kept.iter().all(|subject| subject.len() == 64 && !subject.contains("ada")), "{kept:?}");
        assert_ne!(door.throttle.subject("account", "ada"), Throttle::new(b"another key").subject("account", "ada"));
        assert!(door.admitted("bob", "192.0.2.2", NOW + WINDOW_MS).await);
        assert_eq!(door.rows().await, 2);
    }

    #[test]
    fn the_wait_grows_to_the_window_and_no_further() {
        let waits: Vec<i64> = [0, 4, 5, 6, 7, 8, 9, 10, 1_000_000].map(wait_ms).to_vec();
        assert_eq!(waits, [0, 0, 30_000, 60_000, 120_000, 240_000, 480_000, 900_000, 900_000]);
    }
}

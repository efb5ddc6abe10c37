//! Who does something, and from where.

use serde_json::Value;

use crate::audit::{self, Entry, Outcome};
use crate::db::{Db, Tx};
use crate::error::{Error, Result};

use super::{Role, User};

/// A person at work.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// Signed in.
    pub user: &'a User,
    /// IP address of the peer.
    pub address: &'a str,
}

impl Actor<'_> {
    /// [`Error::Forbidden`] unless the person has `role`; the refusal is audited.
    pub async fn require(&self, db: &Db, role: Role, act: &str, target: &str, now_ms: i64) -> Result<()> {
        if self.user.may(role) {
            return Ok(());
        }
        self.record_refusal(db, act, target, Value::Null, now_ms).await?;
        Err(Error::Forbidden)
    }

    /// Audits an act that is done by `tx`.
    pub async fn record(&self, tx: &mut Tx, act: &str, target: &str, detail: Value, now_ms: i64) -> Result<()> {
        self.record_as(tx, act, target, detail, Outcome::Done, now_ms).await
    }

    /// Audits an act that was refused.
    pub async fn record_refusal(&self, db: &Db, act: &str, target: &str, detail: Value, now_ms: i64) -> Result<()> {
        let mut tx = db.begin().await?;
        self.record_as(&mut tx, act, target, detail, Outcome::Denied, now_ms).await?;
        Ok(tx.commit().await?)
    }

    async fn record_as(&self, tx: &mut Tx, act: &str, target: &str, detail: Value, result: Outcome, now_ms: i64) -> Result<()> {
        let entry = Entry { at: now_ms, who: &self.user.name, address: self.address, act, target, detail, result };
        audit::record(tx, entry).await
    }
}

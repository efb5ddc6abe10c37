//! Who did what: a table that is only ever appended to, with one hash chain a day.
//!
//! Read in this order: this file (what callers write) · [`chain`] hashes, appending, verification · `store` the list · [`web`] page · `api` REST.

mod api;
pub mod chain;
mod store;
#[cfg(test)]
mod tests;
pub mod web;

use std::fmt;

pub use api::api;
pub use store::{Page, Query, Row, list};
pub use web::pages;

use crate::access::{Role, User};
use crate::db::{Db, Tx};
use crate::error::{Error, Result};

/// One act.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When, milliseconds since 1970.
    pub at: i64,
    /// The person's name; empty is the portal itself.
    pub who: &'a str,
    /// From which IP address.
    pub address: &'a str,
    /// For example `environment.create` or `sign_in.refuse`.
    pub act: &'a str,
    /// On what, for example `environment/dev`.
    pub target: &'a str,
    /// Before and after, without secrets.
    pub detail: serde_json::Value,
    /// What came of it.
    pub result: Outcome,
}

/// What came of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// The person may not.
    Denied,
    /// It went wrong.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Done, Self::Denied, Self::Failed];

    /// As the database and the API write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes `entry` in the act's own transaction: both are there, or neither.
pub async fn record(tx: &mut Tx, entry: Entry<'_>) -> Result<()> {
    chain::append(tx, &entry).await
}

/// The list, for those who may see it.
///
/// # Errors
/// [`Error::Forbidden`], or [`Error::Invalid`] with the filter that says nothing.
pub async fn see(db: &Db, user: &User, query: &Query) -> Result<Page> {
    user.require(Role::Operator)?;
    if !query.result.is_empty() && Outcome::parse(&query.result).is_none() {
        return Err(Error::invalid("result", |m| m.audit_result_unknown().to_owned()));
    }
    list(db, query).await
}

/// The state of the chain, for those who may see it.
///
/// # Errors
/// [`Error::Forbidden`].
pub async fn check(db: &Db, user: &User) -> Result<chain::Chain> {
    user.require(Role::Operator)?;
    chain::verify(db).await
}

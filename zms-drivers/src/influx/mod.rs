//! InfluxDB, where figures over time are.
//!
//! 1. [`Lines`]: points as text; what cannot be written is left out there.
//! 2. [`MetricSink`] writes them, [`MetricStore`] asks for them in windows of time, [`MetricAdmin`] makes databases, users and rights.
//! 3. [`MetricError`] says for each refusal whether trying again helps; everything an InfluxDB answers is sorted in one place, `answer`.
//!
//! Writing and asking go alike with 1.6 to 2.x; administration is that of 1.x. A point that is written twice is one point, so whoever
//! does not know whether a write was done does it again.

mod admin;
mod answer;
mod ask;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
mod http;
mod line;
mod quote;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zms_core::series::{Measurement, Retention};

pub use error::MetricError;
pub use line::Lines;

/// Where a database is and as whom it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    /// `http://host:port`, without a user in it.
    pub url: String,
    /// Its name.
    pub database: String,
    /// Who we are.
    pub user: String,
    /// Never shown.
    pub password: String,
    /// Of one call, from connecting to the last byte of the answer.
    pub deadline: Duration,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Store");
        shown.field("url", &http::shown(&self.url)).field("database", &self.database).field("user", &self.user);
        shown.field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// For writing. Nothing is sent yet; an error is one of the address.
pub fn sink(store: &Store) -> Result<Arc<dyn MetricSink>, MetricError> {
    Ok(Arc::new(write::Sink::new(store)?))
}

/// For asking. Nothing is sent yet; an error is one of the address.
pub fn store(store: &Store) -> Result<Arc<dyn MetricStore>, MetricError> {
    Ok(Arc::new(ask::Asker::new(store)?))
}

/// For making databases and users, as an administrator. Nothing is sent yet; an error is one of the address.
pub fn admin(url: &str, user: &str, password: &str, deadline: Duration) -> Result<Arc<dyn MetricAdmin>, MetricError> {
    Ok(Arc::new(admin::Admin::new(url, user, password, deadline)?))
}

/// Writes points.
#[async_trait]
pub trait MetricSink: Send + Sync + 'static {
    /// Writes a batch; without lines nothing is sent. Writing it again does no harm.
    async fn write(&self, retention: Retention, lines: &Lines) -> Result<(), MetricError>;
}

/// Asks for points.
#[async_trait]
pub trait MetricStore: Send + Sync + 'static {
    /// Series in the order of their tags.
    async fn ask(&self, question: &Question) -> Result<Vec<Series>, MetricError>;
}

/// Makes what writing and asking need. Everything may be done twice.
#[async_trait]
pub trait MetricAdmin: Send + Sync + 'static {
    /// Makes the first administrator if the server has no user yet, else checks that this one is right.
    async fn ensure_administrator(&self) -> Result<(), MetricError>;
    /// A database with our retentions as they should be. Others that it has stay, with their points.
    async fn ensure_database(&self, database: &str) -> Result<(), MetricError>;
    /// A user with this password and this right, and no other right.
    async fn ensure_user(&self, user: &str, password: &str, database: &str, right: Right) -> Result<(), MetricError>;
}

/// What a user may do with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Ask, not write.
    Read,
    /// Write, not ask.
    Write,
}

/// What is made of the values of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their mean.
    Mean,
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// The latest; of several at one time the greatest.
    Last,
    /// Their sum.
    Sum,
}

/// One number of each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Of which field of the measurement.
    pub field: &'static str,
    /// What is made of its values.
    pub aggregate: Aggregate,
}

/// A question for series in windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Which points.
    pub retention: Retention,
    /// Which points.
    pub measurement: &'static Measurement,
    /// The numbers of a window, in this order.
    pub columns: Vec<Column>,
    /// Only series that have for each of these tags one of its values. An empty value is that of series without the tag.
    pub tags: Vec<(&'static str, Vec<String>)>,
    /// A series for each combination of these tags' values; without any there is one series.
    pub by: Vec<&'static str>,
    /// Points from this time on, milliseconds since 1970.
    pub from_ms: i64,
    /// Points before this time.
    pub to_ms: i64,
    /// Length of a window. Windows start at whole multiples of it, so the first may start before `from_ms`.
    pub step_ms: i64,
    /// The first so many series are given; what comes after them is left out.
    pub limit_series: usize,
}

/// One series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// The tags of [`Question::by`] with their values; a series without the tag has an empty one.
    pub tags: BTreeMap<String, String>,
    /// Start of each window that had a point, with its columns, in the order of time. Windows without one are absent.
    pub points: Vec<(i64, Vec<Option<f64>>)>,
}

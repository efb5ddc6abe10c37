//! One in memory.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use zms_core::series::Retention;

use super::{Lines, MetricAdmin, MetricError, MetricSink, MetricStore, Question, Right, Series};

/// See the module.
#[derive(Debug, Default)]
pub struct FakeInflux {
    fault: Mutex<Option<MetricError>>,
}

impl FakeInflux {
    /// With an administrator and a database that has our retentions.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Writes to its database, with every right.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn MetricSink> {
        self.clone()
    }

    /// Asks its database, with every right.
    pub fn store(self: &Arc<Self>) -> Arc<dyn MetricStore> {
        self.clone()
    }

    /// Its administrator.
    pub fn admin(self: &Arc<Self>) -> Arc<dyn MetricAdmin> {
        self.clone()
    }

    /// From now on every call ends so; `None`: as it should.
    pub fn set_fault(&self, fault: Option<MetricError>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn up(&self) -> Result<(), MetricError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl MetricSink for FakeInflux {
    async fn write(&self, _retention: Retention, _lines: &Lines) -> Result<(), MetricError> {
        self.up()
    }
}

#[async_trait]
impl MetricStore for FakeInflux {
    async fn ask(&self, _question: &Question) -> Result<Vec<Series>, MetricError> {
        self.up().map(|()| Vec::new())
    }
}

#[async_trait]
impl MetricAdmin for FakeInflux {
    async fn ensure_administrator(&self) -> Result<(), MetricError> {
        self.up()
    }

    async fn ensure_database(&self, _database: &str) -> Result<(), MetricError> {
        self.up()
    }

    async fn ensure_user(&self, _user: &str, _password: &str, _database: &str, _right: Right) -> Result<(), MetricError> {
        self.up()
    }
}

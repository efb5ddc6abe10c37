//! Hosts that only say that they are there are written down together: 5 000 hosts are a row each, and one transaction every few
//! seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sqlx::AssertSqlSafe;

use super::hub::Hub;
use crate::db::Db;
use crate::error::Result;

/// Rows of one statement; SQLite takes 32 766 values, PostgreSQL twice as many.
const ROWS: usize = 1_000;

/// Hosts that were heard and are not written down yet: when, and how far their clock is off, milliseconds.
#[derive(Default)]
pub(super) struct Heard(Mutex<BTreeMap<String, (i64, i64)>>);

impl Heard {
    /// A host was heard.
    pub fn note(&self, host_id: &str, at_ms: i64, skew_ms: i64) {
        self.lock().insert(host_id.to_owned(), (at_ms, skew_ms));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (i64, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<(String, (i64, i64))> {
        std::mem::take(&mut *self.lock()).into_iter().collect()
    }

    /// Puts back what could not be written, unless something newer came.
    fn put_back(&self, rows: Vec<(String, (i64, i64))>) {
        let mut heard = self.lock();
        for (id, said) in rows {
            heard.entry(id).or_insert(said);
        }
    }
}

/// Writes down who was heard since the last time.
pub(super) async fn write(hub: &Hub, db: &Db) -> Result<()> {
    let rows = hub.heard().take();
    if rows.is_empty() {
        return Ok(());
    }
    let written = write_rows(db, &rows).await;
    if written.is_err() {
        hub.heard().put_back(rows);
    }
    written
}

async fn write_rows(db: &Db, rows: &[(String, (i64, i64))]) -> Result<()> {
    let mut tx = db.begin().await?;
    for some in rows.chunks(ROWS) {
        // Both databases call the columns of `values` so. A report that another portal heard meanwhile is newer, and stays.
        let sql = format!(
            "update hosts set seen_at = v.column2, skew_ms = v.column3 from (values {}) as v \
             where hosts.id = v.column1 and hosts.revoked = 0 and coalesce(hosts.seen_at, 0) < v.column2",
            places(some.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (id, (at, skew)) in some {
            query = query.bind(id.as_str()).bind(*at).bind(*skew);
        }
        query.execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The first row tells PostgreSQL the types of all.
fn places(rows: usize) -> String {
    let place = |row: usize| {
        let (a, b, c) = (row * 3 + 1, row * 3 + 2, row * 3 + 3);
        if row == 0 {
            format!("(cast(${a} as text), cast(${b} as bigint), cast(${c} as bigint))")
        } else {
            format!("(${a}, ${b}, ${c})")
        }
    };
    (0..rows).map(place).collect::<Vec<_>>().join(", ")
}

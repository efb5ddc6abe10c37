//! The portal's database: one portable SQL over SQLite and PostgreSQL.
//!
//! `$1` placeholders, text ids, epoch milliseconds as integers, JSON as text, 0/1 for truth. Sums are cast
//! (`cast(sum(x) as bigint)`), because PostgreSQL's are numeric. On SQLite every write goes through one connection that
//! begins at once, so a writer waits in the queue and never meets "database is locked".

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Any, AnyPool, Transaction};

/// Longest wait for a connection; after it the request fails with "busy" rather than hang.
const ACQUIRE: Duration = Duration::from_secs(10);

/// Migrations in their order; one that was released is never edited.
const MIGRATIONS: [(i64, &str, &str); 4] = [
    (1, "portal", include_str!("../migrations/0001_portal.sql")),
    (2, "topics", include_str!("../migrations/0002_topics.sql")),
    (3, "adopt", include_str!("../migrations/0003_adopt.sql")),
    (4, "import", include_str!("../migrations/0004_import.sql")),
];

/// A transaction of either database.
pub type Tx = Transaction<'static, Any>;

/// See the module.
#[derive(Debug, Clone)]
pub struct Db {
    read: AnyPool,
    write: AnyPool,
    sqlite: bool,
}

impl Db {
    /// Opens the database of `url` (`sqlite:///path/portal.db` or `postgres://…`) and brings its tables up to date.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        sqlx::any::install_default_drivers();
        let sqlite = url.starts_with("sqlite:");
        anyhow::ensure!(sqlite || url.starts_with("postgres"), "database URL: begins with sqlite: or postgres:");
        let options = AnyConnectOptions::from_str(url).context("database URL")?;
        let pool = |connections| {
            let pool = AnyPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE);
            if !sqlite {
                return pool;
            }
            pool.after_connect(|connection, _| {
                Box::pin(async move {
                    for pragma in [
                        "pragma journal_mode = wal",
                        "pragma foreign_keys = on",
                        "pragma busy_timeout = 5000",
                        "pragma synchronous = full",
                    ] {
                        sqlx::query(pragma).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
        };
        let write = pool(if sqlite { 1 } else { 16 }).connect_with(options.clone()).await.context("opening the database")?;
        let read = if sqlite { pool(8).connect_with(options).await.context("opening the database")? } else { write.clone() };
        let db = Self { read, write, sqlite };
        db.migrate().await?;
        Ok(db)
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        let migrations = MIGRATIONS.map(|(version, name, sql)| {
            Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
        });
        let migrator = Migrator::with_migrations(migrations.to_vec());
        migrator.run(&self.write).await.context("bringing the database up to date")
    }

    /// For queries outside a transaction.
    pub fn read(&self) -> &AnyPool {
        &self.read
    }

    /// Begins a transaction that writes.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        if self.sqlite { self.write.begin_with("begin immediate").await } else { self.write.begin().await }
    }

    /// A database of its own for a test, in a temporary folder that lives as long as the guard.
    #[cfg(test)]
    pub async fn temporary() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().unwrap();
        let db = Self::open(&format!("sqlite://{}/portal.db?mode=rwc", folder.path().display())).await.unwrap();
        (folder, db)
    }
}

/// Is this the violation of a unique constraint?
pub fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tables_are_made_once_and_a_second_start_finds_them() {
        let (folder, db) = Db::temporary().await;
        let mut tx = db.begin().await.unwrap();
        sqlx::query("insert into environments (id, name, title, colour, created_at) values ($1, $2, $3, $4, $5)")
            .bind("1")
            .bind("dev")
            .bind("Development")
            .bind("green")
            .bind(1_i64)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        drop(db);
        let db = Db::open(&format!("sqlite://{}/portal.db", folder.path().display())).await.unwrap();
        let name: String = sqlx::query_scalar("select name from environments").fetch_one(db.read()).await.unwrap();
        assert_eq!(name, "dev");
        let mut tx = db.begin().await.unwrap();
        let again = sqlx::query("insert into environments (id, name, title, colour, created_at) values ('2', 'dev', '', '', 1)")
            .execute(&mut *tx)
            .await;
        assert!(is_taken(&again.unwrap_err()));
    }
}

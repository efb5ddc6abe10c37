//! The portal's database: one portable SQL over SQLite (one portal) and PostgreSQL (several).
//!
//! `$1` placeholders, text ids, epoch milliseconds as integers, JSON as text, 0/1 for truth. Sums are cast
//! (`cast(sum(x) as bigint)`), because PostgreSQL's are numeric.
//!
//! Writers come one after the other on both, also those of different portals: on SQLite every write goes through one connection that
//! begins at once, on PostgreSQL a transaction that writes begins by taking one advisory lock. So what a transaction read still holds
//! when it writes, no two can wait for each other, and the number of a change tells when it was committed (ADR 0007).
//!
//! Read on: `migrate` tables and their collation · `fault` what an error of the database means.

mod fault;
mod migrate;
#[cfg(test)]
mod test_support;

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyPool, Transaction};

pub use fault::{is_taken, is_unavailable};
#[cfg(test)]
pub use test_support::TestDb;

/// Longest wait for a connection; after it the request fails with "busy" rather than hang.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Connections that read, on SQLite and on PostgreSQL.
const READERS: [u32; 2] = [8, 12];

/// Connections that write: one works, the others hold their place in the queue of all portals.
const WRITERS: [u32; 2] = [1, 4];

/// What every connection to SQLite begins with.
const SQLITE: [&str; 4] =
    ["pragma journal_mode = wal", "pragma foreign_keys = on", "pragma busy_timeout = 5000", "pragma synchronous = full"];

/// What every connection to PostgreSQL begins with. A portal that froze within a transaction, or lost its network, frees the queue
/// after the last of these.
const POSTGRES: [&str; 3] =
    ["set lock_timeout = '5s'", "set statement_timeout = '30s'", "set idle_in_transaction_session_timeout = '15s'"];

/// A transaction of either database.
pub type Tx = Transaction<'static, Any>;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Db {
    read: AnyPool,
    write: AnyPool,
    kind: Kind,
}

impl Db {
    /// Opens the database of `url` (`sqlite:///path/portal.db` or `postgres://…`) and brings its tables up to date.
    ///
    /// # Errors
    /// Names the database without the password within its URL.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        sqlx::any::install_default_drivers();
        let kind = match url.split_once(':') {
            Some(("sqlite", _)) => Kind::Sqlite,
            Some(("postgres" | "postgresql", _)) => Kind::Postgres,
            _ => anyhow::bail!("database URL: begins with sqlite:// or postgres://"),
        };
        let place = place(url);
        let options =
            AnyConnectOptions::from_str(url).context("database URL: is sqlite:///path or postgres://user@host:port/database")?;
        let opening = || format!("opening the database {place}");
        migrate::run(kind, &options).await.with_context(opening)?;
        let connect = async |numbers: [u32; 2]| pool(kind, numbers).connect_with(options.clone()).await.with_context(opening);
        let db = Self { read: connect(READERS).await?, write: connect(WRITERS).await?, kind };
        tracing::info!(database = place, "database is open");
        Ok(db)
    }

    /// For queries outside a transaction.
    pub fn read(&self) -> &AnyPool {
        &self.read
    }

    /// Begins a transaction that writes, when it is its turn.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        match self.kind {
            Kind::Sqlite => self.write.begin_with("begin immediate").await,
            // The number says "zms" in ASCII; whoever else uses this database may use others. Both in one round trip.
            Kind::Postgres => self.write.begin_with("begin; select pg_advisory_xact_lock(8023411)").await,
        }
    }

    /// May another portal use the same database? What one portal has in memory and another needs goes through the tables then.
    pub fn is_shared(&self) -> bool {
        self.kind == Kind::Postgres
    }
}

fn pool(kind: Kind, [sqlite, postgres]: [u32; 2]) -> AnyPoolOptions {
    let (connections, first): (_, &'static [&'static str]) = match kind {
        Kind::Sqlite => (sqlite, &SQLITE),
        Kind::Postgres => (postgres, &POSTGRES),
    };
    AnyPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE).after_connect(move |connection, _| {
        Box::pin(async move {
            for statement in first {
                sqlx::query(*statement).execute(&mut *connection).await?;
            }
            Ok(())
        })
    })
}

/// The URL for logs: without user, password and parameters.
fn place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split('?').next().unwrap_or_default();
    // A password may hold an @ that nobody encoded; what follows the last one is the host.
    let rest = if scheme == "sqlite" { rest } else { rest.rsplit('@').next().unwrap_or_default() };
    format!("{scheme}://{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn insert(db: &Db, id: &str, name: &str) -> sqlx::Result<()> {
        let mut tx = db.begin().await?;
        sqlx::query("insert into environments (id, name, title, colour, created_at) values ($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(name)
            .bind("Development")
            .bind("green")
            .bind(1_i64)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    #[tokio::test]
    async fn tables_are_made_once_and_a_second_start_finds_them() {
        let (test, db) = Db::temporary().await;
        insert(&db, "1", "dev").await.unwrap();
        drop(db);
        let db = Db::open(test.url()).await.unwrap();
        let name: String = sqlx::query_scalar("select name from environments").fetch_one(db.read()).await.unwrap();
        assert_eq!(name, "dev");
        assert!(is_taken(&insert(&db, "2", "dev").await.unwrap_err()));
    }

    #[tokio::test]
    async fn text_sorts_by_its_bytes_and_is_compared_with_its_case() {
        let (_test, db) = Db::temporary().await;
        for (id, name) in ["b", "Z", "a-b", "a_b", "ab", "a1", "ä", "a"].into_iter().enumerate() {
            insert(&db, &id.to_string(), name).await.unwrap();
        }
        let names: Vec<String> =
            sqlx::query_scalar("select name from environments order by name").fetch_all(db.read()).await.unwrap();
        assert_eq!(names, ["Z", "a", "a-b", "a1", "a_b", "ab", "b", "ä"]);
        insert(&db, "x", "B").await.expect("another case is another name");
    }

    #[tokio::test]
    async fn what_a_transaction_read_still_holds_when_it_writes() {
        let (test, db) = Db::temporary().await;
        let other = Db::open(test.url()).await.unwrap();
        let add = async |db: Db| {
            let mut tx = db.begin().await.unwrap();
            let last: i64 = sqlx::query_scalar("select coalesce(max(n), 0) from changes").fetch_one(&mut *tx).await.unwrap();
            tokio::task::yield_now().await;
            sqlx::query("insert into changes (n, topic, at) values ($1, '', 1)").bind(last + 1).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..40 {
            tasks.spawn(add(if n % 2 == 0 { db.clone() } else { other.clone() }));
        }
        tasks.join_all().await;
        let last: i64 = sqlx::query_scalar("select max(n) from changes").fetch_one(db.read()).await.unwrap();
        assert_eq!(last, 40);
    }

    #[tokio::test]
    async fn an_error_names_the_database_and_never_its_password() {
        for url in [
            "postgres://zms:geheim@127.0.0.1:1/zms?connect_timeout=1",
            "postgres://zms:ge@heim@127.0.0.1:1/zms",
            "postgres://zms:geheim@127.0.0.1:port/zms",
            "mysql://zms:geheim@127.0.0.1/zms",
            "geheim",
        ] {
            let error = match tokio::time::timeout(Duration::from_secs(30), Db::open(url)).await.expect("it ends by itself") {
                Ok(_) => panic!("{url} is no database"),
                Err(error) => format!("{error:#}"),
            };
            assert!(!error.contains("geheim") && !error.contains("heim"), "{error}");
            assert!(error.contains("database"), "{error}");
        }
        assert_eq!(place("postgres://zms:ge@heim@db.example:5432/zms?sslmode=require"), "postgres://db.example:5432/zms");
        assert_eq!(place("sqlite:///var/lib/zms/portal.db?mode=rwc"), "sqlite:///var/lib/zms/portal.db");
    }
}

//! Brings tables up to date, before anything else uses them.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::AnyConnection;
use sqlx::any::AnyConnectOptions;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::time::{Instant, sleep, timeout};

use super::{Kind, SQLITE};

/// A database that is not there yet is waited for so long: it may start together with the portal.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time for everything; portals that start together wait for the one that does it.
const LONGEST: Duration = Duration::from_secs(600);

/// Migrations in their order; one that was released is never edited.
const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "portal", include_str!("../../migrations/0001_portal.sql")),
    (2, "topics", include_str!("../../migrations/0002_topics.sql")),
    (3, "portals", include_str!("../../migrations/0003_portals.sql")),
];

/// On a connection of its own, without the deadlines of requests.
pub(super) async fn run(kind: Kind, options: &AnyConnectOptions) -> anyhow::Result<()> {
    let mut connection = connect(options).await?;
    let work = async {
        if kind == Kind::Sqlite {
            for pragma in SQLITE {
                connection.execute(pragma).await?;
            }
        }
        let migrations = MIGRATIONS.map(|(version, name, sql)| {
            Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
        });
        let migrator = Migrator::with_migrations(migrations.to_vec());
        migrator.run(&mut connection).await.context("bringing the database up to date")?;
        if kind == Kind::Postgres {
            sort_by_bytes(&mut connection).await.context("setting the collation of text")?;
        }
        anyhow::Ok(connection.close().await?)
    };
    timeout(LONGEST, work)
        .await
        .with_context(|| format!("bringing the database up to date took longer than {} s", LONGEST.as_secs()))?
}

async fn connect(options: &AnyConnectOptions) -> anyhow::Result<AnyConnection> {
    let end = Instant::now() + PATIENCE;
    loop {
        match timeout(PATIENCE, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if !super::is_unavailable(&error) || Instant::now() >= end => return Err(error.into()),
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_) => anyhow::bail!("no answer within {} s", PATIENCE.as_secs()),
        }
    }
}

/// Text is compared and sorted by its bytes, as on SQLite, whatever the database was made with: lists look alike everywhere, and a new
/// version of the system's collations breaks no index.
async fn sort_by_bytes(connection: &mut AnyConnection) -> anyhow::Result<()> {
    let others = "select cast(table_name as text), cast(column_name as text) from information_schema.columns \
                  where table_schema = current_schema() and data_type = 'text' and coalesce(collation_name, '') <> 'C' \
                  and cast(table_name as text) not like '!_sqlx%' escape '!' order by table_name, ordinal_position";
    let mut tx = connection.begin().await?;
    // Portals that start together do this one after the other.
    sqlx::query("select 1 from pg_advisory_xact_lock(8023412)").execute(&mut *tx).await?;
    let columns: Vec<(String, String)> = sqlx::query_as(others).fetch_all(&mut *tx).await?;
    for (table, column) in columns {
        // The names are those of our migrations.
        let sql = format!("alter table \"{table}\" alter column \"{column}\" type text collate \"C\"");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

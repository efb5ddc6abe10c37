//! Databases for tests: the one place that chooses which. `ZMS_TEST_DATABASE=postgres` runs every test of the portal on PostgreSQL;
//! scripts/test runs the suite on both.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OnceCell;
use zms_testbed::Postgres;

use super::Db;

/// With all tables; each test gets a copy.
const TEMPLATE: &str = "template_zms";

/// A database of a test's own, and a folder; both are gone when this is dropped.
pub struct TestDb {
    folder: tempfile::TempDir,
    url: String,
    database: Option<String>,
}

impl TestDb {
    /// Of the kind that this run of the tests is about, without a connection.
    pub async fn new() -> Self {
        match std::env::var("ZMS_TEST_DATABASE").as_deref() {
            Err(_) | Ok("sqlite") => Self::sqlite(),
            Ok("postgres") => Self::postgres().await,
            Ok(other) => panic!("ZMS_TEST_DATABASE={other}: is sqlite or postgres"),
        }
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/portal.db?mode=rwc", folder.path().display());
        Self { folder, url, database: None }
    }

    /// A file of SQLite where a portal's own is in such a folder.
    pub fn sqlite_in(folder: tempfile::TempDir) -> Self {
        let url = format!("sqlite://{}/data/portal.db?mode=rwc", folder.path().display());
        Self { folder, url, database: None }
    }

    /// On PostgreSQL, whatever the run is about: for tests of several portals.
    pub async fn postgres() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static READY: OnceCell<()> = OnceCell::const_new();
        let make_template = async || {
            let server = blocking(Postgres::shared).await;
            blocking(|| server.create(TEMPLATE, None)).await;
            let db = Db::open(&server.url(TEMPLATE)).await.unwrap();
            db.read.close().await;
            db.write.close().await;
        };
        READY.get_or_init(make_template).await;
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let url = Postgres::shared().url(&name);
        let made = name.clone();
        blocking(move || Postgres::shared().create(&made, Some(TEMPLATE))).await;
        Self { folder: tempfile::tempdir().unwrap(), url, database: Some(name) }
    }

    /// For [`Db::open`] and settings.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Other tests of this thread's runtime go on meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

impl Drop for TestDb {
    fn drop(&mut self) {
        // Not here: a connection that this test's runtime was about to open ends with the runtime, and the server does not drop a database before, for up to
        // a minute.
        if let Some(name) = self.database.take() {
            std::thread::spawn(move || Postgres::shared().remove(&name));
        }
    }
}

impl Db {
    /// A database of its own for a test; it lives as long as the guard.
    pub async fn temporary() -> (TestDb, Self) {
        let test = TestDb::new().await;
        let db = Self::open(test.url()).await.unwrap();
        (test, db)
    }
}

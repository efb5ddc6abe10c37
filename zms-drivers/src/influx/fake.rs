//! One in memory, with InfluxDB's rules for users, rights, retentions and kinds of fields. It reads the lines as strictly as InfluxDB
//! does, so that whoever writes to it has written what InfluxDB takes.

mod parse;
mod state;
mod windows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use zms_core::series::Retention;

use super::{Lines, MetricAdmin, MetricError, MetricSink, MetricStore, Question, Right, Series, Store, quote};

pub use parse::{Written, parse};
use state::State;
pub use state::{Length, User};

/// The administrator of [`FakeInflux::new`].
pub const ADMINISTRATOR: &str = "zms";
/// Its password.
pub const PASSWORD: &str = "zms password";
/// The database of [`FakeInflux::new`].
pub const DATABASE: &str = "zms";

/// See the module. Clones of the `Arc` are the same server.
#[derive(Debug, Default)]
pub struct FakeInflux {
    state: Mutex<State>,
}

impl FakeInflux {
    /// With an administrator and a database that has our retentions.
    pub fn new() -> Arc<Self> {
        let fake = Self::bare();
        {
            let mut state = fake.lock();
            state.users.insert(ADMINISTRATOR.to_owned(), User { administers: true, ..User::with(PASSWORD) });
            state.ensure_database(DATABASE);
        }
        fake
    }

    /// As one is after its first start: without users and databases.
    pub fn bare() -> Arc<Self> {
        Arc::default()
    }

    /// Writes to its database as its administrator.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn MetricSink> {
        self.client(DATABASE, ADMINISTRATOR, PASSWORD)
    }

    /// Asks its database as its administrator.
    pub fn store(self: &Arc<Self>) -> Arc<dyn MetricStore> {
        self.client(DATABASE, ADMINISTRATOR, PASSWORD)
    }

    /// Makes databases and users as its administrator.
    pub fn admin(self: &Arc<Self>) -> Arc<dyn MetricAdmin> {
        self.client(DATABASE, ADMINISTRATOR, PASSWORD)
    }

    /// As somebody, to some database; the address does not matter.
    pub fn sink_of(self: &Arc<Self>, store: &Store) -> Arc<dyn MetricSink> {
        self.client(&store.database, &store.user, &store.password)
    }

    /// As somebody, from some database; the address does not matter.
    pub fn store_of(self: &Arc<Self>, store: &Store) -> Arc<dyn MetricStore> {
        self.client(&store.database, &store.user, &store.password)
    }

    /// As somebody.
    pub fn admin_of(self: &Arc<Self>, user: &str, password: &str) -> Arc<dyn MetricAdmin> {
        self.client("", user, password)
    }

    /// From now on every call ends so; `None`: as it should.
    pub fn set_fault(&self, fault: Option<MetricError>) {
        self.lock().fault = fault;
    }

    /// From now on points older than their retention are refused; before, none is too old.
    pub fn set_now(&self, now_ms: i64) {
        self.lock().now_ms = Some(now_ms);
    }

    /// Somebody else makes a database that has none of our retentions.
    pub fn make_database(&self, database: &str) {
        self.lock().databases.entry(database.to_owned()).or_default();
    }

    /// Somebody else makes a retention, or changes it.
    pub fn set_retention(&self, database: &str, retention: &str, length: Length) {
        self.lock().databases.entry(database.to_owned()).or_default().set_retention(retention, length);
    }

    /// The retentions of a database.
    pub fn retentions(&self, database: &str) -> BTreeMap<String, Length> {
        self.lock().databases.get(database).map(|database| database.retentions.clone()).unwrap_or_default()
    }

    /// A user by name.
    pub fn user(&self, name: &str) -> Option<User> {
        self.lock().users.get(name).cloned()
    }

    /// Somebody else makes a user an administrator.
    pub fn promote(&self, name: &str) {
        if let Some(user) = self.lock().users.get_mut(name) {
            user.administers = true;
        }
    }

    /// All points that were written to its database, by series and time.
    pub fn points(&self, retention: Retention) -> Vec<Written> {
        self.lock().databases.get(DATABASE).map(|database| database.points(retention.name())).unwrap_or_default()
    }

    fn client(self: &Arc<Self>, database: &str, user: &str, password: &str) -> Arc<Client> {
        let [database, user, password] = [database, user, password].map(str::to_owned);
        Arc::new(Client { server: Arc::clone(self), database, user, password })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who uses it.
struct Client {
    server: Arc<FakeInflux>,
    database: String,
    user: String,
    password: String,
}

impl Client {
    fn state(&self) -> Result<MutexGuard<'_, State>, MetricError> {
        let state = self.server.lock();
        state.fault.clone().map_or(Ok(state), Err)
    }

    /// As one who may do everything.
    fn state_of_administrator(&self, what: &str) -> Result<MutexGuard<'_, State>, MetricError> {
        let state = self.state()?;
        if state.user(what, &self.user, &self.password)?.administers {
            return Ok(state);
        }
        Err(MetricError::Denied { what: what.to_owned(), why: format!("user {:?} is no administrator", self.user) })
    }
}

#[async_trait]
impl MetricSink for Client {
    async fn write(&self, retention: Retention, lines: &Lines) -> Result<(), MetricError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut state = self.state()?;
        let now_ms = state.now_ms;
        let database = state.open("write", self, Right::Write)?;
        database.write(retention, lines.as_str(), now_ms)
    }
}

#[async_trait]
impl MetricStore for Client {
    async fn ask(&self, question: &Question) -> Result<Vec<Series>, MetricError> {
        question.check()?;
        if question.is_of_nothing() {
            return Ok(Vec::new());
        }
        let mut state = self.state()?;
        let database = state.open("ask", self, Right::Read)?;
        database.has(question.retention)?;
        Ok(windows::answer(database, question))
    }
}

#[async_trait]
impl MetricAdmin for Client {
    async fn ensure_administrator(&self) -> Result<(), MetricError> {
        quote::user(&self.user)?;
        quote::password(&self.password)?;
        let mut state = self.state()?;
        if state.users.is_empty() {
            state.users.insert(self.user.clone(), User { administers: true, ..User::with(&self.password) });
        }
        drop(state);
        self.state_of_administrator("be its administrator").map(drop)
    }

    async fn ensure_database(&self, database: &str) -> Result<(), MetricError> {
        quote::database(database)?;
        self.state_of_administrator("make a database")?.ensure_database(database);
        Ok(())
    }

    async fn ensure_user(&self, user: &str, password: &str, database: &str, right: Right) -> Result<(), MetricError> {
        quote::user(user)?;
        quote::password(password)?;
        quote::database(database)?;
        if user == self.user {
            return Err(MetricError::Refused { why: format!("user {user:?} is the administrator") });
        }
        let mut state = self.state_of_administrator("make a user")?;
        // As with the real one, the user is there even if the database is not.
        let rights = BTreeMap::from([(database.to_owned(), right)]);
        let there = state.databases.contains_key(database);
        let rights = if there { rights } else { BTreeMap::new() };
        state.users.insert(user.to_owned(), User { rights, ..User::with(password) });
        if there { Ok(()) } else { Err(state::no_database(database)) }
    }
}

//! What a case needs of a server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde_json::Value;
use zms_core::series::{Measurement, Point, Retention};
use zms_drivers::influx::fake::{FakeInflux, Length};
use zms_drivers::influx::{self, Aggregate, Column, Lines, MetricAdmin, MetricSink, MetricStore, Question, Right, Store};
use zms_testbed::Influx;

pub const DEADLINE: Duration = Duration::from_secs(10);
pub const ADMINISTRATOR: &str = "root";
pub const PASSWORD: &str = "root's \"password\"";

#[async_trait]
pub trait Bench: Sync {
    /// Says where a case failed.
    fn name(&self) -> &'static str;
    fn url(&self) -> String;
    fn sink(&self, store: &Store) -> Arc<dyn MetricSink> {
        influx::sink(store).unwrap()
    }
    fn store(&self, store: &Store) -> Arc<dyn MetricStore> {
        influx::store(store).unwrap()
    }
    fn admin_as(&self, user: &str, password: &str) -> Arc<dyn MetricAdmin> {
        influx::admin(&self.url(), user, password, DEADLINE).unwrap()
    }
    /// 2 says of what somebody may not ask that it is not there.
    fn hides(&self) -> bool {
        false
    }
    /// A database with our retentions, and its users.
    async fn prepare(&self, database: &str, users: &[(&str, &str, Right)]) {
        let admin = self.admin_as(ADMINISTRATOR, PASSWORD);
        admin.ensure_database(database).await.unwrap();
        for (user, password, right) in users {
            admin.ensure_user(user, password, database, *right).await.unwrap();
        }
    }
    /// Somebody else makes a database without our retentions.
    async fn make_database(&self, database: &str);
    /// Somebody else makes a retention, or changes one.
    async fn set_retention(&self, database: &str, retention: &str, length: Length);
    async fn retentions(&self, database: &str) -> BTreeMap<String, Length>;
    /// Somebody else makes a user an administrator.
    async fn promote(&self, user: &str);
}

pub fn admin(bench: &dyn Bench) -> Arc<dyn MetricAdmin> {
    bench.admin_as(ADMINISTRATOR, PASSWORD)
}

pub fn store(bench: &dyn Bench, database: &str, user: &str, password: &str) -> Store {
    let [database, user, password] = [database, user, password].map(str::to_owned);
    Store { url: bench.url(), database, user, password, deadline: DEADLINE }
}

/// A database with one who writes and one who asks.
pub struct Rig {
    pub writes: Store,
    pub asks: Store,
    pub sink: Arc<dyn MetricSink>,
    pub store: Arc<dyn MetricStore>,
}

impl Rig {
    pub async fn new(bench: &dyn Bench, database: &str) -> Self {
        let of = |user: &str| store(bench, database, &format!("{database} {user}"), &format!("{user}'s password"));
        let (writes, asks) = (of("writer"), of("reader"));
        let users = [(&writes, Right::Write), (&asks, Right::Read)];
        bench.prepare(database, &users.map(|(store, right)| (store.user.as_str(), store.password.as_str(), right))).await;
        Self { sink: bench.sink(&writes), store: bench.store(&asks), writes, asks }
    }

    pub async fn write(&self, retention: Retention, points: &[Point]) {
        self.sink.write(retention, &lines(points)).await.unwrap();
    }
}

pub fn lines(points: &[Point]) -> Lines {
    let mut lines = Lines::new();
    for point in points {
        assert!(lines.push(point), "{point:?}");
    }
    lines
}

/// Two hours ago, at a full hour: no retention is shorter.
pub fn start() -> i64 {
    now() / 3_600_000 * 3_600_000 - 7_200_000
}

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// For the mean of a field in windows of a minute in two hours, of all series together.
pub fn question(measurement: &'static Measurement, field: &'static str) -> Question {
    Question {
        retention: Retention::Raw,
        measurement,
        columns: vec![Column { field, aggregate: Aggregate::Mean }],
        tags: Vec::new(),
        by: Vec::new(),
        from_ms: start(),
        to_ms: start() + 7_200_000,
        step_ms: 60_000,
        limit_series: 100,
    }
}

pub struct FakeBench(pub Arc<FakeInflux>);

impl FakeBench {
    pub fn new() -> Self {
        let fake = FakeInflux::bare();
        fake.set_now(now());
        Self(fake)
    }
}

#[async_trait]
impl Bench for FakeBench {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn url(&self) -> String {
        String::new()
    }
    fn sink(&self, store: &Store) -> Arc<dyn MetricSink> {
        self.0.sink_of(store)
    }
    fn store(&self, store: &Store) -> Arc<dyn MetricStore> {
        self.0.store_of(store)
    }
    fn admin_as(&self, user: &str, password: &str) -> Arc<dyn MetricAdmin> {
        self.0.admin_of(user, password)
    }
    async fn make_database(&self, database: &str) {
        self.0.make_database(database);
    }
    async fn set_retention(&self, database: &str, retention: &str, length: Length) {
        self.0.set_retention(database, retention, length);
    }
    async fn retentions(&self, database: &str) -> BTreeMap<String, Length> {
        self.0.retentions(database)
    }
    async fn promote(&self, user: &str) {
        self.0.promote(user);
    }
}

pub struct RealBench {
    url: String,
    http: reqwest::Client,
}

impl RealBench {
    pub fn new(server: &Influx) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        Self { url: server.url(), http }
    }

    /// A statement of somebody else who may do everything.
    async fn run(&self, statement: &str) -> Value {
        let request = self.http.post(format!("{}/query", self.url)).basic_auth(ADMINISTRATOR, Some(PASSWORD));
        let answer: Value = request.form(&[("q", statement)]).send().await.unwrap().json().await.unwrap();
        assert!(answer["error"].is_null() && answer["results"][0]["error"].is_null(), "{statement}: {answer}");
        answer
    }
}

#[async_trait]
impl Bench for RealBench {
    fn name(&self) -> &'static str {
        "1.6.7"
    }
    fn url(&self) -> String {
        self.url.clone()
    }
    async fn make_database(&self, database: &str) {
        self.run(&format!("create database \"{database}\"")).await;
    }
    async fn set_retention(&self, database: &str, retention: &str, length: Length) {
        let verb = if self.retentions(database).await.contains_key(retention) { "alter" } else { "create" };
        let Length { hours, shard_hours, default } = length;
        let default = if default { "default" } else { "" };
        let lengths = format!("duration {hours}h replication 1 shard duration {shard_hours}h {default}");
        self.run(&format!("{verb} retention policy \"{retention}\" on \"{database}\" {lengths}")).await;
    }
    async fn retentions(&self, database: &str) -> BTreeMap<String, Length> {
        let answer = self.run(&format!("show retention policies on \"{database}\"")).await;
        let series = &answer["results"][0]["series"][0];
        assert_eq!(series["columns"], serde_json::json!(["name", "duration", "shardGroupDuration", "replicaN", "default"]));
        let hours = |text: &Value| text.as_str().unwrap().split_once('h').map_or(0, |(hours, _)| hours.parse().unwrap());
        let rows = series["values"].as_array().unwrap().iter().map(|row| {
            let length = Length { hours: hours(&row[1]), shard_hours: hours(&row[2]), default: row[4].as_bool().unwrap() };
            (row[0].as_str().unwrap().to_owned(), length)
        });
        rows.collect()
    }
    async fn promote(&self, user: &str) {
        self.run(&format!("grant all privileges to \"{user}\"")).await;
    }
}

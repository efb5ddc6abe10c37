//! An InfluxDB 2: what 1.x is told by statements, somebody else does here by its own API. Writing and asking go as with 1.x.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use zms_core::series::Retention;
use zms_drivers::influx::Right;
use zms_drivers::influx::fake::Length;
use zms_testbed::{Influx, InfluxOperator};

use super::bench::{Bench, DEADLINE};

pub struct TwoBench {
    url: String,
    http: reqwest::Client,
    operator: InfluxOperator,
    organisation: String,
}

impl TwoBench {
    pub async fn new(server: &Influx) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        let operator = server.operator();
        let mut bench = Self { url: server.url(), http, operator, organisation: String::new() };
        let found = bench.call(reqwest::Method::GET, &format!("api/v2/orgs?org={}", operator.organisation), &Value::Null).await;
        bench.organisation = found["orgs"][0]["id"].as_str().unwrap().to_owned();
        bench
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let request = self.http.request(method, format!("{}/{path}", self.url));
        let request = request.header("Authorization", format!("Token {}", self.operator.token));
        let answer = if body.is_null() { request.send().await } else { request.json(body).send().await }.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path} {body}: {status} {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(reqwest::Method::POST, path, &body).await
    }

    /// A bucket with the mapping by which 1.x's words reach it; its id.
    async fn make_bucket(&self, database: &str, retention: &str, length: Length) -> String {
        let rule = json!({
            "type": "expire",
            "everySeconds": u64::from(length.hours) * 3600,
            "shardGroupDurationSeconds": u64::from(length.shard_hours) * 3600,
        });
        let bucket = json!({ "orgID": self.organisation, "name": format!("{database}/{retention}"), "retentionRules": [rule] });
        let made = self.post("api/v2/buckets", bucket).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let mapping = json!({
            "orgID": self.organisation,
            "bucketID": id,
            "database": database,
            "retention_policy": retention,
            "default": length.default,
        });
        self.post("api/v2/dbrps", mapping).await;
        id
    }
}

#[async_trait]
impl Bench for TwoBench {
    fn name(&self) -> &'static str {
        "2.7.12"
    }
    fn url(&self) -> String {
        self.url.clone()
    }
    fn hides(&self) -> bool {
        true
    }
    /// Buckets for the retentions, and an authorisation of 1.x's form (user and password) for each user.
    async fn prepare(&self, database: &str, users: &[(&str, &str, Right)]) {
        let mut buckets = Vec::new();
        for retention in Retention::ALL {
            let default = retention == Retention::Raw;
            let length = Length { hours: retention.hours(), shard_hours: retention.shard_hours(), default };
            buckets.push(self.make_bucket(database, retention.name(), length).await);
        }
        for (user, password, right) in users {
            let action = match right {
                Right::Read => "read",
                Right::Write => "write",
            };
            let on = |id: &String| json!({ "action": action, "resource": { "type": "buckets", "orgID": self.organisation, "id": id } });
            let permissions: Vec<Value> = buckets.iter().map(on).collect();
            let wish = json!({ "orgID": self.organisation, "token": user, "permissions": permissions });
            let made = self.post("private/legacy/authorizations", wish).await;
            let path = format!("private/legacy/authorizations/{}/password", made["id"].as_str().unwrap());
            self.post(&path, json!({ "password": password })).await;
        }
    }
    async fn make_database(&self, database: &str) {
        self.make_bucket(database, "autogen", Length { hours: 0, shard_hours: 168, default: true }).await;
    }
    async fn set_retention(&self, _: &str, _: &str, _: Length) {
        unreachable!("cases of administration are not run on 2");
    }
    async fn retentions(&self, _: &str) -> BTreeMap<String, Length> {
        unreachable!("cases of administration are not run on 2");
    }
    async fn promote(&self, _: &str) {
        unreachable!("cases of administration are not run on 2");
    }
}

//! A portal for one request, with what tests have instead of servers around it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;
use zms_core::collect::Snapshot;
use zms_core::host::{Ask, Level};
use zms_core::series::{Point, Retention, TOPIC};
use zms_drivers::broker::fake::FakeCluster;
use zms_drivers::influx::Lines;
use zms_drivers::influx::fake::FakeInflux;
use zms_drivers::meta::fake::FakeMeta;

use super::super::PREFIX;
use super::super::call::Call;
use crate::access::Role;
use crate::access::token::{Token, code_hash};
use crate::app::{App, now_ms};
use crate::clusters::test_support::until;
use crate::services::test_agent::Agent;
use crate::services::test_support::TestApp;
use crate::{environments, users};

/// The outside of a portal: what tests have instead of servers.
pub struct Outside {
    pub brokers: Arc<FakeCluster>,
    pub meta: Arc<FakeMeta>,
    ends: Vec<tokio::task::JoinHandle<()>>,
    _level: watch::Sender<Level>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.ends.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Outside {
    /// An agent for each host, one cluster, a ZooKeeper, an InfluxDB with some points, and what a collector told.
    pub async fn of(app: &App) -> Self {
        let (brokers, meta) = (FakeCluster::new("kafka", 3), FakeMeta::new());
        app.brokers.with_every(brokers.clone());
        let (level, levels) = watch::channel(Level::Pass);
        let mut ends = Vec::new();
        if let Ok(environment) = environments::find_by_name(&app.db, "dev").await {
            app.metadata.with(&environment.id, meta.clone()).await;
            let influx = FakeInflux::new();
            let (now, mut lines) = (now_ms(), Lines::new());
            for n in 0..10 {
                lines.push(&Point::new(&TOPIC, &["kafka", "orders"], now - n * 10_000).with("rate_in", Some(5.0)));
            }
            influx.sink().write(Retention::Raw, &lines).await.unwrap();
            app.metrics.stores.with(&environment.id, influx.store()).await;
            app.metrics.snapshots.tell(&environment.id, seen(now), now).unwrap();
            let hosts = crate::hosts::list(&app.db, &environment.id).await.unwrap();
            for host in hosts {
                ends.push(tokio::spawn(Agent::new(app, &host.id, levels.clone()).await.run()));
                let asked = || app.hub.ask(&host.id, Ask::Preflight { instances: Vec::new() }, std::time::Duration::from_secs(5));
                until("the agent is connected", async || asked().await.is_ok()).await;
            }
        }
        Self { brokers, meta, ends, _level: level }
    }
}

/// One of everything that a collector tells.
fn seen(now_ms: i64) -> Snapshot {
    let attempt = json!({ "took_ms": 3, "requests": 2, "bytes": 900 });
    let group = json!({ "cluster": "kafka", "group": "billing", "topic": "orders", "state": "stable", "members": 2, "lag": 7,
        "lag_max": 5, "unknown": 0, "rate_out": 4.5 });
    let client = json!({ "topic": "orders", "application": "shop", "client": "c1", "ip": "10.0.0.9", "at_ms": now_ms, "rate": 5.0,
        "failed": 0.0, "p99_ms": 2.5 });
    let mut consumer = client.clone();
    consumer["group"] = json!("billing");
    serde_json::from_value(json!({
        "fence": 1, "at_ms": now_ms,
        "clusters": [{ "cluster": "kafka", "kind": "kafka", "reach": "whole", "attempt": attempt, "brokers": 3, "controller": 1, "topics": 4,
            "partitions": 12, "under_replicated": 0, "offline": 0, "groups": 2, "rate_in": 5.0 }],
        "topics": [{ "cluster": "kafka", "topic": "orders", "partitions": 3, "replicas": 1, "under_replicated": 0, "offline": 0,
            "end": 100, "kept": 90, "rate_in": 5.0 }],
        "groups": [group], "producers": [client], "consumers": [consumer], "sink": { "written": 9, "over": 0, "lost": 1 },
        "hosts": [{ "host": "01JD8Z3V9Q4M5N6P7R8S9TAVWX", "at_ms": now_ms, "dropped": 2 }],
    }))
    .unwrap()
}

/// A portal for one request.
pub struct Stage {
    pub router: Router,
    pub outside: Outside,
    pub ada: Token,
    pub vera: Token,
    pub test: TestApp,
}

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The administrator.
    Ada,
    /// Who may only look.
    Vera,
    /// Without a session.
    Nobody,
}

/// What came back.
pub struct Reply {
    pub status: StatusCode,
    /// Without parameters; empty if there is none.
    pub kind: String,
    pub body: String,
}

impl Stage {
    pub fn app(&self) -> &App {
        &self.test.app
    }

    pub async fn send(&self, call: &Call, sender: Sender) -> Reply {
        let method = call.method.to_uppercase();
        let mut request = Request::builder().method(method.as_str()).uri(format!("{}{}", PREFIX, call.path));
        if method != "GET" {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let token = match sender {
            Sender::Ada => Some(&self.ada),
            Sender::Vera => Some(&self.vera),
            Sender::Nobody => None,
        };
        if let Some(token) = token {
            request = request.header(header::COOKIE, format!("__Host-zms={}", token.reveal()));
        }
        let mut request = request.body(Body::from(call.body.clone())).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 50_000))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        let body = String::from_utf8(to_bytes(body, 16 << 20).await.unwrap().to_vec()).unwrap();
        Reply { status: parts.status, kind, body }
    }

    /// `grace` is a person.
    pub async fn add_grace(&self) {
        users::test_support::add(&self.app().db, "grace", &[Role::Developer]).await;
    }

    /// The code of this body is good for the set-up.
    pub async fn accept_code(&self, body: &Value) {
        let hash = code_hash(body["code"].as_str().unwrap_or_default());
        self.run("insert into setup_codes (id, code_hash, expires_at) values ('1', $1, $2)", &hash).await;
    }

    /// The token of this body is an invitation of `grace`.
    pub async fn invite_grace(&self, body: &Value) {
        let hash = Token::parse(body["token"].as_str().unwrap_or_default()).map(|token| token.hash()).unwrap_or_default();
        let sql = "insert into invitations (token_hash, name, role, created_by, created_at, expires_at) \
                   values ($1, 'grace', 'developer', 'ada', 0, $2)";
        self.run(sql, &hash).await;
    }

    /// Somebody approved request 1; nothing came of it yet.
    pub async fn approve(&self) {
        self.act(&Call {
            method: "post".to_owned(),
            path: "/requests/1/approve".to_owned(),
            body: json!({ "cluster": "kafka", "partitions": 3, "replicas": 1 }).to_string(),
        })
        .await;
    }

    /// A cluster that runs already is adopted as `old-kafka`.
    pub async fn adopt(&self) {
        let path = "/environments/dev/clusters".to_owned();
        let body = json!({ "name": "old-kafka", "kind": "kafka", "addresses": "10.0.0.9:9092" }).to_string();
        self.act(&Call { method: "post".to_owned(), path, body }).await;
    }

    /// The metadata store holds a tree of a first ZMS.
    pub fn plant_tree(&self) {
        for (path, value) in [
            ("/zms/cluster/k1", "bootAddr=10.0.0.1:9092\nbrokerType=kafka\nserverIps=10.0.0.1\n"),
            ("/zms/topic/payments", "clusterName=k1\ntype=topic\n"),
            ("/zms/consumergroup/ledger", "clusterName=k1\ntype=consumergroup\nbindingTopic=payments\n"),
            ("/zms/topic/empty", ""),
        ] {
            self.outside.meta.put(path, value);
        }
    }

    /// The environment's metadata is in a ZooKeeper of others.
    pub async fn choose_store(&self) {
        let path = "/environments/dev/metadata-store".to_owned();
        let body = json!({ "addresses": "10.0.0.1:2181" }).to_string();
        self.act(&Call { method: "put".to_owned(), path, body }).await;
    }

    /// Somebody restarts `kafka`; it is not done yet.
    pub async fn restart(&self) {
        let path = "/environments/dev/services/kafka/act/restart".to_owned();
        self.act(&Call { method: "post".to_owned(), path, body: String::new() }).await;
    }

    async fn act(&self, call: &Call) {
        let reply = self.send(call, Sender::Ada).await;
        assert!(reply.status.is_success(), "{call:?}: {} {}", reply.status, reply.body);
    }

    async fn run(&self, sql: &'static str, hash: &str) {
        let mut tx = self.app().db.begin().await.unwrap();
        sqlx::query(sql).bind(hash).bind(now_ms() + 3_600_000).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

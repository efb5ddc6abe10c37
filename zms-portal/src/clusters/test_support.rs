//! A portal whose environment has a fake ZooKeeper and a fake cluster.

use std::sync::Arc;

use tokio::sync::watch;
use zms_core::host::Port;
use zms_drivers::broker::fake::FakeCluster;
use zms_drivers::meta::fake::FakeMeta;

use super::{Cluster, NewService};
use crate::access::{Actor, Role, User};
use crate::app::{App, new_id, now_ms};
use crate::environments::{self, Environment, NewEnvironment};
use crate::services::test_support::TestApp;

/// See the module.
pub struct Stage {
    pub app: App,
    pub environment: Environment,
    pub meta: Arc<FakeMeta>,
    pub brokers: Arc<FakeCluster>,
    _stop: watch::Sender<bool>,
    _test: TestApp,
}

/// Somebody with one role.
pub fn user(name: &str, role: Role) -> User {
    User { id: name.to_owned(), name: name.to_owned(), roles: vec![role], language: String::new() }
}

/// Somebody at work.
pub fn actor(user: &User) -> Actor<'_> {
    Actor { user, address: "192.0.2.1" }
}

impl Stage {
    /// With a worker that performs effects.
    pub async fn set() -> Self {
        let test = TestApp::start().await;
        let app = test.app.clone();
        let operator = user("olga", Role::Operator);
        let new = NewEnvironment { name: "dev".to_owned(), title: String::new(), colour: "green".to_owned(), protected: false };
        let environment = environments::create(&app.db, actor(&operator), new, now_ms()).await.unwrap();
        let (meta, brokers) = (FakeMeta::new(), FakeCluster::new("kafka", 3));
        app.metadata.with(&environment.id, meta.clone()).await;
        let (end, stop) = watch::channel(false);
        let worker = app.clone();
        tokio::spawn(async move { worker.engine.run(stop).await });
        Self { app, environment, meta, brokers, _stop: end, _test: test }
    }

    /// The service `kafka` is healthy for the first time: its cluster begins to be published.
    pub async fn kafka_is_healthy(&self) -> Cluster {
        self.is_healthy("kafka", &[("client", 9092), ("controller", 9093)]).await
    }

    /// A service, named like its kind, is healthy for the first time on three hosts, each with these ports.
    pub async fn is_healthy(&self, kind: &str, ports: &[(&str, u16)]) -> Cluster {
        let service = new_id();
        let mut tx = self.app.db.begin().await.unwrap();
        let text = "insert into services (id, environment_id, name, kind, settings, packages, generated, created_by, created_at) \
                    values ($1, $2, $3, $3, '{}', '[]', '{}', 'olga', 0)";
        sqlx::query(text).bind(&service).bind(&self.environment.id).bind(kind).execute(&mut *tx).await.unwrap();
        let on = |host: u8| {
            let port = move |(name, port): &(&str, u16)| (format!("10.0.0.{host}"), (*name).to_owned(), *port);
            ports.iter().map(port).map(|(address, name, port)| Port { name, address, port })
        };
        let ports: Vec<Port> = (1..=3).flat_map(on).collect();
        // Before the worker can hear of the cluster: it would keep the connection that it opened first.
        for port in &ports {
            self.app.brokers.fake_at(&port.socket(), &self.brokers);
        }
        let ports = ports.iter().collect();
        let new = NewService { id: &service, name: kind, kind, environment_id: &self.environment.id, ports };
        super::begin(&self.app, &mut tx, &new, now_ms()).await.unwrap();
        tx.commit().await.unwrap();
        let cluster = super::find(&self.app.db, &self.environment.id, kind).await.unwrap();
        self.app.engine.wake();
        cluster
    }

    /// The cluster, when applications find it.
    pub async fn published(&self) -> Cluster {
        let cluster = self.kafka_is_healthy().await;
        until("the cluster is published", async || {
            super::by_id(&self.app.db, &cluster.id).await.unwrap().epoch > 0
                && self.meta.value("/zms/consumergroup/zms_collector").is_some()
        })
        .await;
        super::by_id(&self.app.db, &cluster.id).await.unwrap()
    }

    /// What stands in a node.
    pub fn node(&self, path: &str) -> String {
        self.meta.value(path).map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default()
    }
}

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    loop {
        look.tick().await;
        if holds().await {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "after 30 s still not: {what}");
    }
}

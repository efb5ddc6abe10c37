//! A portal whose environment has a fake ZooKeeper and a fake cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;
use zms_core::host::Port;
use zms_drivers::broker::fake::FakeCluster;
use zms_drivers::meta::fake::FakeMeta;
use zms_drivers::meta::{Access, Change, Link, MetaError, MetaStore, Node, Seen, Tree};

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

/// Against hanging, not for speed: hundreds of steps on a busy machine take their time.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    loop {
        look.tick().await;
        if holds().await {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "after {PATIENCE:?} still not: {what}");
    }
}

/// A store whose writes to one node are held until they are released: what happens in the middle of a step can be looked at.
pub struct Held {
    store: Arc<FakeMeta>,
    path: String,
    released: watch::Sender<bool>,
    waiting: AtomicUsize,
    done: AtomicUsize,
}

impl Held {
    /// Over `store`, held from now on.
    pub fn of(store: &Arc<FakeMeta>, path: &str) -> Arc<Self> {
        let (waiting, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { store: store.clone(), path: path.to_owned(), released: watch::Sender::new(false), waiting, done })
    }

    /// Nothing is held any more.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Writes to the node that began.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Writes to the node that were done.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl MetaStore for Held {
    async fn get(&self, path: &str) -> Result<Option<Node>, MetaError> {
        self.store.get(path).await
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, MetaError> {
        self.store.children(path).await
    }

    async fn apply(&self, changes: &[Change]) -> Result<Vec<i32>, MetaError> {
        let writes = |change: &Change| match change {
            Change::Check { .. } => false,
            Change::Create { path, .. } | Change::Set { path, .. } | Change::Delete { path, .. } => *path == self.path,
        };
        if !changes.iter().any(writes) {
            return self.store.apply(changes).await;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.released.subscribe().wait_for(|released| *released).await.expect("the sender is a field of this");
        let applied = self.store.apply(changes).await;
        self.done.fetch_add(1, Ordering::SeqCst);
        applied
    }

    async fn ensure_access(&self, path: &str, access: Access) -> Result<bool, MetaError> {
        self.store.ensure_access(path, access).await
    }

    fn node(&self, path: &str) -> watch::Receiver<Seen> {
        self.store.node(path)
    }

    fn tree(&self, prefix: &str) -> watch::Receiver<Option<Arc<Tree>>> {
        self.store.tree(prefix)
    }

    fn ephemeral(&self, path: &str, data: Vec<u8>) -> watch::Sender<Vec<u8>> {
        self.store.ephemeral(path, data)
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.store.link()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

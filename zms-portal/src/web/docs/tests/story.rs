//! The story that the examples tell, lived through once and kept at each moment, so that a portal at that moment is a copy of files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use sqlx::Connection as _;
use tokio::sync::watch;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{ClusterAdmin as _, OffsetWish, Outgoing};

use super::stage::{Outside, Stage};
use crate::access::session::{self, Limits};
use crate::access::token::Token;
use crate::access::{Role, User, password};
use crate::app::{App, now_ms};
use crate::clusters::test_support::{actor, until};
use crate::engine::Status;
use crate::environments::{self, NewEnvironment};
use crate::packages::test_support::put;
use crate::services::test_support::{TestApp, insert_host};
use crate::services::{self, WishedHost};
use crate::{requests, serve, users};

/// How far the story of the examples has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Nobody has set the portal up.
    Nobody,
    /// `ada` is the administrator, `vera` may look.
    People,
    /// The environment `dev` has a host with a ZooKeeper, and a join line.
    Hosts,
    /// The service `kafka` is healthy and its cluster published.
    Kafka,
    /// Request 1 asks for the topic `orders` with the group `billing`.
    Asked,
    /// It was approved, but the broker has another topic of that name.
    Stuck,
    /// It was approved and brought about.
    Made,
}

const MOMENTS: [Moment; 7] =
    [Moment::Nobody, Moment::People, Moment::Hosts, Moment::Kafka, Moment::Asked, Moment::Stuck, Moment::Made];
const PASSWORD: &str = "correct horse battery";

/// The flow of the examples.
const FLOW: &str = "01JDG71C6E9W3R5T7Y2A4F6G8H";

/// A portal at each moment, to be copied.
pub struct Story {
    folder: tempfile::TempDir,
    ada: Token,
    vera: Token,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Story {
    /// Lives through it once.
    pub async fn told() -> Self {
        let story = Self { folder: tempfile::tempdir().unwrap(), ada: Token::random(), vera: Token::random() };
        let test = TestApp::open(tempfile::tempdir().unwrap()).await;
        let app = &test.app;
        std::fs::create_dir_all(app.stock.folder()).unwrap();
        for (name, version) in [("zookeeper", "3.9.5"), ("kafka", "4.3.1"), ("jolokia", "2.6.0"), ("supervisor", "4.3.0")] {
            put(app.stock.folder(), name, version, "any", name.as_bytes());
        }
        let agent = format!("zms-agent-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
        std::fs::write(app.stock.folder().join(agent), "agent").unwrap();
        app.stock.rescan().await.unwrap();
        story.keep(app, Moment::Nobody).await;

        let kept = password::hash(PASSWORD).await.unwrap();
        let id = users::test_support::add_with(&app.db, "ada", &kept, &[Role::Administrator]).await;
        let ada = User { id, name: "ada".to_owned(), roles: vec![Role::Administrator], language: String::new() };
        let vera = users::test_support::add(&app.db, "vera", &[Role::Viewer]).await;
        let mut tx = app.db.begin().await.unwrap();
        for (token, id) in [(&story.ada, &ada.id), (&story.vera, &vera)] {
            let begun = session::start(&mut tx, id, "192.0.2.1", Limits::of(&app.config), now_ms()).await.unwrap();
            let rename = sqlx::query("update sessions set token_hash = $1 where token_hash = $2");
            rename.bind(token.hash()).bind(begun.hash()).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        story.keep(app, Moment::People).await;

        let new = NewEnvironment { name: "dev".to_owned(), colour: "green".to_owned(), ..NewEnvironment::default() };
        let environment = environments::create(&app.db, actor(&ada), new, now_ms()).await.unwrap();
        let host = insert_host(app, &environment, 1).await;
        let outside = Outside::of(app).await;
        let (end, stop) = watch::channel(false);
        let worker = tokio::spawn({
            let app = app.clone();
            async move { app.engine.run(stop).await }
        });
        let install = async |kind: &str| {
            let hosts = vec![WishedHost { host: host.clone(), address: String::new() }];
            let (name, kind) = (kind.to_owned(), kind.to_owned());
            let wish = services::Wish { name, kind, hosts, accept_warnings: true, ..services::Wish::default() };
            let flow = services::install(app, actor(&ada), &environment, wish, now_ms()).await.unwrap();
            until("it is installed", async || app.engine.view(&flow).await.unwrap().status == Status::Done).await;
        };
        install("zookeeper").await;
        let line = "insert into join_tokens (key_id, secret_hash, environment_id, created_by, created_at, expires_at, max_uses) \
                    values ($1, $1, $2, 'ada', $3, $4, 1)";
        let mut tx = app.db.begin().await.unwrap();
        let line = sqlx::query(line).bind("k7m2p9qx").bind(&environment.id).bind(now_ms()).bind(now_ms() + 3_600_000);
        line.execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        story.keep(app, Moment::Hosts).await;

        install("kafka").await;
        until("the cluster is published", async || {
            let flows = app.engine.of_subject(Some(&environment.id), "cluster/kafka").await.unwrap();
            !flows.is_empty() && flows.iter().all(|flow| flow.status.is_final())
        })
        .await;
        story.keep(app, Moment::Kafka).await;

        let wish = json!({ "kind": "topic", "name": "orders", "about": "Orders", "rate": 5, "size": 99, "retention_hours": 72, "group": "billing" });
        let number =
            requests::apply(app, actor(&ada), &environment, serde_json::from_value(wish).unwrap(), now_ms()).await.unwrap();
        assert_eq!(number, 1);
        story.keep(app, Moment::Asked).await;

        let choice = requests::Choice { cluster: "kafka".to_owned(), partitions: 3, replicas: 1 };
        let orders = PhysicalName::new("orders").unwrap();
        {
            let stuck = story.stage(Moment::Asked).await;
            stuck.outside.brokers.make_topic(&orders, 7);
            let flow = requests::approve(stuck.app(), actor(&ada), 1, choice.clone(), now_ms()).await.unwrap();
            let (end, stop) = watch::channel(false);
            let worker = tokio::spawn({
                let app = stuck.app().clone();
                async move { app.engine.run(stop).await }
            });
            until("it is stuck", async || stuck.app().engine.view(&flow).await.unwrap().status == Status::Waiting).await;
            end.send_replace(true);
            worker.await.unwrap();
            story.keep(stuck.app(), Moment::Stuck).await;
        }
        let flow = requests::approve(app, actor(&ada), 1, choice, now_ms()).await.unwrap();
        until("it is made", async || app.engine.view(&flow).await.unwrap().status == Status::Done).await;
        end.send_replace(true);
        worker.await.unwrap();
        drop(outside);
        story.keep(app, Moment::Made).await;
        story.name_flow(Moment::Made, &flow).await;
        story
    }

    async fn keep(&self, app: &App, moment: Moment) {
        let to = self.place(moment);
        std::fs::create_dir_all(to.join("data")).unwrap();
        copy(app.stock.folder(), &to.join("packages"));
        for entry in std::fs::read_dir(&app.config.data_dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() && !entry.file_name().to_string_lossy().starts_with("portal.db") {
                std::fs::copy(entry.path(), to.join("data").join(entry.file_name())).unwrap();
            }
        }
        let mut connection = sqlx::AnyConnection::connect(&app.config.database_url().unwrap()).await.unwrap();
        let to = to.join("data/portal.db").display().to_string();
        sqlx::query("vacuum into $1").bind(to).execute(&mut connection).await.unwrap();
    }

    /// Gives the flow of request 1 the id that the examples name.
    async fn name_flow(&self, moment: Moment, flow: &str) {
        let url = format!("sqlite://{}", self.place(moment).join("data/portal.db").display());
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        for sql in [
            "pragma foreign_keys = off",
            "update flows set id = $1 where id = $2",
            "update flow_events set flow_id = $1 where flow_id = $2",
            "update effects set flow_id = $1 where flow_id = $2",
            "update requests set flow_id = $1 where flow_id = $2",
        ] {
            let query = sqlx::query(sql);
            let query = if sql.contains("$2") { query.bind(FLOW).bind(flow) } else { query };
            query.execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }

    fn place(&self, moment: Moment) -> PathBuf {
        let n = MOMENTS.iter().position(|known| *known == moment).unwrap();
        self.folder.path().join(n.to_string())
    }

    /// A portal of its own at this moment. No worker runs: what is begun stays begun.
    pub async fn stage(&self, moment: Moment) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        copy(&self.place(moment), folder.path());
        let test = TestApp::open(folder).await;
        let outside = Outside::of(&test.app).await;
        if moment == Moment::Made {
            let [orders, billing] = ["orders", "billing"].map(|name| PhysicalName::new(name).unwrap());
            outside.brokers.make_topic(&orders, 3);
            outside.brokers.ensure_offsets(&billing, &orders, &OffsetWish::Earliest).await.unwrap();
            let message = Outgoing { key: Some("order-7".into()), ..Outgoing::new(orders.clone(), "{\"total\":7}") };
            outside.brokers.producer(Duration::from_secs(5)).send(message).await.unwrap();
        }
        let router = serve::ui_router(&test.app);
        Stage { router, outside, ada: self.ada.clone(), vera: self.vera.clone(), test }
    }
}

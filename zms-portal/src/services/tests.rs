//! From a wish to healthy instances and back, with agents that are a task in this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::Row;
use tokio::sync::watch;
use zms_core::host::{DesiredState, HostReport, InstanceSpec, Phase, SupervisorReport};
use zms_drivers::broker::fake::FakeCluster;

use super::change::{self, Act};
use super::test_support::TestApp;
use super::test_support::{insert_host, report};
use super::wish::{Wish, WishedHost};
use super::{ServiceStatus, cancel, choose_stores, find, install, list, remove, stores};
use crate::access::{Actor, Role, User};
use crate::app::{App, now_ms};
use crate::clusters;
use crate::environments::{self, Environment, NewEnvironment};
use crate::error::{Error, Result};
use crate::packages::test_support::put;

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

struct Portal {
    app: App,
    environment: Environment,
    operator: User,
    hosts: Vec<String>,
    /// Agents do what they are told only while this is true.
    agents_work: Arc<AtomicBool>,
    _stop: watch::Sender<bool>,
    _test: TestApp,
}

fn user(name: &str, role: Role) -> User {
    User { id: name.to_owned(), name: name.to_owned(), roles: vec![role], language: String::new() }
}

fn actor(user: &User) -> Actor<'_> {
    Actor { user, address: "192.0.2.1" }
}

impl Portal {
    async fn start() -> Self {
        let test = TestApp::start().await;
        let app = test.app.clone();
        let folder = app.stock.folder().to_owned();
        let servers =
            [("zookeeper", "3.9.5"), ("kafka", "4.3.1"), ("jolokia", "2.6.0"), ("influxdb", "1.6.7"), ("rocketmq", "5.5.0")];
        for (name, version) in servers {
            put(&folder, name, version, "any", name.as_bytes());
        }
        app.stock.rescan().await.unwrap();
        let operator = user("olga", Role::Operator);
        let new = NewEnvironment { name: "dev".to_owned(), title: String::new(), colour: "green".to_owned(), protected: false };
        let environment = environments::create(&app.db, actor(&operator), new, now_ms()).await.unwrap();
        let mut hosts = Vec::new();
        for number in 1..=3 {
            hosts.push(insert_host(&app, &environment, number).await);
        }
        let (end, stop) = watch::channel(false);
        let (engine, agents_work) = (app.clone(), Arc::new(AtomicBool::new(true)));
        tokio::spawn({
            let stop = stop.clone();
            async move { engine.engine.run(stop).await }
        });
        tokio::spawn(agents(app.clone(), agents_work.clone(), stop));
        Self { app, environment, operator, hosts, agents_work, _stop: end, _test: test }
    }

    fn wish(&self, name: &str, kind: &str, hosts: usize) -> Wish {
        let wished = |host: &String| WishedHost { host: host.clone(), address: String::new() };
        Wish {
            name: name.to_owned(),
            kind: kind.to_owned(),
            hosts: self.hosts.iter().take(hosts).map(wished).collect(),
            ..Wish::default()
        }
    }

    /// Installs without asking the hosts first.
    async fn install(&self, mut wish: Wish) -> Result<String> {
        wish.generate(self.app.catalogue.find(&wish.kind).unwrap());
        let decided = install::decide(&self.app, &self.environment, &wish, now_ms()).await?.map_err(Error::Invalid)?;
        install::begin(&self.app, actor(&self.operator), &self.environment, &wish.kind, decided, now_ms()).await
    }

    async fn status(&self, name: &str) -> Option<ServiceStatus> {
        find(&self.app, &self.environment, name, now_ms()).await.ok().map(|service| service.status)
    }

    async fn flow_status(&self, flow: &str) -> String {
        self.app.engine.view(flow).await.unwrap().status.to_string()
    }

    async fn until_flow(&self, flow: &str, wanted: &str) {
        until(&format!("flow {flow} is {wanted}"), async || self.flow_status(flow).await == wanted).await;
    }

    async fn denied(&self) -> Vec<String> {
        let rows = sqlx::query("select act from audit where result = 'denied' order by day, n")
            .fetch_all(self.app.db.read())
            .await
            .unwrap();
        rows.iter().map(|row| row.get("act")).collect()
    }
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !holds().await {
            ticks.tick().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("gave up waiting until {what}"));
}

/// Every host reports that it is what its desired state wants, as long as `work` is true; seen they are always.
async fn agents(app: App, work: Arc<AtomicBool>, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(30));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        let rows = sqlx::query("select id, desired, report from hosts").fetch_all(app.db.read()).await.unwrap();
        let mut tx = app.db.begin().await.unwrap();
        for row in rows {
            let (id, desired) = (row.get::<String, _>("id"), row.get::<Option<String>, _>("desired"));
            let mut found: Option<String> = row.get("report");
            if let (Some(desired), true) = (desired, work.load(Ordering::SeqCst)) {
                let desired: DesiredState = serde_json::from_str(&desired).unwrap();
                let instances = desired.instances.iter().map(|spec| report(spec, true)).collect();
                let supervisor = SupervisorReport::NotNeeded;
                let reported = HostReport {
                    agent_version: "1".to_owned(),
                    generation: desired.generation,
                    supervisor,
                    instances,
                    strays: Vec::new(),
                };
                found = Some(serde_json::to_string(&reported).unwrap());
            }
            let update = sqlx::query("update hosts set report = $1, seen_at = $2 where id = $3");
            update.bind(found).bind(now_ms()).bind(id).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_zookeeper_is_installed_changed_stopped_and_removed() {
    let portal = Portal::start().await;
    let (app, environment, operator) = (&portal.app, &portal.environment, &portal.operator);
    let flow = portal.install(portal.wish("zk", "zookeeper", 3)).await.unwrap();
    portal.until_flow(&flow, "done").await;
    let service = find(app, environment, "zk", now_ms()).await.unwrap();
    assert_eq!((service.status, service.healthy, service.wanted), (ServiceStatus::Healthy, 3, 3));
    assert_eq!(stores(app, environment).await.unwrap()["metadata"], "zk");
    let steps = app.engine.view(&flow).await.unwrap().steps;
    assert_eq!(steps.iter().filter(|step| step.name == "await_instance").count(), 3, "each instance is a step");
    assert!(steps.iter().any(|step| step.target == "dev/host-2"), "{steps:?}");

    let changes = BTreeMap::from([("tickTime".to_owned(), "3s".to_owned())]);
    let proposal = change::propose(app, environment, "zk", &changes).await.unwrap();
    assert_eq!(proposal.plan.instances.len(), 3);
    let flow = change::settings(app, actor(operator), environment, "zk", &changes, Some(&proposal.fingerprint), now_ms())
        .await
        .unwrap()
        .unwrap();
    portal.until_flow(&flow, "done").await;
    let specs: Vec<String> = sqlx::query_scalar("select spec from instances").fetch_all(app.db.read()).await.unwrap();
    assert!(specs.iter().all(|spec| spec.contains("tickTime=3000")));
    let same = change::settings(app, actor(operator), environment, "zk", &changes, None, now_ms()).await.unwrap();
    assert_eq!(same, None, "nothing is restarted for nothing");

    let flow = change::act(app, actor(operator), environment, "zk", None, Act::Stop, now_ms()).await.unwrap();
    portal.until_flow(&flow, "done").await;
    assert_eq!(portal.status("zk").await, Some(ServiceStatus::Stopped));
    let again = change::act(app, actor(operator), environment, "zk", None, Act::Stop, now_ms()).await;
    assert!(matches!(again, Err(Error::Conflict(_))));

    let wrong = remove(app, actor(operator), environment, "zk", "kz", now_ms()).await;
    assert!(matches!(wrong, Err(Error::Invalid(_))));
    let flow = remove(app, actor(operator), environment, "zk", "zk", now_ms()).await.unwrap();
    portal.until_flow(&flow, "done").await;
    assert!(list(app, environment, now_ms()).await.unwrap().is_empty());
    assert!(stores(app, environment).await.unwrap().is_empty());
    let desired: Vec<String> = sqlx::query_scalar("select desired from hosts").fetch_all(app.db.read()).await.unwrap();
    let left = desired.iter().map(|text| serde_json::from_str::<DesiredState>(text).unwrap().instances.len()).sum::<usize>();
    assert_eq!(left, 0, "hosts are told to forget what is gone");
}

#[tokio::test]
async fn the_second_instance_keeps_its_old_settings_while_the_first_is_not_healthy() {
    let portal = Portal::start().await;
    let (app, environment, operator) = (&portal.app, &portal.environment, &portal.operator);
    let flow = portal.install(portal.wish("kafka", "kafka", 3)).await.unwrap();
    portal.until_flow(&flow, "done").await;

    portal.agents_work.store(false, Ordering::SeqCst);
    let changes = BTreeMap::from([("log_level".to_owned(), "DEBUG".to_owned())]);
    let flow = change::settings(app, actor(operator), environment, "kafka", &changes, None, now_ms()).await.unwrap().unwrap();
    let changed = async || {
        let specs: Vec<String> =
            sqlx::query_scalar("select spec from instances order by node_id").fetch_all(app.db.read()).await.unwrap();
        specs.iter().map(|spec| spec.contains("level: DEBUG")).collect::<Vec<_>>()
    };
    until("the first instance has its new settings", async || changed().await[0]).await;
    until("the flow says what it waits for", async || {
        app.engine.view(&flow).await.unwrap().steps.iter().any(|step| step.note.contains("kafka-1 on host-1"))
    })
    .await;
    assert_eq!(changed().await, [true, false, false]);
    assert_eq!(portal.status("kafka").await, Some(ServiceStatus::Changing));

    let other = change::act(app, actor(operator), environment, "kafka", Some("kafka-2"), Act::Restart, now_ms()).await;
    assert!(matches!(other, Err(Error::Conflict(_))), "one flow holds the service");
    assert_eq!(cancel(app, actor(operator), environment, "kafka", now_ms()).await.unwrap(), flow);
    assert_eq!(portal.flow_status(&flow).await, "cancelled");

    portal.agents_work.store(true, Ordering::SeqCst);
    let proposal = change::propose(app, environment, "kafka", &BTreeMap::new()).await.unwrap();
    assert_eq!(proposal.plan.instances.len(), 2, "what is left of the change is offered again");
    let flow =
        change::settings(app, actor(operator), environment, "kafka", &BTreeMap::new(), None, now_ms()).await.unwrap().unwrap();
    portal.until_flow(&flow, "done").await;
    assert_eq!(changed().await, [true, true, true]);
}

#[tokio::test]
async fn clients_of_a_rocketmq_master_send_elsewhere_before_it_stops_while_another_goes_on() {
    let portal = Portal::start().await;
    let (app, environment, operator) = (&portal.app, &portal.environment, &portal.operator);
    let brokers = FakeCluster::new("mq", 2);
    for name_server in ["10.0.0.1:9876", "10.0.0.2:9876"] {
        app.brokers.fake_at(name_server, &brokers);
    }
    let flow = portal.install(portal.wish("mq", "rocketmq", 2)).await.unwrap();
    portal.until_flow(&flow, "done").await;
    let cluster = clusters::find(&app.db, &environment.id, "mq").await.unwrap();
    assert_eq!(cluster.addresses, ["10.0.0.1:9876", "10.0.0.2:9876"], "its name servers");
    app.brokers.set_routes_known(Duration::from_millis(500));
    let act = async |instance, act| change::act(app, actor(operator), environment, "mq", instance, act, now_ms()).await.unwrap();
    let phases = async || {
        let rows: Vec<String> =
            sqlx::query_scalar("select spec from instances order by node_id").fetch_all(app.db.read()).await.unwrap();
        rows.iter().map(|spec| serde_json::from_str::<InstanceSpec>(spec).unwrap().phase).collect::<Vec<_>>()
    };
    let retired = || brokers.retired().iter().map(ToString::to_string).collect::<Vec<_>>();

    let flow = act(Some("mq-1"), Act::Stop).await;
    until("clients are told", async || retired() == ["mq-1:0"]).await;
    until("it is said what is waited for", async || {
        app.engine.view(&flow).await.unwrap().steps.iter().any(|step| step.note.contains("takes no new messages"))
    })
    .await;
    assert_eq!(phases().await[0], Phase::Running, "it runs on until they have heard it");
    assert!(matches!(cancel(app, actor(operator), environment, "mq", now_ms()).await, Err(Error::Conflict(_))));
    portal.until_flow(&flow, "done").await;
    assert_eq!(phases().await[..2], [Phase::Stopped, Phase::Running]);

    // The last master has nobody to hand over to.
    let flow = act(Some("mq-2"), Act::Restart).await;
    portal.until_flow(&flow, "done").await;
    assert_eq!(retired(), ["mq-1:0"]);
    let flow = act(None, Act::Start).await;
    portal.until_flow(&flow, "done").await;
    let flow = act(None, Act::Restart).await;
    portal.until_flow(&flow, "done").await;
    assert_eq!(retired(), ["mq-1:0", "mq-2:0"], "one after the other; name servers are not asked");
    let flow = act(None, Act::Stop).await;
    portal.until_flow(&flow, "done").await;
    let steps = app.engine.view(&flow).await.unwrap().steps;
    assert!(steps.iter().all(|step| step.name != "ensure_no_sends"), "who stops all of it does not wait: {steps:?}");
}

#[tokio::test]
async fn of_two_installations_of_one_name_one_wins() {
    let portal = Portal::start().await;
    let (first, second) =
        tokio::join!(portal.install(portal.wish("a", "zookeeper", 1)), portal.install(portal.wish("a", "influxdb", 1)));
    let lost = match (first, second) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(&lost, Error::Invalid(problems) if problems[0].field == "name"), "{lost:?}");
    assert_eq!(list(&portal.app, &portal.environment, now_ms()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_viewer_may_change_nothing_and_every_try_is_audited() {
    let portal = Portal::start().await;
    let (app, environment) = (&portal.app, &portal.environment);
    let viewer = user("vera", Role::Viewer);
    let flow = portal.install(portal.wish("zk", "zookeeper", 1)).await.unwrap();
    portal.until_flow(&flow, "done").await;
    let none = BTreeMap::new();
    let tries = [
        super::install(app, actor(&viewer), environment, portal.wish("b", "zookeeper", 1), now_ms()).await.map(drop),
        change::settings(app, actor(&viewer), environment, "zk", &none, None, now_ms()).await.map(drop),
        change::act(app, actor(&viewer), environment, "zk", None, Act::Restart, now_ms()).await.map(drop),
        remove(app, actor(&viewer), environment, "zk", "zk", now_ms()).await.map(drop),
        cancel(app, actor(&viewer), environment, "zk", now_ms()).await.map(drop),
        choose_stores(app, actor(&viewer), environment, &none, now_ms()).await,
    ];
    for tried in tries {
        assert!(matches!(tried, Err(Error::Forbidden)), "{tried:?}");
    }
    let expected =
        ["service.install", "service.settings", "service.restart", "service.remove", "service.cancel", "environment.stores"];
    assert_eq!(portal.denied().await, expected);
}

#[tokio::test]
async fn a_removal_goes_on_without_a_host_that_was_taken_out_of_service() {
    let portal = Portal::start().await;
    let (app, environment, operator) = (&portal.app, &portal.environment, &portal.operator);
    let flow = portal.install(portal.wish("zk", "zookeeper", 1)).await.unwrap();
    portal.until_flow(&flow, "done").await;
    portal.agents_work.store(false, Ordering::SeqCst);
    let flow = remove(app, actor(operator), environment, "zk", "zk", now_ms()).await.unwrap();
    assert_eq!(portal.status("zk").await, Some(ServiceStatus::Removing));
    let taken_back = cancel(app, actor(operator), environment, "zk", now_ms()).await;
    assert!(matches!(taken_back, Err(Error::Conflict(_))), "{taken_back:?}");
    let mut tx = app.db.begin().await.unwrap();
    sqlx::query("update hosts set revoked = 1 where id = $1").bind(portal.hosts[0].as_str()).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    portal.until_flow(&flow, "done").await;
    assert_eq!(portal.status("zk").await, None);
}

#[tokio::test]
async fn a_store_is_of_the_right_kind_and_the_first_stays_until_a_person_chooses() {
    let portal = Portal::start().await;
    let (app, environment, operator) = (&portal.app, &portal.environment, &portal.operator);
    for (name, kind) in [("one", "zookeeper"), ("metrics", "influxdb")] {
        let flow = portal.install(portal.wish(name, kind, 1)).await.unwrap();
        portal.until_flow(&flow, "done").await;
    }
    let mut other = portal.wish("two", "zookeeper", 2);
    other.hosts.remove(0);
    let flow = portal.install(other).await.unwrap();
    portal.until_flow(&flow, "done").await;
    let names = |stores: BTreeMap<String, String>| {
        stores.into_iter().map(|(purpose, name)| format!("{purpose} {name}")).collect::<Vec<_>>()
    };
    assert_eq!(names(stores(app, environment).await.unwrap()), ["metadata one", "metrics metrics"]);
    let choose = async |purpose: &str, name: &str| {
        choose_stores(app, actor(operator), environment, &BTreeMap::from([(purpose.to_owned(), name.to_owned())]), now_ms()).await
    };
    for (purpose, name) in [("metadata", "metrics"), ("metadata", "nothing"), ("dreams", "one")] {
        assert!(matches!(choose(purpose, name).await, Err(Error::Invalid(_))), "{purpose} {name}");
    }
    choose("metadata", "two").await.unwrap();
    choose("metrics", "").await.unwrap();
    assert_eq!(names(stores(app, environment).await.unwrap()), ["metadata two"]);
    // Nodes that were published stand in that one, and nothing copies them.
    let new = crate::clusters::NewCluster {
        name: "old".to_owned(),
        kind: "kafka".to_owned(),
        addresses: "10.0.0.9:9092".to_owned(),
        ..crate::clusters::NewCluster::default()
    };
    crate::clusters::adopt(app, actor(operator), environment, &new, now_ms()).await.unwrap();
    choose("metadata", "one").await.unwrap();
    let mut tx = app.db.begin().await.unwrap();
    sqlx::query("update clusters set epoch = 1 where name = 'old'").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    for name in ["two", ""] {
        assert!(matches!(choose("metadata", name).await, Err(Error::Conflict(_))), "{name}");
    }
    choose("metadata", "one").await.unwrap();
    choose("metrics", "metrics").await.unwrap();
    assert_eq!(names(stores(app, environment).await.unwrap()), ["metadata one", "metrics metrics"]);
}

#[tokio::test]
async fn a_setting_that_would_not_render_changes_nothing() {
    let portal = Portal::start().await;
    let (app, environment, operator) = (&portal.app, &portal.environment, &portal.operator);
    let flow = portal.install(portal.wish("zk", "zookeeper", 1)).await.unwrap();
    portal.until_flow(&flow, "done").await;
    let wrong = BTreeMap::from([("tickTime".to_owned(), "never".to_owned())]);
    let tried = change::settings(app, actor(operator), environment, "zk", &wrong, None, now_ms()).await;
    assert!(matches!(&tried, Err(Error::Invalid(problems)) if problems[0].field == "settings.tickTime"), "{tried:?}");
    let right = BTreeMap::from([("tickTime".to_owned(), "3s".to_owned())]);
    let tried = change::settings(app, actor(operator), environment, "zk", &right, Some("of another plan"), now_ms()).await;
    assert!(matches!(tried, Err(Error::Conflict(_))), "{tried:?}");
    let settings: String = sqlx::query_scalar("select settings from services").fetch_one(app.db.read()).await.unwrap();
    assert_eq!(settings, "{}");
    let running = sqlx::query_scalar::<_, String>("select spec from instances").fetch_one(app.db.read()).await.unwrap();
    assert!(running.contains(&format!("{:?}", Phase::Running).to_lowercase()));
}

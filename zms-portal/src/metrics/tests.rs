//! Who is believed, what collectors are told, and what charts say when something is missing.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use tower::ServiceExt as _;
use zms_core::collect::{Orders, Sink, Snapshot};
use zms_core::host::Phase;
use zms_core::series::{HOST, Point, Retention};
use zms_drivers::influx::fake::FakeInflux;
use zms_drivers::influx::{Lines, MetricError};

use super::chart::{Subject, Windows};
use super::draw::draw;
use super::{Chart, collector_api, shared};
use crate::access::Role;
use crate::app::{new_id, now_ms};
use crate::authority::{Named, PeerCertificate};
use crate::clusters::test_support::{Stage, actor, user};
use crate::error::Error;
use crate::services::test_support::{insert_host, spec};
use crate::web::messages::Messages;

/// Asks as whoever the certificate names.
async fn ask(stage: &Stage, named: Named, request: axum::http::request::Builder, body: String) -> (StatusCode, Vec<u8>) {
    let (status, _, body) = answered(stage, named, request, body).await;
    (status, body)
}

async fn answered(
    stage: &Stage,
    named: Named,
    request: axum::http::request::Builder,
    body: String,
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let peer = PeerCertificate { der: [].into(), named, serial: "ab".into(), key_hash: String::new(), expired: false };
    let request = request
        .header(header::CONTENT_TYPE, "application/json")
        .extension(peer)
        .extension(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 40_000))))
        .body(Body::from(body))
        .unwrap();
    let router: Router = collector_api().with_state(stage.app.clone());
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, to_bytes(body, 1 << 20).await.unwrap().to_vec())
}

fn orders() -> axum::http::request::Builder {
    Request::get("/collector/v1/orders")
}

/// Puts an instance of `kind` on a host; its uid.
async fn place(stage: &Stage, host: &str, kind: &str, phase: Phase) -> String {
    let (uid, service) = (new_id(), new_id());
    let mut tx = stage.app.db.begin().await.unwrap();
    let text = "insert into services (id, environment_id, name, kind, settings, packages, generated, created_by, created_at) \
                values ($1, $2, $3, $3, '{}', '[]', '{}', 'olga', 0)";
    sqlx::query(text).bind(&service).bind(&stage.environment.id).bind(kind).execute(&mut *tx).await.unwrap();
    let text = "insert into instances (id, service_id, host_id, name, node_id, role, address, phase, generated, settings, spec) \
                values ($1, $2, $3, $4, 1, '', '10.0.0.1', $5, '{}', '{}', $6)";
    let name = format!("{kind}-1");
    let json = serde_json::to_string(&spec(&name, phase, 8445)).unwrap();
    let phase = if phase == Phase::Absent { "absent" } else { "running" };
    sqlx::query(text).bind(&uid).bind(&service).bind(host).bind(&name).bind(phase).bind(json).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    uid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_collectors_that_are_wanted_are_answered() {
    let stage = Stage::set().await;
    let host = insert_host(&stage.app, &stage.environment, 1).await;
    let kafka = place(&stage, &host, "kafka", Phase::Running).await;
    let collector = place(&stage, &host, "collector", Phase::Running).await;
    for (named, expected) in [
        (Named::Host(host.clone()), StatusCode::FORBIDDEN),
        (Named::Instance(kafka), StatusCode::FORBIDDEN),
        (Named::Instance(new_id()), StatusCode::FORBIDDEN),
        (Named::Instance(collector.clone()), StatusCode::OK),
    ] {
        let (status, body) = ask(&stage, named.clone(), orders(), String::new()).await;
        assert_eq!(status, expected, "{named:?}: {}", String::from_utf8_lossy(&body));
    }
    let mut tx = stage.app.db.begin().await.unwrap();
    sqlx::query("update instances set phase = 'absent' where id = $1").bind(&collector).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ask(&stage, Named::Instance(collector), orders(), String::new()).await.0, StatusCode::FORBIDDEN, "it is to go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_name_hosts_with_their_instances_and_are_given_once() {
    let stage = Stage::set().await;
    let host = insert_host(&stage.app, &stage.environment, 1).await;
    place(&stage, &host, "kafka", Phase::Running).await;
    let collector = Named::Instance(place(&stage, &host, "collector", Phase::Running).await);
    let (_, body) = ask(&stage, collector.clone(), orders(), String::new()).await;
    let first: Orders = serde_json::from_slice(&body).unwrap();
    let placed = &first.hosts[0].instances;
    assert_eq!((first.hosts[0].host.as_str(), first.hosts[0].name.as_str()), (host.as_str(), "host-1"));
    let named: Vec<(&str, Option<&str>)> =
        placed.iter().map(|placed| (placed.instance.as_str(), placed.cluster.as_ref().map(|cluster| cluster.as_str()))).collect();
    assert_eq!(named, [("collector-1", None), ("kafka-1", Some("kafka"))], "{placed:?}");
    assert!(first.metrics.is_none(), "there is no InfluxDB yet");

    let known = || Request::get(format!("/collector/v1/orders?known={}", first.revision));
    assert_eq!(ask(&stage, collector.clone(), known(), String::new()).await.0, StatusCode::NO_CONTENT);
    let second = insert_host(&stage.app, &stage.environment, 2).await;
    let (status, body) = ask(&stage, collector.clone(), known(), String::new()).await;
    assert_eq!(status, StatusCode::OK);
    let next: Orders = serde_json::from_slice(&body).unwrap();
    assert!(next.revision > first.revision && next.hosts.len() == 2);

    // Taken out of service: its certificate is not believed any more.
    let mut tx = stage.app.db.begin().await.unwrap();
    sqlx::query("update hosts set revoked = 1 where id = $1").bind(&second).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let (_, body) = ask(&stage, collector, orders(), String::new()).await;
    let last: Orders = serde_json::from_slice(&body).unwrap();
    assert_eq!((last.hosts.len(), last.revoked.as_slice()), (1, &["key-2".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_say_where_brokers_and_a_zookeeper_of_somebody_else_may_be() {
    let stage = Stage::set().await;
    let (app, environment) = (&stage.app, &stage.environment);
    let host = insert_host(app, environment, 1).await;
    let collector = Named::Instance(place(&stage, &host, "collector", Phase::Running).await);
    let given = async || -> Orders {
        let (_, body) = ask(&stage, collector.clone(), orders(), String::new()).await;
        serde_json::from_slice(&body).unwrap()
    };
    let first = given().await;
    assert_eq!((first.networks, first.metadata.and_then(|store| store.networks)), (Default::default(), None));
    // What ZMS installed is told with its addresses, and may be anywhere.
    let kafka = stage.kafka_is_healthy().await;
    assert_eq!(given().await.installed, [(kafka.name, kafka.addresses)].into());
    let olga = user("olga", Role::Operator);
    let networks = ["10.0.0.0/8".to_owned()];
    crate::environments::set_networks(&app.db, actor(&olga), environment, &networks, now_ms()).await.unwrap();
    let external = crate::metadata::external::NewExternal { addresses: "10.0.0.1:2181".to_owned(), ..Default::default() };
    crate::metadata::external::choose(app, actor(&olga), environment, external, now_ms()).await.unwrap();
    let bounded = given().await;
    let store = bounded.metadata.unwrap();
    assert_eq!((bounded.networks.to_string().as_str(), store.addresses.as_str()), ("10.0.0.0/8", "10.0.0.1:2181"));
    assert_eq!(store.networks, Some(bounded.networks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_an_earlier_leader_and_garbage_are_refused() {
    let stage = Stage::set().await;
    let host = insert_host(&stage.app, &stage.environment, 1).await;
    let collector = Named::Instance(place(&stage, &host, "collector", Phase::Running).await);
    let tell = async |fence: u64| {
        let body = serde_json::to_string(&Snapshot { fence, at_ms: 1, ..Snapshot::default() }).unwrap();
        ask(&stage, collector.clone(), Request::post("/collector/v1/snapshot"), body).await.0
    };
    assert_eq!(
        [tell(2).await, tell(1).await, tell(3).await],
        [StatusCode::NO_CONTENT, StatusCode::CONFLICT, StatusCode::NO_CONTENT]
    );
    let body = serde_json::to_string(&Snapshot { fence: 1, ..Snapshot::default() }).unwrap();
    let (_, headers, _) = answered(&stage, collector.clone(), Request::post("/collector/v1/snapshot"), body).await;
    assert_eq!(headers[zms_core::collect::FENCE_HEADER], "3", "its lease goes on above that");
    for body in ["", "{", "[]", "{\"fence\":-1}"] {
        let (status, _) = ask(&stage, collector.clone(), Request::post("/collector/v1/snapshot"), body.to_owned()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body:?}");
    }
    assert_eq!(stage.app.metrics.snapshots.last(&stage.environment.id).unwrap().snapshot.fence, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_told_one_portal_is_seen_at_the_other_and_an_earlier_leader_is_refused_at_both() {
    let stage = Stage::set().await;
    let other = crate::serve::open(stage.app.config.clone()).await.unwrap();
    let id = stage.environment.id.as_str();
    let snapshot = |fence, at_ms| Snapshot { fence, at_ms, ..Snapshot::default() };
    let now = now_ms();
    let mut seen = std::collections::BTreeMap::new();
    let fence_at = |app: &crate::app::App| app.metrics.snapshots.last(id).map(|told| (told.snapshot.fence, told.at_ms));

    shared::tell(&stage.app, id, snapshot(2, 1), now).await.unwrap().unwrap();
    shared::hear(&other, &mut seen).await.unwrap();
    assert_eq!(fence_at(&other), Some((2, now)));
    assert_eq!(shared::tell(&other, id, snapshot(1, 2), now + 5).await.unwrap(), Err(2));
    // The other's clock is behind: what is told later is still newer.
    shared::tell(&other, id, snapshot(3, 3), now - 500).await.unwrap().unwrap();
    shared::hear(&stage.app, &mut std::collections::BTreeMap::new()).await.unwrap();
    assert_eq!(fence_at(&stage.app), Some((3, now + 1)));
    // A portal that is started again knows what was told before.
    let again = crate::serve::open(stage.app.config.clone()).await.unwrap();
    shared::hear(&again, &mut std::collections::BTreeMap::new()).await.unwrap();
    assert_eq!(fence_at(&again).map(|(fence, _)| fence), Some(3));
}

async fn cpu(stage: &Stage) -> Result<super::draw::Drawn, Error> {
    let subject = Subject { host: "h".to_owned(), ..Subject::default() };
    let now = now_ms();
    let windows = Windows::new(now - 600_000, now, now);
    draw(&stage.app, &stage.environment, (Chart::HostCpu, &subject), windows, (now, Messages::ENGLISH)).await
}

fn unavailable(error: Error) -> String {
    match error {
        Error::Unavailable(text) => text.say(Messages::ENGLISH),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_says_what_is_missing_and_a_gap_is_not_zero() {
    let stage = Stage::set().await;
    assert!(unavailable(cpu(&stage).await.unwrap_err()).contains("install InfluxDB"));
    let influx = FakeInflux::new();
    stage.app.metrics.stores.with(&stage.environment.id, influx.store()).await;
    let note = cpu(&stage).await.unwrap().note.unwrap();
    assert!(note.contains("no collector"), "{note}");
    let host = insert_host(&stage.app, &stage.environment, 1).await;
    place(&stage, &host, "collector", Phase::Running).await;
    let note = cpu(&stage).await.unwrap().note.unwrap();
    assert!(note.contains("not been heard of"), "{note}");

    // Figures every 10 s, but for a while in which the collector said nothing.
    let now = now_ms() / 10_000 * 10_000;
    let snapshots = &stage.app.metrics.snapshots;
    let mut lines = Lines::new();
    for ago in [400, 390, 380, 300, 290, 30, 20, 10, 0] {
        let at_ms = now - ago * 1000;
        lines.push(&Point::new(&HOST, &["h"], at_ms).with("cpu", Some(50.0)));
        snapshots.tell(&stage.environment.id, Snapshot { fence: 1, ..Snapshot::default() }, at_ms).unwrap();
    }
    influx.sink().write(Retention::Raw, &lines).await.unwrap();
    let drawn = cpu(&stage).await.unwrap();
    assert_eq!((drawn.series.len(), drawn.note.as_deref()), (1, None), "{drawn:?}");
    let value = |ago: i64| {
        let at = drawn.t.iter().position(|at| *at == now - ago * 1000)?;
        drawn.series[0].values[at]
    };
    assert_eq!((value(390), value(350), value(290)), (Some(50.0), None, Some(50.0)));
    let gap = drawn.gaps.iter().find(|gap| gap.from_ms == now - 370_000).unwrap();
    assert_eq!((gap.to_ms, gap.why.as_str()), (now - 300_000, "the collector said nothing"));

    // It is heard, but what it writes does not arrive.
    let sink = Sink { problem: Some("no space".to_owned()), ..Sink::default() };
    snapshots.tell(&stage.environment.id, Snapshot { fence: 1, sink, ..Snapshot::default() }, now_ms()).unwrap();
    influx.set_fault(Some(MetricError::Away { why: "refused".to_owned() }));
    let why = unavailable(cpu(&stage).await.unwrap_err());
    assert!(why.contains("does not answer") && why.contains("refused"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_collector_is_named_with_the_time_of_its_silence() {
    let stage = Stage::set().await;
    stage.app.metrics.stores.with(&stage.environment.id, FakeInflux::new().store()).await;
    let snapshot = Snapshot { fence: 1, ..Snapshot::default() };
    stage.app.metrics.snapshots.tell(&stage.environment.id, snapshot, now_ms() - 120_000).unwrap();
    let note = cpu(&stage).await.unwrap().note.unwrap();
    assert!(note.contains("said nothing for 12"), "{note}");
}

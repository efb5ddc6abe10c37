//! Servers, a portal of paper, and collectors in this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zms_collector::config::Config;
use zms_core::collect::{FENCE_HEADER, Frames, Login, MetadataStore, MetricStore as Metrics, Orders, Snapshot, Watched};
use zms_core::metadata::{BrokerKind, ClusterNode, ConsumeFrom, GroupNode, Order, TopicNode, path};
use zms_core::names::{ClusterName, HostId, PhysicalName};
use zms_core::series::{Measurement, Retention};
use zms_core::statistics::TOPIC;
use zms_core::statistics::java::{CONSUMER_TOPIC, PRODUCER_TOPIC, Side};
use zms_drivers::broker::TopicWish;
use zms_drivers::influx::{self, Aggregate, Column, Question, Right};
use zms_drivers::meta::zookeeper::{Options, ZooKeeper as Meta};
use zms_drivers::meta::{Access, Change, Link, MetaStore as _};
use zms_drivers::open::{self, Endpoint};
use zms_sdk::{Builder, Message, Waits, Zms};
use zms_testbed::{Influx, Kafka, KafkaWish, ZooKeeper, ZooWish, free_port};

/// The one host that is believed.
pub const HOST: &str = "01JD8Z3V9Q4M5N6P7R8S9TAVWX";
const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until there is something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut pause = tokio::time::interval(Duration::from_millis(200));
    loop {
        pause.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "after {PATIENCE:?} still not: {what}");
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Key and certificate in one PEM.
fn identity(authority: &Authority, addresses: &[&str], uri: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(addresses.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    let certificate = params.signed_by(&key, authority).unwrap();
    format!("{}{}", key.serialize_pem(), certificate.pem())
}

/// What the paper portal knows.
#[derive(Clone)]
struct Portal {
    orders: Arc<Mutex<Orders>>,
    away: Arc<AtomicBool>,
    /// The highest fence that it has heard of.
    fence: Arc<AtomicU64>,
    refused: Arc<AtomicUsize>,
    told: mpsc::Sender<Snapshot>,
}

/// A portal of paper, and what collectors need to reach it.
pub struct Paper {
    folder: tempfile::TempDir,
    authority: Authority,
    portal: Portal,
    portal_url: String,
    told: tokio::sync::Mutex<mpsc::Receiver<Snapshot>>,
}

/// See the module.
pub struct Stage {
    paper: Paper,
    influx: Mutex<Influx>,
    store: Arc<dyn influx::MetricStore>,
    zookeeper: ZooKeeper,
    _kafka: Kafka,
}

/// A collector at work in this process.
pub struct Collector {
    pub frames: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Collector {
    pub async fn end(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap().unwrap();
    }
}

struct TlsListener(TcpListener, TlsAcceptor);

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.0.accept().await else { continue };
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn orders(State(portal): State<Portal>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    if portal.away.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let orders = portal.orders.lock().unwrap().clone();
    if query.get("known").and_then(|known| known.parse().ok()) == Some(orders.revision) {
        return StatusCode::NO_CONTENT.into_response();
    }
    Json(orders).into_response()
}

async fn snapshot(State(portal): State<Portal>, Json(snapshot): Json<Snapshot>) -> Response {
    if portal.away.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let highest = portal.fence.fetch_max(snapshot.fence, Ordering::Relaxed);
    if snapshot.fence < highest {
        portal.refused.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::CONFLICT, [(FENCE_HEADER, highest.to_string())]).into_response();
    }
    // A test looks at all of them, and is far from a full queue.
    portal.told.try_send(snapshot).unwrap();
    StatusCode::NO_CONTENT.into_response()
}

impl Stage {
    pub async fn set() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let servers = || (ZooKeeper::start(ZooWish::default()), Kafka::start(KafkaWish::default()), Influx::start());
        let (zookeeper, kafka, influx) = tokio::task::spawn_blocking(servers).await.unwrap();
        make_environment(&zookeeper, &kafka, &ClusterNode::new(BrokerKind::Kafka, kafka.plain(), kafka.plain())).await;
        let login = |who: &str| Login { user: format!("zms-{who}"), password: format!("password-of-{who}") };
        let admin = influx::admin(&influx.url(), "zms-administrator", "password", PATIENCE).unwrap();
        admin.ensure_administrator().await.unwrap();
        admin.ensure_database("zms").await.unwrap();
        for (who, right) in [("writer", Right::Write), ("reader", Right::Read)] {
            admin.ensure_user(&login(who).user, &login(who).password, "zms", right).await.unwrap();
        }
        let Login { user, password } = login("reader");
        let store = influx::Store { url: influx.url(), database: "zms".to_owned(), user, password, deadline: PATIENCE };
        let store = influx::store(&store).unwrap();

        let orders = Orders {
            revision: 7,
            environment: "dev".to_owned(),
            metadata: Some(MetadataStore {
                addresses: zookeeper.plain(),
                authority: String::new(),
                login: login("collector"),
                networks: None,
            }),
            metrics: Some(Metrics { url: influx.url(), database: "zms".to_owned(), login: login("writer") }),
            hosts: vec![Watched { host: HostId::new(HOST).unwrap(), name: "h1".to_owned(), instances: Vec::new() }],
            revoked: Vec::new(),
            adopted: Vec::new(),
            installed: Default::default(),
            networks: Default::default(),
            tick_s: 1,
        };
        let paper = Paper::set(orders).await;
        Self { paper, influx: Mutex::new(influx), store, zookeeper, _kafka: kafka }
    }
}

impl std::ops::Deref for Stage {
    type Target = Paper;
    fn deref(&self) -> &Paper {
        &self.paper
    }
}

impl Paper {
    /// A portal that gives these orders.
    pub async fn set(orders: Orders) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (telling, told) = mpsc::channel(10_000);
        let (orders, away, fence, refused) = (Arc::new(Mutex::new(orders)), Arc::default(), Arc::default(), Arc::default());
        let portal = Portal { orders, away, fence, refused, told: telling };
        let authority = authority("authority of the line");
        let pem = identity(&authority, &["127.0.0.1"], "zms://portal/1");
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap(),
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let portal_url = format!("https://{}", listener.local_addr().unwrap());
        let router =
            Router::new().route("/collector/v1/orders", get(self::orders)).route("/collector/v1/snapshot", post(snapshot));
        let listener = TlsListener(listener, TlsAcceptor::from(Arc::new(config.unwrap())));
        let router = router.with_state(portal.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { folder: tempfile::tempdir().unwrap(), authority, portal, portal_url, told: tokio::sync::Mutex::new(told) }
    }

    /// Starts a collector with a data folder of this name; ready when it can work.
    pub async fn collector(&self, name: &str) -> Collector {
        let path = |file: &str| self.folder.path().join(format!("{name}-{file}"));
        std::fs::write(path("authority.pem"), self.authority.pem()).unwrap();
        std::fs::write(path("identity.pem"), identity(&self.authority, &["127.0.0.1"], "zms://instance/1")).unwrap();
        let (frames, status): (SocketAddr, SocketAddr) =
            (([127, 0, 0, 1], free_port()).into(), ([127, 0, 0, 1], free_port()).into());
        let config = Config {
            portal: self.portal_url.clone(),
            authority: path("authority.pem"),
            identity: path("identity.pem"),
            data_dir: path("data"),
            frames_listen: frames,
            status_listen: status,
            queue_points: 100_000,
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(zms_collector::run::run(config, stopped));
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        until("the collector is alive", async || {
            let answer = http.get(format!("http://{status}/livez")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        Collector { frames, stop, task }
    }

    /// An application that sends twenty messages a second to `orders` for as long as the returned connection lives.
    pub async fn shop(&self, zookeeper: &ZooKeeper, with: impl FnOnce(Builder) -> Builder) -> Zms {
        let waits = Waits { statistics: Duration::from_secs(1), ..Waits::default() };
        let builder = Zms::builder().application("shop").zookeeper(zookeeper.plain());
        let zms = with(builder).cache(self.folder.path().join("shop")).waits(waits).connect().unwrap();
        zms.prepare("orders").await.unwrap();
        let sender = zms.clone();
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            loop {
                pace.tick().await;
                if sender.send("orders", Message::new("an order")).await.is_err() {
                    return;
                }
            }
        });
        zms
    }

    /// Waits for a snapshot, from now on.
    pub async fn told(&self, what: &str, fits: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let mut told = self.told.lock().await;
        let waiting = async {
            loop {
                let snapshot = told.recv().await.expect("the portal is there");
                if fits(&snapshot) {
                    return snapshot;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("after {PATIENCE:?} still not: {what}"))
    }

    /// From now on it gives these orders, which need a higher revision.
    pub fn give(&self, orders: Orders) {
        *self.portal.orders.lock().unwrap() = orders;
    }

    /// The portal heard of this fence before, under another metadata store.
    pub fn portal_knows(&self, fence: u64) {
        self.portal.fence.store(fence, Ordering::Relaxed);
    }

    /// Snapshots that were refused for their fence.
    pub fn refused(&self) -> usize {
        self.portal.refused.load(Ordering::Relaxed)
    }

    pub fn portal_is_away(&self, away: bool) {
        self.portal.away.store(away, Ordering::Relaxed);
    }

    /// Pushes frames as this host; the status.
    pub async fn push(&self, collector: &Collector, host: &str, frames: &Frames) -> u16 {
        self.push_with(collector, &identity(&self.authority, &[], &format!("zms://host/{host}")), frames).await.unwrap()
    }

    pub async fn push_as_a_stranger(&self, collector: &Collector, frames: &Frames) -> Result<u16, reqwest::Error> {
        let pem = identity(&authority("somebody else's"), &[], &format!("zms://host/{HOST}"));
        self.push_with(collector, &pem, frames).await
    }

    async fn push_with(&self, collector: &Collector, pem: &str, frames: &Frames) -> Result<u16, reqwest::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap(),
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap(),
        );
        let http =
            reqwest::Client::builder().tls_backend_preconfigured(config.unwrap()).no_proxy().timeout(PATIENCE).build().unwrap();
        let response = http.post(format!("https://{}/frames/v1", collector.frames)).json(frames).send().await?;
        Ok(response.status().as_u16())
    }
}

impl Stage {
    /// As [`Paper::shop`].
    pub async fn application(&self) -> Zms {
        self.shop(&self.zookeeper, |builder| builder).await
    }

    /// What clients of the first ZMS say, by way of somebody who sends anything.
    pub async fn java_clients(&self, zms: &Zms) {
        let sample = include_str!("../../../zms-core/tests/golden/java_statistics/producer-kafka.json");
        zms.send(PRODUCER_TOPIC, Message::new(sample.replace("\"ord_a\"", "\"orders\""))).await.unwrap();
        zms.send(PRODUCER_TOPIC, Message::new("garbage")).await.unwrap();
        let sample = include_str!("../../../zms-core/tests/golden/java_statistics/consumer-kafka.json");
        zms.send(CONSUMER_TOPIC, Message::new(sample)).await.unwrap();
    }

    pub fn influx(&self) -> MutexGuard<'_, Influx> {
        self.influx.lock().unwrap()
    }

    async fn ask(
        &self,
        measurement: &'static Measurement,
        field: &'static str,
        aggregate: Aggregate,
        (from_ms, to_ms, step_ms): (i64, i64, i64),
    ) -> Vec<f64> {
        let question = Question {
            retention: Retention::Raw,
            measurement,
            columns: vec![Column { field, aggregate }],
            tags: if measurement.tags.contains(&"topic") { vec![("topic", vec!["orders".to_owned()])] } else { Vec::new() },
            by: Vec::new(),
            from_ms,
            to_ms,
            step_ms,
            limit_series: 10,
        };
        let series = self.store.ask(&question).await.unwrap_or_default();
        series.into_iter().flat_map(|series| series.points).filter_map(|(_, values)| values.first().copied().flatten()).collect()
    }

    /// A figure since then, if there is one.
    pub async fn figure(
        &self,
        measurement: &'static Measurement,
        field: &'static str,
        aggregate: Aggregate,
        since: i64,
    ) -> Option<f64> {
        self.ask(measurement, field, aggregate, (since, since + 3_600_000, 3_600_000)).await.into_iter().next_back()
    }

    /// In how many seconds between two times there is a figure.
    pub async fn windows(&self, measurement: &'static Measurement, field: &'static str, from_ms: i64, to_ms: i64) -> usize {
        self.ask(measurement, field, Aggregate::Last, (from_ms, to_ms, 1_000)).await.len()
    }
}

/// What a portal would have made, with this node for the cluster `main`.
pub async fn make_environment(zookeeper: &ZooKeeper, kafka: &Kafka, main: &ClusterNode) {
    let name = |text: &str| PhysicalName::new(text).unwrap();
    let cluster = ClusterName::new("main").unwrap();
    let store = Meta::start(Options { addresses: zookeeper.plain(), ..Options::default() });
    let mut link = store.link();
    tokio::time::timeout(PATIENCE, link.wait_for(|link| matches!(link, Link::Up(_)))).await.expect("ZooKeeper is there").unwrap();
    let order = Order { term: 1, epoch: 1 };
    let mut nodes: Vec<(String, Vec<u8>)> = path::skeleton().into_iter().map(|path| (path, Vec::new())).collect();
    nodes.push((path::Path::SystemId.to_string(), b"environment".to_vec()));
    nodes.push((path::Path::Lease("collector").to_string(), Vec::new()));
    nodes.push((path::Path::Cluster(cluster.clone()).to_string(), main.to_bytes()));
    for topic in ["orders", TOPIC, PRODUCER_TOPIC, CONSUMER_TOPIC] {
        nodes.push((path::Path::Topic(name(topic)).to_string(), TopicNode::new(cluster.clone(), order).to_bytes()));
    }
    for (group, topic) in [
        ("zms_collector", TOPIC),
        (Side::Producer.group(), Side::Producer.topic()),
        (Side::Consumer.group(), Side::Consumer.topic()),
        // Of an application.
        ("grp_a", "orders"),
    ] {
        let node = GroupNode::new(cluster.clone(), name(topic), ConsumeFrom::Earliest, order);
        nodes.push((path::Path::Group(name(group)).to_string(), node.to_bytes()));
    }
    for (path, data) in nodes {
        store.apply(&[Change::Create { path, data, access: Access::Lease }]).await.unwrap();
    }
    let admin = open::admin(BrokerKind::Kafka, &Endpoint::plain("main", kafka.plain().split(','))).unwrap();
    for topic in ["orders", TOPIC, PRODUCER_TOPIC, CONSUMER_TOPIC] {
        let wish = TopicWish { name: name(topic), partitions: 3, replicas: 1, config: BTreeMap::new() };
        admin.ensure_topic(&wish).await.unwrap();
    }
    store.close().await;
}

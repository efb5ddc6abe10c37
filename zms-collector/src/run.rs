//! How it hangs together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use zms_core::collect::{MetadataStore, Orders};
use zms_core::series::{COLLECTOR, Point};
use zms_drivers::meta::MetaStore;
use zms_drivers::meta::zookeeper::{Identity, Options, Tls as MetaTls, ZooKeeper};

use crate::board::{Board, lock};
use crate::cluster::{self, next_tick};
use crate::config::Config;
use crate::frames::Hosts;
use crate::lease::{self, acquire};
use crate::news::News;
use crate::orders::{self, Current, Kept};
use crate::portal::{Portal, PortalError};
use crate::sink::Sink;
use crate::tls::Tls;
use crate::{listen, now_ms, reports};

/// How long the end may take: giving the lead back, the last figures.
const LAST_WORDS: Duration = Duration::from_secs(8);
/// Clusters whose ticks end within so long of each other are told in one snapshot.
const TOGETHER: Duration = Duration::from_millis(500);

/// Fence of a collector that holds no lease, because there is no store for one.
const WITHOUT_LEASE: u64 = 0;

/// Works until `stop` says so.
///
/// # Errors
/// What hinders the start.
pub async fn run(config: Config, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let tls = Tls::read(&config.authority, &config.identity)?;
    let portal = Arc::new(Portal::new(&config.portal, &tls)?);
    std::fs::create_dir_all(&config.data_dir).with_context(|| format!("making {}", config.data_dir.display()))?;
    let kept = Kept::new(&config.data_dir);
    let (orders, current) = watch::channel(kept.read().map(Arc::new));
    let frames = TcpListener::bind(config.frames_listen).await;
    let frames = frames.with_context(|| format!("listening for frames on {}", config.frames_listen))?;
    let status = TcpListener::bind(config.status_listen).await;
    let status = status.with_context(|| format!("listening for probes on {}", config.status_listen))?;

    let me = ulid::Ulid::new().to_string();
    let sink = Sink::new(config.queue_points);
    let hosts = Hosts::new(current.clone(), sink.clone());
    let board = Arc::new(Board::default());
    let fence = watch::Sender::new(None);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), id = me, frames = %config.frames_listen, "collector is up");

    let writing = tokio::spawn(sink.clone().run(current.clone(), stop.clone()));
    let environment = Environment {
        me: me.clone(),
        folder: config.data_dir.clone(),
        portal: portal.clone(),
        board: board.clone(),
        sink: sink.clone(),
        hosts: hosts.clone(),
        fence: fence.clone(),
        stop: stop.clone(),
    };
    let leading = tokio::spawn(environment.run(current.clone()));
    let itself = Itself { me, hosts: hosts.clone(), board, sink, fence: fence.subscribe() };
    let background = [
        tokio::spawn(orders::follow(portal, kept, orders, orders::EVERY)),
        tokio::spawn(listen::serve(frames, tls.server()?, hosts.router())),
        tokio::spawn(itself.run(current.clone())),
        tokio::spawn(async move {
            if let Err(error) = axum::serve(status, probes(current)).await {
                tracing::error!(%error, "the listener for probes ended");
            }
        }),
    ];
    let mut stop = stop;
    // A closed channel means the same.
    let _ = stop.wait_for(|stop| *stop).await;
    tracing::info!("ending");
    let ended = async { tokio::join!(leading, writing) };
    if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
        tracing::warn!("not everything was written in time");
    }
    for task in background {
        task.abort();
    }
    Ok(())
}

/// For the host's supervisor: alive means that it can work, with orders of today or of yesterday.
fn probes(orders: Current) -> Router {
    let alive = move || {
        let known = orders.borrow().is_some();
        async move {
            if known { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "no orders from the portal yet\n") }
        }
    };
    let version = || async { axum::Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") })) };
    Router::new().route("/livez", get(alive)).route("/version", get(version))
}

/// Clusters and applications of the environment, while this collector leads.
struct Environment {
    me: String,
    folder: std::path::PathBuf,
    portal: Arc<Portal>,
    board: Arc<Board>,
    sink: Sink,
    hosts: Hosts,
    fence: watch::Sender<Option<u64>>,
    stop: watch::Receiver<bool>,
}

/// What an environment's work depends on; another one begins it anew. Adopted clusters are followed while it goes on.
type Wanted = (Option<MetadataStore>, u32);

impl Environment {
    /// Follows the environment's metadata store from one to the next, or clusters of the orders alone while there is none.
    async fn run(self, mut orders: Current) {
        let wanted = |orders: &Option<Arc<Orders>>| -> Option<Wanted> {
            let orders = orders.as_ref()?;
            let alone = orders.metadata.is_none() && orders.adopted.is_empty();
            (!alone).then(|| (orders.metadata.clone(), orders.tick_s))
        };
        let mut stop = self.stop.clone();
        loop {
            let now = wanted(&orders.borrow_and_update());
            let work = async {
                match &now {
                    Some((Some(metadata), tick_s)) => self.of(metadata, *tick_s, orders.clone()).await,
                    Some((None, tick_s)) => self.without_store(*tick_s, orders.clone()).await,
                    None => drop(stop.wait_for(|stop| *stop).await),
                }
            };
            let mut changes = orders.clone();
            tokio::select! {
                // It ends only when everything does.
                () = work => return,
                changed = changes.wait_for(|orders| wanted(orders) != now) => {
                    if changed.is_err() {
                        return;
                    }
                    tracing::info!("the environment has another metadata store, or none");
                }
            }
            self.fence.send_replace(None);
            self.board.retain(|_| false);
        }
    }

    fn tools(&self, tick_s: u32, authority: &str) -> cluster::Tools {
        cluster::Tools {
            board: self.board.clone(),
            sink: self.sink.clone(),
            every_ms: i64::from(tick_s.max(1)) * 1000,
            authority: authority.to_owned(),
        }
    }

    /// Without a store there is no lease: every collector of the environment asks, points of the same tick are one point, and the portal
    /// takes the snapshots of all. Ends when everything ends.
    async fn without_store(&self, tick_s: u32, orders: Current) {
        let mut stop = self.stop.clone();
        let tools = self.tools(tick_s, "");
        let told = async {
            loop {
                self.tell(WITHOUT_LEASE).await;
                // One with a lease was heard a moment ago: the store has just been taken away.
                sleep(Duration::from_millis(u64::try_from(tools.every_ms).unwrap_or(10_000))).await;
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = cluster::follow(None, orders, tools.clone()) => {}
            () = told => {}
        }
    }

    /// Leads whenever it can. Ends when everything ends.
    async fn of(&self, metadata: &MetadataStore, tick_s: u32, orders: Current) {
        let store: Arc<dyn MetaStore> = ZooKeeper::start(zookeeper(metadata));
        let pace = lease::Pace::default();
        let mut stop = self.stop.clone();
        // The highest fence that the portal has heard of, as far as it told.
        let mut above = 0;
        loop {
            let lead = tokio::select! {
                lead = acquire(&store, &self.me, pace, above) => lead,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let fence = lead.fence();
            self.fence.send_replace(Some(fence));
            let tools = self.tools(tick_s, &metadata.authority);
            let reading = reports::Reading {
                store: store.clone(),
                metadata,
                folder: &self.folder,
                board: self.board.clone(),
                sink: self.sink.clone(),
            };
            tokio::select! {
                () = lead.keep(&store, self.stop.clone()) => {}
                () = cluster::follow(Some(store.clone()), orders.clone(), tools) => {}
                () = reading.follow(orders.clone()) => {}
                later = self.tell(fence) => above = above.max(later.unwrap_or(0)),
            }
            self.fence.send_replace(None);
            self.board.retain(|_| false);
            if *stop.borrow() {
                break;
            }
        }
        if tokio::time::timeout(Duration::from_secs(2), store.close()).await.is_err() {
            tracing::debug!("ZooKeeper did not answer the end of the session");
        }
    }

    /// Tells the portal what was seen, whenever a tick ended. Ends when the portal says that another one leads, with the fence of that one.
    async fn tell(&self, fence: u64) -> Option<u64> {
        let mut news = News::default();
        loop {
            self.board.changed.notified().await;
            sleep(TOGETHER).await;
            let snapshot = self.board.snapshot(fence, self.hosts.heard(), self.sink.figures(), now_ms());
            self.sink.push(lock(&self.board.applications).sums(snapshot.at_ms, now_ms()));
            let said = match self.portal.snapshot(&snapshot).await {
                Ok(()) => String::new(),
                Err(PortalError::Led { fence, why }) => {
                    tracing::warn!(why, "the portal has heard of a later leader");
                    return fence;
                }
                Err(error) => error.to_string(),
            };
            match (news.is_new(&said), said.as_str()) {
                (false, _) => {}
                (true, "") => tracing::info!("the portal takes snapshots"),
                (true, why) => tracing::warn!(why, "the portal does not take the snapshot"),
            }
        }
    }
}

/// How the environment's ZooKeeper is reached.
fn zookeeper(metadata: &MetadataStore) -> Options {
    let (secure, login) = (!metadata.authority.is_empty(), &metadata.login);
    Options {
        addresses: metadata.addresses.clone(),
        tls: secure.then(|| MetaTls { authority_pem: metadata.authority.clone() }),
        identity: secure.then(|| Identity { user: login.user.clone(), password: login.password.clone() }),
        networks: metadata.networks.clone(),
        ..Options::default()
    }
}

/// Figures of this collector itself.
struct Itself {
    me: String,
    hosts: Hosts,
    board: Arc<Board>,
    sink: Sink,
    fence: watch::Receiver<Option<u64>>,
}

impl Itself {
    async fn run(self, orders: Current) {
        loop {
            let every_ms = orders.borrow().as_ref().map_or(10_000, |orders| i64::from(orders.tick_s.max(1)) * 1000);
            let at_ms = next_tick(now_ms(), every_ms);
            sleep(Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0))).await;
            self.sink.push(vec![self.point(at_ms)]);
        }
    }

    fn point(&self, at_ms: i64) -> Point {
        let (clusters, away) = self.board.counts();
        let frames = self.hosts.counts();
        let reports = lock(&self.board.applications).counts();
        let sink = self.sink.figures();
        Point::new(&COLLECTOR, &[&self.me], at_ms)
            .with_whole("leads", Some(i64::from(self.fence.borrow().is_some())))
            .with_whole("clusters", Some(clusters))
            .with_whole("clusters_away", Some(away))
            .with_whole("frames", Some(frames.taken))
            .with_whole("frames_refused", Some(frames.refused))
            .with_whole("frames_dropped", Some(frames.dropped))
            .with_whole("reports", Some(reports.heard))
            .with_whole("reports_unreadable", Some(reports.unreadable))
            .with_whole("reports_over", Some(reports.over))
            .with_whole("reports_lost", Some(reports.dropped))
            .with_whole("lines_written", Some(sink.written))
            .with_whole("lines_queued", Some(sink.queued))
            .with_whole("lines_dropped", Some(sink.dropped))
            .with_whole("rss_bytes", resident_bytes())
    }
}

/// Resident memory of this process.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use zms_core::collect::Login;
    use zms_drivers::meta::Link;

    use super::*;

    #[tokio::test]
    async fn a_zookeeper_of_somebody_else_is_not_dialled_by_a_name_that_leads_outside_the_networks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metadata = |networks: Option<&str>| MetadataStore {
            addresses: format!("localhost:{}", listener.local_addr().unwrap().port()),
            authority: String::new(),
            login: Login { user: String::new(), password: String::new() },
            networks: networks.map(|text| text.parse().unwrap()),
        };
        let deadline = Duration::from_secs(20);
        let bounded = ZooKeeper::start(zookeeper(&metadata(Some("10.0.0.0/8"))));
        let mut link = bounded.link();
        let outside = |link: &Link| matches!(link, Link::Down(why) if why.contains("outside the environment's networks"));
        let said = async { drop(link.wait_for(outside).await.unwrap()) };
        tokio::select! {
            said = tokio::time::timeout(deadline, said) => said.expect("it says why"),
            _ = listener.accept() => panic!("it was dialled"),
        }
        bounded.close().await;
        let free = ZooKeeper::start(zookeeper(&metadata(None)));
        tokio::time::timeout(deadline, listener.accept()).await.expect("the same name without networks is dialled").unwrap();
        free.close().await;
    }
}

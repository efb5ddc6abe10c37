//! One contract for metadata stores: the same cases on the one in memory and on ZooKeeper, the latter through a proxy that cuts.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zms_drivers::meta::fake::FakeMeta;
use zms_drivers::meta::zookeeper::{Identities, Identity, Options, Tls, ZooKeeper as Store, digest};
use zms_drivers::meta::{Access, Change, Link, MetaError, MetaStore, Seen};
use zms_testbed::{Proxy, ZooKeeper, ZooWish};

const SESSION: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_secs(20);

/// A store, the same tree past the cuts, and the cuts.
#[async_trait(?Send)]
trait Bench {
    fn store(&self) -> Arc<dyn MetaStore>;
    async fn put(&self, path: &str, data: &str);
    async fn remove(&self, path: &str);
    async fn value(&self, path: &str) -> Option<Vec<u8>>;
    fn cut(&self);
    fn heal(&self);
    /// The session is lost, not the connection alone.
    async fn lose_session(&self);
}

struct FakeBench(Arc<FakeMeta>);

#[async_trait(?Send)]
impl Bench for FakeBench {
    fn store(&self) -> Arc<dyn MetaStore> {
        self.0.clone()
    }
    async fn put(&self, path: &str, data: &str) {
        self.0.put(path, data);
    }
    async fn remove(&self, path: &str) {
        self.0.remove(path);
    }
    async fn value(&self, path: &str) -> Option<Vec<u8>> {
        self.0.value(path)
    }
    fn cut(&self) {
        self.0.cut();
    }
    fn heal(&self) {
        self.0.heal();
    }
    async fn lose_session(&self) {
        self.0.cut();
        self.0.heal();
    }
}

struct RealBench {
    store: Arc<Store>,
    direct: Arc<Store>,
    proxy: Proxy,
}

impl RealBench {
    async fn new(server: &ZooKeeper) -> Self {
        let proxy = Proxy::start(server.plain().parse().unwrap());
        let through = Options { addresses: proxy.address().to_string(), session_timeout: SESSION, ..options(server) };
        let bench = Self { store: Store::start(through), direct: Store::start(options(server)), proxy };
        up(&*bench.store).await;
        up(&*bench.direct).await;
        bench
    }
}

fn options(server: &ZooKeeper) -> Options {
    let deadline = Duration::from_secs(3);
    // Long, so that what is seen was seen by watches and after reconnects, not by the timer.
    Options { addresses: server.plain(), deadline, relist: Duration::from_secs(600), ..Options::default() }
}

#[async_trait(?Send)]
impl Bench for RealBench {
    fn store(&self) -> Arc<dyn MetaStore> {
        self.store.clone()
    }
    async fn put(&self, path: &str, data: &str) {
        for (end, _) in path.match_indices('/').skip(1) {
            let parent = &path[..end];
            if self.direct.get(parent).await.unwrap().is_none() {
                self.direct.apply(&[create(parent, "")]).await.unwrap();
            }
        }
        let change = match self.direct.get(path).await.unwrap() {
            None => create(path, data),
            Some(_) => Change::Set { path: path.into(), data: data.into(), version: None },
        };
        self.direct.apply(&[change]).await.unwrap();
    }
    async fn remove(&self, path: &str) {
        self.direct.apply(&[Change::Delete { path: path.into(), version: None }]).await.unwrap();
    }
    async fn value(&self, path: &str) -> Option<Vec<u8>> {
        self.direct.get(path).await.unwrap().map(|node| node.data.to_vec())
    }
    fn cut(&self) {
        self.proxy.cut();
    }
    fn heal(&self) {
        self.proxy.heal();
    }
    async fn lose_session(&self) {
        let before = connection(&*self.store);
        self.proxy.cut();
        // The client notices at seven fifths of the session's time-out; the server sooner.
        tokio::time::sleep(SESSION * 2).await;
        self.proxy.heal();
        until("a new connection", async || (connection(&*self.store) > before).then_some(())).await;
    }
}

fn create(path: &str, data: &str) -> Change {
    Change::Create { path: path.into(), data: data.into(), access: Access::Legacy }
}

fn connection(store: &dyn MetaStore) -> u64 {
    match &*store.link().borrow() {
        Link::Up(connection) => *connection,
        Link::Down(_) => 0,
    }
}

async fn up(store: &dyn MetaStore) {
    let mut link = store.link();
    let is_up = link.wait_for(|link| matches!(link, Link::Up(_)));
    tokio::time::timeout(WAIT, is_up).await.expect("connected in time").unwrap();
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 20 s: {what}");
}

fn text(seen: &Seen) -> Option<String> {
    match seen {
        Seen::There(node) => Some(String::from_utf8(node.data.to_vec()).unwrap()),
        Seen::NotYet | Seen::Absent | Seen::Denied => None,
    }
}

async fn reads_and_writes_all_or_nothing(bench: &dyn Bench) {
    let store = bench.store();
    assert_eq!(store.get("/t").await.unwrap(), None);
    assert_eq!(store.children("/t").await.unwrap(), None);
    let missing = store.apply(&[create("/t/a", "1")]).await;
    assert!(matches!(missing, Err(MetaError::Missing(_))), "a parent is missing: {missing:?}");
    assert_eq!(store.apply(&[create("/t", ""), create("/t/b", "1"), create("/t/a", "1")]).await.unwrap(), [0, 0, 0]);
    assert_eq!(store.children("/t").await.unwrap().unwrap(), ["a", "b"]);
    let set = |path: &str, version| Change::Set { path: path.into(), data: "2".into(), version };
    let check = |path: &str, version| Change::Check { path: path.into(), version };
    let old = store.apply(&[set("/t/a", None), check("/t/b", 7)]).await;
    assert_eq!(old, Err(MetaError::Changed("/t/b".into())));
    assert_eq!(bench.value("/t/a").await.unwrap(), b"1", "all or nothing");
    assert_eq!(store.apply(&[check("/t/b", 0), set("/t/a", Some(0)), set("/t/a", None)]).await.unwrap(), [-1, 1, 2]);
    assert_eq!(store.apply(&[set("/t/a", Some(0))]).await, Err(MetaError::Changed("/t/a".into())));
    assert_eq!(store.apply(&[create("/t/a", "")]).await, Err(MetaError::Exists("/t/a".into())));
    let delete = |path: &str, version| Change::Delete { path: path.into(), version };
    assert_eq!(store.apply(&[delete("/t", None)]).await, Err(MetaError::HasChildren("/t".into())));
    assert_eq!(store.apply(&[delete("/t/a", Some(2)), delete("/t/b", None), delete("/t", None)]).await.unwrap(), [-1, -1, -1]);
    assert_eq!(store.apply(&[delete("/t", None)]).await, Err(MetaError::Missing("/t".into())));
    assert_eq!(store.apply(&[]).await.unwrap(), [0_i32; 0]);
}

async fn rights_are_changed_once_and_only_of_nodes_that_are_there(bench: &dyn Bench) {
    let store = bench.store();
    store.apply(&[create("/rights", "1")]).await.unwrap();
    // Without identities everybody may do everything, whatever is asked for; so only the second time says the same everywhere.
    store.ensure_access("/rights", Access::Read).await.unwrap();
    assert_eq!(store.ensure_access("/rights", Access::Read).await, Ok(false));
    assert_eq!(store.ensure_access("/nobody", Access::Read).await, Err(MetaError::Missing("/nobody".into())));
    bench.cut();
    until("the loss is known", async || matches!(*store.link().borrow(), Link::Down(_)).then_some(())).await;
    assert!(store.ensure_access("/rights", Access::Read).await.unwrap_err().is_passing());
    bench.heal();
    until("it is back", async || matches!(*store.link().borrow(), Link::Up(_)).then_some(())).await;
}

async fn a_node_is_followed_from_its_making_to_its_end(bench: &dyn Bench) {
    let mut node = bench.store().node("/n/x");
    tokio::time::timeout(WAIT, node.wait_for(|seen| *seen == Seen::Absent)).await.unwrap().unwrap();
    for value in ["1", "2", "3"] {
        bench.put("/n/x", value).await;
        tokio::time::timeout(WAIT, node.wait_for(|seen| text(seen).as_deref() == Some(value))).await.unwrap().unwrap();
    }
    bench.remove("/n/x").await;
    tokio::time::timeout(WAIT, node.wait_for(|seen| *seen == Seen::Absent)).await.unwrap().unwrap();
}

async fn what_changed_during_a_cut_is_seen_after_it(bench: &dyn Bench) {
    let store = bench.store();
    bench.put("/c/x", "1").await;
    let (mut node, mut tree) = (store.node("/c/x"), store.tree("/c"));
    tokio::time::timeout(WAIT, node.wait_for(|seen| text(seen).is_some())).await.unwrap().unwrap();
    tokio::time::timeout(WAIT, tree.wait_for(|tree| tree.as_ref().is_some_and(|tree| tree.len() == 2))).await.unwrap().unwrap();
    for round in ["a", "b"] {
        bench.cut();
        until("the loss is known", async || matches!(*store.link().borrow(), Link::Down(_)).then_some(())).await;
        assert!(matches!(store.get("/c/x").await, Err(MetaError::Unavailable(_))), "refused at once");
        bench.put("/c/x", round).await;
        bench.put(&format!("/c/{round}"), "").await;
        bench.heal();
        tokio::time::timeout(WAIT, node.wait_for(|seen| text(seen).as_deref() == Some(round))).await.unwrap().unwrap();
        let path = format!("/c/{round}");
        let seen = |tree: &Option<Arc<zms_drivers::meta::Tree>>| tree.as_ref().is_some_and(|tree| tree.contains_key(&path));
        tokio::time::timeout(WAIT, tree.wait_for(seen)).await.unwrap().unwrap();
        // Watches work after the reconnect as well, not the list alone.
        bench.put(&path, "after").await;
        let after =
            |tree: &Option<Arc<zms_drivers::meta::Tree>>| tree.as_ref().is_some_and(|tree| *tree[&path].data == *b"after");
        tokio::time::timeout(WAIT, tree.wait_for(after)).await.unwrap().unwrap();
    }
}

async fn an_ephemeral_node_survives_its_session_and_goes_with_its_owner(bench: &dyn Bench) {
    bench.put("/e", "").await;
    let store = bench.store();
    let owner = store.ephemeral("/e/me", b"1".to_vec());
    let is =
        async |value: &[u8]| until("the value is there", async || (bench.value("/e/me").await? == value).then_some(())).await;
    is(b"1").await;
    assert!(store.get("/e/me").await.unwrap().unwrap().ephemeral);
    owner.send_replace(b"2".to_vec());
    is(b"2").await;
    bench.lose_session().await;
    is(b"2").await;
    owner.send_replace(b"3".to_vec());
    is(b"3").await;
    drop(owner);
    until("it is gone", async || bench.value("/e/me").await.is_none().then_some(())).await;
}

async fn closing_ends_the_session_at_once(bench: &dyn Bench) {
    bench.put("/z", "").await;
    let store = bench.store();
    let _owner = store.ephemeral("/z/me", Vec::new());
    let _node = store.node("/z");
    let _tree = store.tree("/z");
    until("it is there", async || bench.value("/z/me").await).await;
    tokio::time::timeout(WAIT, store.close()).await.expect("closing ends");
    let quickly = async { until("it is gone", async || bench.value("/z/me").await.is_none().then_some(())).await };
    tokio::time::timeout(SESSION / 2, quickly).await.expect("sooner than the session's time-out");
    assert!(matches!(store.get("/z").await, Err(MetaError::Unavailable(_))));
}

macro_rules! run {
    ($bench:expr, $($case:ident),* $(,)?) => {{
        let mut count = 0;
        $(
            println!("{}", stringify!($case));
            tokio::time::timeout(Duration::from_secs(90), $case($bench)).await.expect(stringify!($case));
            count += 1;
        )*
        count
    }};
}

async fn run(bench: &dyn Bench) -> usize {
    run!(
        bench,
        reads_and_writes_all_or_nothing,
        rights_are_changed_once_and_only_of_nodes_that_are_there,
        a_node_is_followed_from_its_making_to_its_end,
        what_changed_during_a_cut_is_seen_after_it,
        an_ephemeral_node_survives_its_session_and_goes_with_its_owner,
        closing_ends_the_session_at_once,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_zookeeper_pass_the_same_cases() {
    let on_fake = run(&FakeBench(FakeMeta::new())).await;
    let server = tokio::task::spawn_blocking(|| ZooKeeper::start(ZooWish { tls: true })).await.unwrap();
    let on_real = run(&RealBench::new(&server).await).await;
    identities_over_tls(&server).await;
    println!("contract meta: {on_fake} cases on fake, {on_real} on real");
}

/// What the fake does not play: TLS, who may do what, and requests that are too large.
async fn identities_over_tls(server: &ZooKeeper) {
    let ids = |user: &str| digest(user, &format!("{user} password"));
    let access = Identities {
        portal: ids("portal"),
        sdk: ids("sdk"),
        collector: ids("collector"),
        backup: ids("backup"),
        world_reads: false,
    };
    let connect = async |user: &str, password: String, authority_pem: &str| {
        let identity = Some(Identity { user: user.into(), password });
        let tls = Some(Tls { authority_pem: authority_pem.into() });
        Store::start(Options { addresses: server.tls().unwrap(), tls, identity, access: Some(access.clone()), ..options(server) })
    };
    let portal = connect("portal", "portal password".into(), server.authority_pem()).await;
    up(&*portal).await;
    let make = |path: &str, access| Change::Create { path: path.into(), data: b"v".to_vec(), access };
    let made =
        portal.apply(&[make("/s", Access::Portal), make("/s-read", Access::Read), make("/s-create", Access::ReadCreate)]).await;
    made.unwrap();

    let sdk = connect("sdk", "sdk password".into(), server.authority_pem()).await;
    up(&*sdk).await;
    assert!(sdk.get("/s-read").await.unwrap().is_some());
    let set = Change::Set { path: "/s-read".into(), data: Vec::new(), version: None };
    for denied in [sdk.get("/s").await.map(drop), sdk.apply(&[set]).await.map(drop)] {
        assert!(matches!(denied, Err(MetaError::Denied { .. })), "{denied:?}");
    }
    let presence = sdk.ephemeral("/s-create/me", b"here".to_vec());
    until("the portal sees it", async || portal.get("/s-create/me").await.unwrap()).await;
    drop(presence);

    let stranger = connect("sdk", "wrong".into(), server.authority_pem()).await;
    up(&*stranger).await;
    assert!(matches!(stranger.get("/s-read").await, Err(MetaError::Denied { .. })));
    let mut node = stranger.node("/s-read");
    tokio::time::timeout(WAIT, node.wait_for(|seen| *seen == Seen::Denied)).await.unwrap().unwrap();

    let unknown = connect("sdk", "sdk password".into(), &zms_testbed::Certificates::new().authority_pem).await;
    let mut link = unknown.link();
    let refused = link.wait_for(|link| matches!(link, Link::Down(why) if why != "not connected yet"));
    tokio::time::timeout(WAIT, refused).await.expect("a server that nobody vouches for is not used").unwrap();

    legacy_mode(server, &access, &portal).await;

    let large = Change::Set { path: "/s".into(), data: vec![0; 1 << 20], version: None };
    assert!(matches!(portal.apply(&[large]).await, Err(MetaError::Large { .. })));
}

/// Java clients have no identity: in legacy mode one makes and deletes its node below a topic and changes nothing; in secured mode it
/// can do nothing at all.
async fn legacy_mode(server: &ZooKeeper, access: &Identities, secured: &Store) {
    let legacy = Store::start(Options {
        addresses: server.tls().unwrap(),
        tls: Some(Tls { authority_pem: server.authority_pem().into() }),
        identity: Some(Identity { user: "portal".into(), password: "portal password".into() }),
        access: Some(Identities { world_reads: true, ..access.clone() }),
        ..options(server)
    });
    let java = Store::start(options(server));
    up(&*legacy).await;
    up(&*java).await;
    let make = |path: &str, access| Change::Create { path: path.into(), data: b"v".to_vec(), access };
    legacy.apply(&[make("/l", Access::Read), make("/l/topic", Access::Legacy)]).await.unwrap();
    let set = |path: &str| [Change::Set { path: path.into(), data: b"mine".to_vec(), version: None }];
    let child = "/l/topic/10.0.0.1||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40:02.558647||32848";
    let denied = |result: Result<Vec<i32>, MetaError>| assert!(matches!(result, Err(MetaError::Denied { .. })), "{result:?}");

    assert!(java.get("/l").await.unwrap().is_some() && java.get("/l/topic").await.unwrap().is_some());
    let presence = java.ephemeral(child, Vec::new());
    until("its node is there", async || legacy.get(child).await.unwrap()).await;
    drop(presence);
    until("its node is gone at once", async || legacy.get(child).await.unwrap().is_none().then_some(())).await;
    denied(java.apply(&set("/l/topic")).await);
    denied(java.apply(&set("/l")).await);
    denied(java.apply(&[make("/l/other", Access::Legacy)]).await);
    assert!(matches!(java.ensure_access("/l/topic", Access::Legacy).await, Err(MetaError::Denied { .. })));
    assert_eq!(legacy.ensure_access("/l/topic", Access::Legacy).await, Ok(false), "it has these rights");

    assert_eq!(secured.ensure_access("/l/topic", Access::Read).await, Ok(true));
    assert_eq!(secured.ensure_access("/l", Access::Read).await, Ok(true));
    assert_eq!(secured.ensure_access("/l", Access::Read).await, Ok(false));
    for path in ["/l", "/l/topic"] {
        assert!(matches!(java.get(path).await, Err(MetaError::Denied { .. })), "{path}");
        denied(java.apply(&set(path)).await);
    }
    denied(java.apply(&[make(child, Access::Legacy)]).await);
    assert_eq!(legacy.ensure_access("/l/topic", Access::Legacy).await, Ok(true), "and back");
    assert!(java.get("/l/topic").await.unwrap().is_some());
}

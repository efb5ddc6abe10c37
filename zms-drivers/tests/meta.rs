//! One contract for metadata stores: the same cases on the one in memory and on ZooKeeper, the latter through a proxy that cuts.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "meta/identities.rs"]
mod identities;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use zms_drivers::meta::fake::FakeMeta;
use zms_drivers::meta::zookeeper::{Options, ZooKeeper as Store};
use zms_drivers::meta::{Access, Change, Link, MetaError, MetaStore, Seen, Tree};
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
    /// Cuts until the session is lost, not the connection alone.
    async fn lose_session(&self);
    /// Heals, and waits for the connection with another session.
    async fn recover(&self, lost: u64);
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
    }
    async fn recover(&self, _lost: u64) {
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
        // What the session alone keeps says when the server has ended it.
        let _owner = self.store.ephemeral("/session", Vec::new());
        until("the session's node", async || self.value("/session").await).await;
        self.proxy.cut();
        until("the end of the session", async || self.value("/session").await.is_none().then_some(())).await;
        until("the loss is known", async || matches!(*self.store.link().borrow(), Link::Down(_)).then_some(())).await;
    }
    async fn recover(&self, lost: u64) {
        self.proxy.heal();
        until("a new connection", async || (connection(&*self.store) > lost).then_some(())).await;
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

async fn what_changed_while_the_session_was_lost_is_seen_after_it(bench: &dyn Bench) {
    let store = bench.store();
    for (path, data) in [("/lost/value", "1"), ("/lost/gone", "1"), ("/lost/deep/a", "1")] {
        bench.put(path, data).await;
    }
    let [mut value, mut gone, mut new] = ["/lost/value", "/lost/gone", "/lost/new"].map(|path| store.node(path));
    let mut tree = store.tree("/lost");
    let whole = async |tree: &mut watch::Receiver<Option<Arc<Tree>>>, expected: &[(&str, &str)]| {
        let same = |seen: &Option<Arc<Tree>>| {
            seen.as_ref().is_some_and(|seen| {
                let found = seen.iter().map(|(path, node)| (path.as_str(), &*node.data));
                found.eq(expected.iter().map(|(path, data)| (*path, data.as_bytes())))
            })
        };
        let waited = tokio::time::timeout(WAIT, tree.wait_for(same)).await.is_ok();
        assert!(waited, "expected {expected:?}, seen {:?}", tree.borrow());
    };
    let is = async |node: &mut watch::Receiver<Seen>, expected: Option<&str>| {
        let same = |seen: &Seen| *seen != Seen::NotYet && text(seen).as_deref() == expected;
        let waited = tokio::time::timeout(WAIT, node.wait_for(same)).await.is_ok();
        assert!(waited, "expected {expected:?}, seen {:?}", node.borrow());
    };
    let before = [("/lost", ""), ("/lost/deep", ""), ("/lost/deep/a", "1"), ("/lost/gone", "1"), ("/lost/value", "1")];
    whole(&mut tree, &before).await;
    is(&mut value, Some("1")).await;
    is(&mut gone, Some("1")).await;
    is(&mut new, None).await;

    let lost = connection(&*store);
    bench.lose_session().await;
    // Somebody else changes, makes and deletes, at every depth; nobody tells the one that is cut off.
    for (path, data) in
        [("/lost/value", "2"), ("/lost/value", "3"), ("/lost/new", "1"), ("/lost/deep/a", "2"), ("/lost/deep/b", "1")]
    {
        bench.put(path, data).await;
    }
    bench.remove("/lost/gone").await;
    assert!(matches!(store.get("/lost/value").await, Err(MetaError::Unavailable(_))), "it is cut off");
    bench.recover(lost).await;
    // And goes on while the tree is read again.
    for n in 4..40 {
        bench.put("/lost/value", &n.to_string()).await;
        bench.put("/lost/deep/b", &n.to_string()).await;
    }
    is(&mut value, Some("39")).await;
    is(&mut gone, None).await;
    is(&mut new, Some("1")).await;
    let mut after = [
        ("/lost", ""),
        ("/lost/deep", ""),
        ("/lost/deep/a", "2"),
        ("/lost/deep/b", "39"),
        ("/lost/new", "1"),
        ("/lost/value", "39"),
    ];
    whole(&mut tree, &after).await;
    // The watches are those of the new session: what is changed now needs no list.
    bench.put("/lost/value", "last").await;
    after[5].1 = "last";
    is(&mut value, Some("last")).await;
    whole(&mut tree, &after).await;
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
    let before = connection(&*store);
    bench.lose_session().await;
    bench.recover(before).await;
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
        what_changed_while_the_session_was_lost_is_seen_after_it,
        an_ephemeral_node_survives_its_session_and_goes_with_its_owner,
        closing_ends_the_session_at_once,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_zookeeper_pass_the_same_cases() {
    let on_fake = run(&FakeBench(FakeMeta::new())).await;
    let server = tokio::task::spawn_blocking(|| ZooKeeper::start(ZooWish { tls: true })).await.unwrap();
    let on_real = run(&RealBench::new(&server).await).await;
    identities::over_tls(&server).await;
    println!("contract meta: {on_fake} cases on fake, {on_real} on real");
}

//! Sending, wherever the topic lives and whatever happens to its metadata.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{ENVIRONMENT, World, name, until, waits};
use zms_core::metadata::Presence;
use zms_drivers::broker::fake::FakeCluster;
use zms_drivers::meta::MetaStore;
use zms_sdk::{Error, Message, Zms};

const WAIT: Duration = Duration::from_secs(5);

async fn cluster_of_next(zms: &Zms) -> String {
    zms.send("orders", "probe").await.unwrap().cluster.to_string()
}

async fn goes_to(zms: &Zms, cluster: &str) {
    until(&format!("sends go to {cluster}"), async || (cluster_of_next(zms).await == cluster).then_some(())).await;
}

/// What the client shows of itself: the epoch of the topic that it follows.
fn epoch_shown(world: &World, zms: &Zms, topic: &str) -> Option<u64> {
    let path = format!("/zms/client/{:02x}/{}", zms.id().bucket(), zms.id());
    Presence::parse(&world.meta.value(&path)?).unwrap().topics.get(topic).copied()
}

/// What this thread's clients log. A test runs on one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let to = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(text).count()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_message_goes_to_the_cluster_that_its_topic_names() {
    let world = World::new();
    let zms = world.process();
    let sent = zms.send("orders", Message::new("hello").with_key("k").with_header("h", "v")).await.unwrap();
    assert_eq!(sent.cluster.as_str(), "a");
    let there = world.at("a").messages(&name("orders"));
    assert_eq!((there[0].key.as_deref(), there[0].headers[0].0.as_str()), (Some(&b"k"[..]), "h"));
    assert!(world.texts("b", "orders").is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_to_do() {
    let world = World::new();
    let zms = world.process();
    let error = zms.send("ordesr", "x").await.unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }) && error.to_string().contains("apply for it"), "{error}");
    assert!(matches!(zms.send("a b", "x").await, Err(Error::Setting(_))));
    // As soon as somebody made it, it works.
    world.at("a").make_topic(&name("ordesr"), 1);
    world.put_topic("ordesr", "a", 1, 1);
    until("the topic is found", async || zms.send("ordesr", "x").await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_moves_there_and_back_and_no_send_fails() {
    let world = World::new();
    let zms = world.process();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (zms, stop, sent) = (zms.clone(), Arc::clone(&stop), Arc::clone(&sent));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    zms.send("orders", "x").await.expect("no send fails because of a switch");
                    sent.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for epoch in 2..10 {
        let to = if epoch % 2 == 0 { "b" } else { "a" };
        let before = world.at(to).messages(&name("orders")).len();
        world.put_topic("orders", to, 1, epoch);
        until(&format!("messages come to {to}"), async || {
            (world.at(to).messages(&name("orders")).len() > before + 20).then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await.unwrap();
    }
    let there = world.texts("a", "orders").len() + world.texts("b", "orders").len();
    assert_eq!(there, sent.load(Ordering::SeqCst), "each message is there once");
}

#[tokio::test]
async fn sends_stay_where_they_are_until_the_new_cluster_is_ready() {
    let world = World::new();
    let zms = world.process();
    goes_to(&zms, "a").await;
    world.at("b").cut();
    world.put_topic("orders", "b", 1, 2);
    for _ in 0..20 {
        assert_eq!(cluster_of_next(&zms).await, "a");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.at("b").heal();
    goes_to(&zms, "b").await;
}

#[tokio::test]
async fn a_decision_that_is_taken_back_before_the_new_cluster_is_ready_leaves_sends_where_they_are() {
    let world = World::new();
    let zms = world.process();
    goes_to(&zms, "a").await;
    world.at("b").cut();
    world.put_topic("orders", "b", 1, 2);
    until("the new cluster is asked", async || (world.at("b").warmed() > 0).then_some(())).await;
    assert_eq!(epoch_shown(&world, &zms, "orders"), Some(1), "it is not ready");
    world.put_topic("orders", "a", 1, 3);
    until("the third decision is followed", async || (epoch_shown(&world, &zms, "orders") == Some(3)).then_some(())).await;
    world.at("b").heal();
    for _ in 0..20 {
        assert_eq!(cluster_of_next(&zms).await, "a");
    }
}

#[tokio::test]
async fn a_new_address_of_a_cluster_is_followed_though_it_is_not_watched() {
    let world = World::new();
    let zms = world.process();
    goes_to(&zms, "a").await;
    let moved = world.clusters.add("moved:9092", FakeCluster::new("a", 1));
    moved.make_topic(&name("orders"), 1);
    world.put_cluster("a", "moved:9092", 2);
    until("messages come to the new address", async || {
        cluster_of_next(&zms).await;
        (!moved.messages(&name("orders")).is_empty()).then_some(())
    })
    .await;
    world.put_cluster("a", "a:9092", 1);
    tokio::time::sleep(waits().reread * 3).await;
    let before = world.texts("a", "orders").len();
    cluster_of_next(&zms).await;
    assert_eq!(world.texts("a", "orders").len(), before, "an older address is ignored");
}

#[tokio::test]
async fn a_process_starts_and_sends_while_zookeeper_is_away() {
    let world = World::new();
    let first = world.process_of(Some(ENVIRONMENT));
    cluster_of_next(&first).await;
    assert_eq!(first.close(WAIT).await, 0);

    let meta = Arc::clone(&world.meta);
    let world = World { meta: zms_drivers::meta::fake::FakeMeta::new(), ..world };
    world.meta.cut();
    let second = world.process_of(Some(ENVIRONMENT));
    assert_eq!(cluster_of_next(&second).await, "a");
    // When ZooKeeper is back its decisions are followed again.
    world.meta.put("/zms/system/id", ENVIRONMENT);
    for path in ["/zms/cluster/a", "/zms/cluster/b"] {
        world.meta.put(path, meta.value(path).unwrap());
    }
    world.put_topic("orders", "b", 1, 2);
    world.meta.heal();
    goes_to(&second, "b").await;
}

#[tokio::test]
async fn without_zookeeper_and_without_a_copy_a_send_waits_as_long_as_it_was_told_and_says_why() {
    let world = World::new();
    world.meta.cut();
    let builder = Zms::builder().application("shop").without_cache();
    let waits = zms_sdk::Waits { metadata: Duration::from_millis(300), ..waits() };
    let zms = builder.waits(waits).connect_with(world.meta.clone(), world.clusters.clone(), None).unwrap();
    let error = zms.send("orders", "x").await.unwrap_err();
    assert!(
        matches!(error, Error::NoMetadata { .. }) && error.is_passing() && error.to_string().contains("cut by a test"),
        "{error}"
    );
    world.meta.heal();
    until("it works when ZooKeeper is there", async || zms.send("orders", "x").await.ok()).await;
}

#[tokio::test]
async fn a_lower_epoch_is_ignored_while_running_and_after_a_restart() {
    let world = World::new();
    world.put_topic("orders", "b", 2, 5);
    let (log, _logging) = Log::start();
    let zms = world.process();
    goes_to(&zms, "b").await;
    for (seen, (term, epoch)) in (1..).zip([(2, 4), (1, 99)]) {
        world.put_topic("orders", "a", term, epoch);
        until("the older value is read", async || (log.count("has an older value") >= seen).then_some(())).await;
        assert_eq!(cluster_of_next(&zms).await, "b", "term {term}, epoch {epoch}");
    }
    zms.close(WAIT).await;

    // The same servers, restored from an old backup.
    let fresh = World::new();
    let world = World { folder: world.folder, ..fresh };
    world.put_topic("orders", "a", 2, 4);
    world.put_cluster("b", "nowhere:1", 0);
    let again = world.process();
    assert_eq!(cluster_of_next(&again).await, "b");
    world.put_topic("orders", "a", 2, 6);
    goes_to(&again, "a").await;
}

#[tokio::test]
async fn garbage_in_a_node_leaves_the_last_good_value_while_running_and_after_a_restart() {
    let (log, _logging) = Log::start();
    let world = World::new();
    let zms = world.process();
    goes_to(&zms, "a").await;
    let huge = vec![b'x'; 2 << 20];
    let garbage: [&[u8]; 5] = [b"", b"\xff\xfe\x00", b"clusterName=\nepoch=9\n", b"clusterName=b\nepoch=many\n", &huge];
    for (seen, value) in (1..).zip(garbage) {
        world.meta.put("/zms/topic/orders", value);
        until("the garbage is read", async || (log.count("is not usable") >= seen).then_some(())).await;
        assert_eq!(cluster_of_next(&zms).await, "a");
    }
    zms.close(WAIT).await;
    // A closed store is closed for ever; the next process has its own connection to the same garbage.
    let world = World { meta: zms_drivers::meta::fake::FakeMeta::new(), ..world };
    world.meta.put("/zms/system/id", ENVIRONMENT);
    world.meta.put("/zms/topic/orders", b"\xff\xfe");
    world.meta.put("/zms/cluster/a", b"brokerType=kafka\n");
    let again = world.process();
    assert_eq!(cluster_of_next(&again).await, "a");
    world.put_cluster("b", "b:9092", 1);
    world.put_topic("orders", "b", 1, 10);
    goes_to(&again, "b").await;
}

#[tokio::test]
async fn a_deleted_topic_goes_on_working() {
    let world = World::new();
    let zms = world.process();
    goes_to(&zms, "a").await;
    world.meta.remove("/zms/topic/orders");
    world.meta.remove("/zms/cluster/a");
    tokio::time::sleep(waits().reread * 3).await;
    assert_eq!(cluster_of_next(&zms).await, "a");
}

#[tokio::test]
async fn another_environment_begins_anew_and_a_client_file_of_another_one_is_refused() {
    let world = World::new();
    world.put_topic("orders", "a", 9, 9);
    let first = world.process();
    goes_to(&first, "a").await;
    first.close(WAIT).await;
    let files = || std::fs::read_dir(world.cache()).unwrap().count();
    assert_eq!(files(), 2, "topic and cluster");

    let world = World { folder: tempfile::tempdir().unwrap(), ..World::new() };
    world.meta.put("/zms/system/id", "another");
    world.put_topic("orders", "b", 0, 1);
    let wrong = world.process_of(Some(ENVIRONMENT));
    let error = wrong.send("orders", "x").await.unwrap_err();
    assert!(error.to_string().contains("the client file is for"), "{error}");
    let right = world.process_of(Some("another"));
    goes_to(&right, "b").await;
}

#[tokio::test]
async fn a_copy_of_another_environment_is_dropped_when_zookeeper_answers() {
    let world = World::new();
    world.put_topic("orders", "a", 9, 9);
    let first = world.process();
    goes_to(&first, "a").await;
    first.close(WAIT).await;

    let fresh = World::new();
    let world = World { folder: world.folder, ..fresh };
    world.meta.put("/zms/system/id", "another");
    world.put_topic("orders", "b", 0, 1);
    world.meta.cut();
    let second = world.process();
    assert_eq!(cluster_of_next(&second).await, "a", "all that is known");
    world.meta.heal();
    goes_to(&second, "b").await;
}

#[tokio::test]
async fn messages_sent_without_waiting_keep_their_order_and_are_drained_by_closing() {
    let world = World::new();
    world.at("a").make_topic(&name("single"), 1);
    world.put_topic("single", "a", 1, 1);
    let zms = world.process();
    let done = Arc::new(AtomicUsize::new(0));
    for n in 0..500 {
        let done = Arc::clone(&done);
        let callback = move |outcome: Result<_, Error>| {
            outcome.unwrap();
            done.fetch_add(1, Ordering::SeqCst);
        };
        zms.send_async("single", n.to_string(), callback).unwrap();
    }
    assert_eq!(zms.close(WAIT).await, 0);
    assert_eq!(done.load(Ordering::SeqCst), 500);
    assert_eq!(world.texts("a", "single"), (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(matches!(zms.send("single", "x").await, Err(Error::Closed)));
    assert!(matches!(zms.send_async("single", "x", |_| ()), Err(Error::Closed)));
}

#[tokio::test]
async fn closing_gives_up_after_its_deadline_and_says_how_many() {
    let world = World::new();
    let zms = world.process();
    cluster_of_next(&zms).await;
    world.at("a").cut();
    let failed = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let failed = Arc::clone(&failed);
        let callback = move |outcome: Result<_, Error>| {
            assert!(outcome.is_err(), "nobody can have it");
            failed.fetch_add(1, Ordering::SeqCst);
        };
        zms.send_async("orders", "x", callback).unwrap();
    }
    // A fourth one is not even known where to.
    let never = Arc::clone(&failed);
    world.meta.cut();
    zms.send_async("other", "x", move |outcome| drop(outcome.is_err().then(|| never.fetch_add(1, Ordering::SeqCst).to_string())))
        .unwrap();
    assert_eq!(zms.close(Duration::from_millis(300)).await, 4);
    until("their callbacks hear it", async || (failed.load(Ordering::SeqCst) == 4).then_some(())).await;
}

#[tokio::test]
async fn a_process_shows_itself_while_it_runs() {
    let world = World::new();
    let zms = world.process();
    cluster_of_next(&zms).await;
    let path = format!("/zms/client/{:02x}/{}", zms.id().bucket(), zms.id());
    let presence = until("topic and epoch are shown", async || {
        let presence = Presence::parse(&world.meta.value(&path)?).unwrap();
        (presence.topics.get("orders") == Some(&1)).then_some(presence)
    })
    .await;
    assert_eq!((presence.application.as_str(), presence.language.as_str(), presence.pid), ("shop", "rust", std::process::id()));
    world.put_topic("orders", "b", 1, 2);
    goes_to(&zms, "b").await;
    until("the new epoch is shown", async || (epoch_shown(&world, &zms, "orders") == Some(2)).then_some(())).await;
    zms.close(WAIT).await;
    assert_eq!(world.meta.value(&path), None);
    world.meta.close().await;
}

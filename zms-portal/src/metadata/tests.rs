use zms_core::metadata::system::Heartbeat;
use zms_drivers::meta::fake::FakeMeta;

use super::heartbeat::{Heart, Rest};
use super::*;

fn environment() -> Environment {
    Environment { id: "01ENV".into(), name: "dev".into(), title: "Dev".into(), colour: "green".into(), protected: false }
}

fn topic(cluster: &str) -> Wanted {
    Wanted::Topic { name: PhysicalName::new("orders").unwrap(), cluster: ClusterName::new(cluster).unwrap() }
}

fn text(store: &FakeMeta, path: &str) -> String {
    String::from_utf8(store.value(path).unwrap()).unwrap()
}

async fn publish(store: &FakeMeta, wanted: &Wanted, known: Order) -> Result<Order, PublishError> {
    tree::prepare(store, &environment(), Mode::Secured).await?;
    node::publish(store, wanted, known, Mode::Secured).await
}

#[tokio::test]
async fn a_first_topic_makes_the_tree_and_a_second_write_of_the_same_changes_nothing() {
    let store = FakeMeta::new();
    let order = publish(&store, &topic("k1"), Order::default()).await.unwrap();
    assert_eq!(order, Order { term: 1, epoch: 1 });
    assert_eq!(text(&store, "/zms/topic/orders"), "clusterName=k1\ntype=topic\ngatedIps=\ngatedCluster=\nepoch=1\nterm=1\n");
    assert_eq!(text(&store, "/zms/system/id"), "01ENV");
    assert_eq!(store.children("/zms/client").await.unwrap().unwrap().len(), 256);
    let revision = store.get("/zms/system/rev").await.unwrap().unwrap().version;
    assert_eq!(publish(&store, &topic("k1"), order).await.unwrap(), order);
    assert_eq!(store.get("/zms/system/rev").await.unwrap().unwrap().version, revision);
    assert_eq!(publish(&store, &topic("k2"), order).await.unwrap(), Order { term: 1, epoch: 2 });
    assert_eq!(store.get("/zms/system/rev").await.unwrap().unwrap().version, revision + 1);
}

#[tokio::test]
async fn keys_of_others_survive_and_the_order_is_above_both_sides() {
    let store = FakeMeta::new();
    tree::prepare(&*store, &environment(), Mode::Secured).await.unwrap();
    store.put("/zms/topic/orders", "statisticsLogger=disk\nclusterName=old\nepoch=9\nterm=2\n");
    let order = publish(&store, &topic("new"), Order { term: 1, epoch: 30 }).await.unwrap();
    assert_eq!(order, Order { term: 2, epoch: 10 });
    assert!(text(&store, "/zms/topic/orders").starts_with("statisticsLogger=disk\nclusterName=new\n"));
}

#[tokio::test]
async fn a_tree_of_somebody_else_is_left_alone() {
    let store = FakeMeta::new();
    store.put("/zms/system/id", "01OTHER");
    assert!(
        matches!(publish(&store, &topic("k"), Order::default()).await, Err(PublishError::Refused(why)) if why.contains("01OTHER"))
    );
    let first = FakeMeta::new();
    first.put("/zms/topic/legacy", "clusterName=a\n");
    let refused = publish(&first, &topic("k"), Order::default()).await;
    assert!(matches!(refused, Err(PublishError::Refused(why)) if why.contains("legacy") && why.contains("imported")));
    assert_eq!(first.value("/zms/topic/orders"), None);
}

#[tokio::test]
async fn a_demoted_room_cannot_write_and_a_lost_connection_is_waited_out() {
    let store = FakeMeta::new();
    publish(&store, &topic("k1"), Order::default()).await.unwrap();
    store.put("/zms/system/role", r#"{"environment":"dev","role":"standby","term":2}"#);
    assert!(
        matches!(publish(&store, &topic("k2"), Order::default()).await, Err(PublishError::Refused(why)) if why.contains("standby"))
    );
    store.cut();
    assert!(matches!(publish(&store, &topic("k2"), Order::default()).await, Err(PublishError::Passing(_))));
}

#[tokio::test]
async fn garbage_in_a_node_is_not_overwritten() {
    let store = FakeMeta::new();
    tree::prepare(&*store, &environment(), Mode::Secured).await.unwrap();
    store.put("/zms/topic/orders", "path=C:\\users");
    assert!(
        matches!(publish(&store, &topic("k"), Order::default()).await, Err(PublishError::Refused(why)) if why.contains("/zms/topic/orders"))
    );
    assert_eq!(text(&store, "/zms/topic/orders"), "path=C:\\users");
}

fn beat_in(store: &FakeMeta) -> Option<Heartbeat> {
    store.value("/zms/system/heartbeat").map(|value| serde_json::from_slice(&value).unwrap())
}

#[tokio::test]
async fn one_portal_beats_and_another_goes_on_when_it_falls_silent() {
    let store = FakeMeta::new();
    tree::prepare(&*store, &environment(), Mode::Secured).await.unwrap();
    let (mut one, mut other) = (Heart::default(), Heart::default());
    for second in 1..=5 {
        let beat = Heartbeat { n: second, at: 1_000 * second as i64 };
        assert_eq!(one.beat(&*store, "01ENV", beat.at).await, Ok(beat));
        assert_eq!(other.beat(&*store, "01ENV", 7).await, Ok(beat), "looks, and does not beat");
    }
    // The first is silent: the other waits three looks that find nothing new.
    for _ in 0..2 {
        assert_eq!(other.beat(&*store, "01ENV", 9_000).await.unwrap().n, 5);
    }
    assert_eq!(other.beat(&*store, "01ENV", 9_000).await, Ok(Heartbeat { n: 6, at: 9_000 }));
    assert_eq!(other.beat(&*store, "01ENV", 10_000).await.unwrap().n, 7);
    // The first comes back, finds the node changed and looks on.
    for second in 8..=12 {
        assert_eq!(one.beat(&*store, "01ENV", 1).await.unwrap().n, second - 1);
        assert_eq!(other.beat(&*store, "01ENV", 2).await.unwrap().n, second);
    }
}

#[tokio::test]
async fn a_heartbeat_goes_on_after_a_lost_connection_a_deleted_node_and_garbage_in_it() {
    let store = FakeMeta::new();
    tree::prepare(&*store, &environment(), Mode::Secured).await.unwrap();
    let mut heart = Heart::default();
    for second in 1..=3 {
        heart.beat(&*store, "01ENV", second).await.unwrap();
    }
    store.cut();
    let refused = heart.beat(&*store, "01ENV", 4).await;
    assert!(matches!(&refused, Err(Rest(why)) if why.contains("not connected")), "{refused:?}");
    store.heal();
    assert_eq!(heart.beat(&*store, "01ENV", 5).await, Ok(Heartbeat { n: 4, at: 5 }), "it is ours still: nothing is waited for");
    store.put("/zms/system/heartbeat", "\0garbage");
    assert_eq!(heart.beat(&*store, "01ENV", 6).await, Ok(Heartbeat { n: 1, at: 6 }));
    store.remove("/zms/system/heartbeat");
    let refused = heart.beat(&*store, "01ENV", 7).await;
    assert!(matches!(&refused, Err(Rest(why)) if why.contains("heartbeat is missing")), "{refused:?}");
    assert!(heart.node_is_missing);
    tree::ensure_what_came_later(&*store).await.unwrap();
    assert_eq!(heart.beat(&*store, "01ENV", 8).await, Ok(Heartbeat { n: 1, at: 8 }));
    assert!(!heart.node_is_missing);
}

#[tokio::test]
async fn of_two_portals_that_begin_at_once_one_rests_and_nothing_is_said_to_be_wrong() {
    let store = FakeMeta::new();
    tree::prepare(&*store, &environment(), Mode::Secured).await.unwrap();
    let mut first = Heart::default();
    first.beat(&*store, "01ENV", 1).await.unwrap();
    // It falls silent; two others come to the end of their patience in the same second.
    let (mut one, mut other) = (Heart::default(), Heart::default());
    for _ in 0..3 {
        one.beat(&*store, "01ENV", 2).await.unwrap();
        other.beat(&*store, "01ENV", 2).await.unwrap();
    }
    let (a, b) = tokio::join!(one.beat(&*store, "01ENV", 3), other.beat(&*store, "01ENV", 4));
    assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    assert_eq!(beat_in(&store).unwrap().n, 2, "one beat");
}

#[tokio::test]
async fn nobody_beats_in_a_tree_that_is_not_theirs_to_write() {
    let store = FakeMeta::new();
    let mut heart = Heart::default();
    let said = async |heart: &mut Heart| heart.beat(&*store, "01ENV", 1).await.unwrap_err().0;
    assert!(said(&mut heart).await.contains("no metadata of ZMS"));
    tree::prepare(&*store, &environment(), Mode::Secured).await.unwrap();
    heart.beat(&*store, "01ENV", 1).await.unwrap();
    store.put("/zms/system/role", r#"{"environment":"dev","role":"standby","term":2}"#);
    assert!(said(&mut heart).await.contains("standby"));
    store.put("/zms/system/id", "01OTHER");
    assert!(said(&mut heart).await.contains("another environment"));
    assert_eq!(beat_in(&store).unwrap().n, 1, "and nothing was written");
}

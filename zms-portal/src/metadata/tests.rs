use zms_drivers::meta::fake::FakeMeta;

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

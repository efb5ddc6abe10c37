mod pages;
mod real;

use std::collections::{BTreeMap, BTreeSet};

use zms_core::names::PhysicalName;
use zms_drivers::broker::{ClusterAdmin as _, TopicWish};
use zms_drivers::meta::Access;
use zms_drivers::meta::fake::FakeMeta;

use super::plan::{Known, Reason, sort};
use super::read::read;
use super::*;
use crate::access::User;
use crate::app::now_ms;
use crate::clusters::test_support::{Stage, actor, until, user};
use crate::metadata::external::External;
use crate::web::messages::Messages;
use crate::{clusters, groups, topics};

/// Nodes as a first ZMS has them: comments with dates, escapes of `Properties.store`, every order of keys, and what went wrong over years.
const FIRST: [(&str, &str); 22] = [
    (
        "/zms/cluster/k1",
        "#Sat Nov 21 08:34:55 UTC 2026\nserverIps=10.0.0.1\\:9092,10.0.0.2\\:9092\nbrokerType=kafka\nbootAddr=10.0.0.1\\:9092,10.0.0.2\\:9092\n",
    ),
    ("/zms/cluster/rmq", "#c\r\nbootAddr=10.0.0.3\\:9876;10.0.0.4\\:9876\r\nbrokerType=RocketMQ\r\nserverIps=\r\n"),
    ("/zms/cluster/broken", "brokerType=pulsar\nbootAddr=a:1\n"),
    (
        "/zms/topic/orders",
        "#Sat Nov 21 08:34:55 UTC 2026\ngatedIps=\nclusterName=k1\ngatedCluster=null\ntype=topic\nstatisticsLogger=disk\n",
    ),
    ("/zms/topic/payments", "clusterName=rmq\nepoch=7\nterm=3\n"),
    ("/zms/topic/a.b", "clusterName=k1\n"),
    ("/zms/topic/empty", ""),
    ("/zms/topic/windows", "clusterName=k1\npath=C:\\users\n"),
    ("/zms/topic/json", "{\"clusterName\":\"k1\"}"),
    ("/zms/topic/nowhere", "clusterName=k9\n"),
    ("/zms/topic/lost", "clusterName=broken\n"),
    ("/zms/topic/statistic_topic_producerinfo", "clusterName=rmq\n"),
    ("/zms/topic/strange\u{7}name", "clusterName=k1\n"),
    ("/zms/topic/orders/10.0.0.9||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40:02.558647||32848", ""),
    ("/zms/topic/orders/rubbish", ""),
    (
        "/zms/consumergroup/billing",
        "bindingTopic=orders\nclusterName=k1\nconsumeFrom=latest\nbroadcast=true\nsuspend=false\ntype=consumergroup\n",
    ),
    ("/zms/consumergroup/billing/10.0.0.9||DEFAULT_CONSUMER||1.0.0||2026-11-21T08:40||1", ""),
    ("/zms/consumergroup/audit", "bindingTopic=a.b\nclusterName=k1\n"),
    ("/zms/consumergroup/old", "bindingTopic=orders\nclusterName=k9\n"),
    ("/zms/consumergroup/half", "clusterName=k1\n"),
    ("/zms/consumergroup/statistic_topic_producerinfo_consumer", "bindingTopic=statistic_topic_producerinfo\nclusterName=rmq\n"),
    ("/zms/other", "not ours to look at"),
];

fn first(store: &FakeMeta) {
    for (path, value) in FIRST {
        store.put(path, value);
    }
    store.put("/zms/topic/huge", vec![b'a'; 70_000]);
}

/// Everything in the store, to see that nothing changed.
fn values(store: &FakeMeta) -> BTreeMap<String, String> {
    let text = |path: &str| String::from_utf8_lossy(&store.value(path).unwrap_or_default()).into_owned();
    FIRST.iter().map(|(path, _)| ((*path).to_owned(), text(path))).collect()
}

#[tokio::test]
async fn a_first_zmss_tree_is_sorted_into_what_is_imported_and_what_is_left_alone_with_the_reason() {
    let store = FakeMeta::new();
    first(&store);
    let known = Known { environment: "01ENV".to_owned(), ..Known::default() };
    let plan = sort(read(&*store).await.unwrap(), &known);
    assert_eq!((&plan.origin, plan.java_clients, plan.term()), (&Origin::First, 2, 3));
    let clusters: Vec<_> =
        plan.clusters.iter().map(|one| (one.name.as_str(), one.broker.as_str(), one.addresses.len())).collect();
    assert_eq!(clusters, [("k1", "kafka", 2), ("rmq", "rocketmq", 2)]);
    let topics: Vec<_> =
        plan.topics.iter().map(|one| (one.name.as_str(), one.cluster.as_str(), one.order.epoch, one.java_clients)).collect();
    assert_eq!(topics, [("orders", "k1", 0, 1), ("payments", "rmq", 7, 0)]);
    let groups: Vec<_> =
        plan.groups.iter().map(|one| (one.name.as_str(), one.topic.as_str(), one.from.as_str(), one.broadcast)).collect();
    assert_eq!(groups, [("billing", "orders", "latest", true)]);

    let left: BTreeMap<&str, &Reason> = plan.left.iter().map(|left| (left.path.as_str(), &left.reason)).collect();
    let missing = |reason: &Reason| matches!(reason, Reason::Unreadable { why } if why.contains("missing"));
    assert!(matches!(left["/zms/cluster/broken"], Reason::Unreadable { why } if why.contains("brokerType")));
    assert_eq!(left["/zms/topic/empty"], &Reason::Empty);
    assert_eq!(left["/zms/topic/huge"], &Reason::Huge { size: 70_000 });
    assert!(matches!(left["/zms/topic/windows"], Reason::Unreadable { why } if why.contains("\\u")));
    assert!(missing(left["/zms/topic/json"]) && missing(left["/zms/consumergroup/half"]));
    assert_eq!(left["/zms/topic/nowhere"], &Reason::UnknownCluster { cluster: "k9".to_owned() });
    assert_eq!(left["/zms/topic/lost"], &Reason::UnknownCluster { cluster: "broken".to_owned() });
    assert_eq!(left["/zms/consumergroup/old"], &Reason::UnknownCluster { cluster: "k9".to_owned() });
    assert_eq!(left["/zms/consumergroup/audit"], &Reason::UnknownTopic { topic: "a.b".to_owned() });
    for path in ["/zms/topic/a.b", "/zms/topic/strange\\u{7}name"] {
        assert_eq!(left[path], &Reason::Name, "{path}");
    }
    for path in ["/zms/topic/statistic_topic_producerinfo", "/zms/consumergroup/statistic_topic_producerinfo_consumer"] {
        assert_eq!(left[path], &Reason::Reserved, "{path}");
    }
    assert_eq!(left.len(), 14, "{left:?}");
}

#[tokio::test]
async fn what_the_portal_knows_is_not_new_and_a_topic_that_it_knows_elsewhere_is_left_alone() {
    let store = FakeMeta::new();
    first(&store);
    store.put("/zms/system/id", "01ENV");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let known = Known {
        environment: "01ENV".to_owned(),
        clusters: names(&["k1", "rmq"]),
        topics: BTreeMap::from([("orders".to_owned(), "k1".to_owned()), ("payments".to_owned(), "k1".to_owned())]),
        groups: names(&["billing"]),
        ..Known::default()
    };
    let plan = sort(read(&*store).await.unwrap(), &known);
    assert!(plan.is_done());
    let payments = plan.left.iter().find(|left| left.path == "/zms/topic/payments").unwrap();
    assert_eq!(payments.reason, Reason::Elsewhere { cluster: "k1".to_owned() });
}

async fn done(stage: &Stage, flow: &str) {
    until("the import ends", async || stage.app.engine.view(flow).await.unwrap().status.is_final()).await;
}

async fn look_as(stage: &Stage, who: &User) -> Plan {
    look(&stage.app, actor(who), &stage.environment, now_ms()).await.unwrap()
}

async fn count(stage: &Stage, what: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {what} where environment_id = $1"));
    sqlx::query_scalar(sql).bind(&stage.environment.id).fetch_one(stage.app.db.read()).await.unwrap()
}

#[tokio::test]
async fn nothing_is_written_before_a_person_says_so_and_a_second_import_finds_nothing_new() {
    let stage = Stage::set().await;
    let (app, olga) = (&stage.app, user("olga", Role::Operator));
    first(&stage.meta);
    stage.app.brokers.fake_at("10.0.0.1:9092", &stage.brokers);
    let before = values(&stage.meta);
    let victor = user("victor", Role::Viewer);
    assert!(matches!(look(app, actor(&victor), &stage.environment, now_ms()).await, Err(Error::Forbidden)));
    assert!(matches!(begin(app, actor(&victor), &stage.environment, "", now_ms()).await, Err(Error::Forbidden)));
    stage.meta.put("/zms/cluster/far", "bootAddr=8.8.8.8:9092\nbrokerType=kafka\n");
    let plan = look_as(&stage, &olga).await;
    let far = plan.left.iter().find(|left| left.path == "/zms/cluster/far").unwrap();
    assert!(matches!(&far.reason, Reason::Unfit { why } if why.say(Messages::ENGLISH).contains("8.8.8.8")), "{far:?}");
    assert_eq!((plan.new_clusters(), plan.new_topics(), plan.new_groups()), (2, 2, 1));
    assert_eq!((stage.meta.value("/zms/system"), count(&stage, "topics").await), (None, 0));

    let protected = Environment { protected: true, ..stage.environment.clone() };
    assert!(matches!(begin(app, actor(&olga), &protected, "", now_ms()).await, Err(Error::Invalid(_))));

    // ZooKeeper goes away in the middle: it goes on where it was.
    let flow = begin(app, actor(&olga), &stage.environment, "", now_ms()).await.unwrap();
    stage.meta.cut();
    let second = begin(app, actor(&olga), &stage.environment, "", now_ms()).await;
    assert!(matches!(second, Err(Error::Unavailable(_) | Error::Conflict(_))), "{second:?}");
    stage.meta.heal();
    done(&stage, &flow).await;
    assert_eq!(values(&stage.meta), before, "nodes of others are as they were");
    assert_eq!(stage.node("/zms/system/id"), stage.environment.id);
    assert!(stage.node("/zms/system/role").contains("\"term\":3"), "{}", stage.node("/zms/system/role"));
    assert_eq!(rights::mode(&app.db, &stage.environment.id).await.unwrap(), Mode::Legacy);

    let clusters = clusters::list(&app.db, &stage.environment.id).await.unwrap();
    assert_eq!(
        clusters.iter().map(|one| (one.name.as_str(), one.service_id.is_none())).collect::<Vec<_>>(),
        [("k1", true), ("rmq", true)]
    );
    assert_eq!(clusters[1].addresses, ["10.0.0.3:9876", "10.0.0.4:9876"]);
    let payments = topics::find(&app.db, &stage.environment.id, "payments").await.unwrap();
    assert_eq!((payments.owner.as_str(), payments.order.epoch, payments.order.term, payments.partitions), ("olga", 7, 3, 0));
    let billing = groups::find(&app.db, &stage.environment.id, "billing").await.unwrap();
    let orders = topics::find(&app.db, &stage.environment.id, "orders").await.unwrap();
    assert_eq!((billing.topics.as_slice(), billing.broadcast, billing.owner.as_str()), (&[orders.id][..], true, "olga"));

    assert!(look_as(&stage, &olga).await.is_done());
    assert!(matches!(begin(app, actor(&olga), &stage.environment, "", now_ms()).await, Err(Error::Conflict(_))));
    assert_eq!(
        (count(&stage, "clusters").await, count(&stage, "topics").await, count(&stage, "consumer_groups").await),
        (2, 2, 1)
    );

    // What is new there later is imported later, and unknown keys survive when the portal writes a node.
    stage.meta.put("/zms/topic/later", "#x\nclusterName=k1\nstatisticsLogger=disk\n");
    let flow = begin(app, actor(&olga), &stage.environment, "", now_ms()).await.unwrap();
    done(&stage, &flow).await;
    assert_eq!(count(&stage, "topics").await, 3);
    let wanted = crate::metadata::Wanted::Topic {
        name: PhysicalName::new("later").unwrap(),
        cluster: zms_core::names::ClusterName::new("rmq").unwrap(),
    };
    app.metadata.publish(&stage.environment, &wanted, zms_core::metadata::Order::default()).await.unwrap();
    let text = stage.node("/zms/topic/later");
    assert!(
        text.contains("clusterName=rmq\n") && text.contains("statisticsLogger=disk\n") && text.contains("term=3\n"),
        "{text}"
    );
    let acts: Vec<String> = sqlx::query_scalar("select act from audit where act = 'environment.import' and result = 'done'")
        .fetch_all(app.db.read())
        .await
        .unwrap();
    assert_eq!(acts.len(), 2);
}

#[tokio::test]
async fn topics_of_statistics_stay_where_they_are_and_missing_ones_are_made() {
    let stage = Stage::set().await;
    let olga = user("olga", Role::Operator);
    first(&stage.meta);
    stage.app.brokers.fake_at("10.0.0.1:9092", &stage.brokers);
    let wish = TopicWish { name: PhysicalName::new("orders").unwrap(), partitions: 6, replicas: 3, config: BTreeMap::new() };
    stage.brokers.ensure_topic(&wish).await.unwrap();
    let flow = begin(&stage.app, actor(&olga), &stage.environment, "", now_ms()).await.unwrap();
    done(&stage, &flow).await;
    let orders = topics::find(&stage.app.db, &stage.environment.id, "orders").await.unwrap();
    assert_eq!((orders.partitions, orders.replicas), (6, 3), "as its cluster says");
    until("collectors have their groups", async || !stage.node("/zms/consumergroup/zms_collector_consumerinfo").is_empty()).await;
    assert_eq!(stage.node("/zms/topic/statistic_topic_producerinfo"), "clusterName=rmq\n", "it stays where it is");
    assert!(stage.node("/zms/consumergroup/zms_collector_producerinfo").contains("clusterName=rmq\n"));
    assert!(stage.node("/zms/topic/zms_statistics").contains("clusterName=k1\n"));
    assert_eq!(stage.meta.access("/zms/topic/zms_statistics"), Some(Access::Legacy));
    assert!(!stage.brokers.topics().await.unwrap().iter().any(|topic| topic.name.as_str() == "statistic_topic_producerinfo"));
}

#[tokio::test]
async fn after_the_loss_of_the_database_the_environment_gets_its_id_back() {
    const ID: &str = "01JD8Z3V9Q4M5N6P7R8S9TAVWX";
    let stage = Stage::set().await;
    let (app, olga) = (&stage.app, user("olga", Role::Operator));
    first(&stage.meta);
    stage.app.brokers.fake_at("10.0.0.1:9092", &stage.brokers);
    for (path, value) in [
        ("/zms/system/id", ID),
        ("/zms/system/role", r#"{"environment":"dev","role":"active","term":4}"#),
        ("/zms/system/rev", ""),
        ("/zms/system/lease/collector", ""),
    ] {
        stage.meta.put(path, value);
    }
    assert_eq!(look_as(&stage, &olga).await.origin, Origin::Other { id: ID.to_owned() });
    let none = begin(app, actor(&olga), &stage.environment, "", now_ms()).await;
    assert!(matches!(none, Err(Error::Conflict(_))), "a service of this environment cannot hold it: {none:?}");
    let external = External {
        addresses: "10.0.0.1:2181".to_owned(),
        authority: String::new(),
        user: String::new(),
        changed_by: "olga".to_owned(),
        changed_at: 1,
    };
    let mut tx = app.db.begin().await.unwrap();
    crate::metadata::external::put_in(&mut tx, &stage.environment.id, &external).await.unwrap();
    tx.commit().await.unwrap();
    app.metadata.with(ID, stage.meta.clone()).await;
    let flow = begin(app, actor(&olga), &stage.environment, "", now_ms()).await.unwrap();
    done(&stage, &flow).await;
    let environment = crate::environments::find_by_name(&app.db, "dev").await.unwrap();
    assert_eq!(environment.id, ID);
    assert_eq!(topics::list(&app.db, ID).await.unwrap().len(), 2);
    assert_eq!(crate::metadata::external::find(&app.db, ID).await.unwrap().map(|kept| kept.addresses), Some(external.addresses));
    assert!(stage.node("/zms/system/role").contains("\"term\":4"), "the term stays");
    let rest = look(app, actor(&olga), &environment, now_ms()).await.unwrap();
    assert!(rest.is_done());
}

#[tokio::test]
async fn an_environment_that_holds_something_cannot_become_another() {
    let stage = Stage::set().await;
    let (app, olga) = (&stage.app, user("olga", Role::Operator));
    stage.kafka_is_healthy().await;
    let external = External {
        addresses: "10.0.0.1:2181".to_owned(),
        authority: String::new(),
        user: String::new(),
        changed_by: "olga".to_owned(),
        changed_at: 1,
    };
    let mut tx = app.db.begin().await.unwrap();
    crate::metadata::external::put_in(&mut tx, &stage.environment.id, &external).await.unwrap();
    tx.commit().await.unwrap();
    let other = FakeMeta::new();
    first(&other);
    other.put("/zms/system/id", "01JD8Z3V9Q4M5N6P7R8S9TAVWX");
    app.metadata.with(&stage.environment.id, other).await;
    let refused = begin(app, actor(&olga), &stage.environment, "", now_ms()).await;
    assert!(matches!(&refused, Err(Error::Conflict(why)) if format!("{why:?}").contains("new environment")), "{refused:?}");
    assert_eq!(crate::environments::find_by_name(&app.db, "dev").await.unwrap().id, stage.environment.id);
}

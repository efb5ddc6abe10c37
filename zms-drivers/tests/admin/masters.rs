//! What only RocketMQ has: several masters with queues of their own, slaves that take what only masters keep, name servers that do not
//! know each other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::PhysicalName;
use zms_drivers::broker::{
    BrokerError, BrokerId, ClusterAdmin, Ensured, GroupState, GroupWish, OffsetWish, Outgoing, Topic, TopicWish,
};
use zms_drivers::open::{self, Endpoint};
use zms_drivers::rocketmq::remoting::{Options, Remoting, Request, RequestCode};
use zms_testbed::{RocketLine, RocketMq, RocketWish};

use crate::bench::name;

fn wish(text: &str, partitions: i32) -> TopicWish {
    TopicWish { name: name(text), partitions, replicas: 1, config: BTreeMap::new() }
}

fn ids(topic: &Topic) -> Vec<String> {
    topic.partitions.iter().map(|partition| partition.id.to_string()).collect()
}

async fn topic(admin: &dyn ClusterAdmin, name: &PhysicalName) -> Topic {
    admin.topic(name).await.unwrap().unwrap()
}

/// Until the cluster table says so: a slave that was started registers a moment after its master.
async fn until_brokers(admin: &dyn ClusterAdmin, wanted: &[&str]) {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let mut seen = Vec::new();
    for _ in 0..300 {
        looks.tick().await;
        seen = admin.describe().await.unwrap().brokers.iter().map(|broker| broker.id.to_string()).collect();
        if seen == wanted {
            return;
        }
    }
    panic!("not {wanted:?} within 30 s, but {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_with_slaves_of_rocketmq_5_and_half_of_the_name_servers_wrong() {
    masters_with_slaves(RocketLine::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_with_slaves_of_rocketmq_4_and_half_of_the_name_servers_wrong() {
    masters_with_slaves(RocketLine::V4).await;
}

async fn masters_with_slaves(line: RocketLine) {
    let start = move || RocketMq::start(&RocketWish { masters: 2, slaves: true, ..RocketWish::one(line) });
    let mut server = tokio::task::spawn_blocking(start).await.unwrap();
    // The first is dead, the second a broker, the third speaks another protocol: it never answers.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wrong = [
        format!("127.0.0.1:{}", zms_testbed::free_port()),
        server.address("broker-a", 0),
        mute.local_addr().unwrap().to_string(),
    ];
    let addresses = wrong.into_iter().chain(server.name_servers());
    let endpoint = Endpoint { deadline: Duration::from_secs(20), ..Endpoint::plain("masters", addresses) };
    let admin = open::admin(BrokerKind::RocketMq, &endpoint).unwrap();
    until_brokers(&*admin, &["broker-a:0", "broker-a:1", "broker-b:0", "broker-b:1"]).await;

    queues_are_spread_over_masters(&*admin).await;
    what_was_begun_is_completed(&*admin, &server, &endpoint).await;
    a_group_is_made_on_every_master(&*admin).await;
    server.freeze("broker-b", 0, true);
    a_frozen_master_costs_its_queues(&*admin).await;
    server.freeze("broker-b", 0, false);
    server.kill("broker-b", 0);
    a_dead_master_is_missed(&*admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_of_rocketmq_5_takes_no_more_messages_before_it_stops() {
    before_it_stops(RocketLine::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_of_rocketmq_4_takes_no_more_messages_before_it_stops() {
    before_it_stops(RocketLine::V4).await;
}

async fn before_it_stops(line: RocketLine) {
    let start = move || RocketMq::start(&RocketWish { masters: 2, ..RocketWish::one(line) });
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    server.make_topic("orders", 2);
    let endpoint = Endpoint { deadline: Duration::from_secs(20), ..Endpoint::plain("masters", server.name_servers()) };
    let admin = open::admin(BrokerKind::RocketMq, &endpoint).unwrap();
    // A client that asks for routes now, and sends enough for every queue that it knows.
    let brokers = async || {
        let producer = open::producer(BrokerKind::RocketMq, &endpoint, Duration::from_secs(20)).unwrap();
        let mut used = std::collections::BTreeSet::new();
        for _ in 0..16 {
            let placed = producer.send(Outgoing::new(name("orders"), "m")).await.unwrap();
            used.insert(placed.partition.to_string().split('/').next().unwrap().to_owned());
        }
        producer.close(Duration::from_secs(5)).await;
        used.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(brokers().await, ["broker-a", "broker-b"]);
    let b = BrokerId::named("broker-b", 0);
    assert_eq!(admin.ensure_no_sends(&b).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_no_sends(&b).await, Ok(Ensured::There));
    assert_eq!(brokers().await, ["broker-a"]);
    let ends = admin.ends(&name("orders")).await.unwrap();
    assert!(ends.values().all(Option::is_some), "what it has can be read: {ends:?}");
    let unknown = admin.ensure_no_sends(&BrokerId::named("broker-c", 0)).await;
    assert!(matches!(unknown, Err(BrokerError::Missing { .. })), "{unknown:?}");
}

async fn queues_are_spread_over_masters(admin: &dyn ClusterAdmin) {
    assert_eq!(admin.ensure_topic(&wish("spread", 5)).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_topic(&wish("spread", 5)).await, Ok(Ensured::There));
    let found = topic(admin, &name("spread")).await;
    assert_eq!(ids(&found), ["broker-a/0", "broker-a/1", "broker-a/2", "broker-b/0", "broker-b/1"]);
    let replicas: Vec<String> = found.partitions[4].replicas.iter().map(ToString::to_string).collect();
    assert_eq!((replicas, found.under_replicated()), (vec!["broker-b:0".to_owned(), "broker-b:1".to_owned()], 0));
    assert_eq!(admin.ensure_partitions(&name("spread"), 7).await, Ok(Ensured::Made));
    assert_eq!(ids(&topic(admin, &name("spread")).await).len(), 7);
    assert_eq!(admin.ensure_topic(&wish("one", 1)).await, Ok(Ensured::Made));
    assert_eq!(ids(&topic(admin, &name("one")).await), ["broker-a/0"], "a master with none gets no topic");
    assert_eq!(admin.ensure_partitions(&name("one"), 2).await, Ok(Ensured::Made));
    assert_eq!(ids(&topic(admin, &name("one")).await), ["broker-a/0", "broker-b/0"]);
}

/// Whoever made it was interrupted after the first master.
async fn what_was_begun_is_completed(admin: &dyn ClusterAdmin, server: &RocketMq, endpoint: &Endpoint) {
    let remoting = Remoting::new(Options::of(endpoint), None).unwrap();
    let put = Request::new(RequestCode::UpdateAndCreateTopic).with("topic", "begun").with("defaultTopic", "TBW102");
    let put = put.with("readQueueNums", 2).with("writeQueueNums", 2).with("perm", 6).with("topicFilterType", "SINGLE_TAG");
    remoting.ask(&server.address("broker-a", 0), put.with("topicSysFlag", 0).with("order", false)).await.unwrap();
    assert_eq!(admin.ensure_topic(&wish("begun", 4)).await, Ok(Ensured::Made));
    assert_eq!(ids(&topic(admin, &name("begun")).await).len(), 4);
    let other = admin.ensure_topic(&wish("begun", 6)).await;
    assert!(matches!(other, Err(BrokerError::Conflict { .. })), "{other:?}");
}

async fn a_group_is_made_on_every_master(admin: &dyn ClusterAdmin) {
    let group = |broadcast| GroupWish { name: name("billing"), broadcast, consume_from: ConsumeFrom::Earliest };
    for (broadcast, ensured) in [(false, Ensured::Made), (false, Ensured::There), (true, Ensured::Made), (true, Ensured::There)] {
        assert_eq!(admin.ensure_group(&group(broadcast)).await, Ok(ensured), "{broadcast}");
    }
    let listed = admin.groups().await.unwrap();
    assert_eq!(listed.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["billing"], "brokers' own are left out");
    assert_eq!(listed[0].state, GroupState::Empty);
    admin.ensure_offsets(&name("billing"), &name("spread"), &OffsetWish::Latest).await.unwrap();
    let committed = admin.committed(&[name("billing")]).await.unwrap().remove(0).unwrap();
    assert_eq!(committed[&name("spread")].len(), 7);
}

async fn a_frozen_master_costs_its_queues(admin: &dyn ClusterAdmin) {
    let begun = Instant::now();
    let ends = admin.ends(&name("spread")).await.unwrap();
    let unknown: Vec<String> = ends.iter().filter(|(_, range)| range.is_none()).map(|(id, _)| id.to_string()).collect();
    assert_eq!(unknown, ["broker-b/0", "broker-b/1", "broker-b/2"]);
    let topics = admin.topics().await;
    assert!(topics.as_ref().is_err_and(BrokerError::is_passing), "a list without its queues would look whole: {topics:?}");
    let committed = admin.committed(&[name("billing")]).await.unwrap().remove(0).unwrap();
    assert_eq!(committed[&name("spread")].len(), 4, "what the other master knows");
    let changed = admin.ensure_topic(&wish("while-frozen", 2)).await;
    assert!(changed.as_ref().is_err_and(BrokerError::is_passing), "{changed:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

async fn a_dead_master_is_missed(admin: &dyn ClusterAdmin) {
    until_brokers(admin, &["broker-a:0", "broker-a:1", "broker-b:1"]).await;
    let found = topic(admin, &name("spread")).await;
    let leaders = found.partitions.iter().filter(|partition| partition.leader.is_some()).count();
    assert_eq!((found.partitions.len(), leaders, found.under_replicated()), (7, 4, 3), "{found:?}");
    let topics = admin.topics().await;
    assert!(topics.as_ref().is_err_and(|error| error.to_string().contains("broker-b")), "{topics:?}");
    assert_eq!(admin.ensure_topic(&wish("spread", 7)).await, Ok(Ensured::There), "though not all of it is led");
    // Its slave would say yes, and forget (5), or say no (4.9).
    assert_eq!(admin.ensure_topic(&wish("after", 2)).await, Ok(Ensured::Made));
    assert_eq!(ids(&topic(admin, &name("after")).await), ["broker-a/0", "broker-a/1"]);
    let perm = BTreeMap::from([("perm".to_owned(), Some("4".to_owned()))]);
    for refused in [
        admin.ensure_topic_gone(&name("spread")).await,
        admin.ensure_topic_config(&name("spread"), &perm).await,
        admin.ensure_partitions(&name("spread"), 20).await,
        admin.ensure_group_gone(&name("billing")).await,
    ] {
        assert!(matches!(refused, Err(BrokerError::Passing { .. })), "its master would bring back what was: {refused:?}");
    }
}

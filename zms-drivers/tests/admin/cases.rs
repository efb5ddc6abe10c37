//! The cases.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{
    BrokerError, BrokerId, ClusterAdmin, Consumer, Ensured, FoundMessage, Group, GroupState, Lookup, OffsetWish, Outgoing,
    PartitionId, Range, TopicWish,
};

use crate::bench::{Bench, RealBench, message, name};

/// Until a broker has written its index.
async fn until_found(bench: &dyn Bench, topic: &PhysicalName, by: &Lookup, count: usize) -> Vec<FoundMessage> {
    let admin = bench.admin();
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let mut found = Vec::new();
    for _ in 0..200 {
        looks.tick().await;
        found = admin.find_messages(topic, by).await.unwrap();
        if found.len() == count {
            return found;
        }
    }
    panic!("{}: {by:?}: not {count} messages, but {found:?}", bench.name());
}

async fn a_message_is_found_by_its_key_and_id_where_brokers_keep_an_index(bench: &dyn Bench) {
    let topic = topic(bench, "found", 1).await;
    let (by, none) = (Lookup::Key("order-7".to_owned()), Lookup::Key("order".to_owned()));
    if !bench.keeps_an_index() {
        let refused = bench.admin().find_messages(&topic, &by).await;
        assert!(matches!(refused, Err(BrokerError::Refused { .. })), "{refused:?}");
        return;
    }
    let producer = bench.producer();
    for key in ["order-7", "order-8", "customer 7 of 9", "order-7", "customer 8 of 9"] {
        producer.send(Outgoing { key: Some(key.into()), ..message(&topic) }).await.unwrap();
    }
    let found = until_found(bench, &topic, &by, 2).await;
    assert!(
        found.iter().all(|found| found.message.key.as_deref() == Some(b"order-7") && found.unreadable.is_none()),
        "{found:?}"
    );
    assert!(found[0].message.timestamp_ms >= found[1].message.timestamp_ms, "the newest first: {found:?}");
    let id = found[0].id.clone().expect("our producer gives ids");
    let one = until_found(bench, &topic, &Lookup::Id(id), 1).await;
    assert_eq!(one[0], found[0]);
    assert_eq!(until_found(bench, &topic, &none, 0).await, []);
    let with_blanks = until_found(bench, &topic, &Lookup::Key("customer 7 of 9".to_owned()), 1).await;
    assert_eq!(with_blanks[0].message.key.as_deref(), Some(&b"customer 7 of 9"[..]));
    assert_eq!(bench.admin().find_messages(&topic, &Lookup::Id("F".repeat(32))).await, Ok(Vec::new()));
}

type Case = for<'a> fn(&'a dyn Bench) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

cases! { ALL:
    a_cluster_says_who_is_there,
    a_topic_is_made_once_and_never_made_otherwise,
    a_topic_that_cannot_be_is_refused,
    partitions_are_added_and_never_taken,
    settings_change_and_go_back,
    a_topic_goes_once,
    what_is_not_there_is_missing,
    ends_move_with_messages,
    a_message_is_found_by_its_key_and_id_where_brokers_keep_an_index,
    a_group_stands_where_it_was_put,
    no_first_position_of_a_group_is_lost,
    offsets_on_a_partition_that_is_not_there_are_refused,
    a_group_with_members_is_described_and_not_removed,
    a_group_with_members_goes_where_it_is_put_or_stays,
    a_group_goes_once,
    a_lost_cluster_is_unreachable,
}

fn own(bench: &dyn Bench, text: &str) -> PhysicalName {
    name(&format!("{text}-{}", bench.name()))
}

async fn topic(bench: &dyn Bench, text: &str, partitions: i32) -> PhysicalName {
    let name = own(bench, text);
    let wish = TopicWish { name: name.clone(), partitions, replicas: 1, config: BTreeMap::new() };
    assert_eq!(bench.admin().ensure_topic(&wish).await, Ok(Ensured::Made));
    name
}

/// Sends so many messages to an empty topic, one after the other, and waits until its ends show them: RocketMQ 4.9 stores a message some
/// moments before its queue has it.
async fn fill(bench: &dyn Bench, topic: &PhysicalName, messages: i64) {
    let (admin, producer) = (bench.admin(), bench.producer());
    for _ in 0..messages {
        producer.send(message(topic)).await.unwrap();
    }
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let mut seen = 0;
    for _ in 0..1000 {
        looks.tick().await;
        seen = admin.ends(topic).await.unwrap().values().map(|range| range.unwrap().end).sum();
        if seen == messages {
            return;
        }
    }
    panic!("topic {topic} has {seen} messages, not {messages}, after 20 s");
}

async fn describe(admin: &dyn ClusterAdmin, group: &PhysicalName) -> Group {
    admin.describe_groups(std::slice::from_ref(group)).await.unwrap().remove(0)
}

/// Looks until the group is so.
async fn until(admin: &dyn ClusterAdmin, group: &PhysicalName, what: &str, fits: impl Fn(&Group) -> bool) -> Group {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let mut last = None;
    for _ in 0..600 {
        looks.tick().await;
        let found = describe(admin, group).await;
        if fits(&found) {
            return found;
        }
        last = Some(found);
    }
    panic!("group {group}: not {what} within 30 s, but {last:?}")
}

async fn a_cluster_says_who_is_there(bench: &dyn Bench) {
    let view = bench.admin().describe().await.unwrap();
    let ids: Vec<BrokerId> = view.brokers.iter().map(|broker| broker.id.clone()).collect();
    assert_eq!((ids, view.controller), (vec![bench.broker()], bench.controller()));
    assert!(!view.id.is_empty() && view.brokers[0].port > 0);
}

async fn a_topic_is_made_once_and_never_made_otherwise(bench: &dyn Bench) {
    let (admin, name) = (bench.admin(), own(bench, "made"));
    let knob = bench.knob();
    let config = BTreeMap::from([(knob.name.to_owned(), knob.other.to_owned())]);
    let wish = TopicWish { name: name.clone(), partitions: 3, replicas: 1, config };
    assert_eq!(admin.topic(&name).await, Ok(None));
    assert_eq!(admin.ensure_topic(&wish).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_topic(&wish).await, Ok(Ensured::There));
    for (partitions, replicas) in
        [(4, 1), (2, 1), (3, 2)].into_iter().filter(|(_, replicas)| *replicas == 1 || bench.chooses_replicas())
    {
        let other = admin.ensure_topic(&TopicWish { partitions, replicas, ..wish.clone() }).await;
        assert!(matches!(other, Err(BrokerError::Conflict { .. })), "{other:?}");
    }
    let found = admin.topic(&name).await.unwrap().unwrap();
    assert_eq!((found.partitions.len(), found.replicas(), found.under_replicated(), found.internal), (3, 1, 0, false));
    let ids: Vec<_> = found.partitions.iter().map(|partition| partition.id.clone()).collect();
    assert_eq!(ids, [0, 1, 2].map(|number| bench.partition(number)));
    assert!(found.partitions.iter().all(|partition| partition.leader == Some(bench.broker())), "{found:?}");
    assert!(admin.topics().await.unwrap().contains(&found));
    let setting = &admin.topic_config(&name).await.unwrap()[knob.name];
    assert_eq!((setting.value.as_deref(), setting.own), (Some(knob.other), true));
}

async fn a_topic_that_cannot_be_is_refused(bench: &dyn Bench) {
    let (admin, name) = (bench.admin(), own(bench, "impossible"));
    let none = BTreeMap::new();
    let soon = BTreeMap::from([(bench.knob().name.to_owned(), "soon".to_owned())]);
    let wishes = [(0, 1, &none), (-1, 1, &none), (1, 0, &none), (1, 9, &none), (1, 1, &soon)];
    let wishes = wishes.into_iter().filter(|(_, replicas, _)| *replicas < 2 || bench.chooses_replicas());
    for (partitions, replicas, config) in wishes {
        let wish = TopicWish { name: name.clone(), partitions, replicas, config: config.clone() };
        let done = admin.ensure_topic(&wish).await;
        assert!(matches!(done, Err(BrokerError::Refused { .. })), "{wish:?}: {done:?}");
    }
    assert_eq!(admin.topic(&name).await, Ok(None));
}

async fn partitions_are_added_and_never_taken(bench: &dyn Bench) {
    let (admin, topic) = (bench.admin(), topic(bench, "grows", 2).await);
    assert_eq!(admin.ensure_partitions(&topic, 4).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_partitions(&topic, 4).await, Ok(Ensured::There));
    assert_eq!(admin.ensure_partitions(&topic, 1).await, Ok(Ensured::There));
    assert_eq!(admin.topic(&topic).await.unwrap().unwrap().partitions.len(), 4);
}

async fn settings_change_and_go_back(bench: &dyn Bench) {
    let (admin, topic) = (bench.admin(), topic(bench, "settings", 1).await);
    let knob = bench.knob();
    let to = |value: Option<&str>| BTreeMap::from([(knob.name.to_owned(), value.map(str::to_owned))]);
    let before = admin.topic_config(&topic).await.unwrap()[knob.name].clone();
    assert_eq!((before.value.as_deref(), before.own), (Some(knob.default), false));
    assert_eq!(admin.ensure_topic_config(&topic, &to(Some(knob.other))).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_topic_config(&topic, &to(Some(knob.other))).await, Ok(Ensured::There));
    let changed = admin.topic_config(&topic).await.unwrap()[knob.name].clone();
    assert_eq!((changed.value.as_deref(), changed.own), (Some(knob.other), true));
    let refused = admin.ensure_topic_config(&topic, &to(Some("soon"))).await;
    assert!(matches!(refused, Err(BrokerError::Refused { .. })), "{refused:?}");
    assert_eq!(admin.ensure_topic_config(&topic, &to(None)).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_topic_config(&topic, &to(None)).await, Ok(Ensured::There));
    assert_eq!(admin.topic_config(&topic).await.unwrap()[knob.name], before);
}

async fn a_topic_goes_once(bench: &dyn Bench) {
    let (admin, topic) = (bench.admin(), topic(bench, "goes", 1).await);
    assert_eq!(admin.ensure_topic_gone(&topic).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_topic_gone(&topic).await, Ok(Ensured::There));
    assert_eq!(admin.topic(&topic).await, Ok(None));
}

async fn what_is_not_there_is_missing(bench: &dyn Bench) {
    let (admin, nothing) = (bench.admin(), own(bench, "nothing"));
    let missing = BrokerError::Missing { what: format!("topic {nothing}") };
    assert_eq!(admin.ends(&nothing).await, Err(missing.clone()));
    assert_eq!(admin.topic_config(&nothing).await, Err(missing.clone()));
    assert_eq!(admin.ensure_partitions(&nothing, 2).await, Err(missing.clone()));
    assert_eq!(admin.ensure_topic_config(&nothing, &BTreeMap::new()).await, Err(missing.clone()));
    let group = own(bench, "nobody");
    assert_eq!(admin.ensure_offsets(&group, &nothing, &OffsetWish::Latest).await, Err(missing));
    let dead = describe(&*admin, &group).await;
    assert_eq!((dead.summary.state, dead.members.len(), dead.summary.protocol.as_str()), (GroupState::Dead, 0, ""));
    assert_eq!(admin.committed(std::slice::from_ref(&group)).await, Ok(vec![Ok(BTreeMap::new())]));
}

async fn ends_move_with_messages(bench: &dyn Bench) {
    let (admin, topic) = (bench.admin(), topic(bench, "ends", 1).await);
    assert_eq!(admin.ends(&topic).await, Ok(BTreeMap::from([(bench.partition(0), Some(Range { start: 0, end: 0 }))])));
    fill(bench, &topic, 3).await;
    assert_eq!(admin.ends(&topic).await, Ok(BTreeMap::from([(bench.partition(0), Some(Range { start: 0, end: 3 }))])));
}

async fn a_group_stands_where_it_was_put(bench: &dyn Bench) {
    let (admin, topic, group) = (bench.admin(), topic(bench, "stands", 2).await, own(bench, "stands"));
    let other = own(bench, "stands-not");
    fill(bench, &topic, 6).await;
    let ends: BTreeMap<PartitionId, i64> =
        admin.ends(&topic).await.unwrap().into_iter().map(|(id, range)| (id, range.unwrap().end)).collect();
    assert_eq!(ends.values().sum::<i64>(), 6);
    let starts: BTreeMap<PartitionId, i64> = BTreeMap::from([(bench.partition(0), 0), (bench.partition(1), 0)]);
    let one = BTreeMap::from([(bench.partition(1), 1)]);
    let mut after = ends.clone();
    after.insert(bench.partition(1), 1);
    let year_3000 = 32_503_680_000_000;
    for (wish, stands) in [
        (OffsetWish::Latest, &ends),
        (OffsetWish::Earliest, &starts),
        (OffsetWish::Time(year_3000), &ends),
        (OffsetWish::Time(0), &starts),
        (OffsetWish::Time(year_3000), &ends),
        (OffsetWish::At(one), &after),
    ] {
        admin.ensure_offsets(&group, &topic, &wish).await.unwrap();
        let found = admin.committed(&[other.clone(), group.clone()]).await.unwrap();
        let here = BTreeMap::from([(topic.clone(), stands.clone())]);
        assert_eq!(found, [Ok(BTreeMap::new()), Ok(here)], "{wish:?}");
    }
    let listed = admin.groups().await.unwrap();
    let listed = listed.iter().find(|listed| listed.name == group).unwrap();
    assert_eq!((listed.state, listed.protocol.as_str()), (GroupState::Empty, bench.protocol(false)));
}

async fn no_first_position_of_a_group_is_lost(bench: &dyn Bench) {
    let (admin, topic) = (bench.admin(), topic(bench, "first", 8).await);
    let everywhere: BTreeMap<PartitionId, i64> = (0..8).map(|number| (bench.partition(number), 0)).collect();
    let here = BTreeMap::from([(topic, everywhere.clone())]);
    // Many at once, so that the broker takes two of one group at the same moment now and then.
    let groups = (0..100).map(|number| {
        let (admin, here, group) = (admin.clone(), here.clone(), own(bench, &format!("first-{number}")));
        let wish = OffsetWish::At(everywhere.clone());
        async move {
            for topic in here.keys() {
                admin.ensure_offsets(&group, topic, &wish).await.unwrap();
            }
            assert_eq!(admin.committed(std::slice::from_ref(&group)).await, Ok(vec![Ok(here)]), "{group}");
        }
    });
    futures::future::join_all(groups).await;
}

async fn offsets_on_a_partition_that_is_not_there_are_refused(bench: &dyn Bench) {
    let (topic, group) = (topic(bench, "narrow", 2).await, own(bench, "narrow"));
    let wish = OffsetWish::At(BTreeMap::from([(bench.partition(0), 0), (bench.partition(2), 0)]));
    let done = bench.admin().ensure_offsets(&group, &topic, &wish).await;
    assert!(matches!(done, Err(BrokerError::Refused { .. })), "{done:?}");
}

async fn a_group_with_members_is_described_and_not_removed(bench: &dyn Bench) {
    let (admin, topic, group) = (bench.admin(), topic(bench, "members", 2).await, own(bench, "members"));
    let consumer = bench.consumer(&group, &topic);
    let reading = {
        let consumer = consumer.clone();
        tokio::spawn(async move { drop(consumer.receive().await) })
    };
    let found = until(&*admin, &group, "stable with partitions", |group| {
        group.summary.state == GroupState::Stable && group.members.iter().any(|member| !member.assigned.is_empty())
    })
    .await;
    assert_eq!(found.members.len(), 1);
    assert_eq!(found.members[0].assigned, BTreeMap::from([(topic.clone(), vec![bench.partition(0), bench.partition(1)])]));
    assert_eq!(found.summary.protocol, bench.protocol(true));
    assert!(found.members[0].host.contains("127.0.0.1") && !found.members[0].client_id.is_empty());
    let gone = admin.ensure_group_gone(&group).await;
    assert!(matches!(gone, Err(BrokerError::Conflict { .. })), "{gone:?}");
    reading.abort();
    let _ = reading.await;
    drop(consumer);
}

/// Receives and says done until the first messages of the one partition have come; then until the group stands behind all of them.
async fn read_to(bench: &dyn Bench, consumer: &dyn Consumer, group: &PhysicalName, topic: &PhysicalName, first: i64, end: i64) {
    let mut missing: BTreeSet<i64> = (first..end).collect();
    let reads = async {
        while !missing.is_empty() {
            let message = consumer.receive().await.unwrap();
            consumer.done(&message).unwrap();
            missing.remove(&message.placed.offset);
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), reads).await;
    assert!(read.is_ok(), "{}: not received within 20 s: {missing:?}", bench.name());
    let stands = BTreeMap::from([(bench.partition(0), end)]);
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let mut found = Vec::new();
    for _ in 0..200 {
        looks.tick().await;
        found = bench.admin().committed(std::slice::from_ref(group)).await.unwrap();
        // RocketMQ's members stand in their topic of retries too.
        if found[0].as_ref().is_ok_and(|committed| committed.get(topic) == Some(&stands)) {
            return;
        }
    }
    panic!("{}: the group stands not at {end} after 20 s, but {found:?}", bench.name());
}

async fn a_group_with_members_goes_where_it_is_put_or_stays(bench: &dyn Bench) {
    let (admin, topic, group) = (bench.admin(), topic(bench, "live", 1).await, own(bench, "live"));
    fill(bench, &topic, 3).await;
    let consumer = bench.consumer(&group, &topic);
    read_to(bench, &*consumer, &group, &topic, 0, 3).await;
    let mut end = 3;
    let one = OffsetWish::At(BTreeMap::from([(bench.partition(0), 1)]));
    for (wish, first) in [(OffsetWish::Earliest, 0), (one, 1), (OffsetWish::Time(0), 0)] {
        let moved = admin.ensure_offsets(&group, &topic, &wish).await;
        if !bench.moves_members() {
            assert!(matches!(moved, Err(BrokerError::Conflict { .. })), "{moved:?}");
            break;
        }
        assert_eq!(moved, Ok(()), "{wish:?}");
        // The broker holds the member's request until something comes, or half a minute.
        bench.producer().send(message(&topic)).await.unwrap();
        end += 1;
        read_to(bench, &*consumer, &group, &topic, first, end).await;
    }
    consumer.close(Duration::from_secs(10)).await.unwrap();
}

async fn a_group_goes_once(bench: &dyn Bench) {
    let (admin, topic, group) = (bench.admin(), topic(bench, "group-goes", 1).await, own(bench, "goes"));
    admin.ensure_offsets(&group, &topic, &OffsetWish::Earliest).await.unwrap();
    assert_eq!(admin.ensure_group_gone(&group).await, Ok(Ensured::Made));
    assert_eq!(admin.ensure_group_gone(&group).await, Ok(Ensured::There));
    assert_eq!(describe(&*admin, &group).await.summary.state, GroupState::Dead);
}

async fn a_lost_cluster_is_unreachable(bench: &dyn Bench) {
    let lost = bench.lost_admin().describe().await;
    assert!(matches!(lost, Err(BrokerError::Unreachable { .. })), "{lost:?}");
    assert!(lost.is_err_and(|error| error.is_passing()));
}

/// The fake has classic groups only.
pub async fn a_group_of_kip_848_is_described(bench: &RealBench<'_>) {
    let (admin, topic, group) = (bench.admin(), topic(bench, "kip-848", 2).await, own(bench, "kip-848"));
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", bench.endpoint().addresses.join(",")).set("group.id", group.as_str());
    config.set("group.protocol", "consumer");
    let consumer: rdkafka::consumer::StreamConsumer = config.create().unwrap();
    consumer.subscribe(&[topic.as_str()]).unwrap();
    let all = BTreeMap::from([(topic.clone(), vec![0.into(), 1.into()])]);
    let reads = async {
        let _ = consumer.recv().await;
    };
    let found =
        until(&*admin, &group, "reading both partitions", |group| group.members.iter().any(|member| member.assigned == all));
    let found = tokio::select! { found = found => found, () = reads => panic!("nothing was sent") };
    assert_eq!((found.summary.protocol.as_str(), found.summary.state), ("consumer", GroupState::Stable));
    let mixed = admin.describe_groups(&[own(bench, "stands"), group.clone(), own(bench, "nobody")]).await.unwrap();
    let states: Vec<_> = mixed.iter().map(|group| group.summary.state).collect();
    assert_eq!(states, [GroupState::Empty, GroupState::Stable, GroupState::Dead]);
    let moved = admin.ensure_offsets(&group, &topic, &OffsetWish::Latest).await;
    assert!(matches!(moved, Err(BrokerError::Conflict { .. })), "{moved:?}");
}

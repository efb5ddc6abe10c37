//! What a collector asks, when some of those asked are silent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages as m;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};

use super::{fake_broker, metadata};
use crate::{Assignment, Cluster, Code, Options, WireError};

const KNOWN: &[(ApiKey, i16)] = &[(ApiKey::Metadata, 8), (ApiKey::ListOffsets, 5), (ApiKey::ListGroups, 2)];

/// Two brokers; the first one connects and never says anything else.
async fn one_of_two_is_silent() -> Cluster {
    let silent = fake_broker::start(KNOWN, |_| None).await;
    let named = silent.clone();
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = address.clone();
    let speaks = fake_broker::start(KNOWN, move |asked| match asked.key {
        ApiKey::Metadata => asked.answer(&metadata(&[&named, own.get().unwrap()], 2)),
        ApiKey::ListOffsets => {
            let request: m::ListOffsetsRequest = asked.read();
            let topic = |topic: &m::list_offsets_request::ListOffsetsTopic| {
                let partition = |id| ListOffsetsPartitionResponse::default().with_partition_index(id).with_offset(7);
                let mut partitions: Vec<_> = topic.partitions.iter().map(|p| partition(p.partition_index)).collect();
                partitions[0].error_code = Code::NotLeaderOrFollower.code();
                ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
            };
            let topics = request.topics.iter().map(topic).collect();
            asked.answer(&m::ListOffsetsResponse::default().with_topics(topics))
        }
        _ => asked.answer(&m::ListGroupsResponse::default()),
    });
    let speaks = speaks.await;
    address.set(speaks.clone()).unwrap();
    let (back_off, max_back_off) = (Duration::ZERO, Duration::ZERO);
    Cluster::new(Options { back_off, max_back_off, ..Options::plain([silent, speaks]) }).unwrap()
}

#[tokio::test]
async fn metadata_comes_from_another_broker_while_the_first_is_silent() {
    let cluster = one_of_two_is_silent().await;
    let begun = Instant::now();
    let found = cluster.metadata_soon(Duration::from_millis(50)).await.unwrap();
    assert_eq!(found.brokers.len(), 2);
    assert!(begun.elapsed() < cluster.options().call_deadline / 2, "the silent one was waited for");
}

#[tokio::test]
async fn a_silent_broker_costs_its_limit_and_its_connection_but_not_the_others() {
    let cluster = one_of_two_is_silent().await;
    cluster.metadata_soon(Duration::from_millis(50)).await.unwrap();
    let limit = Duration::from_millis(200);
    let (silent, speaks) = tokio::join!(cluster.groups_at(1, limit), cluster.groups_at(2, Duration::from_secs(20)));
    assert!(matches!(&silent, Err(WireError::Silent { deadline, .. }) if *deadline == limit), "{silent:?}");
    assert_eq!(speaks, Ok(Vec::new()));
    let before = cluster.traffic();
    assert!(cluster.reconnect(1, Duration::from_secs(20)).await);
    let opened = cluster.traffic().requests - before.requests;
    assert_eq!(opened, 1, "one that was silent is not used again: versions were agreed on anew");
    assert!(cluster.reconnect(1, Duration::ZERO).await, "it is open");
    assert!(!cluster.reconnect(9, Duration::from_secs(20)).await, "nobody knows it");
}

#[tokio::test]
async fn all_partitions_of_a_leader_go_into_one_request_and_each_has_its_own_answer() {
    let cluster = one_of_two_is_silent().await;
    cluster.metadata_soon(Duration::from_millis(50)).await.unwrap();
    assert_eq!(cluster.groups_at(2, Duration::from_secs(20)).await, Ok(Vec::new()), "the connection is open");
    let before = cluster.traffic();
    let asked = Assignment::from([("orders".to_owned(), vec![0, 1, 2]), ("payments".to_owned(), vec![0])]);
    let found = cluster.offsets_at(2, &asked, -1, Duration::from_secs(20)).await.unwrap();
    assert_eq!(cluster.traffic().requests - before.requests, 1);
    assert!(found["orders"][&0].as_ref().is_err_and(WireError::is_moved), "{found:?}");
    assert_eq!((&found["orders"][&1], &found["orders"][&2]), (&Ok(7), &Ok(7)));
    assert_eq!(found.values().map(BTreeMap::len).collect::<Vec<_>>(), [3, 1]);
}

#[tokio::test]
async fn requests_of_closed_connections_are_still_counted() {
    let cluster = one_of_two_is_silent().await;
    cluster.metadata_soon(Duration::from_millis(50)).await.unwrap();
    let before = cluster.traffic();
    assert!(cluster.groups_at(1, Duration::from_millis(50)).await.is_err());
    let after = cluster.traffic();
    assert!(after.requests > before.requests && after.bytes >= before.bytes, "{before:?} {after:?}");
}

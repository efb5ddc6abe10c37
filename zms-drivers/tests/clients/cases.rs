//! The contract.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use zms_core::metadata::ConsumeFrom;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerError, Consumer, Delivery, Incoming, PartitionId, Producer, Subscription};

use super::bench::{Bench, DELIVERY, Kind, message, name};

pub type Case = for<'a> fn(&'a dyn Bench) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs all cases that this kind can have; says how many.
pub async fn run(bench: &dyn Bench) -> usize {
    let only = super::only::ALL.iter().filter(|(kinds, ..)| kinds(bench.kind())).map(|(_, name, case)| (*name, *case));
    let cases: Vec<(&str, Case)> = ALL.iter().copied().chain(only).collect();
    run!(cases.as_slice(), bench)
}

cases![ALL:
    a_message_comes_back_as_it_was_sent,
    messages_of_one_key_stay_in_order_in_one_partition,
    a_topic_that_is_not_there_is_missing,
    a_message_that_is_too_large_is_refused_and_the_next_one_is_sent,
    a_new_group_begins_where_it_wants,
    the_next_member_goes_on_after_what_was_done,
    what_was_not_done_comes_again_though_later_messages_were_done,
    what_is_done_is_committed_soon_without_closing,
    partitions_are_shared_and_nothing_done_comes_again_when_they_move,
    sends_wait_for_a_cluster_that_stops_answering_for_a_while,
    a_message_that_cannot_be_delivered_ends_with_a_passing_error,
    closing_counts_what_is_given_up_and_ends_its_sends,
    a_closed_client_says_so,
    warming_says_whether_sends_would_work,
    a_member_gets_the_tags_that_it_asks_for,
    what_failed_comes_again_and_nothing_waits_for_it,
    in_a_broadcast_every_member_gets_everything,
    a_partition_that_nobody_handles_is_not_read_on_and_holds_up_no_other,
    a_message_is_open_until_it_is_done_or_its_partition_goes,
];

/// A topic, and a group of the same name.
pub async fn topic(bench: &dyn Bench, case: &str, partitions: usize) -> PhysicalName {
    let topic = name(&format!("{case}-{}", bench.name()));
    bench.make_topic(&topic, partitions).await;
    topic
}

/// Position of the only partition.
pub fn stands_at(bench: &dyn Bench, offset: i64) -> BTreeMap<PartitionId, i64> {
    BTreeMap::from([(bench.partition(0), offset)])
}

pub fn member(bench: &dyn Bench, topic: &PhysicalName, from: ConsumeFrom) -> Arc<dyn Consumer> {
    bench.consumer(&Subscription::new(topic.clone(), topic.clone(), from))
}

pub async fn send_all(bench: &dyn Bench, topic: &PhysicalName, key: Option<&str>, count: usize) {
    let producer = bench.producer(DELIVERY);
    for sent in join_all((0..count).map(|n| producer.send(message(topic, key, &n.to_string())))).await {
        sent.unwrap();
    }
    assert_eq!(producer.close(DELIVERY).await, 0);
}

pub fn text(message: &Incoming) -> String {
    String::from_utf8(message.value.as_deref().expect("no tombstone").to_vec()).unwrap()
}

pub async fn receive(consumer: &Arc<dyn Consumer>, count: usize) -> Vec<Incoming> {
    let mut messages = Vec::new();
    for _ in 0..count {
        messages.push(consumer.receive().await.unwrap());
    }
    messages
}

pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s: {what}");
}

async fn a_message_comes_back_as_it_was_sent(bench: &dyn Bench) {
    let topic = topic(bench, "whole", 3).await;
    let mut sent = message(&topic, Some("key"), "value");
    sent.headers = vec![("a".into(), Bytes::from_static(b"1")), ("b".into(), Bytes::from_static("ü=,;".as_bytes()))];
    sent.tag = Some("paid".to_owned());
    let placed = bench.producer(DELIVERY).send(sent.clone()).await.unwrap();
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let got = consumer.receive().await.unwrap();
    assert_eq!((&got.topic, &got.placed), (&topic, &placed));
    assert_eq!((got.key, got.value, got.headers, got.tag), (sent.key, sent.value, sent.headers, sent.tag));
    assert_eq!(got.attempt, 0);
    assert!(got.timestamp_ms.unwrap() > 1_700_000_000_000);
    consumer.close(DELIVERY).await.unwrap();
}

async fn a_member_gets_the_tags_that_it_asks_for(bench: &dyn Bench) {
    let topic = topic(bench, "tags", 2).await;
    let producer = bench.producer(DELIVERY);
    // Java makes the same number of "Aa" and "BB", and brokers of RocketMQ compare those.
    for (tag, value) in [(Some("Aa"), "1"), (Some("BB"), "2"), (None, "3"), (Some("paid"), "4"), (Some("Aa"), "5")] {
        let mut message = message(&topic, None, value);
        message.tag = tag.map(str::to_owned);
        producer.send(message).await.unwrap();
    }
    let mut subscription = Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Earliest);
    subscription.tags = vec!["Aa".to_owned(), "paid".to_owned()];
    let consumer = bench.consumer(&subscription);
    let got = receive(&consumer, 3).await;
    assert_eq!(got.iter().map(text).collect::<BTreeSet<_>>(), ["1", "4", "5"].map(str::to_owned).into());
    let more = tokio::time::timeout(Duration::from_millis(300), consumer.receive()).await;
    assert!(more.is_err(), "not asked for: {more:?}");
    consumer.close(DELIVERY).await.unwrap();
}

async fn what_failed_comes_again_and_nothing_waits_for_it(bench: &dyn Bench) {
    let topic = topic(bench, "failed", 1).await;
    send_all(bench, &topic, None, 3).await;
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let mut got = Vec::new();
    while got.len() < 5 {
        let message = consumer.receive().await.unwrap();
        got.push((text(&message), message.attempt));
        assert_eq!(message.topic, topic);
        if text(&message) == "0" && message.attempt < 2 {
            consumer.failed(&message).await.unwrap();
        } else {
            consumer.done(&message).unwrap();
        }
    }
    let expected = [("0", 0), ("1", 0), ("2", 0), ("0", 1), ("0", 2)];
    assert_eq!(got, expected.map(|(text, attempt)| (text.to_owned(), attempt)));
    until("all is committed", async || (bench.committed(&topic, &topic).await == stands_at(bench, 3)).then_some(())).await;
    consumer.close(DELIVERY).await.unwrap();
}

async fn in_a_broadcast_every_member_gets_everything(bench: &dyn Bench) {
    let topic = topic(bench, "broadcast", 2).await;
    send_all(bench, &topic, None, 20).await;
    let mut subscription = Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Earliest);
    subscription.mode = Delivery::Broadcast;
    let members = [bench.consumer(&subscription), bench.consumer(&subscription)];
    for member in &members {
        let got = receive(member, 20).await;
        assert_eq!(got.iter().map(text).collect::<BTreeSet<_>>().len(), 20);
        assert_eq!(member.assigned().len(), 2);
        got.iter().for_each(|message| member.done(message).unwrap());
    }
    for member in members {
        member.close(DELIVERY).await.unwrap();
    }
    // Brokers from 5.0 on note for themselves how far a broadcast came; no member looks at that.
    if bench.kind() != (Kind::RocketMq { new: true }) {
        assert_eq!(bench.committed(&topic, &topic).await, BTreeMap::new(), "nobody shares positions");
    }
    let again = bench.consumer(&subscription);
    assert_eq!(receive(&again, 20).await.len(), 20, "a new member begins where the subscription says");
    again.close(DELIVERY).await.unwrap();
}

async fn a_partition_that_nobody_handles_is_not_read_on_and_holds_up_no_other(bench: &dyn Bench) {
    let topic = topic(bench, "bounded", 4).await;
    send_all(bench, &topic, Some("k"), 1_000).await;
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let mut open = receive(&consumer, 256).await;
    while let Ok(more) = tokio::time::timeout(Duration::from_secs(1), consumer.receive()).await {
        open.push(more.unwrap());
    }
    // An answer of RocketMQ has up to 32, and is taken whole.
    assert!(open.len() < 256 + 32, "{} are here and none is handled", open.len());
    // What comes behind them in the same partition waits too.
    let full = &open[0].placed.partition;
    let (producer, mut behind) = (bench.producer(DELIVERY), 0);
    let elsewhere = async {
        loop {
            let placed = producer.send(message(&topic, Some(&behind.to_string()), "elsewhere")).await.unwrap();
            if placed.partition != *full {
                return placed;
            }
            behind += 1;
        }
    };
    let placed = elsewhere.await;
    let got = consumer.receive().await.unwrap();
    assert_eq!((&got.placed, text(&got)), (&placed, "elsewhere".to_owned()));
    consumer.done(&got).unwrap();

    let mut offsets = Vec::new();
    let mut waiting = open.into_iter();
    while offsets.len() < 1_000 + behind {
        let message = match waiting.next() {
            Some(message) => message,
            None => consumer.receive().await.unwrap(),
        };
        offsets.push(message.placed.offset);
        consumer.done(&message).unwrap();
    }
    assert_eq!(offsets, (0..).take(1_000 + behind).collect::<Vec<i64>>(), "each once, in their order");
    consumer.close(DELIVERY).await.unwrap();
}

async fn a_message_is_open_until_it_is_done_or_its_partition_goes(bench: &dyn Bench) {
    let topic = topic(bench, "open", 2).await;
    let producer = bench.producer(DELIVERY);
    let mut sent = Vec::new();
    while sent.iter().collect::<BTreeSet<&PartitionId>>().len() < 2 {
        let key = sent.len().to_string();
        sent.push(producer.send(message(&topic, Some(&key), "v")).await.unwrap().partition);
    }
    let first = member(bench, &topic, ConsumeFrom::Earliest);
    let got = receive(&first, sent.len()).await;
    assert!(got.iter().all(|message| first.is_open(message)));
    let second = member(bench, &topic, ConsumeFrom::Earliest);
    // Both ask all the time, as applications do.
    let moved = until("a partition has gone to the second member", async || {
        let _again = tokio::time::timeout(Duration::from_millis(50), first.receive()).await;
        tokio::time::timeout(Duration::from_millis(50), second.receive()).await.ok()
    });
    let moved = moved.await.unwrap();
    let before = got.iter().find(|message| message.placed == moved.placed).unwrap();
    assert!(!first.is_open(before), "it went away");
    assert!(second.is_open(&moved));
    second.done(&moved).unwrap();
    assert!(!second.is_open(&moved), "it is done");
    first.close(DELIVERY).await.unwrap();
    second.close(DELIVERY).await.unwrap();
}

async fn messages_of_one_key_stay_in_order_in_one_partition(bench: &dyn Bench) {
    let topic = topic(bench, "order", 4).await;
    send_all(bench, &topic, Some("same"), 500).await;
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let mut got = Vec::new();
    while got.len() < 500 {
        got.extend(receive(&consumer, 100).await);
        got[got.len() - 100..].iter().for_each(|message| consumer.done(message).unwrap());
    }
    assert_eq!(got.iter().map(|message| message.placed.partition.clone()).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(got.iter().map(text).collect::<Vec<_>>(), (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
    consumer.close(DELIVERY).await.unwrap();
}

async fn a_topic_that_is_not_there_is_missing(bench: &dyn Bench) {
    let sent = bench.producer(DELIVERY).send(message(&name("never-made"), None, "v")).await;
    assert_eq!(sent, Err(BrokerError::Missing { what: "topic never-made".into() }));
}

async fn a_message_that_is_too_large_is_refused_and_the_next_one_is_sent(bench: &dyn Bench) {
    let topic = topic(bench, "large", 1).await;
    let producer = bench.producer(DELIVERY);
    let refused = producer.send(message(&topic, None, &"x".repeat(bench.kind().too_large()))).await;
    assert!(matches!(refused, Err(BrokerError::Refused { .. })), "{refused:?}");
    producer.send(message(&topic, None, "small")).await.unwrap();
}

async fn a_new_group_begins_where_it_wants(bench: &dyn Bench) {
    let topic = topic(bench, "from", 1).await;
    send_all(bench, &topic, None, 1).await;
    let late = Subscription::new(name(&format!("late-{topic}")), topic.clone(), ConsumeFrom::Latest);
    let late = bench.consumer(&late);
    let early = member(bench, &topic, ConsumeFrom::Earliest);
    assert_eq!(text(&early.receive().await.unwrap()), "0");
    // When the late one has found the end cannot be seen from outside: it gets one of many, but never the first.
    let producer = bench.producer(DELIVERY);
    let first = until("the late group gets something", async || {
        producer.send(message(&topic, None, "new")).await.unwrap();
        tokio::time::timeout(Duration::from_millis(50), late.receive()).await.ok()
    });
    assert_eq!(text(&first.await.unwrap()), "new");
    early.close(DELIVERY).await.unwrap();
    late.close(DELIVERY).await.unwrap();
}

async fn the_next_member_goes_on_after_what_was_done(bench: &dyn Bench) {
    let topic = topic(bench, "goes-on", 1).await;
    send_all(bench, &topic, None, 5).await;
    let first = member(bench, &topic, ConsumeFrom::Earliest);
    for message in receive(&first, 3).await {
        first.done(&message).unwrap();
    }
    first.close(DELIVERY).await.unwrap();
    assert_eq!(bench.committed(&topic, &topic).await, stands_at(bench, 3));
    let second = member(bench, &topic, ConsumeFrom::Earliest);
    assert_eq!(text(&second.receive().await.unwrap()), "3");
    second.close(DELIVERY).await.unwrap();
}

async fn what_was_not_done_comes_again_though_later_messages_were_done(bench: &dyn Bench) {
    let topic = topic(bench, "again", 1).await;
    send_all(bench, &topic, None, 4).await;
    let first = member(bench, &topic, ConsumeFrom::Earliest);
    let got = receive(&first, 4).await;
    for index in [3, 0, 2] {
        first.done(&got[index]).unwrap();
    }
    first.close(DELIVERY).await.unwrap();
    assert_eq!(bench.committed(&topic, &topic).await, stands_at(bench, 1));
    let second = member(bench, &topic, ConsumeFrom::Earliest);
    assert_eq!(text(&second.receive().await.unwrap()), "1");
    second.close(DELIVERY).await.unwrap();
}

async fn what_is_done_is_committed_soon_without_closing(bench: &dyn Bench) {
    let topic = topic(bench, "soon", 1).await;
    send_all(bench, &topic, None, 2).await;
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    for message in receive(&consumer, 2).await {
        consumer.done(&message).unwrap();
    }
    until("both are committed", async || (bench.committed(&topic, &topic).await == stands_at(bench, 2)).then_some(())).await;
    consumer.close(DELIVERY).await.unwrap();
}

async fn partitions_are_shared_and_nothing_done_comes_again_when_they_move(bench: &dyn Bench) {
    let topic = topic(bench, "shared", 4).await;
    send_all(bench, &topic, None, 200).await;
    let first = member(bench, &topic, ConsumeFrom::Earliest);
    for message in receive(&first, 200).await {
        first.done(&message).unwrap();
    }
    assert_eq!(first.assigned().len(), 4);
    let second = member(bench, &topic, ConsumeFrom::Earliest);
    // Both ask all the time, as applications do; neither gets anything, because all is done.
    let both_have_two = until("each has two", async || {
        for consumer in [&first, &second] {
            let got = tokio::time::timeout(Duration::from_millis(50), consumer.receive()).await;
            assert!(got.is_err(), "came again: {got:?}");
        }
        (first.assigned().len() == 2 && second.assigned().len() == 2).then_some(())
    });
    both_have_two.await;
    first.close(DELIVERY).await.unwrap();
    until("the second has all", async || {
        let got = tokio::time::timeout(Duration::from_millis(50), second.receive()).await;
        assert!(got.is_err(), "came again: {got:?}");
        (second.assigned().len() == 4).then_some(())
    })
    .await;
    send_all(bench, &topic, None, 40).await;
    let after: BTreeSet<_> = receive(&second, 40).await.iter().map(text).collect();
    assert_eq!(after.len(), 40);
    second.close(DELIVERY).await.unwrap();
}

async fn sends_wait_for_a_cluster_that_stops_answering_for_a_while(bench: &dyn Bench) {
    let topic = topic(bench, "frozen", 1).await;
    let producer = bench.producer(DELIVERY);
    producer.send(message(&topic, None, "before")).await.unwrap();
    bench.freeze(true);
    let mut waiting = producer.send(message(&topic, None, "meanwhile"));
    let early = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
    bench.freeze(false);
    assert!(early.is_err(), "nobody can have it yet: {early:?}");
    assert_eq!(waiting.await.unwrap().offset, 1);
}

async fn a_message_that_cannot_be_delivered_ends_with_a_passing_error(bench: &dyn Bench) {
    let topic = topic(bench, "undeliverable", 1).await;
    let producer = bench.producer(Duration::from_secs(2));
    producer.send(message(&topic, None, "before")).await.unwrap();
    bench.freeze(true);
    let sent = producer.send(message(&topic, None, "lost")).await;
    bench.freeze(false);
    assert!(sent.as_ref().is_err_and(BrokerError::is_passing), "{sent:?}");
}

async fn closing_counts_what_is_given_up_and_ends_its_sends(bench: &dyn Bench) {
    let producer = bench.lost_producer();
    let topic = name("nobody-there");
    let mut sends = join_all((0..3).map(|_| producer.send(message(&topic, None, "v"))));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut sends).await.is_err(), "nobody can have them");
    let (given_up, sent) = tokio::join!(producer.close(Duration::from_millis(300)), sends);
    assert_eq!(given_up, 3);
    assert_eq!(sent, [Err(BrokerError::Closed), Err(BrokerError::Closed), Err(BrokerError::Closed)]);
}

async fn a_closed_client_says_so(bench: &dyn Bench) {
    let topic = topic(bench, "closed", 1).await;
    let producer = bench.producer(DELIVERY);
    let placed = producer.send(message(&topic, None, "v")).await.unwrap();
    assert_eq!(producer.close(DELIVERY).await, 0);
    assert_eq!(producer.close(DELIVERY).await, 0, "a second time");
    assert_eq!(producer.send(message(&topic, None, "v")).await, Err(BrokerError::Closed));
    assert_eq!(producer.warm(&topic).await, Err(BrokerError::Closed));
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let got = consumer.receive().await.unwrap();
    assert_eq!(got.placed, placed);
    consumer.close(DELIVERY).await.unwrap();
    consumer.close(DELIVERY).await.unwrap();
    assert_eq!(consumer.done(&got), Err(BrokerError::Closed));
    assert_eq!(consumer.receive().await, Err(BrokerError::Closed));
}

async fn warming_says_whether_sends_would_work(bench: &dyn Bench) {
    let topic = topic(bench, "warm", 2).await;
    let producer: Arc<dyn Producer> = bench.producer(DELIVERY);
    producer.warm(&topic).await.unwrap();
    let missing = producer.warm(&name("never-made")).await;
    assert_eq!(missing, Err(BrokerError::Missing { what: "topic never-made".into() }));
    let lost = bench.lost_producer().warm(&topic).await;
    assert!(lost.as_ref().is_err_and(BrokerError::is_passing), "{lost:?}");
}

//! What only some kinds can, and how the others say that they cannot.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zms_core::metadata::ConsumeFrom;
use zms_drivers::broker::{BrokerError, Subscription};

use super::bench::{Bench, DELIVERY, Kind, message};
use super::cases::{Case, member, receive, send_all, stands_at, text, topic, until};

macro_rules! only {
    ($($kinds:pat => $case:ident),* $(,)?) => {
        pub const ALL: &[(fn(Kind) -> bool, &str, Case)] =
            &[$((|kind| matches!(kind, $kinds), stringify!($case), |bench| Box::pin($case(bench)))),*];
    };
}

only![
    Kind::Fake | Kind::Kafka => headers_may_be_binary_and_there_twice,
    Kind::Fake | Kind::Kafka => a_tombstone_is_not_an_empty_message,
    Kind::Kafka => kafka_holds_no_message_back,
    Kind::Fake | Kind::Kafka => what_failed_is_not_handled_and_bounded_too,
    Kind::Kafka => in_order_kafka_delivers_nothing_again,
    Kind::Fake | Kind::RocketMq { .. } => a_delayed_message_comes_later,
    Kind::Fake | Kind::RocketMq { .. } => in_order_the_next_message_waits_for_the_one_before,
    Kind::RocketMq { .. } => what_failed_before_is_done_by_a_member_in_order,
    Kind::RocketMq { .. } => what_rocketmq_cannot_keep_is_refused_by_name,
    Kind::RocketMq { .. } => an_empty_message_is_a_message,
    Kind::RocketMq { new: true } => new_brokers_take_any_delay,
    Kind::RocketMq { new: false } => old_brokers_name_the_delays_that_they_take,
];

async fn headers_may_be_binary_and_there_twice(bench: &dyn Bench) {
    let topic = topic(bench, "headers", 1).await;
    let mut sent = message(&topic, None, "value");
    sent.headers =
        vec![("b".into(), Bytes::from_static(b"1")), ("a".into(), Bytes::from_static(&[0, 255])), ("b".into(), Bytes::new())];
    bench.producer(DELIVERY).send(sent.clone()).await.unwrap();
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    assert_eq!(consumer.receive().await.unwrap().headers, sent.headers);
    consumer.close(DELIVERY).await.unwrap();
}

async fn a_tombstone_is_not_an_empty_message(bench: &dyn Bench) {
    let topic = topic(bench, "tombstone", 1).await;
    let producer = bench.producer(DELIVERY);
    let mut tombstone = message(&topic, Some("k"), "");
    tombstone.value = None;
    producer.send(tombstone).await.unwrap();
    producer.send(message(&topic, None, "")).await.unwrap();
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let got: Vec<_> = receive(&consumer, 2).await.into_iter().map(|message| (message.key, message.value)).collect();
    assert_eq!(got, [(Some(Bytes::from_static(b"k")), None), (None, Some(Bytes::new()))]);
    consumer.close(DELIVERY).await.unwrap();
}

async fn an_empty_message_is_a_message(bench: &dyn Bench) {
    let topic = topic(bench, "empty", 1).await;
    bench.producer(DELIVERY).send(message(&topic, Some("k"), "")).await.unwrap();
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let got = consumer.receive().await.unwrap();
    assert_eq!((got.key, got.value), (Some(Bytes::from_static(b"k")), Some(Bytes::new())));
    consumer.close(DELIVERY).await.unwrap();
}

async fn kafka_holds_no_message_back(bench: &dyn Bench) {
    let topic = topic(bench, "delay", 1).await;
    let mut later = message(&topic, None, "v");
    later.delay = Some(Duration::from_secs(1));
    let sent = bench.producer(DELIVERY).send(later).await;
    assert!(matches!(sent, Err(BrokerError::Unsupported { .. })), "{sent:?}");
}

async fn what_failed_is_not_handled_and_bounded_too(bench: &dyn Bench) {
    let topic = topic(bench, "failing", 1).await;
    send_all(bench, &topic, None, 600).await;
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let (mut came, mut again) = (BTreeSet::new(), 0);
    // Some come again before others have come at all.
    while again < 300 || came.len() < 256 {
        let message = consumer.receive().await.unwrap();
        came.insert(message.placed.offset);
        again += usize::from(message.attempt > 0);
        consumer.failed(&message).await.unwrap();
    }
    assert_eq!(came, (0..256).collect::<BTreeSet<i64>>(), "what failed is kept here");
    let mut done = BTreeSet::new();
    while done.len() < 600 {
        let message = consumer.receive().await.unwrap();
        consumer.done(&message).unwrap();
        assert!(done.insert(message.placed.offset), "done once: {message:?}");
    }
    until("all is committed", async || (bench.committed(&topic, &topic).await == stands_at(bench, 600)).then_some(())).await;
    consumer.close(DELIVERY).await.unwrap();
}

async fn in_order_kafka_delivers_nothing_again(bench: &dyn Bench) {
    let topic = topic(bench, "in-order", 1).await;
    send_all(bench, &topic, None, 1).await;
    let mut subscription = Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Earliest);
    subscription.ordered = true;
    let consumer = bench.consumer(&subscription);
    let got = consumer.receive().await.unwrap();
    let again = consumer.failed(&got).await;
    assert!(matches!(again, Err(BrokerError::Unsupported { .. })), "{again:?}");
    consumer.close(DELIVERY).await.unwrap();
}

async fn comes_after(bench: &dyn Bench, case: &str, delay: Duration) {
    let topic = topic(bench, case, 1).await;
    let producer = bench.producer(DELIVERY);
    let mut later = message(&topic, Some("k"), "later");
    (later.delay, later.tag) = (Some(delay), Some("t".to_owned()));
    let consumer = member(bench, &topic, ConsumeFrom::Earliest);
    let sent = Instant::now();
    producer.send(later).await.unwrap();
    producer.send(message(&topic, None, "now")).await.unwrap();
    let got = receive(&consumer, 2).await;
    assert_eq!(got.iter().map(text).collect::<Vec<_>>(), ["now", "later"]);
    // Brokers count in steps of a second.
    assert!(sent.elapsed() + Duration::from_secs(1) >= delay, "after {:?}", sent.elapsed());
    assert_eq!((got[1].key.as_deref(), got[1].tag.as_deref(), got[1].headers.len()), (Some(&b"k"[..]), Some("t"), 0));
    consumer.close(DELIVERY).await.unwrap();
}

async fn a_delayed_message_comes_later(bench: &dyn Bench) {
    comes_after(bench, "later", Duration::from_secs(1)).await;
}

async fn new_brokers_take_any_delay(bench: &dyn Bench) {
    comes_after(bench, "any-delay", Duration::from_millis(2_500)).await;
}

async fn old_brokers_name_the_delays_that_they_take(bench: &dyn Bench) {
    let topic = topic(bench, "levels", 1).await;
    let mut later = message(&topic, None, "v");
    later.delay = Some(Duration::from_millis(2_500));
    let why = bench.producer(DELIVERY).send(later).await.unwrap_err();
    assert!(matches!(why, BrokerError::Refused { .. }) && why.to_string().contains("1s 5s 10s 30s"), "{why}");
}

async fn in_order_the_next_message_waits_for_the_one_before(bench: &dyn Bench) {
    let topic = topic(bench, "strict", 1).await;
    send_all(bench, &topic, Some("k"), 3).await;
    let mut subscription = Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Earliest);
    subscription.ordered = true;
    let consumer = bench.consumer(&subscription);
    let first = consumer.receive().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), consumer.receive()).await;
    assert!(early.is_err(), "the one before is not done: {early:?}");
    consumer.failed(&first).await.unwrap();
    let mut got = vec![(text(&first), first.attempt)];
    while got.len() < 4 {
        let message = consumer.receive().await.unwrap();
        got.push((text(&message), message.attempt));
        consumer.done(&message).unwrap();
    }
    assert_eq!(got, [("0", 0), ("0", 1), ("1", 0), ("2", 0)].map(|(text, attempt)| (text.to_owned(), attempt)));
    // Its locks and positions are there for the next one at once.
    consumer.close(DELIVERY).await.unwrap();
    send_all(bench, &topic, Some("k"), 1).await;
    let next = bench.consumer(&subscription);
    let begun = Instant::now();
    assert_eq!(next.receive().await.unwrap().placed.offset, 3);
    assert!(begun.elapsed() < Duration::from_secs(20), "a lock was left behind");
    next.close(DELIVERY).await.unwrap();
}

async fn what_failed_before_is_done_by_a_member_in_order(bench: &dyn Bench) {
    let topic = topic(bench, "failed-before", 1).await;
    send_all(bench, &topic, None, 2).await;
    let before = member(bench, &topic, ConsumeFrom::Earliest);
    for message in receive(&before, 2).await {
        before.failed(&message).await.unwrap();
    }
    before.close(DELIVERY).await.unwrap();
    let mut subscription = Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Earliest);
    subscription.ordered = true;
    let consumer = bench.consumer(&subscription);
    // Both wait in one queue: the second one comes only if the first one was found there.
    for _ in 0..2 {
        let message = consumer.receive().await.unwrap();
        assert_eq!((message.attempt, consumer.is_open(&message)), (1, true));
        consumer.done(&message).unwrap();
    }
    consumer.close(DELIVERY).await.unwrap();
}

async fn what_rocketmq_cannot_keep_is_refused_by_name(bench: &dyn Bench) {
    let topic = topic(bench, "kept", 1).await;
    let producer = bench.producer(DELIVERY);
    let plain = || message(&topic, None, "v");
    for (wrong, said) in [
        (
            {
                let mut m = plain();
                m.headers.push(("h".into(), Bytes::from_static(&[255])));
                m
            },
            "header \"h\"",
        ),
        (
            {
                let mut m = plain();
                m.headers.push(("KEYS".into(), Bytes::from_static(b"k")));
                m
            },
            "header \"KEYS\"",
        ),
        (
            {
                let mut m = plain();
                m.key = Some(Bytes::from_static(&[255]));
                m
            },
            "key",
        ),
        (
            {
                let mut m = plain();
                m.tag = Some("a||b".into());
                m
            },
            "tag",
        ),
    ] {
        let why = producer.send(wrong).await.unwrap_err();
        assert!(matches!(why, BrokerError::Refused { .. }) && why.to_string().contains(said), "{why}");
    }
    let mut tombstone = plain();
    tombstone.value = None;
    let sent = producer.send(tombstone).await;
    assert!(matches!(sent, Err(BrokerError::Unsupported { .. })), "{sent:?}");
}

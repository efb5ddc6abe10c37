//! Messages in order while queues go from member to member.

use std::sync::Arc;
use std::time::Duration;

use zms_core::metadata::ConsumeFrom;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Consumer, Subscription};
use zms_drivers::rocketmq::Waits;

use super::desk::{Desk, work};
use super::{Bench, CLOSE, until};

/// A member that gets messages in order, and hears soon of others.
pub fn member(bench: &Bench, topic: &PhysicalName, group: &str) -> Arc<dyn Consumer> {
    let group = super::name(group);
    let subscription = Subscription { ordered: true, ..Subscription::new(group, topic.clone(), ConsumeFrom::Earliest) };
    let short = Duration::from_millis(100);
    let waits = Waits { first_rounds: vec![short; 20], settle: short, lock_again: short, ..Waits::default() };
    bench.member_with(&subscription, waits)
}

/// A queue goes to the next member when the message that the application has of it is handled, and not before.
pub async fn a_queue_in_order_has_one_handler_though_members_come_and_go(bench: &Bench) {
    const COUNT: u32 = 400;
    let topic = bench.topic("hands", 2);
    bench.send(&topic, 0..COUNT).await;
    let desk = Desk::default();
    let first = member(bench, &topic, "hands");
    let mut in_hands = Vec::new();
    for _ in 0..4 {
        let message = tokio::time::timeout(super::SOON, first.receive()).await.expect("one of each queue").unwrap();
        desk.begin(&message);
        in_hands.push(message);
    }
    let second = member(bench, &topic, "hands");
    until("the first member gave two queues away", || first.assigned().len() == 2).await;
    let early = tokio::time::timeout(Duration::from_secs(2), second.receive()).await;
    assert!(early.is_err(), "the first member's application is still at it: {early:?}");
    // One of them comes again, whoever has its queue now; the others are done.
    desk.put_back(&in_hands[0]);
    first.failed(&in_hands[0]).await.unwrap();
    for message in &in_hands[1..] {
        desk.end(message, &first);
    }
    let takes = Duration::from_millis(25);
    let mut working = vec![work(&first, &desk, takes), work(&second, &desk, takes)];
    until("both work", || desk.count() > 40).await;
    let third = member(bench, &topic, "hands");
    working.push(work(&third, &desk, takes));
    until("the third one has a queue", || !third.assigned().is_empty()).await;
    // What its application has when it closes is waited for, and heard.
    first.close(CLOSE).await.unwrap();
    until("everything is handled", || desk.missing(0..COUNT).is_empty()).await;
    for member in [second, third] {
        member.close(CLOSE).await.unwrap();
    }
    for work in working {
        work.await.unwrap();
    }
    desk.is_in_order(4);
    assert_eq!(desk.count(), COUNT as usize);
}

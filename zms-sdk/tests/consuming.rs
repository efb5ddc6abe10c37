//! Consuming: at least once, wherever the topic lives.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{ENVIRONMENT, World, name, until};
use zms_drivers::broker::BrokerError;
use zms_sdk::{Consuming, Error, Message, Zms};

const WAIT: Duration = Duration::from_secs(5);

/// What a handler got, in its order.
#[derive(Clone, Default)]
struct Got(Arc<Mutex<Vec<String>>>);

impl Got {
    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn until_all(&self, wanted: &[&str]) {
        let wanted: BTreeSet<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
        until(&format!("{wanted:?} came"), async || {
            let got: BTreeSet<String> = self.texts().into_iter().collect();
            (got == wanted).then_some(())
        })
        .await;
    }
}

async fn consume(zms: &Zms, group: &str, got: &Got) -> Consuming {
    let got = got.clone();
    let handler = move |message: zms_sdk::Received| {
        let got = got.clone();
        async move {
            got.0.lock().unwrap().push(String::from_utf8_lossy(message.bytes()).into_owned());
            Ok::<(), String>(())
        }
    };
    zms.consumer(group).unwrap().handle(handler).await.unwrap()
}

#[tokio::test]
async fn a_group_gets_what_is_sent_to_its_topic_and_goes_on_after_a_restart() {
    let world = World::new();
    let (zms, got) = (world.process(), Got::default());
    let consuming = consume(&zms, "billing", &got).await;
    zms.send("orders", Message::new("1").with_key("k").with_header("h", "v")).await.unwrap();
    zms.send("orders", "2").await.unwrap();
    got.until_all(&["1", "2"]).await;
    let figures = consuming.close(WAIT).await;
    assert_eq!((figures.received, figures.done, figures.failed), (2, 2, 0));
    assert_eq!(world.at("a").members_of(&name("billing")), 0, "it left");

    zms.send("orders", "3").await.unwrap();
    let after = Got::default();
    let _consuming = consume(&zms, "billing", &after).await;
    after.until_all(&["3"]).await;
}

#[tokio::test]
async fn a_group_that_is_not_there_is_said_so() {
    let world = World::new();
    let zms = world.process();
    let outcome = zms.consumer("nobody").unwrap().handle(async |_| Ok::<(), String>(())).await;
    assert!(matches!(outcome, Err(Error::Unknown { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_gets_the_message_again_and_nothing_is_committed_before() {
    let world = World::new();
    let zms = world.process();
    zms.send("orders", Message::new("x").with_key("k")).await.unwrap();
    let attempts = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&attempts);
    let consuming = zms
        .consumer("billing")
        .unwrap()
        .handle(move |message| {
            let seen = Arc::clone(&seen);
            async move {
                seen.store(message.attempt, Ordering::SeqCst);
                match message.attempt {
                    1 => Err("not now"),
                    2 => panic!("a bug in the application"),
                    _ => Ok(()),
                }
            }
        })
        .await
        .unwrap();
    until("it succeeds", async || (consuming.figures().done == 1).then_some(())).await;
    assert_eq!((attempts.load(Ordering::SeqCst), consuming.figures().failed), (3, 2));
    let committed = world.at("a").committed_of(&name("billing"), &name("orders"));
    assert_eq!(committed.values().sum::<i64>(), 1);
}

#[tokio::test]
async fn a_message_that_was_not_handled_comes_again_to_the_next_process() {
    let world = World::new();
    let zms = world.process();
    zms.send("orders", "x").await.unwrap();
    let failing = zms.consumer("billing").unwrap().handle(async |_| Err::<(), _>("never")).await.unwrap();
    until("it failed twice", async || (failing.figures().failed >= 2).then_some(())).await;
    failing.close(WAIT).await;
    assert_eq!(world.at("a").committed_of(&name("billing"), &name("orders")).values().sum::<i64>(), 0);
    let got = Got::default();
    let _consuming = consume(&zms, "billing", &got).await;
    got.until_all(&["x"]).await;
}

#[tokio::test]
async fn a_message_is_skipped_only_if_the_application_said_after_how_many_attempts() {
    let world = World::new();
    let zms = world.process();
    for text in ["bad", "good"] {
        zms.send("orders", Message::new(text).with_key("same")).await.unwrap();
    }
    let handler = async |message: zms_sdk::Received| if message.bytes() == b"bad" { Err("bad") } else { Ok(()) };
    let builder = zms.consumer("billing").unwrap().skip_after(NonZeroU32::new(3).unwrap());
    let consuming = builder.handle(handler).await.unwrap();
    until("the good one is done", async || (consuming.figures().done == 1).then_some(())).await;
    let figures = consuming.close(WAIT).await;
    assert_eq!((figures.failed, figures.skipped, figures.done), (3, 1, 1));
}

#[tokio::test]
async fn a_group_reads_from_every_route_of_its_topic_while_it_moves() {
    let world = World::new();
    let (zms, got) = (world.process(), Got::default());
    let _consuming = consume(&zms, "billing", &got).await;
    zms.send("orders", "on a").await.unwrap();
    world.put_routes("orders", 2, &[("a", true, false), ("b", true, true)]);
    until("sends go to b", async || (zms.send("orders", "on b").await.unwrap().cluster.as_str() == "b").then_some(())).await;
    got.until_all(&["on a", "on b"]).await;
    assert_eq!(world.at("a").members_of(&name("billing")), 1);
    world.put_topic("orders", "b", 1, 3);
    until("nobody reads a", async || (world.at("a").members_of(&name("billing")) == 0).then_some(())).await;
    zms.send("orders", "after").await.unwrap();
    got.until_all(&["on a", "on b", "after"]).await;
    assert_eq!(world.at("b").members_of(&name("billing")), 1, "the member there was not opened anew");
}

#[tokio::test]
async fn a_suspended_group_gets_nothing_until_it_goes_on() {
    let world = World::new();
    let (zms, got) = (world.process(), Got::default());
    let _consuming = consume(&zms, "billing", &got).await;
    until("it is a member", async || (world.at("a").members_of(&name("billing")) == 1).then_some(())).await;
    world.put_group("billing", "orders", 2, true);
    until("it left", async || (world.at("a").members_of(&name("billing")) == 0).then_some(())).await;
    zms.send("orders", "x").await.unwrap();
    assert!(got.texts().is_empty());
    world.put_group("billing", "orders", 3, false);
    got.until_all(&["x"]).await;
}

#[tokio::test]
async fn a_process_starts_and_consumes_while_zookeeper_is_away() {
    let world = World::new();
    let first = world.process_of(Some(ENVIRONMENT));
    let got = Got::default();
    consume(&first, "billing", &got).await.close(WAIT).await;
    first.send("orders", "x").await.unwrap();
    first.close(WAIT).await;

    let world = World { meta: zms_drivers::meta::fake::FakeMeta::new(), ..world };
    world.meta.cut();
    let second = world.process_of(Some(ENVIRONMENT));
    let _consuming = consume(&second, "billing", &got).await;
    got.until_all(&["x"]).await;
}

#[tokio::test]
async fn closing_a_client_lets_handlers_end_what_they_have_begun() {
    let world = World::new();
    let zms = world.process();
    zms.send("orders", "x").await.unwrap();
    let (gate, begun) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (open, started) = (Arc::clone(&gate), Arc::clone(&begun));
    let handler = move |_| {
        let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
        async move {
            begun.notify_one();
            gate.acquire().await.map_err(|error| error.to_string())?.forget();
            Ok::<(), String>(())
        }
    };
    let consuming = zms.consumer("billing").unwrap().handle(handler).await.unwrap();
    started.notified().await;
    let (_, _) = tokio::join!(zms.close(WAIT), async { open.add_permits(1) });
    assert_eq!(consuming.figures().done, 1);
    assert_eq!(world.at("a").committed_of(&name("billing"), &name("orders")).values().sum::<i64>(), 1);
}

/// Fails for some messages until it is healed; those that it handled, and how often it failed for each.
#[derive(Clone, Default)]
struct Ill {
    got: Got,
    failures: Arc<Mutex<BTreeMap<String, u32>>>,
    healed: Arc<AtomicBool>,
}

impl Ill {
    async fn consume(
        &self,
        builder: zms_sdk::ConsumerBuilder,
        fails: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Consuming {
        let Self { got, failures, healed } = self.clone();
        let handler = move |message: zms_sdk::Received| {
            let text = String::from_utf8_lossy(message.bytes()).into_owned();
            let outcome = if !healed.load(Ordering::SeqCst) && fails(&text) {
                *failures.lock().unwrap().entry(text).or_default() += 1;
                Err("ill")
            } else {
                got.0.lock().unwrap().push(text);
                Ok(())
            };
            std::future::ready(outcome)
        };
        builder.handle(handler).await.unwrap()
    }

    fn failures_of(&self, text: &str) -> u32 {
        self.failures.lock().unwrap().get(text).copied().unwrap_or(0)
    }

    fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_message_that_always_fails_holds_up_its_own_partition_only_and_nothing_overtakes_it() {
    let world = World::new();
    world.at("a").make_topic(&name("parts"), 3);
    world.put_topic("parts", "a", 1, 1);
    world.put_group("counting", "parts", 1, false);
    let zms = world.process();
    let poison = zms.send("parts", Message::new("poison").with_key("a")).await.unwrap();
    let mut partitions = BTreeSet::from([poison.partition]);
    for number in 0..600 {
        for key in ["a", "b", "c"] {
            partitions.insert(zms.send("parts", Message::new(format!("{key}{number}")).with_key(key)).await.unwrap().partition);
        }
    }
    assert_eq!(partitions.len(), 3, "each key has its own");
    let ill = Ill::default();
    let consuming = ill.consume(zms.consumer("counting").unwrap(), |text| text == "poison").await;
    until("the other partitions are handled", async || (consuming.figures().done == 1_200).then_some(())).await;
    until("it goes on failing", async || (ill.failures_of("poison") >= 3).then_some(())).await;
    let figures = consuming.figures();
    assert_eq!((figures.done, figures.received), (1_200, 1_200 + 256), "of its partition no more is read than may wait");
    ill.heal();
    until("all is handled", async || (consuming.figures().done == 1_801).then_some(())).await;
    let texts = ill.got.texts();
    for key in ["a", "b", "c"] {
        let of_key: Vec<&String> = texts.iter().filter(|text| text.starts_with(key)).collect();
        assert_eq!(of_key, (0..600).map(|number| format!("{key}{number}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
    let at = |wanted: &str| texts.iter().position(|text| text == wanted).unwrap();
    assert!(at("poison") < at("a0"), "nothing overtakes it");
}

#[tokio::test]
async fn a_member_lets_go_of_what_fails_when_its_partition_goes_to_another_one() {
    let world = World::new();
    let zms = world.process();
    for number in 0..20 {
        for key in ["a", "b"] {
            zms.send("orders", Message::new(format!("{key}{number}")).with_key(key)).await.unwrap();
        }
    }
    let ill = Ill::default();
    let failing = ill.consume(zms.consumer("billing").unwrap(), |_| true).await;
    until("both partitions fail", async || (ill.failures_of("a0") >= 2 && ill.failures_of("b0") >= 2).then_some(())).await;

    let (second, got) = (world.process(), Got::default());
    let other = consume(&second, "billing", &got).await;
    until("the other member has handled all of its partition", async || (other.figures().done == 20).then_some(())).await;
    let (theirs, ours) = if got.texts()[0].starts_with('a') { ("a0", "b0") } else { ("b0", "a0") };
    // As long as the first member tries both, they are tried equally often.
    until("the first member tries its own message only", async || {
        let before = (ill.failures_of(theirs), ill.failures_of(ours));
        until("it goes on with its own", async || (ill.failures_of(ours) >= before.1 + 5).then_some(())).await;
        (ill.failures_of(theirs) == before.0).then_some(())
    })
    .await;
    ill.heal();
    until("the first member has handled its own", async || (failing.figures().done >= 20).then_some(())).await;
    let committed = world.at("a").committed_of(&name("billing"), &name("orders"));
    assert_eq!(committed.values().copied().collect::<Vec<_>>(), [20, 20]);
    assert!(
        ill.got.texts().iter().all(|text| text.starts_with(&ours[..1])),
        "what waited is the other member's: {:?}",
        ill.got.texts()
    );
    assert_eq!((failing.figures().done, other.figures().done), (20, 20), "each message once");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_counted_and_the_member_stays() {
    let world = World::new();
    let (zms, got) = (world.process(), Got::default());
    let consuming = consume(&zms, "billing", &got).await;
    zms.send("orders", "1").await.unwrap();
    got.until_all(&["1"]).await;
    let told = |error| world.at("a").tell(&name("billing"), error);
    told(BrokerError::Garbled { cluster: "a".into(), what: "read a message".into(), why: "lz4: damaged".into() });
    until("it is counted", async || (consuming.figures().problems == 1).then_some(())).await;
    zms.send("orders", "2").await.unwrap();
    got.until_all(&["1", "2"]).await;
    assert_eq!(world.at("a").members_ever(), 1, "it was not opened again");

    // What ends a member opens it again.
    told(BrokerError::Closed);
    zms.send("orders", "3").await.unwrap();
    got.until_all(&["1", "2", "3"]).await;
    assert_eq!((world.at("a").members_ever(), consuming.figures().problems), (2, 1));
}

#[tokio::test]
async fn in_order_a_message_that_fails_is_tried_until_it_succeeds_and_the_next_one_waits_at_the_broker() {
    let world = World::new();
    let zms = world.process();
    for number in 0..10 {
        zms.send("orders", Message::new(number.to_string()).with_key("k")).await.unwrap();
    }
    let ill = Ill::default();
    let consuming = ill.consume(zms.consumer("billing").unwrap().in_order(), |text| text == "3").await;
    until("it failed", async || (ill.failures_of("3") >= 3).then_some(())).await;
    assert_eq!((consuming.figures().received, consuming.figures().done), (4, 3), "no other is received meanwhile");
    ill.heal();
    until("all are handled", async || (consuming.figures().done == 10).then_some(())).await;
    assert_eq!(ill.got.texts(), (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(world.clusters.subscriptions.lock().unwrap().iter().all(|subscription| subscription.ordered));

    let both = zms.consumer("billing").unwrap().in_order().retry_later().handle(async |_| Ok::<(), String>(())).await;
    assert!(matches!(&both, Err(Error::Setting(why)) if why.contains("in_order") && why.contains("retry_later")), "{both:?}");
}

//! Consuming: at least once, wherever the topic lives.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

mod support;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{ENVIRONMENT, World, name, until};
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

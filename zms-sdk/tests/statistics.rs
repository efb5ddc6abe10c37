//! Reports about what a process sends and consumes.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

mod support;

use std::time::Duration;

use support::{World, name, until};
use zms_core::statistics::Report;

fn reports(world: &World) -> Vec<Report> {
    let messages = world.at("a").messages(&name("zms_statistics"));
    messages.iter().map(|message| serde_json::from_slice(message.value.as_deref().unwrap()).unwrap()).collect()
}

fn make_topic(world: &World) {
    world.at("a").make_topic(&name("zms_statistics"), 1);
    world.put_topic("zms_statistics", "a", 1, 1);
}

#[tokio::test]
async fn what_was_sent_and_handled_is_reported_and_nothing_about_reports() {
    let world = World::new();
    make_topic(&world);
    let zms = world.process();
    for _ in 0..3 {
        zms.send("orders", "12345").await.unwrap();
    }
    zms.send("nowhere", "x").await.unwrap_err();
    let handler = async |message: zms_sdk::Received| if message.attempt == 1 { Err("not at once") } else { Ok(()) };
    let _consuming = zms.consumer("billing").unwrap().handle(handler).await.unwrap();
    until("all is reported", async || {
        let (mut sent, mut bytes, mut failed, mut received, mut done, mut failures) = (0, 0, 0, 0, 0, 0);
        for report in reports(&world) {
            assert_eq!((report.client.as_str(), report.application.as_str()), (zms.id().as_str(), "shop"));
            assert!(report.window_ms > 0 && report.at_ms > 1_700_000_000_000);
            for producing in &report.producers {
                assert_ne!(producing.topic.as_str(), "zms_statistics");
                (sent, bytes, failed) = (sent + producing.sent, bytes + producing.bytes, failed + producing.failed);
                assert_eq!(producing.failures.values().sum::<u64>(), producing.failed);
            }
            for consuming in &report.consumers {
                assert_eq!((consuming.group.as_str(), consuming.topic.as_str()), ("billing", "orders"));
                (received, done, failures) = (received + consuming.received, done + consuming.done, failures + consuming.failed);
            }
        }
        ((sent, bytes, failed, received, done, failures) == (3, 15, 1, 3, 3, 3)).then_some(())
    })
    .await;
    let key = world.at("a").messages(&name("zms_statistics"))[0].key.clone();
    assert_eq!(key.as_deref(), Some(zms.id().as_str().as_bytes()));
}

#[tokio::test]
async fn reports_that_are_lost_before_the_environment_has_the_topic_are_counted() {
    let world = World::new();
    let zms = world.process();
    let send = async || drop(zms.send("orders", "x").await.unwrap());
    send().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(reports(&world).is_empty());
    make_topic(&world);
    let first = until("a report comes", async || {
        send().await;
        reports(&world).into_iter().next()
    })
    .await;
    assert!(first.dropped > 0, "{first:?}");
}

#[tokio::test]
async fn the_last_window_is_reported_when_the_process_closes() {
    let world = World::new();
    make_topic(&world);
    let builder = zms_sdk::Zms::builder().application("shop").cache(world.cache());
    let waits = zms_sdk::Waits { statistics: Duration::from_secs(3600), ..support::waits() };
    let zms = builder.waits(waits).connect_with(world.meta.clone(), world.clusters.clone(), None).unwrap();
    zms.send("orders", "x").await.unwrap();
    zms.close(Duration::from_secs(5)).await;
    assert_eq!(reports(&world).iter().flat_map(|report| &report.producers).map(|producing| producing.sent).sum::<u64>(), 1);
}

#[tokio::test]
async fn a_report_that_finds_no_way_is_none_of_the_messages_that_were_given_up() {
    let world = World::new();
    let first = world.process();
    first.send("orders", "x").await.unwrap();
    first.close(Duration::from_secs(5)).await;

    // ZooKeeper is away, and only the way of orders was kept.
    let world = World { meta: zms_drivers::meta::fake::FakeMeta::new(), ..world };
    world.meta.cut();
    // As in production the report may wait longer than the process is willing to.
    let second = world.process_with(None, zms_sdk::Waits { statistics: Duration::from_secs(10), ..support::waits() });
    second.send("orders", "y").await.unwrap();
    assert_eq!(second.close(Duration::from_secs(1)).await, 0);
}

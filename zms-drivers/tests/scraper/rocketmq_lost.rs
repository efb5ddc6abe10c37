//! One master of two is silent.

use std::time::Duration;

use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerId, OffsetWish, Scrape, Scraper};
use zms_drivers::open::Endpoint;
use zms_drivers::rocketmq::RocketMqScraper;
use zms_testbed::{RocketLine, RocketMq, RocketWish};

use crate::bench::{Bench as _, name};
use crate::cases::{ends, group, make_topic, until};
use crate::rocketmq::RocketMqBench;

/// Queues of the topic whose ends are unknown.
fn unknown(scrape: &Scrape, topic: &PhysicalName) -> Vec<String> {
    let ends = ends(scrape, topic).unwrap();
    ends.iter().filter(|(_, range)| range.is_none()).map(|(id, _)| id.to_string()).collect()
}

fn silent(scrape: &Scrape) -> Vec<BrokerId> {
    scrape.silent.iter().map(|(id, _)| id.clone()).collect()
}

const OF_B: [&str; 2] = ["broker-b/0", "broker-b/1"];

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_or_dead_master_of_two_costs_its_queues_only() {
    let start = || RocketMq::start(&RocketWish { masters: 2, ..RocketWish::one(RocketLine::V5) });
    let mut server = tokio::task::spawn_blocking(start).await.unwrap();
    let (topic, billing) = (name("lost"), name("billing"));
    let (mut scraper, call_deadline) = {
        let bench = RocketMqBench { server: &server, name: "lost" };
        make_topic(&bench, &topic, 4).await;
        bench.admin().ensure_offsets(&billing, &topic, &OffsetWish::Latest).await.unwrap();
        let endpoint = Endpoint { deadline: Duration::from_secs(8), ..bench.endpoint() };
        (RocketMqScraper::new(&endpoint).unwrap(), endpoint.deadline / 2)
    };
    let is_known = |scrape: &Scrape| {
        let committed = group(scrape, &billing).map(|group| group.committed.as_ref().unwrap()[&topic].len());
        scrape.silent.is_empty() && ends(scrape, &topic).is_some() && unknown(scrape, &topic).is_empty() && committed == Some(4)
    };
    until(&mut scraper, "all of it known", is_known).await;
    let master_of_b = [BrokerId::named("broker-b", 0)];

    server.freeze("broker-b", 0, true);
    let first = scraper.scrape().await.unwrap();
    assert_eq!((silent(&first), unknown(&first, &topic)), (master_of_b.to_vec(), OF_B.map(str::to_owned).to_vec()));
    assert!(first.cost.took < call_deadline, "{:?}", first.cost);
    // Its offsets are kept, so that lag there is unknown and not too small.
    assert_eq!(group(&first, &billing).unwrap().committed.as_ref().unwrap()[&topic].len(), 4);
    let next = scraper.scrape().await.unwrap();
    assert_eq!(silent(&next), master_of_b);
    assert!(next.cost.took < Duration::from_secs(2), "a broker that is known to be silent is not waited for: {:?}", next.cost);
    server.freeze("broker-b", 0, false);
    until(&mut scraper, "all of it known after it went on", is_known).await;

    server.kill("broker-b", 0);
    let gone = |scrape: &Scrape| scrape.view.brokers.len() == 1;
    let without = until(&mut scraper, "without it", gone).await;
    assert_eq!((silent(&without), unknown(&without, &topic)), (master_of_b.to_vec(), OF_B.map(str::to_owned).to_vec()));
    let (listed, _) = without.topics.iter().find(|(found, _)| found.name == topic).unwrap();
    let leaders: Vec<bool> = listed.partitions.iter().map(|partition| partition.leader.is_some()).collect();
    assert_eq!((leaders, listed.under_replicated()), (vec![true, true, false, false], 2), "{listed:?}");
    let server = tokio::task::spawn_blocking(move || {
        server.restart("broker-b", 0);
        server
    });
    let mut server = server.await.unwrap();
    until(&mut scraper, "all of it known after it came back", is_known).await;

    server.kill_name_server(0);
    let scrape = scraper.scrape().await.unwrap();
    assert!(is_known(&scrape), "brokers go on without name servers: {scrape:?}");
}

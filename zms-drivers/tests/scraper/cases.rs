//! The cases.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{
    BrokerError, Ends, Ensured, GroupState, OffsetWish, Placed, Range, Scrape, ScrapedGroup, Scraper, TopicWish,
};
use zms_drivers::kafka::KafkaScraper;
use zms_drivers::rocketmq::{Pace, RocketMqScraper};

use crate::bench::{Bench, RealBench, message, name};
use crate::rocketmq::RocketMqBench;

/// A cluster that can be scraped.
pub trait Scraped: Bench {
    /// Reads everything again in each tick.
    fn scraper(&self) -> Box<dyn Scraper>;
    /// Of a cluster that nobody reaches.
    fn lost_scraper(&self) -> Box<dyn Scraper>;
    /// One after the other, when nothing has moved.
    fn round_trips(&self) -> u32 {
        2
    }
}

type Case = for<'a> fn(&'a dyn Scraped) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

cases! { ALL:
    ends_and_committed_offsets_are_exact_and_move,
    a_partition_without_a_committed_offset_is_absent,
    a_group_that_never_committed_has_no_offsets,
    a_topic_appears_and_disappears,
    a_topic_that_is_made_anew_begins_anew,
    a_group_appears_and_disappears,
    a_cluster_says_who_is_there,
    a_lost_cluster_is_unreachable,
}

fn own(bench: &dyn Scraped, text: &str) -> PhysicalName {
    name(&format!("{text}-{}", bench.name()))
}

pub async fn make_topic(bench: &dyn Scraped, name: &PhysicalName, partitions: i32) {
    let wish = TopicWish { name: name.clone(), partitions, replicas: 1, config: BTreeMap::new() };
    assert_eq!(bench.admin().ensure_topic(&wish).await, Ok(Ensured::Made));
}

/// Sends so many messages.
async fn fill(bench: &dyn Scraped, topic: &PhysicalName, messages: usize) {
    let producer = bench.producer();
    let sent = stream::iter(0..messages).map(|_| producer.send(message(topic))).buffer_unordered(100);
    let sent: Vec<Result<Placed, BrokerError>> = sent.collect().await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
}

async fn commit(bench: &dyn Scraped, group: &PhysicalName, topic: &PhysicalName, offsets: &[(i32, i64)]) {
    let at = OffsetWish::At(offsets.iter().map(|(id, offset)| (bench.partition(*id), *offset)).collect());
    bench.admin().ensure_offsets(group, topic, &at).await.unwrap();
}

pub fn ends<'a>(scrape: &'a Scrape, topic: &PhysicalName) -> Option<&'a Ends> {
    scrape.topics.iter().find(|(found, _)| found.name == *topic).map(|(_, ends)| ends)
}

pub fn group<'a>(scrape: &'a Scrape, group: &PhysicalName) -> Option<&'a ScrapedGroup> {
    scrape.groups.iter().find(|found| found.summary.name == *group)
}

fn one_partition(bench: &dyn Scraped, end: i64) -> Ends {
    Ends::from([(bench.partition(0), Some(Range { start: 0, end }))])
}

/// Scrapes until it is so.
pub async fn until(scraper: &mut dyn Scraper, what: &str, fits: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let end = tokio::time::Instant::now() + Duration::from_secs(40);
    loop {
        ticks.tick().await;
        let found = scraper.scrape().await;
        match found {
            Ok(found) if fits(&found) => return found,
            Ok(found) if found.topics.len() < 20 => {
                assert!(tokio::time::Instant::now() < end, "not {what} within 40 s, but {found:?}");
            }
            // Brokers' own topics would fill the screen.
            Ok(found) => assert!(
                tokio::time::Instant::now() < end,
                "not {what} within 40 s, but silent {:?}, groups {:?}, {:?}",
                found.silent,
                found.groups,
                found.cost
            ),
            Err(error) => assert!(tokio::time::Instant::now() < end, "not {what} within 40 s, but {error}"),
        }
    }
}

async fn ends_and_committed_offsets_are_exact_and_move(bench: &dyn Scraped) {
    let (topic, billing, mut scraper) = (own(bench, "exact"), own(bench, "billing"), bench.scraper());
    make_topic(bench, &topic, 1).await;
    fill(bench, &topic, 1000).await;
    commit(bench, &billing, &topic, &[(0, 400)]).await;
    for (sent, end, committed) in [(0, 1000, 400), (250, 1250, 1000), (1, 1251, 1251)] {
        fill(bench, &topic, sent).await;
        commit(bench, &billing, &topic, &[(0, committed)]).await;
        // RocketMQ 4.9 stores a message some moments before its queue has it.
        let there = |scrape: &Scrape| ends(scrape, &topic) == Some(&one_partition(bench, end));
        let scrape = until(&mut *scraper, "the end", there).await;
        let group = group(&scrape, &billing).unwrap();
        let here = BTreeMap::from([(topic.clone(), BTreeMap::from([(bench.partition(0), committed)]))]);
        assert_eq!((&group.committed, group.members), (&Ok(here), Some(0)));
        assert_eq!((group.summary.state, group.summary.protocol.as_str()), (GroupState::Empty, bench.protocol(false)));
        assert!(scrape.silent.is_empty(), "{:?}", scrape.silent);
        assert!(
            scrape.cost.round_trips == bench.round_trips() && scrape.cost.requests >= 2 && scrape.cost.bytes > 0,
            "{:?}",
            scrape.cost
        );
    }
}

async fn a_partition_without_a_committed_offset_is_absent(bench: &dyn Scraped) {
    let (topic, partly) = (own(bench, "partly"), own(bench, "partly"));
    make_topic(bench, &topic, 4).await;
    commit(bench, &partly, &topic, &[(1, 0), (3, 7)]).await;
    let scrape = bench.scraper().scrape().await.unwrap();
    let here = BTreeMap::from([(topic.clone(), BTreeMap::from([(bench.partition(1), 0), (bench.partition(3), 7)]))]);
    assert_eq!(group(&scrape, &partly).unwrap().committed, Ok(here));
    assert_eq!(ends(&scrape, &topic).unwrap().len(), 4);
}

async fn a_group_that_never_committed_has_no_offsets(bench: &dyn Scraped) {
    let (topic, idle) = (own(bench, "idle"), own(bench, "idle"));
    make_topic(bench, &topic, 2).await;
    let consumer = bench.consumer(&idle, &topic);
    let reading = {
        let consumer = consumer.clone();
        tokio::spawn(async move { drop(consumer.receive().await) })
    };
    let there = |scrape: &Scrape| {
        group(scrape, &idle).is_some_and(|group| group.members == Some(1) && group.summary.state == GroupState::Stable)
    };
    let scrape = until(&mut *bench.scraper(), "a group with one member", there).await;
    assert_eq!(group(&scrape, &idle).unwrap().committed, Ok(BTreeMap::new()), "unknown, not 0");
    reading.abort();
    let _ = reading.await;
    drop(consumer);
}

async fn a_topic_appears_and_disappears(bench: &dyn Scraped) {
    let (topic, mut scraper) = (own(bench, "appears"), bench.scraper());
    assert_eq!(ends(&scraper.scrape().await.unwrap(), &topic), None);
    make_topic(bench, &topic, 1).await;
    let scrape = scraper.scrape().await.unwrap();
    assert_eq!(ends(&scrape, &topic), Some(&one_partition(bench, 0)));
    let names: Vec<_> = scrape.topics.iter().map(|(topic, _)| &topic.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(bench.admin().ensure_topic_gone(&topic).await, Ok(Ensured::Made));
    assert_eq!(ends(&scraper.scrape().await.unwrap(), &topic), None);
}

async fn a_topic_that_is_made_anew_begins_anew(bench: &dyn Scraped) {
    let (topic, mut scraper) = (own(bench, "anew"), bench.scraper());
    for messages in [5, 2] {
        make_topic(bench, &topic, 1).await;
        fill(bench, &topic, messages).await;
        let end = i64::try_from(messages).unwrap();
        until(&mut *scraper, "the end", |scrape| ends(scrape, &topic) == Some(&one_partition(bench, end))).await;
        assert_eq!(bench.admin().ensure_topic_gone(&topic).await, Ok(Ensured::Made));
    }
}

async fn a_group_appears_and_disappears(bench: &dyn Scraped) {
    let (topic, comes, mut scraper) = (own(bench, "comes"), own(bench, "comes"), bench.scraper());
    make_topic(bench, &topic, 1).await;
    assert!(group(&scraper.scrape().await.unwrap(), &comes).is_none());
    commit(bench, &comes, &topic, &[(0, 0)]).await;
    assert!(group(&scraper.scrape().await.unwrap(), &comes).is_some());
    assert_eq!(bench.admin().ensure_group_gone(&comes).await, Ok(Ensured::Made));
    assert!(group(&scraper.scrape().await.unwrap(), &comes).is_none());
}

async fn a_cluster_says_who_is_there(bench: &dyn Scraped) {
    let scrape = bench.scraper().scrape().await.unwrap();
    assert_eq!(Ok(scrape.view), bench.admin().describe().await);
}

async fn a_lost_cluster_is_unreachable(bench: &dyn Scraped) {
    let lost = bench.lost_scraper().scrape().await;
    assert!(matches!(lost, Err(BrokerError::Unreachable { .. })), "{lost:?}");
}

/// What the fake has no requests for.
pub async fn a_steady_tick_has_two_round_trips_and_few_requests(bench: &RealBench<'_>) {
    let topic = own(bench, "steady");
    make_topic(bench, &topic, 3).await;
    let many = stream::iter(0..250).map(|id| own(bench, &format!("steady-{id}")));
    many.for_each_concurrent(20, |group| async move { commit(bench, &group, &own(bench, "steady"), &[(0, 0)]).await }).await;
    let mut scraper = KafkaScraper::new(&bench.endpoint()).unwrap();
    // On a slow machine too nothing is read again in between.
    scraper.pace.refresh = Duration::from_secs(3600);
    let first = scraper.scrape().await.unwrap();
    assert!(first.cost.rare_requests > 0 && first.cost.round_trips == 2, "{:?}", first.cost);
    for tick in 1..=8 {
        let scrape = scraper.scrape().await.unwrap();
        let (groups, leaders) = (scrape.groups.len() as u64, 1);
        assert!(groups > 250 && scrape.groups.iter().all(|group| group.committed.is_ok()));
        let needed = groups.div_ceil(100) + leaders;
        assert_eq!((scrape.cost.requests, scrape.cost.round_trips), (needed, 2), "{:?}", scrape.cost);
        // In the 6th: first offsets of the one leader; nobody has members to count.
        assert_eq!(scrape.cost.rare_requests, u64::from(tick == 6), "tick {tick}: {:?}", scrape.cost);
        assert_eq!(ends(&scrape, &topic).unwrap(), ends(&first, &topic).unwrap());
    }
}

/// Only RocketMQ has no request for the ends of all topics.
pub async fn idle_topics_cost_nothing_and_are_found_when_they_move(bench: &RocketMqBench<'_>) {
    let (idle, moves) = (own(bench, "idle-topic"), own(bench, "moves"));
    make_topic(bench, &idle, 1).await;
    make_topic(bench, &moves, 1).await;
    let mut scraper = RocketMqScraper::new(&bench.endpoint()).unwrap();
    let hour = Duration::from_secs(3600);
    scraper.pace = Pace { refresh: hour, idle: hour, rarely: u64::MAX, forget: hour };
    let first = scraper.scrape().await.unwrap();
    // Each of the topics, the list of brokers, offsets, counters.
    assert_eq!(first.cost.requests, first.topics.len() as u64 + 3, "{:?}", first.cost);
    for round in 0..3 {
        let scrape = scraper.scrape().await.unwrap();
        let least = if round == 0 { 3 } else { 0 };
        assert!(
            (least..=first.cost.requests).contains(&scrape.cost.requests) && scrape.cost.rare_requests == 0,
            "{:?}",
            scrape.cost
        );
    }
    // The topic of `partly`, which stands beyond its end, is asked for each time.
    let steady = scraper.scrape().await.unwrap().cost;
    assert!((3..=4).contains(&steady.requests), "nothing moved: {steady:?}");
    for end in 1..=20 {
        fill(bench, &idle, 1).await;
        let found = |scrape: &Scrape| ends(scrape, &idle) == Some(&one_partition(bench, end));
        until(&mut scraper, "the message in the topic that was idle", found).await;
    }
}

/// The fake keeps nothing that could be old.
pub async fn a_topic_that_went_is_noticed_before_metadata_is_due(bench: &RealBench<'_>) {
    let (stays, goes) = (own(bench, "stays"), own(bench, "goes"));
    make_topic(bench, &stays, 1).await;
    make_topic(bench, &goes, 1).await;
    let mut scraper = KafkaScraper::new(&bench.endpoint()).unwrap();
    scraper.pace.refresh = Duration::from_secs(3600);
    assert!(ends(&scraper.scrape().await.unwrap(), &goes).is_some());
    assert_eq!(bench.admin().ensure_topic_gone(&goes).await, Ok(Ensured::Made));
    // A broker answers for a topic some moments longer than its metadata names it.
    let scrape = until(&mut scraper, "without the topic that went", |scrape| ends(scrape, &goes).is_none()).await;
    assert_eq!(ends(&scrape, &stays), Some(&one_partition(bench, 0)));
    assert!(scrape.cost.rare_requests > 0 && scrape.silent.is_empty(), "{:?}", scrape.cost);
}

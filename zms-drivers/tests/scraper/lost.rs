//! One broker of three is silent.

use std::collections::BTreeSet;
use std::time::Duration;

use zms_core::names::PhysicalName;
use zms_drivers::broker::{OffsetWish, PartitionId, Scrape, Scraper};
use zms_drivers::kafka::KafkaScraper;
use zms_drivers::open::Endpoint;
use zms_testbed::Kafka;

use crate::bench::{RealBench, name};
use crate::cases::{Scraped, ends, group, make_topic, until};

/// A topic with partitions on all three brokers, one replica each, and groups that each broker coordinates some of.
pub struct Scene {
    topic: PhysicalName,
    groups: Vec<PhysicalName>,
}

impl Scene {
    pub async fn make(bench: &dyn Scraped) -> Self {
        let scene = Self { topic: name("lost"), groups: (0..20).map(|id| name(&format!("lost-{id}"))).collect() };
        make_topic(bench, &scene.topic, 6).await;
        for group in &scene.groups {
            bench.admin().ensure_offsets(group, &scene.topic, &OffsetWish::Latest).await.unwrap();
        }
        scene
    }

    /// Partitions with unknown ends, and groups with unknown offsets.
    fn unknown(&self, scrape: &Scrape) -> (Vec<PartitionId>, usize) {
        let unknown = ends(scrape, &self.topic).unwrap().iter().filter(|(_, range)| range.is_none()).map(|(id, _)| id.clone());
        let groups = self.groups.iter().filter(|name| group(scrape, name).unwrap().committed.is_err());
        (unknown.collect(), groups.count())
    }

    fn is_known(&self, scrape: &Scrape) -> bool {
        let there = self.groups.iter().all(|name| group(scrape, name).is_some());
        there && ends(scrape, &self.topic).is_some() && scrape.silent.is_empty() && self.unknown(scrape) == (Vec::new(), 0)
    }

    pub fn all_is_known(&self, scrape: &Scrape) {
        assert!(self.is_known(scrape), "{scrape:?}");
    }

    /// In the tick after it went away, or a later one while nobody has taken its place.
    pub fn broker_3_is_lost(&self, scrape: &Scrape) {
        let silent: Vec<_> = scrape.silent.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(silent, [3], "{:?}", scrape.silent);
        let (topic, _) = scrape.topics.iter().find(|(topic, _)| topic.name == self.topic).unwrap();
        let led: Vec<PartitionId> = topic.partitions.iter().filter(|p| p.replicas == [3]).map(|p| p.id.clone()).collect();
        let (partitions, groups) = self.unknown(scrape);
        assert_eq!((partitions, led.len()), (led.clone(), 2), "its partitions and no others");
        assert!((1..self.groups.len()).contains(&groups), "{groups} groups: some, not all");
    }
}

/// Scrapes with the default pace.
pub async fn a_frozen_broker_and_then_a_dead_one(mut kafka: Kafka) {
    let (scene, mut scraper, call_deadline) = {
        let bench = RealBench::new(&kafka, false);
        // Short, so that nobody takes over what a frozen broker does (after 9 s) before it goes on.
        let endpoint = Endpoint { deadline: Duration::from_secs(10), ..bench.endpoint() };
        (Scene::make(&bench).await, KafkaScraper::new(&endpoint).unwrap(), endpoint.deadline / 2)
    };
    until(&mut scraper, "all of it known", |scrape| scene.is_known(scrape)).await;

    kafka.freeze(2, true);
    let first = scraper.scrape().await.unwrap();
    scene.broker_3_is_lost(&first);
    assert!(first.cost.took < call_deadline, "{:?}", first.cost);
    let next = scraper.scrape().await.unwrap();
    assert_eq!(next.silent.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [3]);
    assert!(next.cost.took < Duration::from_secs(2), "a broker that is known to be silent is not waited for: {:?}", next.cost);
    kafka.freeze(2, false);
    until(&mut scraper, "all of it known after it went on", |scrape| scene.is_known(scrape)).await;

    kafka.kill(2);
    let first = scraper.scrape().await.unwrap();
    scene.broker_3_is_lost(&first);
    assert!(first.cost.took < Duration::from_secs(2), "{:?}", first.cost);
    // Others coordinate its groups then; its partitions have no other replica.
    let taken_over = |scrape: &Scrape| scene.unknown(scrape).1 == 0 && scrape.view.brokers.len() == 2;
    let without = until(&mut scraper, "all groups known without it", taken_over).await;
    assert_eq!(
        without.silent.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(),
        [3],
        "it holds replicas: {:?}",
        without.silent
    );
    assert_eq!(scene.unknown(&without).0.len(), 2);
    let leaders: BTreeSet<_> =
        without.topics.iter().flat_map(|(topic, _)| topic.partitions.iter().map(|p| p.leader.clone())).collect();
    assert!(!leaders.contains(&Some(3.into())), "{leaders:?}");

    let kafka = tokio::task::spawn_blocking(move || {
        kafka.restart(2);
        kafka
    });
    let _kafka = kafka.await.unwrap();
    until(&mut scraper, "all of it known after it came back", |scrape| scene.is_known(scrape)).await;
}

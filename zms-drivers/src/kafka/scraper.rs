//! What a collector asks of a Kafka cluster in each tick: [`KafkaScraper`].
//!
//! `known` is what is kept between ticks, `tick` one tick under way, `trips` its two round trips; this file reads again what changes
//! rarely, and puts the answers together.

mod known;
mod tick;
mod trips;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::time::{Instant, timeout};
use zms_kafka_wire::{Code, Listed, WireError};

use super::admin::{KafkaAdmin, by_partition};
use crate::broker::{BrokerError, Committed, Cost, Ends, PartitionId, Range, Scrape, ScrapedGroup, Scraper};
use crate::open::Endpoint;
use known::{Known, KnownGroup, KnownTopic};
use tick::Tick;
use trips::{Commits, Latest};

/// How often a scraper asks for what changes rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Metadata and lists of groups are read again when they are so old, and in the tick after one that met something moved or silent. A
    /// topic or group that was made since is missing for so long.
    pub refresh: Duration,
    /// First offsets of all partitions and members of groups are asked for in each so many-th tick, beginning with the first; in between
    /// the last known are given. Retention may have moved a first offset since.
    pub rarely: u64,
}

impl Default for Pace {
    /// 10 s, and each 6th tick.
    fn default() -> Self {
        Self { refresh: Duration::from_secs(10), rarely: 6 }
    }
}

/// A Kafka cluster, asked again and again. Connects when it is first asked.
#[derive(Debug)]
pub struct KafkaScraper {
    /// How often it asks for what changes rarely.
    pub pace: Pace,
    admin: KafkaAdmin,
    known: Known,
    /// When metadata and lists of groups were read last; `None`: to be read in the next tick.
    read: Option<Instant>,
    ticks: u64,
    /// Brokers that were silent in the last tick, each with the reason.
    away: BTreeMap<i32, String>,
}

impl KafkaScraper {
    /// Connects later.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint cannot be right.
    pub fn new(endpoint: &Endpoint) -> Result<Self, BrokerError> {
        let admin = KafkaAdmin::new(endpoint)?;
        Ok(Self { pace: Pace::default(), admin, known: Known::default(), read: None, ticks: 0, away: BTreeMap::new() })
    }

    /// A broker that can be asked in this tick.
    fn asks(&self, tick: &Tick, broker: i32) -> bool {
        self.known.lists(broker) && !tick.silent.contains_key(&broker)
    }

    /// Brokers that were silent in the last tick get a moment for a new connection. The others do not wait longer for them: the
    /// connection is opened aside, and they are asked again when it is there.
    async fn look_for_lost(&mut self, tick: &mut Tick) {
        let (wire, moment) = (&self.admin.wire, self.admin.wire.options().pause);
        let lost = std::mem::take(&mut self.away).into_iter().filter(|(id, _)| self.known.lists(*id));
        let looks = lost.map(|(id, why)| async move { (id, why, wire.reconnect(id, moment).await) });
        let away = join_all(looks).await.into_iter().filter(|(_, _, back)| !back);
        tick.silent.extend(away.map(|(id, why, _)| (id, why)));
        tick.look_again |= !tick.silent.is_empty();
    }

    async fn read_metadata(&mut self, tick: &mut Tick) -> bool {
        let (wire, limit) = (&self.admin.wire, tick.limit());
        let answer = timeout(limit, wire.metadata_soon(tick.patience)).await.unwrap_or_else(|_| Err(nobody("Metadata", limit)));
        match answer {
            Ok(answer) => {
                tick.answered = true;
                self.known.read_metadata(&answer);
                true
            }
            Err(error) => {
                tick.failed(&error);
                false
            }
        }
    }

    /// Who coordinates these groups now.
    async fn find_coordinators(&mut self, tick: &mut Tick, names: &[String]) -> bool {
        let (wire, limit) = (&self.admin.wire, tick.limit());
        let found = timeout(limit, wire.coordinators_soon(names, tick.patience)).await;
        match found.unwrap_or_else(|_| Err(nobody("FindCoordinator", limit))) {
            Ok(found) => {
                self.known.read_coordinators(names, found);
                true
            }
            Err(error) => {
                tick.failed(&error);
                false
            }
        }
    }

    /// Metadata, and groups with their coordinators: who lists a group coordinates it.
    async fn refresh(&mut self, tick: &mut Tick) {
        if !self.read_metadata(tick).await {
            return;
        }
        let (wire, limit) = (&self.admin.wire, tick.limit());
        let brokers = self.known.view.brokers.iter().filter_map(|broker| broker.id.plain()).filter(|id| self.asks(tick, *id));
        let answers = join_all(brokers.map(|id| async move { (id, wire.groups_at(id, limit).await) })).await;
        let mut lists: BTreeMap<i32, Vec<Listed>> = BTreeMap::new();
        for (broker, done) in answers {
            tick.note(broker, &done);
            lists.extend(done.ok().map(|list| (broker, list)));
        }
        let missing = self.known.read_groups(lists);
        if !missing.is_empty() {
            self.look_for_missing(tick, &missing).await;
        }
        self.read = Some(Instant::now());
    }

    /// Metadata and groups are too old. Also while nothing is known that the round trips could ask for: they would find nobody silent.
    fn is_due(&self) -> bool {
        let nothing = self.known.topics.is_empty() && self.known.groups.is_empty();
        nothing || self.read.is_none_or(|read| read.elapsed() >= self.pace.refresh)
    }

    fn committed_of(&self, tick: &Tick, name: &str, group: &KnownGroup, commits: &mut Commits) -> Result<Committed, BrokerError> {
        let what = format!("group {name}");
        match (commits.remove(name), group.coordinator) {
            (Some(Ok(offsets)), _) => Ok(by_partition(offsets)),
            (Some(Err(WireError::Answer { code: Code::GroupIdNotFound, .. })), _) => Ok(Committed::new()),
            (Some(Err(error)), _) => Err(self.admin.classify(&what, error)),
            (None, Some(id)) => {
                let why = tick.silent.get(&id).map_or("the cluster does not list it now", String::as_str);
                let why = format!("broker {id}, which coordinates {what}: {why}");
                Err(BrokerError::Unreachable { cluster: self.admin.name.clone(), why })
            }
            (None, None) => Err(BrokerError::Passing { what, why: "nobody coordinates it now".to_owned() }),
        }
    }

    fn put_together(&self, tick: &Tick, mut commits: Commits, latest: &Latest) -> Scrape {
        let topics = self.known.topics.iter().map(|(name, known)| (known.topic.clone(), ends(known, name, latest)));
        let groups = self.known.groups.iter().map(|(name, group)| ScrapedGroup {
            summary: group.summary.clone(),
            members: group.members,
            committed: self.committed_of(tick, name, group, &mut commits),
        });
        let absent = self.known.absent().into_iter().map(|id| (id, "holds replicas and is not there".to_owned()));
        let silent: BTreeMap<i32, String> = absent.chain(tick.silent.clone()).collect();
        Scrape {
            view: self.known.view.clone(),
            topics: topics.collect(),
            groups: groups.collect(),
            counters: Vec::new(),
            silent: silent.into_iter().map(|(id, why)| (id.into(), why)).collect(),
            cost: Cost::default(),
        }
    }

    fn nothing(&self, tick: &Tick) -> BrokerError {
        if let Some(error) = &tick.first_error {
            return self.admin.classify("scrape", error.clone());
        }
        let why = tick.silent.iter().map(|(id, why)| format!("broker {id}: {why}")).collect::<Vec<_>>().join("; ");
        BrokerError::Unreachable { cluster: self.admin.name.clone(), why }
    }
}

#[async_trait]
impl Scraper for KafkaScraper {
    async fn scrape(&mut self) -> Result<Scrape, BrokerError> {
        let before = self.admin.wire.traffic();
        let mut tick = Tick::begin(self.admin.wire.options(), self.admin.deadline);
        let rarely = self.ticks.is_multiple_of(self.pace.rarely.max(1));
        self.ticks += 1;
        self.look_for_lost(&mut tick).await;
        if self.is_due() {
            self.refresh(&mut tick).await;
        }
        let commits = self.committed(&mut tick).await;
        let latest = self.latest(&mut tick, rarely).await;
        if tick.look_again {
            self.read = None;
        }
        self.away = tick.silent.clone();
        if !tick.answered {
            return Err(self.nothing(&tick));
        }
        let mut scrape = self.put_together(&tick, commits, &latest);
        let after = self.admin.wire.traffic();
        scrape.cost = Cost {
            took: tick.begun.elapsed(),
            requests: tick.requests,
            round_trips: tick.round_trips,
            rare_requests: (after.requests - before.requests).saturating_sub(tick.requests),
            bytes: after.bytes - before.bytes,
        };
        Ok(scrape)
    }
}

/// Both ends of each partition; `None` unless both are known.
fn ends(known: &KnownTopic, name: &str, latest: &Latest) -> Ends {
    let range = |id: &PartitionId| {
        let id = id.plain()?;
        let end = (*latest.get(name)?.get(&id)?)?;
        Some(Range { start: *known.starts.get(&id)?, end })
    };
    known.topic.partitions.iter().map(|partition| (partition.id.clone(), range(&partition.id))).collect()
}

/// None of those that were asked one after the other answered.
fn nobody(call: &'static str, deadline: Duration) -> WireError {
    WireError::Silent { address: "all brokers".to_owned(), call, deadline }
}

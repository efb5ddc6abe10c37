//! What a collector asks of a RocketMQ cluster in each tick: [`RocketMqScraper`].
//!
//! Three round trips: who is there (106); of each master all committed offsets (43); then ends of topics (202), one request each, because
//! no request asks for all. A master's counters (28) come meanwhile, or for the next tick. `known` is what is kept between ticks, `ask` what one broker is
//! asked; this file puts the answers together. Masters only: what a slave knows of offsets is seconds old.

mod ask;
mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::time::Instant;
use zms_core::names::PhysicalName;

use super::admin::own::is_internal_group;
use super::admin::{RocketMqAdmin, add_committed, topics_of, view};
use super::remoting::RemotingError;
use super::route::MASTER;
use crate::broker::{BrokerError, BrokerId, Committed, Cost, GroupState, GroupSummary, Scrape, ScrapedGroup, Scraper};
use crate::open::Endpoint;
use ask::{Plan, Told};
use known::Known;

/// How often a scraper asks for what changes rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Lists of topics and groups are read again when they are so old. A topic or group that was made since is missing for so long.
    pub refresh: Duration,
    /// Ends of topics to which nothing was sent are asked for when they are so old, or when the broker stored messages that were seen in
    /// no other topic. Retention may have moved a first offset since.
    pub idle: Duration,
    /// Members of each group are counted in one of so many ticks, beginning with the first, in which all are counted.
    pub rarely: u64,
    /// A broker that no name server lists is missed for so long.
    pub forget: Duration,
}

impl Default for Pace {
    /// 10 s, 60 s, each 6th tick, an hour.
    fn default() -> Self {
        Self { refresh: Duration::from_secs(10), idle: Duration::from_secs(60), rarely: 6, forget: Duration::from_secs(3600) }
    }
}

/// A RocketMQ cluster, asked again and again. Connects when it is first asked.
#[derive(Debug)]
pub struct RocketMqScraper {
    /// How often it asks for what changes rarely.
    pub pace: Pace,
    admin: Arc<RocketMqAdmin>,
    known: Known,
    counted: BTreeMap<String, Counted>,
    ticks: u64,
    /// Masters that were silent in the last tick.
    away: BTreeSet<Arc<str>>,
}

/// Members of a group, as counted last.
#[derive(Debug, Default)]
struct Counted {
    /// Client ids that each master heard.
    clients: BTreeMap<Arc<str>, BTreeSet<String>>,
    protocol: String,
}

impl Counted {
    fn members(&self) -> usize {
        self.clients.values().flatten().collect::<BTreeSet<_>>().len()
    }
}

impl RocketMqScraper {
    /// Connects later. The endpoint's addresses are those of name servers.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint cannot be right.
    pub fn new(endpoint: &Endpoint) -> Result<Self, BrokerError> {
        let admin = Arc::new(RocketMqAdmin::new(endpoint)?);
        let (known, counted, away) = (Known::default(), BTreeMap::new(), BTreeSet::new());
        Ok(Self { pace: Pace::default(), admin, known, counted, ticks: 0, away })
    }

    /// Asks all masters side by side. What they told, or why they told nothing.
    async fn ask_masters(&mut self, now: Instant) -> BTreeMap<Arc<str>, Result<Told, RemotingError>> {
        let mut brokers = std::mem::take(&mut self.known.brokers);
        let (admin, pace, ticks) = (&self.admin, self.pace, self.ticks);
        let mut asks = Vec::new();
        for (name, address) in self.known.info.masters() {
            let Some((name, mut known)) = brokers.remove_entry(name) else { continue };
            let plan = Plan { pace, ticks, now, was_away: self.away.contains(&name) };
            asks.push(async move {
                let told = ask::broker(admin, address, &mut known, plan).await;
                (name, known, told)
            });
        }
        let mut all = BTreeMap::new();
        for (name, known, told) in join_all(asks).await {
            brokers.insert(Arc::clone(&name), known);
            all.insert(name, told);
        }
        self.known.brokers = brokers;
        all
    }

    /// Members, where they were counted. Groups that are gone are forgotten.
    fn count(&mut self, told: &mut BTreeMap<Arc<str>, Result<Told, RemotingError>>, groups: &BTreeSet<PhysicalName>) {
        for (broker, told) in told.iter_mut().filter_map(|(broker, told)| Some((broker, told.as_mut().ok()?))) {
            for (group, members) in std::mem::take(&mut told.members) {
                let counted = self.counted.entry(group).or_default();
                if !members.connection_set.is_empty() {
                    counted.protocol = members.message_model.to_lowercase();
                }
                let clients = members.connection_set.into_iter().map(|client| client.client_id).collect();
                counted.clients.insert(Arc::clone(broker), clients);
            }
        }
        self.counted.retain(|group, _| PhysicalName::new(group.clone()).is_ok_and(|name| groups.contains(&name)));
        for counted in self.counted.values_mut() {
            counted.clients.retain(|broker, _| self.known.brokers.contains_key(broker));
            if counted.members() == 0 {
                counted.protocol.clear();
            }
        }
    }

    /// Groups that a broker lists, or that somebody committed for. Brokers' own are left out.
    fn groups(&self) -> BTreeSet<PhysicalName> {
        let of = |known: &'_ known::KnownBroker| {
            let listed = known.groups.iter().map(String::as_str);
            let committed = known.offsets.each().map(|(_, group, _)| group);
            let names = listed.chain(committed).filter(|name| !is_internal_group(name));
            names.filter_map(|name| PhysicalName::new(name).ok()).collect::<Vec<_>>()
        };
        self.known.brokers.values().flat_map(of).collect()
    }

    fn scraped(&self, name: PhysicalName, committed: Committed) -> ScrapedGroup {
        let counted = self.counted.get(name.as_str());
        let members = counted.map(|counted| u32::try_from(counted.members()).unwrap_or(u32::MAX));
        let state = match members {
            None => GroupState::Unknown,
            Some(0) => GroupState::Empty,
            Some(_) => GroupState::Stable,
        };
        let protocol = counted.map(|counted| counted.protocol.clone()).unwrap_or_default();
        ScrapedGroup { summary: GroupSummary { name, state, protocol }, members, committed: Ok(committed) }
    }

    /// Masters and slaves that are missed or silent, each with the reason.
    fn silent(&self, told: &BTreeMap<Arc<str>, Result<Told, RemotingError>>) -> Vec<(BrokerId, String)> {
        let mut silent = Vec::new();
        for (name, known) in &self.known.brokers {
            let listed = self.known.info.brokers.get(name);
            for id in &known.ids {
                let id = BrokerId::named(Arc::clone(name), *id);
                let missing = listed.is_none_or(|set| !set.addresses.contains_key(&id.number));
                match told.get(name) {
                    _ if missing => silent.push((id, "no name server lists it now".to_owned())),
                    Some(Err(error)) if id.number == MASTER => silent.push((id, error.to_string())),
                    _ => {}
                }
            }
        }
        silent
    }

    fn put_together(&self, told: &BTreeMap<Arc<str>, Result<Told, RemotingError>>, groups: BTreeSet<PhysicalName>) -> Scrape {
        let all = self.known.all();
        let configs = self.known.brokers.iter().map(|(name, known)| (name, &known.topics));
        let seen = |broker: &str| self.known.brokers.get(broker).map(|known| known.ids.clone()).unwrap_or_default();
        let topics = topics_of(&all, configs, seen);
        let answered = |broker: &str| told.get(broker).is_some_and(Result::is_ok);
        let topics = topics.into_iter().map(|topic| {
            let ends = self.known.ends(&topic, |broker| !answered(broker));
            (topic, ends)
        });
        let mut committed: BTreeMap<String, Committed> = BTreeMap::new();
        for (broker, known) in &self.known.brokers {
            add_committed(&mut committed, broker, &known.offsets, |_| true);
        }
        let groups = groups.into_iter().map(|name| {
            let committed = committed.remove(name.as_str()).unwrap_or_default();
            self.scraped(name, committed)
        });
        Scrape {
            view: view(&self.known.info),
            topics: topics.collect(),
            groups: groups.collect(),
            counters: told.iter().filter_map(|(name, told)| Some((master(name), told.as_ref().ok()?.counters))).collect(),
            silent: self.silent(told),
            cost: Cost::default(),
        }
    }
}

fn master(name: &Arc<str>) -> BrokerId {
    BrokerId::named(Arc::clone(name), MASTER)
}

#[async_trait]
impl Scraper for RocketMqScraper {
    async fn scrape(&mut self) -> Result<Scrape, BrokerError> {
        let (begun, before) = (Instant::now(), self.admin.remoting.traffic());
        match self.admin.names.cluster().await {
            Ok(info) => self.known.read_cluster(info, begun, self.pace.forget),
            // Brokers go on without name servers, and so do those who know them.
            Err(error) if !self.known.info.brokers.is_empty() => {
                tracing::warn!(cluster = %self.admin.name, %error, "no name server answers; brokers are asked as they were known last");
            }
            Err(error) => return Err(self.admin.classify("scrape", error)),
        }
        let mut told = self.ask_masters(begun).await;
        self.ticks += 1;
        self.away = told.iter().filter(|(_, told)| told.is_err()).map(|(name, _)| Arc::clone(name)).collect();
        if told.values().all(Result::is_err) && !self.known.brokers.is_empty() {
            let why = self.silent(&told).iter().map(|(id, why)| format!("broker {id}: {why}")).collect::<Vec<_>>().join("; ");
            let denied = told.into_values().find_map(|told| told.err().filter(|error| !error.is_away()));
            let away = BrokerError::Unreachable { cluster: self.admin.name.clone(), why };
            return Err(denied.map_or(away, |error| self.admin.classify("scrape", error)));
        }
        let groups = self.groups();
        self.count(&mut told, &groups);
        let mut scrape = self.put_together(&told, groups);
        let after = self.admin.remoting.traffic();
        let told = || told.values().filter_map(|told| told.as_ref().ok());
        let rare = told().map(|told| told.rare_requests).sum();
        scrape.cost = Cost {
            took: begun.elapsed(),
            requests: (after.requests - before.requests).saturating_sub(rare),
            round_trips: 1 + told().map(|told| told.round_trips).max().unwrap_or(1),
            rare_requests: rare,
            bytes: after.bytes - before.bytes,
        };
        Ok(scrape)
    }
}

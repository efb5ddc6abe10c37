//! What one master is asked in a tick.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::admin::bodies::{Groups, Members, Offsets, Runtime, TopicStats, Topics};
use super::super::admin::own::is_internal_group;
use super::super::admin::{RocketMqAdmin, at_once, is_offline};
use super::super::remoting::{RemotingError, Request, RequestCode, answers};
use super::Pace;
use super::known::KnownBroker;
use crate::broker::Counters;

/// A broker that was silent gets a moment to show that it is back.
const MOMENT: Duration = Duration::from_millis(500);
/// A tick waits no longer for a broker's counters; those that come later are for the next one.
const COUNTING: Duration = Duration::from_millis(100);

/// What this tick asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub pace: Pace,
    /// Counted from 0.
    pub ticks: u64,
    /// When it began.
    pub now: Instant,
    /// It was silent in the tick before.
    pub was_away: bool,
}

/// What came of it beside what is known now.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Members of groups that were counted in this tick.
    pub members: BTreeMap<String, Members>,
    /// What it counts itself.
    pub counters: Counters,
    /// Requests for lists and members.
    pub rare_requests: u64,
    /// Round trips one after the other for everything else.
    pub round_trips: u32,
}

/// Asks one master. What it said is in `known`, also when it fell silent half-way.
pub(super) async fn broker(
    admin: &Arc<RocketMqAdmin>,
    address: &str,
    known: &mut KnownBroker,
    plan: Plan,
) -> Result<Told, RemotingError> {
    let limit = admin.remoting.options().call_deadline / 2;
    let mut told = Told::default();
    let offsets = || Request::new(RequestCode::GetAllConsumerOffset);
    if plan.was_away {
        admin.ask_within::<Offsets>(address, offsets(), MOMENT.min(limit)).await?;
    }
    // Counters that were asked for in the tick before, and came too late for it, are as good.
    let before = known.counting.take();
    let was_late = before.is_some();
    let mut counting = before.unwrap_or_else(|| count(admin, address, known, limit));
    let moving = async {
        // Committed offsets before ends: lag is never too small by the order of asking.
        known.offsets = admin.ask_within(address, offsets(), limit).await?;
        told.round_trips = 1;
        let stranger = known.offsets.each().any(|(_, group, _)| !is_internal_group(group) && !known.groups.contains(group));
        if stranger || known.read.is_none_or(|read| plan.now.duration_since(read) >= plan.pace.refresh) {
            read_lists(admin, address, known, plan, limit).await?;
            told.rare_requests += 2;
        }
        let due = known.due(plan.now, plan.pace.idle);
        told.round_trips += u32::from(!due.is_empty());
        ends(admin, address, known, due, limit).await
    };
    let (counted, seen) = tokio::join!(tokio::time::timeout(COUNTING, &mut counting), moving);
    let seen = seen?;
    let counters = match counted {
        Ok(Ok(Ok(counters))) => Some(counters),
        Ok(Ok(Err(error))) if !was_late => return Err(error),
        // Meanwhile it answered everything else.
        Ok(Ok(Err(error))) => {
            tracing::warn!(cluster = %admin.name, %error, "a broker does not tell its counters");
            None
        }
        Ok(Err(_)) | Err(_) => None,
    };
    if !counting.is_finished() {
        known.counting = Some(counting);
    } else if was_late {
        let next = count(admin, address, known, limit);
        known.counting = Some(next);
    }
    let rest = known.rest(plan.now, counters.as_ref(), seen);
    told.counters = counters.unwrap_or_default();
    told.round_trips += u32::from(!rest.is_empty());
    let seen = ends(admin, address, known, rest, limit).await?;
    known.looked(plan.now, seen);
    told.members = members(admin, address, known, plan, limit).await?;
    told.rare_requests += told.members.len() as u64;
    Ok(told)
}

/// A broker of 5.x walks through all of its queues' files before it tells its counters, which it read first: 50 ms at 400 queues, where 4.9 takes 2.
fn count(
    admin: &Arc<RocketMqAdmin>,
    address: &str,
    known: &mut KnownBroker,
    limit: Duration,
) -> JoinHandle<Result<Counters, RemotingError>> {
    known.counts_from_now();
    let (admin, address) = (Arc::clone(admin), address.to_owned());
    tokio::spawn(async move {
        match admin.ask_within::<Runtime>(&address, Request::new(RequestCode::GetBrokerRuntimeInfo), limit).await {
            Ok(runtime) => Ok(runtime.counters()),
            // For a second after its start a broker has no counters.
            Err(error) if error.answer() == Some(answers::SYSTEM_ERROR) => Ok(Counters::default()),
            Err(error) => Err(error),
        }
    })
}

async fn read_lists(
    admin: &RocketMqAdmin,
    address: &str,
    known: &mut KnownBroker,
    plan: Plan,
    limit: Duration,
) -> Result<(), RemotingError> {
    let (topics, groups) = tokio::join!(
        admin.ask_within::<Topics>(address, Request::new(RequestCode::GetAllTopicConfig), limit),
        admin.ask_within::<Groups>(address, Request::new(RequestCode::GetAllSubscriptionGroupConfig), limit),
    );
    known.read_lists(topics?.topics, groups?.groups.into_keys().collect(), plan.now);
    Ok(())
}

/// Ends of these topics; by how many messages they grew.
async fn ends(
    admin: &RocketMqAdmin,
    address: &str,
    known: &mut KnownBroker,
    topics: Vec<String>,
    limit: Duration,
) -> Result<i64, RemotingError> {
    let asks = topics.into_iter().map(|topic| async move {
        let request = Request::new(RequestCode::GetTopicStatsInfo).with("topic", &topic);
        let stats = admin.ask_within::<TopicStats>(address, request, limit).await;
        (topic, stats)
    });
    let mut grown = 0;
    for (topic, stats) in at_once(asks.collect()).await {
        match stats {
            Ok(stats) => grown += known.read_stats(&topic, stats, Instant::now()),
            // It went since topics were listed.
            Err(error) if error.answer() == Some(answers::NO_TOPIC) => {
                known.topics.remove(&topic);
                known.stats.remove(&topic);
                known.read = None;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(grown)
}

/// Members of the groups whose turn it is.
async fn members(
    admin: &RocketMqAdmin,
    address: &str,
    known: &KnownBroker,
    plan: Plan,
    limit: Duration,
) -> Result<BTreeMap<String, Members>, RemotingError> {
    let committed = known.offsets.each().map(|(_, group, _)| group.to_owned());
    let mut groups: Vec<String> = known.groups.iter().cloned().chain(committed).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| !is_internal_group(group));
    let rarely = plan.pace.rarely.max(1);
    let turn = |group: &str| group.bytes().map(u64::from).sum::<u64>() % rarely == plan.ticks % rarely;
    let asks = groups.into_iter().filter(|group| plan.ticks == 0 || turn(group)).map(|group| async move {
        let request = Request::new(RequestCode::GetConsumerConnectionList).with("consumerGroup", &group);
        let members = match admin.ask_within::<Members>(address, request, limit).await {
            Err(error) if is_offline(&error) => Ok(Members::default()),
            answer => answer,
        };
        members.map(|members| (group, members))
    });
    at_once(asks.collect()).await.into_iter().collect()
}

//! Where groups stand.
//!
//! A group without members stands where it is put, on every version. One with members is put elsewhere by brokers that set offsets themselves
//! ([`SETS_OFFSETS`]): they take no commit of a queue from then on until somebody pulls it, and answer that pull with the new place, so that members
//! of every language and version follow. Other brokers, all of 4.9 among them, would only push places to the members, one way, found by time alone: nobody can
//! say whether a member took one, and a queue that changes hands meanwhile begins at the old place. There such a group is refused
//! (`docs/adr/0013-members-are-moved-only-by-brokers.md`).

use std::collections::{BTreeMap, BTreeSet};

use zms_core::names::PhysicalName;

use super::retire::value;
use super::{RocketMqAdmin, at_once, group_named, topic_named};
use crate::broker::{BrokerError, OffsetWish, PartitionId};
use crate::rocketmq::remoting::{RemotingError, Request, RequestCode, answers};
use crate::rocketmq::route::Route;

/// A commit that does not hold is done again so often: one of a member that just left may come after ours.
const COMMITS: u32 = 5;

/// The setting of brokers that set offsets themselves, whether members are there or not: known from 5.0 on, and on by default from 5.1.4 on.
const SETS_OFFSETS: &str = "useServerSideResetOffset";

/// A queue where a group is to stand.
struct Stand<'a> {
    group: &'a PhysicalName,
    topic: &'a PhysicalName,
    queue: i32,
    master: &'a str,
    offset: i64,
}

impl Stand<'_> {
    fn request(&self, code: RequestCode) -> Request {
        Request::new(code).with("consumerGroup", self.group).with("topic", self.topic).with("queueId", self.queue)
    }
}

impl RocketMqAdmin {
    pub(super) async fn commit(&self, group: &PhysicalName, topic: &PhysicalName, wish: &OffsetWish) -> Result<(), BrokerError> {
        let what = group_named(group);
        let found = self.topic_that_is_there(topic).await?;
        if let OffsetWish::At(offsets) = wish
            && let Some(id) = offsets.keys().find(|id| found.partitions.iter().all(|partition| partition.id != **id))
        {
            let why = format!("no queue {id}: topic {topic} has {}", found.partitions.len());
            return Err(BrokerError::Refused { what, why });
        }
        let route = self.route(topic).await?.ok_or_else(|| BrokerError::Missing { what: topic_named(topic) })?;
        let info = self.cluster(&what).await?;
        let members = self.count_members(&info, group).await?;
        let offsets = match wish {
            OffsetWish::At(offsets) => offsets.clone(),
            OffsetWish::Earliest | OffsetWish::Latest | OffsetWish::Time(_) => self.offsets(topic, &route, wish).await?,
        };
        let stands = offsets.iter().map(|(id, offset)| {
            let away = || BrokerError::Passing { what: what.clone(), why: format!("the master of queue {id} is away") };
            let master = route.master(id).ok_or_else(away)?;
            Ok(Stand { group, topic, queue: id.number, master, offset: *offset })
        });
        let stands: Vec<Stand<'_>> = stands.collect::<Result<_, BrokerError>>()?;
        if members > 0 {
            self.masters_set_offsets(&stands, members).await?;
        }
        self.make_group_on(&info, group, None).await?;
        // Brokers make a group's table with its first commit in a topic, and of two at the same moment one makes a table over the other's: the first
        // one on a broker goes alone.
        let mut masters = BTreeSet::new();
        let (first, others): (Vec<_>, Vec<_>) = stands.iter().partition(|stand| masters.insert(stand.master));
        for stands in [first, others] {
            let put = async |stand| if members > 0 { self.reset(stand).await } else { self.stand(stand).await };
            let done = at_once(stands.into_iter().map(put).collect()).await;
            done.into_iter().collect::<Result<(), RemotingError>>().map_err(|error| self.classify(&what, error))?;
        }
        Ok(())
    }

    /// Commits as a client would, and looks whether it holds.
    async fn stand(&self, stand: &Stand<'_>) -> Result<(), RemotingError> {
        let Stand { offset, master, .. } = *stand;
        for _ in 0..COMMITS {
            let commit = stand.request(RequestCode::UpdateConsumerOffset).with("commitOffset", offset);
            self.remoting.ask(master, commit).await?;
            if self.stands_at(stand).await? == Some(offset) {
                return Ok(());
            }
            tokio::time::sleep(self.remoting.options().pause).await;
        }
        // Brokers that set offsets themselves ignore commits until the group has read from there. Somebody did that.
        if self.sets_offsets(master).await? {
            self.reset(stand).await?;
        }
        match self.stands_at(stand).await? {
            Some(found) if found == offset => Ok(()),
            found => {
                let remark = format!("queue {} stands at {found:?} after it was set to {offset}", stand.queue);
                let code = RequestCode::InvokeBrokerToResetOffset.into();
                Err(RemotingError::Answer { address: master.to_owned(), code, answer: answers::SYSTEM_ERROR, remark })
            }
        }
    }

    /// Only for brokers that set offsets themselves: others would send members to the end of every queue.
    async fn reset(&self, stand: &Stand<'_>) -> Result<(), RemotingError> {
        let reset = Request::new(RequestCode::InvokeBrokerToResetOffset)
            .with("group", stand.group)
            .with("topic", stand.topic)
            .with("queueId", stand.queue)
            .with("offset", stand.offset)
            .with("timestamp", -1)
            .with("isForce", true);
        self.remoting.ask(stand.master, reset).await.map(drop)
    }

    async fn sets_offsets(&self, master: &str) -> Result<bool, RemotingError> {
        let settings = self.remoting.ask(master, Request::new(RequestCode::GetBrokerConfig)).await?;
        Ok(value(&String::from_utf8_lossy(&settings.body), SETS_OFFSETS) == Some("true"))
    }

    /// All of them, or nothing is set.
    async fn masters_set_offsets(&self, stands: &[Stand<'_>], members: usize) -> Result<(), BrokerError> {
        let masters: BTreeMap<&str, &PhysicalName> = stands.iter().map(|stand| (stand.master, stand.group)).collect();
        for (master, group) in masters {
            let what = group_named(group);
            if !self.sets_offsets(master).await.map_err(|error| self.classify(&what, error))? {
                let why = format!(
                    "it has {members} members, and the broker at {master} leaves it to them where they go on; stop them first"
                );
                return Err(BrokerError::Conflict { what, why });
            }
        }
        Ok(())
    }

    async fn stands_at(&self, stand: &Stand<'_>) -> Result<Option<i64>, RemotingError> {
        // Without the last field brokers from 5.0 on say 0 of a young queue where the group has no position; those before do so in any case.
        let query = stand.request(RequestCode::QueryConsumerOffset).with("setZeroIfNotFound", false);
        match self.remoting.ask(stand.master, query).await {
            Ok(answer) => Ok(answer.number("offset")),
            Err(error) if error.answer() == Some(answers::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The offset of each queue that a wish means.
    async fn offsets(
        &self,
        topic: &PhysicalName,
        route: &Route,
        wish: &OffsetWish,
    ) -> Result<BTreeMap<PartitionId, i64>, BrokerError> {
        let failed = |error| self.classify(&topic_named(topic), error);
        let mut offsets = BTreeMap::new();
        for (broker, stats) in self.stats(topic, route).await {
            for (key, ends) in stats.map_err(failed)?.offset_table {
                let id = PartitionId::queue(std::sync::Arc::clone(&broker), key.number);
                let offset = match wish {
                    OffsetWish::Earliest => ends.min_offset,
                    OffsetWish::Time(time) if *time <= ends.last_update_timestamp => {
                        let master = route.master(&id).unwrap_or_default();
                        self.first_since(master, topic, &id, *time).await.map_err(failed)?.max(ends.min_offset)
                    }
                    OffsetWish::Latest | OffsetWish::Time(_) => ends.max_offset,
                    OffsetWish::At(_) => continue,
                };
                offsets.insert(id, offset);
            }
        }
        Ok(offsets)
    }

    /// The first message since a time, by when it was stored. Brokers before 5.0 tell the nearest, which may be one earlier.
    async fn first_since(&self, master: &str, topic: &PhysicalName, id: &PartitionId, time: i64) -> Result<i64, RemotingError> {
        let request = Request::new(RequestCode::SearchOffsetByTimestamp)
            .with("topic", topic)
            .with("queueId", id.number)
            .with("timestamp", time.max(0))
            .with("boundaryType", "LOWER");
        let code = request.code;
        let answer = self.remoting.ask(master, request).await?;
        answer.number("offset").ok_or_else(|| RemotingError::Garbled {
            address: master.to_owned(),
            code,
            why: "no offset is in the answer".to_owned(),
        })
    }
}

//! Where groups stand.

use std::collections::{BTreeMap, BTreeSet};

use zms_core::names::PhysicalName;

use super::{RocketMqAdmin, at_once, group_named, topic_named};
use crate::broker::{BrokerError, OffsetWish, PartitionId};
use crate::rocketmq::remoting::{RemotingError, Request, RequestCode, answers};
use crate::rocketmq::route::Route;

/// A commit that does not hold is done again so often: one of a member that just left may come after ours.
const COMMITS: u32 = 5;

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
        self.no_members(&info, group).await?;
        let offsets = match wish {
            OffsetWish::At(offsets) => offsets.clone(),
            OffsetWish::Earliest | OffsetWish::Latest | OffsetWish::Time(_) => self.offsets(topic, &route, wish).await?,
        };
        self.make_group_on(&info, group, None).await?;
        let stands = offsets.iter().map(|(id, offset)| {
            let away = || BrokerError::Passing { what: what.clone(), why: format!("the master of queue {id} is away") };
            let master = route.master(id).ok_or_else(away)?;
            Ok(Stand { group, topic, queue: id.number, master, offset: *offset })
        });
        let stands: Vec<Stand<'_>> = stands.collect::<Result<_, BrokerError>>()?;
        // Brokers make a group's table with its first commit in a topic, and of two at the same moment one makes a table over the other's: the first
        // one on a broker goes alone.
        let mut masters = BTreeSet::new();
        let (first, others): (Vec<_>, Vec<_>) = stands.iter().partition(|stand| masters.insert(stand.master));
        for stands in [first, others] {
            let done = at_once(stands.into_iter().map(|stand| self.stand(stand)).collect()).await;
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
        // From 5.0 on brokers set offsets themselves, and then ignore commits until the group has read from there. Somebody did that.
        let reset = Request::new(RequestCode::InvokeBrokerToResetOffset)
            .with("group", stand.group)
            .with("topic", stand.topic)
            .with("queueId", stand.queue)
            .with("offset", offset)
            .with("timestamp", -1)
            .with("isForce", true);
        self.remoting.ask(master, reset).await?;
        match self.stands_at(stand).await? {
            Some(found) if found == offset => Ok(()),
            found => {
                let remark = format!("queue {} stands at {found:?} after it was set to {offset}", stand.queue);
                let code = RequestCode::InvokeBrokerToResetOffset.into();
                Err(RemotingError::Answer { address: master.to_owned(), code, answer: answers::SYSTEM_ERROR, remark })
            }
        }
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

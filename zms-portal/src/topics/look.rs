//! What a topic's cluster says of it now: one object, with a deadline, and a sentence when it says nothing.

use std::time::Duration;

use zms_core::names::PhysicalName;
use zms_drivers::broker::{BrokerError, BrokerId, Committed, Ends, GroupState, PartitionId};

use super::Topic;
use crate::app::App;
use crate::clusters::Cluster;

/// A page waits no longer.
const DEADLINE: Duration = Duration::from_secs(4);

/// A topic on its cluster.
#[derive(Debug, Clone)]
pub struct Live {
    /// By id.
    pub partitions: Vec<PartitionView>,
    /// Groups with commits on it, by name.
    pub groups: Vec<GroupLag>,
    /// One of the brokers' own.
    pub internal: bool,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct PartitionView {
    /// `3` on Kafka, `broker-a/3` on RocketMQ.
    #[schema(value_type = String)]
    pub id: PartitionId,
    /// Broker id (`1`, `broker-a:0`); absent while it is offline.
    #[schema(value_type = Option<String>)]
    pub leader: Option<BrokerId>,
    /// Broker ids, preferred leader first.
    #[schema(value_type = Vec<String>)]
    pub replicas: Vec<BrokerId>,
    /// Broker ids of the in-sync replicas (ISR).
    #[schema(value_type = Vec<String>)]
    pub isr: Vec<BrokerId>,
    /// Oldest offset still there; absent if the leader did not answer.
    pub start: Option<i64>,
    /// Log end offset; absent if the leader did not answer.
    pub end: Option<i64>,
}

/// A consumer group on one topic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct GroupLag {
    /// Its name.
    pub group: String,
    /// stable, rebalancing, empty, dead or unknown.
    pub state: String,
    /// Members of the whole group.
    pub members: usize,
    /// Log end minus committed, over all partitions; absent where something of it is not known.
    pub lag: Option<i64>,
    /// Partitions without a commit.
    pub uncommitted: usize,
    /// Partition → committed offset and lag.
    #[schema(value_type = Vec<(String, Option<i64>, Option<i64>)>)]
    pub partitions: Vec<(PartitionId, Option<i64>, Option<i64>)>,
}

impl Live {
    /// Messages that are still there; absent if a leader did not answer.
    pub fn kept(&self) -> Option<i64> {
        self.partitions.iter().map(|partition| Some(partition.end? - partition.start?)).sum()
    }

    /// Partitions with fewer in-sync replicas than replicas.
    pub fn under_replicated(&self) -> usize {
        self.partitions.iter().filter(|partition| partition.isr.len() < partition.replicas.len()).count()
    }
}

/// Looks; a sentence says what is missing and why.
pub async fn live(app: &App, cluster: &Cluster, topic: &Topic) -> Result<Live, String> {
    live_of(app, cluster, &topic.name.clone().into()).await
}

/// The same of a topic that need not be governed.
pub async fn live_of(app: &App, cluster: &Cluster, name: &PhysicalName) -> Result<Live, String> {
    let late = || Err(format!("{} did not answer within {} s", cluster.name, DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, ask(app, cluster, name))
        .await
        .map_or_else(|_| late(), |said| said.map_err(|error| error.to_string()))
}

async fn ask(app: &App, cluster: &Cluster, name: &PhysicalName) -> Result<Live, BrokerError> {
    let admin = app.brokers.admin(cluster)?;
    let found = admin.topic(name).await?;
    let found = found.ok_or_else(|| BrokerError::Missing { what: format!("topic {name} on {}", cluster.name) })?;
    let ends = admin.ends(name).await?;
    let partitions = found.partitions.iter().map(|partition| {
        let range = ends.get(&partition.id).copied().flatten();
        PartitionView {
            id: partition.id.clone(),
            leader: partition.leader.clone(),
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            start: range.map(|range| range.start),
            end: range.map(|range| range.end),
        }
    });
    let partitions = partitions.collect();
    let groups: Vec<PhysicalName> = admin.groups().await?.into_iter().map(|group| group.name).collect();
    let committed = admin.committed(&groups).await?;
    let on_it: Vec<(PhysicalName, Committed)> = groups
        .into_iter()
        .zip(committed)
        .filter_map(|(group, committed)| Some((group, committed.ok()?)))
        .filter(|(_, committed)| committed.contains_key(name))
        .collect();
    let names: Vec<PhysicalName> = on_it.iter().map(|(group, _)| group.clone()).collect();
    let described = if names.is_empty() { Vec::new() } else { admin.describe_groups(&names).await? };
    let groups = on_it.iter().zip(described).map(|((group, committed), described)| {
        lag_of(group, described.summary.state, described.members.len(), committed, name, &ends)
    });
    Ok(Live { partitions, groups: groups.collect(), internal: found.internal })
}

/// The lag of one group on one topic; what is not known stays so.
pub fn lag_of(
    group: &PhysicalName,
    state: GroupState,
    members: usize,
    committed: &Committed,
    topic: &PhysicalName,
    ends: &Ends,
) -> GroupLag {
    let offsets = committed.get(topic);
    let of = |(partition, range): (&PartitionId, &Option<zms_drivers::broker::Range>)| {
        let offset = offsets.and_then(|offsets| offsets.get(partition)).copied();
        let lag = offset.and_then(|offset| Some(range.as_ref()?.end - offset));
        (partition.clone(), offset, lag)
    };
    let partitions: Vec<(PartitionId, Option<i64>, Option<i64>)> = ends.iter().map(of).collect();
    let committed = || partitions.iter().filter(|(_, offset, _)| offset.is_some());
    let lag = if committed().next().is_none() { None } else { committed().map(|(_, _, lag)| *lag).sum() };
    let uncommitted = partitions.iter().filter(|(_, offset, _)| offset.is_none()).count();
    GroupLag { group: group.to_string(), state: state.as_str().to_owned(), members, lag, uncommitted, partitions }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use zms_drivers::broker::Range;

    use super::*;

    #[test]
    fn lag_that_is_not_known_is_not_zero() {
        let name = |text: &str| PhysicalName::new(text).unwrap();
        let ends: Ends = BTreeMap::from([
            (0.into(), Some(Range { start: 0, end: 10 })),
            (1.into(), Some(Range { start: 0, end: 5 })),
            (2.into(), None),
        ]);
        let none: &[(i32, i64)] = &[];
        for (offsets, lag, uncommitted) in
            [(&[(0, 4), (1, 5)][..], Some(6), 1), (none, None, 3), (&[(2, 1)][..], None, 2), (&[(0, 12)][..], Some(-2), 2)]
        {
            let committed = Committed::from([(
                name("orders"),
                offsets.iter().map(|(id, offset)| (PartitionId::from(*id), *offset)).collect(),
            )]);
            let found = lag_of(&name("billing"), GroupState::Empty, 0, &committed, &name("orders"), &ends);
            assert_eq!((found.lag, found.uncommitted), (lag, uncommitted), "{offsets:?}");
        }
    }
}

//! What controllers and leaders answer.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use kafka_protocol::messages as m;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tokio::time::Instant;

use super::{Cluster, text};
use crate::error::moved;
use crate::{Assignment, Code, Connection, WireError};

/// Offsets of one topic: partition → one for each time that was asked for, or why it is not known.
pub type Offsets = BTreeMap<i32, Result<Vec<i64>, WireError>>;

/// Topic → partition → what is known of it.
pub type ByTopic<T> = BTreeMap<String, BTreeMap<i32, T>>;

macro_rules! on_controller {
    ($($(#[$about:meta])* $method:ident($request:ident) -> $response:ident, codes: $items:ident;)*) => {
        impl Cluster {
            $(
                $(#[$about])*
                ///
                /// # Errors
                /// As every call; those of single items are left in the answer.
                pub async fn $method(&self, request: &m::$request) -> Result<m::$response, WireError> {
                    let until = Instant::now() + self.options().call_deadline;
                    loop {
                        let done = match self.controller().await {
                            Ok(connection) => self.settle(&connection, connection.$method(request).await),
                            Err(error) => Err(error),
                        };
                        let look_again = match &done {
                            Ok(answer) => answer.$items.iter().any(|item| Code::try_from_code(item.error_code).is_some_and(moved)),
                            // Nothing was asked yet, so another may be.
                            Err(error) => matches!(error, WireError::Connect { .. }),
                        };
                        if !look_again || Instant::now() >= until {
                            return done;
                        }
                        tokio::time::sleep(self.options().pause).await;
                        // Fails when nobody is there, and then there is nobody else to ask.
                        self.metadata(Some(&[])).await?;
                    }
                }
            )*
        }
    };
}

on_controller! {
    /// New topics, asked of the controller.
    create_topics(CreateTopicsRequest) -> CreateTopicsResponse, codes: topics;
    /// More partitions, asked of the controller.
    create_partitions(CreatePartitionsRequest) -> CreatePartitionsResponse, codes: results;
    /// Topics that go, asked of the controller.
    delete_topics(DeleteTopicsRequest) -> DeleteTopicsResponse, codes: responses;
    /// Settings of topics, asked of the controller.
    describe_configs(DescribeConfigsRequest) -> DescribeConfigsResponse, codes: results;
    /// Single settings that change, asked of the controller.
    incremental_alter_configs(IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse, codes: responses;
}

const LIST: &str = "ListOffsets";

impl Cluster {
    /// Offsets of all partitions of a topic, for each of these times: milliseconds since 1970, -2 earliest, -1 latest. An offset of -1:
    /// no message is so young. Partitions whose leader has moved are asked for once more.
    ///
    /// # Errors
    /// [`WireError::Answer`] if the topic is not there; as [`Cluster::metadata`].
    pub async fn list_offsets(&self, topic: &str, times: &[i64]) -> Result<Offsets, WireError> {
        let mut offsets = Offsets::new();
        for round in 0..2 {
            let answer = self.metadata(Some(&[topic.to_owned()])).await?;
            let mut leaders: BTreeMap<i32, BTreeSet<i32>> = BTreeMap::new();
            for found in &answer.topics {
                WireError::check("Metadata", found.error_code, None)?;
                for partition in &found.partitions {
                    let id = partition.partition_index;
                    if matches!(offsets.get(&id), Some(Ok(_))) {
                        continue;
                    }
                    if partition.leader_id.0 >= 0 {
                        leaders.entry(partition.leader_id.0).or_default().insert(id);
                    }
                    offsets.insert(id, Err(no_leader()));
                }
            }
            let asked = leaders.into_iter().map(|(leader, partitions)| async move {
                let times = times.iter().map(|time| self.list_offsets_at(leader, topic, &partitions, *time));
                let answers: Result<Vec<_>, _> = join_all(times).await.into_iter().collect();
                (partitions.clone(), answers)
            });
            for (partitions, answers) in join_all(asked).await {
                for partition in partitions {
                    let each = |answers: &Vec<Offset>| {
                        answers.iter().map(|at| at.get(&partition).cloned().unwrap_or_else(|| Err(no_leader()))).collect()
                    };
                    offsets.insert(partition, answers.as_ref().map_err(Clone::clone).and_then(each));
                }
            }
            let again = |error: &WireError| error.is_moved() || matches!(error, WireError::Connect { .. });
            if round == 1 || !offsets.values().any(|offset| offset.as_ref().is_err_and(again)) {
                break;
            }
        }
        Ok(offsets)
    }

    async fn list_offsets_at(
        &self,
        leader: i32,
        topic: &str,
        partitions: &BTreeSet<i32>,
        time: i64,
    ) -> Result<Offset, WireError> {
        let connection = self.broker(leader).await?;
        let asked = Assignment::from([(topic.to_owned(), partitions.iter().copied().collect())]);
        let answer = self.settle(&connection, offsets(&connection, &asked, time).await)?;
        Ok(answer.into_values().next().unwrap_or_default())
    }
}

/// Offsets of partitions that this broker leads, at one time.
pub(super) async fn offsets(
    leader: &Connection,
    asked: &Assignment,
    time: i64,
) -> Result<ByTopic<Result<i64, WireError>>, WireError> {
    let one =
        |id: &i32| ListOffsetsPartition::default().with_partition_index(*id).with_current_leader_epoch(-1).with_timestamp(time);
    let topic = |(name, partitions): (&String, &Vec<i32>)| {
        ListOffsetsTopic::default().with_name(m::TopicName(text(name))).with_partitions(partitions.iter().map(one).collect())
    };
    let topics = asked.iter().map(topic).collect();
    let request = m::ListOffsetsRequest::default().with_replica_id(m::BrokerId(-1)).with_topics(topics);
    let answer = leader.list_offsets(&request).await?;
    let mut found = ByTopic::new();
    for topic in &answer.topics {
        let offsets = topic.partitions.iter().map(|partition| {
            let offset = WireError::check(LIST, partition.error_code, None).map(|()| partition.offset);
            (partition.partition_index, offset)
        });
        found.entry(topic.name.to_string()).or_insert_with(BTreeMap::new).extend(offsets);
    }
    Ok(found)
}

type Offset = BTreeMap<i32, Result<i64, WireError>>;

fn no_leader() -> WireError {
    WireError::Answer { call: LIST, code: Code::LeaderNotAvailable, message: String::new() }
}

//! What coordinators of groups answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use kafka_protocol::messages as m;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use tokio::time::Instant;

use super::{ByTopic, Cluster, text};
use crate::{Assignment, Code, Connection, WireError, read_assignment};

/// One answer for each group that was asked for, in the same order.
pub type PerGroup<T> = Vec<Result<T, WireError>>;

/// Groups in one request: the answer about 100 groups with 1,600 offsets each has 4 MB.
const MOST_GROUPS: usize = 100;
/// Keys in one search for coordinators.
const MOST_KEYS: usize = 1000;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Any text.
    pub name: String,
    /// `Stable`, `Empty` …; empty if the broker is too old to say.
    pub state: String,
    /// `classic`, `consumer`, `share` …; `classic` if the broker is too old to say.
    pub kind: String,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireGroup {
    /// `Stable`, `Empty`, `Dead` …
    pub state: String,
    /// Those that are connected.
    pub members: Vec<WireMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireMember {
    /// Made by the broker or the client.
    pub id: String,
    /// As the client calls itself.
    pub client_id: String,
    /// Address that it comes from.
    pub host: String,
    /// What it reads.
    pub assigned: Assignment,
}

/// What one request says about its groups.
pub type Answers<T> = Vec<(String, Result<T, WireError>)>;

pub(super) fn group_ids(names: &[String]) -> Vec<m::GroupId> {
    names.iter().map(|name| m::GroupId(text(name))).collect()
}

/// The coordinator is being made, or reads what it has to know: it takes a moment.
const fn is_loading(error: &WireError) -> bool {
    matches!(error, WireError::Answer { code: Code::CoordinatorLoadInProgress | Code::CoordinatorNotAvailable, .. })
}

impl Cluster {
    /// All groups, from all brokers.
    ///
    /// # Errors
    /// That of any broker: a list with holes looks like a list.
    pub async fn list_groups(&self) -> Result<Vec<Listed>, WireError> {
        self.metadata(Some(&[])).await?;
        let until = Instant::now() + self.options().call_deadline;
        let lists = join_all(self.brokers().into_iter().map(|id| self.list_groups_of(id, until))).await;
        let lists: Result<Vec<_>, _> = lists.into_iter().collect();
        Ok(lists?.into_iter().flatten().collect())
    }

    async fn list_groups_of(&self, broker: i32, until: Instant) -> Result<Vec<Listed>, WireError> {
        loop {
            let connection = self.broker(broker).await?;
            match self.settle(&connection, list(&connection).await) {
                Err(error) if is_loading(&error) && Instant::now() < until => tokio::time::sleep(self.options().pause).await,
                done => return done,
            }
        }
    }

    /// Ids of the brokers that coordinate these groups, in the same order. Waits while the topic of offsets is being made.
    ///
    /// # Errors
    /// As [`Cluster::any`].
    pub async fn coordinators(&self, groups: &[String]) -> Result<PerGroup<i32>, WireError> {
        let until = Instant::now() + self.options().call_deadline;
        loop {
            let connection = self.any().await?;
            let found = self.settle(&connection, find_all(&connection, groups).await)?;
            let loading = found.iter().any(|found| found.as_ref().is_err_and(is_loading));
            if loading && Instant::now() < until {
                tokio::time::sleep(self.options().pause).await;
                continue;
            }
            return Ok(found);
        }
    }

    /// Asks the coordinators about their groups; until the deadline again about those whose coordinator has moved or is being made, and
    /// once more where it was not reached.
    async fn per_group<T, F, A>(&self, groups: &[String], ask: F) -> Result<PerGroup<T>, WireError>
    where
        T: Clone,
        F: Fn(Arc<Connection>, Vec<String>) -> A,
        A: Future<Output = Result<Answers<T>, WireError>>,
    {
        let until = Instant::now() + self.options().call_deadline;
        let mut answers: BTreeMap<String, Result<T, WireError>> = BTreeMap::new();
        let mut left: Vec<String> = groups.to_vec();
        for round in 0.. {
            let mut asked: BTreeMap<i32, Vec<String>> = BTreeMap::new();
            for (name, coordinator) in left.iter().zip(self.coordinators(&left).await?) {
                match coordinator {
                    Ok(id) => asked.entry(id).or_default().push(name.clone()),
                    Err(error) => drop(answers.insert(name.clone(), Err(error))),
                }
            }
            let requests = asked.iter().flat_map(|(id, names)| names.chunks(MOST_GROUPS).map(|names| (*id, names.to_vec())));
            let requests = requests.map(|(id, names)| {
                let ask = &ask;
                async move {
                    let done = match self.broker(id).await {
                        Ok(connection) => self.settle(&connection, ask(connection.clone(), names.clone()).await),
                        Err(error) => Err(error),
                    };
                    (names, done)
                }
            });
            for (names, done) in join_all(requests).await {
                match done {
                    Ok(done) => answers.extend(done),
                    Err(error) => answers.extend(names.into_iter().map(|name| (name, Err(error.clone())))),
                }
            }
            // A broker may be named as coordinator before it knows so itself: then it says that it is none, and only time helps.
            let passes = |error: &WireError| (is_loading(error) || error.is_moved()) && Instant::now() < until;
            let again = |name: &&String| match answers.get(*name) {
                Some(Err(error)) => passes(error) || (round == 0 && matches!(error, WireError::Connect { .. })),
                Some(Ok(_)) | None => false,
            };
            left = groups.iter().filter(again).cloned().collect();
            if left.is_empty() {
                break;
            }
            if round > 0 {
                tokio::time::sleep(self.options().pause).await;
            }
        }
        Ok(groups.iter().map(|name| answers.get(name).cloned().unwrap_or_else(|| Err(left_out("group")))).collect())
    }

    /// Committed offsets of groups: topic → partition → offset. A partition without one is absent.
    ///
    /// # Errors
    /// As [`Cluster::any`].
    pub async fn offset_fetch(&self, groups: &[String]) -> Result<PerGroup<ByTopic<i64>>, WireError> {
        self.per_group(groups, fetch).await
    }

    /// Classic groups with their members; one that is not there is `Dead`.
    ///
    /// # Errors
    /// As [`Cluster::any`].
    pub async fn describe_classic(&self, groups: &[String]) -> Result<PerGroup<WireGroup>, WireError> {
        self.per_group(groups, |connection, names| async move {
            let request = m::DescribeGroupsRequest::default().with_groups(group_ids(&names));
            let answer = connection.describe_groups(&request).await?;
            let groups = answer.groups.iter().map(|group| {
                let members = group.members.iter().map(|member| WireMember {
                    id: member.member_id.to_string(),
                    client_id: member.client_id.to_string(),
                    host: member.client_host.to_string(),
                    assigned: read_assignment(&member.member_assignment).unwrap_or_default(),
                });
                let described = WireGroup { state: group.group_state.to_string(), members: members.collect() };
                let checked = WireError::check("DescribeGroups", group.error_code, group.error_message.as_deref());
                (group.group_id.to_string(), checked.map(|()| described))
            });
            Ok(groups.collect())
        })
        .await
    }

    /// Groups of KIP-848 with their members. Ask only for those: on Kafka 3.9 a classic one in the same request spoils the others.
    ///
    /// # Errors
    /// As [`Cluster::any`].
    pub async fn describe_consumer(&self, groups: &[String]) -> Result<PerGroup<WireGroup>, WireError> {
        self.per_group(groups, |connection, names| async move {
            let request = m::ConsumerGroupDescribeRequest::default().with_group_ids(group_ids(&names));
            let answer = connection.consumer_group_describe(&request).await?;
            let groups = answer.groups.iter().map(|group| {
                let members = group.members.iter().map(|member| {
                    let mut assigned = Assignment::new();
                    for topic in &member.assignment.topic_partitions {
                        let partitions = assigned.entry(topic.topic_name.to_string()).or_default();
                        partitions.extend(&topic.partitions);
                        partitions.sort_unstable();
                    }
                    let (id, client_id) = (member.member_id.to_string(), member.client_id.to_string());
                    WireMember { id, client_id, host: member.client_host.to_string(), assigned }
                });
                let described = WireGroup { state: group.group_state.to_string(), members: members.collect() };
                let checked = WireError::check("ConsumerGroupDescribe", group.error_code, group.error_message.as_deref());
                (group.group_id.to_string(), checked.map(|()| described))
            });
            Ok(groups.collect())
        })
        .await
    }

    /// Commits offsets of one topic for a group without members; makes the group if it is not there.
    ///
    /// # Errors
    /// [`WireError::Answer`] with the first code of a partition; as [`Cluster::any`].
    pub async fn offset_commit(&self, group: &str, topic: &str, offsets: &BTreeMap<i32, i64>) -> Result<(), WireError> {
        let one = |(id, offset): (&i32, &i64)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*id)
                .with_committed_offset(*offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(text("")))
        };
        let topic = OffsetCommitRequestTopic::default()
            .with_name(m::TopicName(text(topic)))
            .with_partitions(offsets.iter().map(one).collect());
        let request = m::OffsetCommitRequest::default()
            .with_group_id(m::GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let (request, name) = (&request, [group.to_owned()]);
        let done = self.per_group(&name, |connection, names| async move {
            let answer = connection.offset_commit(request).await?;
            let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
            let code = codes.find(|code| *code != 0).unwrap_or(0);
            let done = WireError::check("OffsetCommit", code, None);
            Ok(names.into_iter().map(|name| (name, done.clone())).collect())
        });
        done.await?.into_iter().collect()
    }

    /// Groups that go. One after the other: a broker fails a batch as a whole when its tombstones are above 1 MiB.
    ///
    /// # Errors
    /// As [`Cluster::any`].
    pub async fn delete_groups(&self, groups: &[String]) -> Result<PerGroup<()>, WireError> {
        self.per_group(groups, |connection, names| async move {
            let mut done = Vec::new();
            for name in names {
                let request = m::DeleteGroupsRequest::default().with_groups_names(group_ids(std::slice::from_ref(&name)));
                let answer = connection.delete_groups(&request).await?;
                let code = answer.results.first().map(|result| result.error_code);
                done.push((name, code.ok_or_else(|| left_out(DELETE)).and_then(|code| WireError::check(DELETE, code, None))));
            }
            Ok(done)
        })
        .await
    }
}

const FIND: &str = "FindCoordinator";
const FETCH: &str = "OffsetFetch";
const DELETE: &str = "DeleteGroups";

fn left_out(call: &'static str) -> WireError {
    WireError::Answer { call, code: Code::UnknownServerError, message: "the broker left it out of its answer".to_owned() }
}

/// Groups that one broker coordinates.
pub(super) async fn list(connection: &Connection) -> Result<Vec<Listed>, WireError> {
    let answer = connection.list_groups(&m::ListGroupsRequest::default()).await?;
    WireError::check("ListGroups", answer.error_code, None)?;
    let listed = |group: &m::list_groups_response::ListedGroup| Listed {
        name: group.group_id.to_string(),
        state: group.group_state.to_string(),
        kind: Some(group.group_type.to_lowercase()).filter(|kind| !kind.is_empty()).unwrap_or("classic".to_owned()),
    };
    Ok(answer.groups.iter().map(listed).collect())
}

/// Coordinators of these groups, in the same order.
pub(super) async fn find_all(connection: &Connection, groups: &[String]) -> Result<PerGroup<i32>, WireError> {
    // Before version 4 one request finds one coordinator.
    let many = connection.version::<m::FindCoordinatorRequest>(FIND)? >= 4;
    let mut found: BTreeMap<String, Result<i32, WireError>> = BTreeMap::new();
    for names in groups.chunks(if many { MOST_KEYS } else { 1 }) {
        found.extend(find(connection, names, many).await?);
    }
    Ok(groups.iter().map(|name| found.remove(name).unwrap_or_else(|| Err(left_out(FIND)))).collect())
}

async fn find(connection: &Connection, names: &[String], many: bool) -> Result<Answers<i32>, WireError> {
    let request = m::FindCoordinatorRequest::default();
    if many {
        let request = request.with_coordinator_keys(names.iter().map(text).collect());
        let answer = connection.find_coordinator(&request).await?;
        let found = answer.coordinators.iter().map(|found| {
            let checked = WireError::check(FIND, found.error_code, found.error_message.as_deref());
            (found.key.to_string(), checked.map(|()| found.node_id.0))
        });
        return Ok(found.collect());
    }
    let mut found = Vec::new();
    for name in names {
        let answer = connection.find_coordinator(&request.clone().with_key(text(name))).await?;
        let checked = WireError::check(FIND, answer.error_code, answer.error_message.as_deref());
        found.push((name.clone(), checked.map(|()| answer.node_id.0)));
    }
    Ok(found)
}

type Committed = ByTopic<i64>;

/// Committed offsets of groups that this broker coordinates.
pub(super) async fn fetch(connection: Arc<Connection>, names: Vec<String>) -> Result<Answers<Committed>, WireError> {
    // Before version 8 one request asks for one group.
    if connection.version::<m::OffsetFetchRequest>(FETCH)? >= 8 {
        let one = |name: &String| {
            OffsetFetchRequestGroup::default().with_group_id(m::GroupId(text(name))).with_topics(None).with_member_epoch(-1)
        };
        let request = m::OffsetFetchRequest::default().with_groups(names.iter().map(one).collect());
        let answer = connection.offset_fetch(&request).await?;
        let groups = answer.groups.iter().map(|group| {
            let each = group.topics.iter().flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|one| (topic.name.as_str(), one.partition_index, one.committed_offset, one.error_code))
            });
            (group.group_id.to_string(), WireError::check(FETCH, group.error_code, None).and_then(|()| committed(each)))
        });
        return Ok(groups.collect());
    }
    let mut found = Vec::new();
    for name in names {
        let request = m::OffsetFetchRequest::default().with_group_id(m::GroupId(text(&name))).with_topics(None);
        let answer = connection.offset_fetch(&request).await?;
        let each = answer.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|one| (topic.name.as_str(), one.partition_index, one.committed_offset, one.error_code))
        });
        let checked = WireError::check(FETCH, answer.error_code, None);
        found.push((name, checked.and_then(|()| committed(each))));
    }
    Ok(found)
}

/// Copied: a name that pointed into the answer would keep all of it in memory.
fn committed<'a>(each: impl Iterator<Item = (&'a str, i32, i64, i16)>) -> Result<Committed, WireError> {
    let mut committed = Committed::new();
    for (topic, partition, offset, code) in each {
        WireError::check(FETCH, code, None)?;
        if offset >= 0 {
            // Entries of one topic follow each other: its name is copied once.
            match committed.get_mut(topic) {
                Some(offsets) => drop(offsets.insert(partition, offset)),
                None => drop(committed.insert(topic.to_owned(), BTreeMap::from([(partition, offset)]))),
            }
        }
    }
    Ok(committed)
}

//! What a collector asks again and again: single brokers, each within a limit, so that one that is away costs its own answers only.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kafka_protocol::messages as m;
use tokio::time::{Instant, timeout, timeout_at};

use super::groups::{fetch, find_all, group_ids, list};
use super::topics::offsets;
use super::{Answers, ByTopic, Cluster, Listed, PerGroup};
use crate::{Assignment, Code, Connection, WireError};

impl Cluster {
    /// Brokers and all topics, from whoever answers first: another broker is asked each time `patience` passes in silence.
    ///
    /// # Errors
    /// As [`Cluster::any`].
    pub async fn metadata_soon(&self, patience: Duration) -> Result<m::MetadataResponse, WireError> {
        self.first(patience, |connection| async move { self.metadata_of(&connection, None).await }).await
    }

    /// Ids of the brokers that coordinate these groups, in the same order, from whoever answers first. Waits for nothing to be made.
    ///
    /// # Errors
    /// As [`Cluster::any`].
    pub async fn coordinators_soon(&self, groups: &[String], patience: Duration) -> Result<PerGroup<i32>, WireError> {
        self.first(patience, |connection| async move { find_all(&connection, groups).await }).await
    }

    /// Groups that this broker coordinates.
    ///
    /// # Errors
    /// [`WireError::Answer`] while it reads what it has to know; as every call, and [`WireError::Silent`] after `limit`.
    pub async fn groups_at(&self, broker: i32, limit: Duration) -> Result<Vec<Listed>, WireError> {
        self.at(broker, "ListGroups", limit, |connection| async move { list(&connection).await }).await
    }

    /// Committed offsets of groups that this broker coordinates, in one request (one for each group before Kafka 3.0).
    ///
    /// # Errors
    /// As every call, and [`WireError::Silent`] after `limit`; those of single groups are left in the answer.
    pub async fn committed_at(
        &self,
        coordinator: i32,
        groups: &[String],
        limit: Duration,
    ) -> Result<Answers<ByTopic<i64>>, WireError> {
        self.at(coordinator, "OffsetFetch", limit, |connection| fetch(connection, groups.to_vec())).await
    }

    /// Offsets of partitions that this broker leads, in one request: -2 earliest, -1 latest, otherwise milliseconds since 1970.
    ///
    /// # Errors
    /// As every call, and [`WireError::Silent`] after `limit`; those of single partitions are left in the answer.
    pub async fn offsets_at(
        &self,
        leader: i32,
        partitions: &Assignment,
        time: i64,
        limit: Duration,
    ) -> Result<ByTopic<Result<i64, WireError>>, WireError> {
        self.at(leader, "ListOffsets", limit, |connection| async move { offsets(&connection, partitions, time).await }).await
    }

    /// How many members these classic groups have that this broker coordinates, in one request. One that is not there is
    /// [`Code::GroupIdNotFound`].
    ///
    /// # Errors
    /// As every call, and [`WireError::Silent`] after `limit`; those of single groups are left in the answer.
    pub async fn classic_members_at(
        &self,
        coordinator: i32,
        groups: &[String],
        limit: Duration,
    ) -> Result<Answers<usize>, WireError> {
        const CALL: &str = "DescribeGroups";
        let request = m::DescribeGroupsRequest::default().with_groups(group_ids(groups));
        let answer =
            self.at(coordinator, CALL, limit, |connection| async move { connection.describe_groups(&request).await }).await?;
        let count = |group: &m::describe_groups_response::DescribedGroup| {
            // Before version 6 it says "Dead" and no error.
            let dead = group.error_code == 0 && group.group_state.as_str() == "Dead";
            let code = if dead { Code::GroupIdNotFound.code() } else { group.error_code };
            let checked = WireError::check(CALL, code, group.error_message.as_deref());
            (group.group_id.to_string(), checked.map(|()| group.members.len()))
        };
        Ok(answer.groups.iter().map(count).collect())
    }

    /// The same for groups of KIP-848. Ask only for those: on Kafka 3.9 a classic one in the same request spoils the others.
    ///
    /// # Errors
    /// As [`Cluster::classic_members_at`].
    pub async fn consumer_members_at(
        &self,
        coordinator: i32,
        groups: &[String],
        limit: Duration,
    ) -> Result<Answers<usize>, WireError> {
        const CALL: &str = "ConsumerGroupDescribe";
        let request = m::ConsumerGroupDescribeRequest::default().with_group_ids(group_ids(groups));
        let ask = |connection: Arc<Connection>| async move { connection.consumer_group_describe(&request).await };
        let answer = self.at(coordinator, CALL, limit, ask).await?;
        let count = |group: &m::consumer_group_describe_response::DescribedGroup| {
            let checked = WireError::check(CALL, group.error_code, group.error_message.as_deref());
            (group.group_id.to_string(), checked.map(|()| group.members.len()))
        };
        Ok(answer.groups.iter().map(count).collect())
    }

    /// A connection to a known broker is open. If there is none, one is being opened from now on, and it is only waited for as long as
    /// `patience`: a broker that comes back after that is there in the next tick. Must be called in a tokio runtime.
    pub async fn reconnect(&self, id: i32, patience: Duration) -> bool {
        let Some(address) = self.known().brokers.get(&id).cloned() else { return false };
        let (link, setup) = (self.link(&address), self.setup.clone());
        if link.current().is_some() {
            return true;
        }
        let opening = tokio::spawn(async move { link.get(&setup).await.is_ok() });
        matches!(timeout(patience, opening).await, Ok(Ok(true)))
    }

    /// Asks one broker, and one more each time one fails or `patience` passes; the first answer counts. Those with an open connection
    /// come first.
    async fn first<T, F, A>(&self, patience: Duration, ask: F) -> Result<T, WireError>
    where
        F: Fn(Arc<Connection>) -> A,
        A: Future<Output = Result<T, WireError>>,
    {
        let mut links: Vec<_> = self.addresses().iter().map(|address| self.link(address)).collect();
        links.sort_by_key(|link| link.current().is_none());
        let (mut links, mut attempts, mut errors) = (links.into_iter(), FuturesUnordered::new(), Vec::new());
        loop {
            match links.next() {
                Some(link) => {
                    let ask = &ask;
                    attempts.push(async move {
                        let connection = link.get(&self.setup).await?;
                        self.settle(&connection, ask(connection.clone()).await)
                    });
                }
                None if attempts.is_empty() => return Err(self.nobody(errors)),
                None => {}
            }
            match timeout(patience, attempts.next()).await {
                Ok(Some(Ok(answer))) => return Ok(answer),
                Ok(Some(Err(error))) => errors.push(error),
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Asks one broker; connection and answer together take no longer than `limit`.
    async fn at<T, F, A>(&self, id: i32, call: &'static str, limit: Duration, ask: F) -> Result<T, WireError>
    where
        F: FnOnce(Arc<Connection>) -> A,
        A: Future<Output = Result<T, WireError>>,
    {
        let until = Instant::now() + limit;
        let connection = timeout_at(until, self.broker(id)).await.unwrap_or_else(|_| {
            let why = format!("not ready within {} ms", limit.as_millis());
            Err(WireError::Connect { address: format!("broker {id}"), why })
        })?;
        let done = timeout_at(until, ask(connection.clone())).await;
        let silent = |_| Err(WireError::Silent { address: connection.address().to_owned(), call, deadline: limit });
        self.settle(&connection, done.unwrap_or_else(silent))
    }
}

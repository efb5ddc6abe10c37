//! What operators do to a RocketMQ cluster: [`RocketMqAdmin`].
//!
//! `look` reads, `topics` makes and changes them (`spread` says how many queues each master gets, `settings` what can be set), `groups` and
//! `offsets` are about consumers, `own` knows what belongs to the brokers themselves, `bodies` is what they answer. Writes go to masters
//! only (a slave of 5.x accepts them and loses them), and are read back there and at the name servers.

pub(super) mod bodies;
mod find;
mod groups;
mod look;
mod offsets;
pub(super) mod own;
mod retire;
mod settings;
mod spread;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde::de::DeserializeOwned;
use zms_core::names::PhysicalName;

use super::names::NameServers;
use super::remoting::{self, Options, Remoting, RemotingError, Request};
use crate::broker::{
    BrokerError, BrokerId, ClusterAdmin, ClusterView, Committed, Ends, Ensured, FoundMessage, Group, GroupSummary, GroupWish,
    Lookup, OffsetWish, Setting, Topic, TopicWish,
};
use crate::open::Endpoint;
pub(super) use groups::{add_committed, is_offline};
pub(super) use look::{topics_of, view};

/// Requests under way at one broker: it has 16 threads for operators.
const AT_ONCE: usize = 16;

/// A RocketMQ cluster, for operators: all brokers that its name servers know. Connects when it is first asked.
#[derive(Debug)]
pub struct RocketMqAdmin {
    pub(super) name: String,
    pub(super) deadline: Duration,
    pub(super) remoting: Arc<Remoting>,
    pub(super) names: NameServers,
}

impl RocketMqAdmin {
    /// Connects later. The endpoint's addresses are those of name servers.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint cannot be right.
    pub fn new(endpoint: &Endpoint) -> Result<Self, BrokerError> {
        let refused = |error| remoting::classify(&endpoint.cluster, &format!("cluster {}", endpoint.cluster), error);
        let remoting = Arc::new(Remoting::new(Options::of(endpoint), None).map_err(refused)?);
        let names = NameServers::new(endpoint.addresses.clone(), Arc::clone(&remoting)).map_err(refused)?;
        Ok(Self { name: endpoint.cluster.clone(), deadline: endpoint.deadline, remoting, names })
    }

    pub(super) fn classify(&self, what: &str, error: RemotingError) -> BrokerError {
        remoting::classify(&self.name, what, error)
    }

    /// Asks, and reads the body.
    pub(super) async fn ask<T: DeserializeOwned>(&self, address: &str, request: Request) -> Result<T, RemotingError> {
        self.ask_within(address, request, self.remoting.options().call_deadline).await
    }

    pub(super) async fn ask_within<T: DeserializeOwned>(
        &self,
        address: &str,
        request: Request,
        deadline: Duration,
    ) -> Result<T, RemotingError> {
        let code = request.code;
        let answer = self.remoting.ask_within(address, request, deadline).await?;
        answer.read().map_err(|error| RemotingError::garbled(address, code, &error))
    }

    /// Waits a moment between two looks.
    async fn pause(&self) {
        tokio::time::sleep(self.remoting.options().pause).await;
    }

    /// Nothing takes longer than the deadline.
    async fn within<T>(&self, what: &str, work: impl Future<Output = Result<T, BrokerError>> + Send) -> Result<T, BrokerError> {
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| {
            let (cluster, what) = (self.name.clone(), what.to_owned());
            Err(BrokerError::Timeout { cluster, what, seconds: self.deadline.as_secs() })
        })
    }
}

/// Answers in the order of the requests, of which so many are under way as a broker may have.
pub(super) async fn at_once<F: Future>(requests: Vec<F>) -> Vec<F::Output> {
    stream::iter(requests).buffered(AT_ONCE).collect().await
}

fn topic_named(name: &PhysicalName) -> String {
    format!("topic {name}")
}

fn group_named(name: &PhysicalName) -> String {
    format!("group {name}")
}

#[async_trait]
impl ClusterAdmin for RocketMqAdmin {
    async fn describe(&self) -> Result<ClusterView, BrokerError> {
        self.within("describe", async { Ok(view(&self.cluster("describe").await?)) }).await
    }

    async fn topics(&self) -> Result<Vec<Topic>, BrokerError> {
        self.within("topics", self.all_topics()).await
    }

    async fn topic(&self, name: &PhysicalName) -> Result<Option<Topic>, BrokerError> {
        self.within(&topic_named(name), self.one_topic(name)).await
    }

    async fn ends(&self, name: &PhysicalName) -> Result<Ends, BrokerError> {
        self.within(&format!("ends of topic {name}"), self.ends_of(name)).await
    }

    async fn topic_config(&self, name: &PhysicalName) -> Result<BTreeMap<String, Setting>, BrokerError> {
        self.within(&format!("settings of topic {name}"), self.config_of(name)).await
    }

    async fn ensure_topic(&self, wish: &TopicWish) -> Result<Ensured, BrokerError> {
        self.within(&topic_named(&wish.name), self.make_topic(wish)).await
    }

    async fn ensure_partitions(&self, name: &PhysicalName, partitions: i32) -> Result<Ensured, BrokerError> {
        self.within(&format!("queues of topic {name}"), self.add_queues(name, partitions)).await
    }

    async fn ensure_topic_config(
        &self,
        name: &PhysicalName,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Ensured, BrokerError> {
        self.within(&format!("settings of topic {name}"), self.change_config(name, changes)).await
    }

    async fn ensure_topic_gone(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        self.within(&format!("removal of topic {name}"), self.remove_topic(name)).await
    }

    async fn groups(&self) -> Result<Vec<GroupSummary>, BrokerError> {
        self.within("groups", self.all_groups()).await
    }

    async fn describe_groups(&self, names: &[PhysicalName]) -> Result<Vec<Group>, BrokerError> {
        self.within("members of groups", self.groups_with_members(names)).await
    }

    async fn committed(&self, names: &[PhysicalName]) -> Result<Vec<Result<Committed, BrokerError>>, BrokerError> {
        self.within("committed offsets", self.committed_by(names)).await
    }

    async fn ensure_group(&self, wish: &GroupWish) -> Result<Ensured, BrokerError> {
        self.within(&group_named(&wish.name), self.make_group(wish)).await
    }

    async fn ensure_offsets(&self, group: &PhysicalName, topic: &PhysicalName, wish: &OffsetWish) -> Result<(), BrokerError> {
        self.within(&format!("offsets of group {group}"), self.commit(group, topic, wish)).await
    }

    async fn ensure_group_gone(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        self.within(&format!("removal of group {name}"), self.remove_group(name)).await
    }

    async fn find_messages(&self, topic: &PhysicalName, by: &Lookup) -> Result<Vec<FoundMessage>, BrokerError> {
        self.within(&format!("messages of topic {topic}"), self.find(topic, by)).await
    }

    async fn ensure_no_sends(&self, broker: &BrokerId) -> Result<Ensured, BrokerError> {
        self.within(&format!("an end of sends to broker {broker}"), self.retire(broker)).await
    }
}

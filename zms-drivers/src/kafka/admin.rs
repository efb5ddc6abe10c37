//! What operators do to a Kafka cluster: [`KafkaAdmin`]. `topics` and `groups` do it, `errors` says what went wrong.

mod errors;
mod groups;
mod topics;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use zms_core::names::PhysicalName;
use zms_kafka_wire::messages::MetadataResponse;
use zms_kafka_wire::messages::metadata_response::MetadataResponseBroker;
use zms_kafka_wire::{Cluster, Mechanism as WireMechanism, Options, Sasl, WireError};

use crate::broker::{
    Broker, BrokerError, BrokerId, ClusterAdmin, ClusterView, Committed, Ends, Ensured, FoundMessage, Group, GroupSummary,
    GroupWish, Lookup, OffsetWish, Setting, Topic, TopicWish,
};
use crate::open::{Endpoint, Mechanism};
pub(super) use groups::{by_partition, summary};
pub(super) use topics::{EARLIEST, LATEST, read};

/// A Kafka cluster, for operators. Connects when it is first asked.
#[derive(Debug)]
pub struct KafkaAdmin {
    pub(super) name: String,
    pub(super) deadline: Duration,
    pub(super) wire: Cluster,
}

impl KafkaAdmin {
    /// Connects later.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the endpoint cannot be right.
    pub fn new(endpoint: &Endpoint) -> Result<Self, BrokerError> {
        let sasl = endpoint.credentials.as_ref().map(|credentials| Sasl {
            mechanism: match credentials.mechanism {
                Mechanism::Plain => WireMechanism::Plain,
                Mechanism::ScramSha256 => WireMechanism::ScramSha256,
                Mechanism::ScramSha512 => WireMechanism::ScramSha512,
            },
            user: credentials.user.clone(),
            password: credentials.password.clone(),
        });
        let options = Options {
            authority_pem: endpoint.authority_pem.clone(),
            system_roots: endpoint.system_roots,
            networks: endpoint.networks.clone(),
            sasl,
            client_id: endpoint.client_id.clone(),
            // One silent broker must leave time to ask another within the deadline of the whole call.
            connect_deadline: endpoint.deadline / 3,
            call_deadline: endpoint.deadline / 2,
            ..Options::plain(endpoint.addresses.iter().cloned())
        };
        let refused =
            |error: WireError| BrokerError::Refused { what: format!("cluster {}", endpoint.cluster), why: error.to_string() };
        let wire = Cluster::new(options).map_err(refused)?;
        Ok(Self { name: endpoint.cluster.clone(), deadline: endpoint.deadline, wire })
    }

    /// Nothing takes longer than the deadline.
    async fn within<T>(&self, what: &str, work: impl Future<Output = Result<T, BrokerError>> + Send) -> Result<T, BrokerError> {
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| {
            let (cluster, what) = (self.name.clone(), what.to_owned());
            Err(BrokerError::Timeout { cluster, what, seconds: self.deadline.as_secs() })
        })
    }

    async fn view(&self) -> Result<ClusterView, BrokerError> {
        let answer = self.wire.metadata(Some(&[])).await.map_err(|error| self.classify("describe", error))?;
        Ok(view(&answer))
    }
}

/// Who is there, as metadata tells it.
pub(super) fn view(answer: &MetadataResponse) -> ClusterView {
    let broker = |broker: &MetadataResponseBroker| Broker {
        id: broker.node_id.0.into(),
        host: broker.host.to_string(),
        port: u16::try_from(broker.port).unwrap_or(0),
        rack: broker.rack.as_ref().map(ToString::to_string),
    };
    let mut brokers: Vec<Broker> = answer.brokers.iter().map(broker).collect();
    brokers.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let controller = Some(answer.controller_id.0).filter(|id| *id >= 0).map(BrokerId::from);
    ClusterView { id: answer.cluster_id.as_ref().map(ToString::to_string).unwrap_or_default(), controller, brokers }
}

#[async_trait]
impl ClusterAdmin for KafkaAdmin {
    async fn describe(&self) -> Result<ClusterView, BrokerError> {
        self.within("describe", self.view()).await
    }

    async fn topics(&self) -> Result<Vec<Topic>, BrokerError> {
        self.within("topics", self.all_topics()).await
    }

    async fn topic(&self, name: &PhysicalName) -> Result<Option<Topic>, BrokerError> {
        self.within(&format!("topic {name}"), self.one_topic(name)).await
    }

    async fn ends(&self, name: &PhysicalName) -> Result<Ends, BrokerError> {
        self.within(&format!("ends of topic {name}"), self.ends_of(name)).await
    }

    async fn topic_config(&self, name: &PhysicalName) -> Result<BTreeMap<String, Setting>, BrokerError> {
        self.within(&format!("settings of topic {name}"), self.config_of(name)).await
    }

    async fn ensure_topic(&self, wish: &TopicWish) -> Result<Ensured, BrokerError> {
        self.within(&format!("topic {}", wish.name), self.make_topic(wish)).await
    }

    async fn ensure_partitions(&self, name: &PhysicalName, partitions: i32) -> Result<Ensured, BrokerError> {
        self.within(&format!("partitions of topic {name}"), self.add_partitions(name, partitions)).await
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
        if wish.broadcast {
            let what = format!("let every member of group {} have every message: Kafka has no such groups", wish.name);
            return Err(BrokerError::Unsupported { cluster: self.name.clone(), what });
        }
        Ok(Ensured::There)
    }

    async fn ensure_offsets(&self, group: &PhysicalName, topic: &PhysicalName, wish: &OffsetWish) -> Result<(), BrokerError> {
        self.within(&format!("offsets of group {group}"), self.commit(group, topic, wish)).await
    }

    async fn ensure_group_gone(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        self.within(&format!("removal of group {name}"), self.remove_group(name)).await
    }

    async fn find_messages(&self, topic: &PhysicalName, by: &Lookup) -> Result<Vec<FoundMessage>, BrokerError> {
        let (what, of) = (format!("messages of topic {topic}"), if matches!(by, Lookup::Id(_)) { "ids" } else { "keys" });
        Err(BrokerError::Refused { what, why: format!("Kafka keeps no index of {of}") })
    }

    async fn ensure_no_sends(&self, _: &BrokerId) -> Result<Ensured, BrokerError> {
        Ok(Ensured::There)
    }
}

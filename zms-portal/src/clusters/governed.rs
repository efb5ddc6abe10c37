//! Which of a cluster's topics and groups are governed, and why others are not.

use std::collections::{BTreeMap, BTreeSet};

use zms_core::names::{GroupName, PhysicalName, RESERVED, TopicName};

use super::Cluster;
use super::picture::{Picture, is_internal};
use crate::app::App;
use crate::error::Result;
use crate::web::messages::Messages;
use crate::{groups, topics};

/// How a topic or group stands to the environment's governed ones.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Governed {
    /// It is.
    Yes,
    /// It could be.
    Free,
    /// One of the brokers' own.
    Internal,
    /// A name that ZMS keeps for itself.
    Reserved,
    /// A name that nobody could ask for.
    NotAllowed,
    /// Its name belongs to a topic or group elsewhere in this environment.
    Taken {
        /// The cluster of the other one; empty for a group without topics.
        cluster: String,
    },
    /// A group that committed nothing: nobody knows what it consumes.
    NoTopics,
    /// A group that consumes topics which are not governed.
    Ungoverned {
        /// Them.
        topics: Vec<String>,
    },
}

impl Governed {
    /// Why it is not governed, for people; `None` where it is or could be.
    pub fn reason(&self, m: &Messages) -> Option<String> {
        match self {
            Self::Yes | Self::Free => None,
            Self::Internal => Some(m.clusters_not_internal().to_owned()),
            Self::Reserved => Some(m.clusters_not_reserved().to_owned()),
            Self::NotAllowed => Some(m.clusters_not_allowed().to_owned()),
            Self::Taken { cluster } if cluster.is_empty() => Some(m.clusters_not_taken_nowhere().to_owned()),
            Self::Taken { cluster } => Some(m.clusters_not_taken(cluster)),
            Self::NoTopics => Some(m.clusters_not_without_topics().to_owned()),
            Self::Ungoverned { topics } => Some(m.clusters_not_ungoverned(topics.join(", "))),
        }
    }
}

/// A name, and how it stands.
pub type Standing<'a> = (&'a PhysicalName, Governed);

/// Names that are governed in an environment, each with the cluster that it lives on.
#[derive(Debug, Clone, Default)]
pub struct Register {
    /// Topic → cluster's name.
    topics: BTreeMap<String, String>,
    /// Group → clusters of its topics.
    groups: BTreeMap<String, Vec<String>>,
    /// Topics that are their brokers' own, of the cluster that is looked at.
    internal: BTreeSet<PhysicalName>,
}

fn name_of(name: &PhysicalName, internal: bool, allowed: bool) -> Option<Governed> {
    if internal || is_internal(name) {
        return Some(Governed::Internal);
    }
    if RESERVED.contains(&name.as_str()) {
        return Some(Governed::Reserved);
    }
    (!allowed).then_some(Governed::NotAllowed)
}

impl Register {
    /// Of an environment.
    pub async fn load(app: &App, environment_id: &str) -> Result<Self> {
        let clusters = super::list(&app.db, environment_id).await?;
        let clusters: BTreeMap<&str, &str> = clusters.iter().map(|c| (c.id.as_str(), c.name.as_str())).collect();
        let (mut by_id, mut register) = (BTreeMap::new(), Self::default());
        for topic in topics::list(&app.db, environment_id).await? {
            let home = (*clusters.get(topic.cluster_id.as_str()).unwrap_or(&"")).to_owned();
            by_id.insert(topic.id, home.clone());
            register.topics.insert(topic.name.to_string(), home);
        }
        for group in groups::list(&app.db, environment_id).await? {
            let homes = group.topics.iter().filter_map(|id| by_id.get(id)).cloned();
            register.groups.insert(group.name.to_string(), homes.collect());
        }
        Ok(register)
    }

    /// The same for one cluster, of which these topics are the brokers' own, whatever their names.
    pub fn with_internal<'a>(mut self, names: impl IntoIterator<Item = &'a PhysicalName>) -> Self {
        self.internal.extend(names.into_iter().cloned());
        self
    }

    /// The same for the cluster of a picture.
    pub fn with(self, picture: &Picture) -> Self {
        self.with_internal(picture.topics.iter().filter(|topic| topic.internal).map(|topic| &topic.name))
    }

    /// Of a topic on this cluster.
    pub fn topic(&self, cluster: &Cluster, name: &PhysicalName) -> Governed {
        match self.topics.get(name.as_str()) {
            Some(home) if home == cluster.name.as_str() => Governed::Yes,
            Some(home) => Governed::Taken { cluster: home.clone() },
            None => {
                let internal = self.internal.contains(name);
                name_of(name, internal, TopicName::new(name.as_str()).is_ok()).unwrap_or(Governed::Free)
            }
        }
    }

    /// Of a group on this cluster that committed on these topics. `chosen`: topics that become governed with it.
    pub fn group(
        &self,
        cluster: &Cluster,
        name: &PhysicalName,
        on: &[&PhysicalName],
        chosen: impl Fn(&PhysicalName) -> bool,
    ) -> Governed {
        match self.groups.get(name.as_str()) {
            Some(homes) if homes.iter().any(|home| home == cluster.name.as_str()) => return Governed::Yes,
            Some(homes) => return Governed::Taken { cluster: homes.first().cloned().unwrap_or_default() },
            None => {}
        }
        if let Some(reason) = name_of(name, false, GroupName::new(name.as_str()).is_ok()) {
            return reason;
        }
        if on.is_empty() {
            return Governed::NoTopics;
        }
        let missing = on.iter().filter(|topic| self.topic(cluster, topic) != Governed::Yes && !chosen(topic));
        let missing: Vec<String> = missing.map(|topic| topic.to_string()).collect();
        if missing.is_empty() { Governed::Free } else { Governed::Ungoverned { topics: missing } }
    }

    /// Topics and groups of a picture, each with how it stands.
    pub fn of<'a>(&self, cluster: &Cluster, picture: &'a Picture) -> (Vec<Standing<'a>>, Vec<Standing<'a>>) {
        let topics = picture.topics.iter().map(|topic| (&topic.name, self.topic(cluster, &topic.name)));
        let free = |topic: &PhysicalName| self.topic(cluster, topic) == Governed::Free;
        let groups = picture.groups.iter().map(|group| {
            let on: Vec<&PhysicalName> = group.on.iter().map(|on| &on.topic).collect();
            (&group.name, self.group(cluster, &group.name, &on, free))
        });
        (topics.collect(), groups.collect())
    }
}

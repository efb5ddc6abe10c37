//! Governed topics: what applications send to by name. Each lives on one cluster and has a node in the metadata.
//!
//! 1. This file: what a topic is. 2. `look`: what its cluster says of it now; `messages`: what is in it. 3. `web` pages, `api` REST, `store` SQL. Topics are made by
//!    [`requests`](crate::requests).

mod api;
mod look;
mod messages;
mod store;
pub(crate) mod users;
mod web;

use std::collections::BTreeMap;

use serde::Serialize;
use zms_core::metadata::Order;
use zms_core::names::TopicName;

pub use api::api;
pub use look::{GroupLag, Live, PartitionView, lag_of, live, live_of};
pub use web::pages;
pub(crate) use web::{ClientsPart, group_state_text, state_class, state_text};

use crate::clusters::{self, Cluster};
use crate::db::{Db, Tx};
use crate::error::Result;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// ULID: its history hangs on it, so a name can be used again.
    pub id: String,
    /// Where it belongs.
    pub environment_id: String,
    /// What applications call it.
    pub name: TopicName,
    /// Where it lives.
    pub cluster_id: String,
    /// Partitions, as they were approved; 0: imported while its cluster was away, so not known.
    pub partitions: i32,
    /// Replicas, as they were approved; 0: not known.
    pub replicas: i16,
    /// What differs from the cluster's defaults.
    pub config: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: String,
    /// What it is for.
    pub about: String,
    /// Whether applications can use it.
    pub state: State,
    /// Of its node as we last wrote it.
    pub order: Order,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// Whether applications can use a topic or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TopicState)]
pub enum State {
    /// It is being made.
    Creating,
    /// They can.
    Active,
    /// It is being taken away.
    Removing,
}

impl State {
    /// As the database and the API write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Active => "active",
            Self::Removing => "removing",
        }
    }

    /// The other way round; what is not known counts as being made.
    pub fn parse(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "removing" => Self::Removing,
            _ => Self::Creating,
        }
    }
}

/// Topics of an environment, by name.
pub async fn list(db: &Db, environment_id: &str) -> Result<Vec<Topic>> {
    store::list(db.read(), environment_id).await
}

/// A topic by its name.
///
/// # Errors
/// [`Error::NotFound`](crate::error::Error::NotFound).
pub async fn find(db: &Db, environment_id: &str, name: &str) -> Result<Topic> {
    store::find(db.read(), environment_id, name).await
}

/// A topic by its name, and where it lives.
///
/// # Errors
/// [`Error::NotFound`](crate::error::Error::NotFound).
pub(crate) async fn find_with_cluster(db: &Db, environment_id: &str, name: &str) -> Result<(Topic, Cluster)> {
    let topic = find(db, environment_id, name).await?;
    let cluster = clusters::by_id(db, &topic.cluster_id).await?;
    Ok((topic, cluster))
}

/// A topic by its id.
///
/// # Errors
/// [`Error::NotFound`](crate::error::Error::NotFound).
pub async fn by_id(db: &Db, id: &str) -> Result<Topic> {
    store::by_id(db.read(), id).await
}

/// Keeps a new topic. Whether its name is taken, the database says: see [`is_taken`](crate::db::is_taken).
pub async fn insert(tx: &mut Tx, topic: &Topic) -> sqlx::Result<()> {
    store::insert(tx, topic).await
}

/// From now on it is in this state.
pub async fn set_state(tx: &mut Tx, id: &str, state: State) -> Result<()> {
    store::set_state(tx, id, state).await
}

/// It is laid out like this.
pub(crate) async fn set_layout(tx: &mut Tx, id: &str, partitions: i32, replicas: i16) -> Result<()> {
    store::set_layout(tx, id, partitions, replicas).await
}

/// Its node was written with this order.
pub async fn set_order(tx: &mut Tx, id: &str, order: Order) -> Result<()> {
    store::set_order(tx, id, order).await
}

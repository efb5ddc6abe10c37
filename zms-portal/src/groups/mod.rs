//! Governed consumer groups: who consumes, by name. One that is bound to exactly one topic has a node in the metadata.
//!
//! 1. This file: what a group is. 2. `web` pages, `api` REST, `store` SQL. Groups are made by [`requests`](crate::requests).

mod api;
mod store;
mod web;

use serde::Serialize;
use zms_core::metadata::{ConsumeFrom, Order};
use zms_core::names::GroupName;

pub use api::api;
pub use web::pages;

use crate::db::{Db, Tx};
use crate::error::Result;
use crate::topics::State;

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// ULID.
    pub id: String,
    /// Where it belongs.
    pub environment_id: String,
    /// What applications call it.
    pub name: GroupName,
    /// Where it begins that has no offset yet.
    pub from: ConsumeFrom,
    /// Every member gets every message.
    pub broadcast: bool,
    /// Who answers for it.
    pub owner: String,
    /// What it is for.
    pub about: String,
    /// Whether applications can use it.
    pub state: State,
    /// Ids of the topics that it consumes.
    pub topics: Vec<String>,
    /// Of its node as we last wrote it.
    pub order: Order,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// Groups of an environment, by name.
pub async fn list(db: &Db, environment_id: &str) -> Result<Vec<Group>> {
    store::list(db, environment_id).await
}

/// A group by its name.
///
/// # Errors
/// [`Error::NotFound`](crate::error::Error::NotFound).
pub async fn find(db: &Db, environment_id: &str, name: &str) -> Result<Group> {
    store::find(db, environment_id, name).await
}

/// A group by its id.
///
/// # Errors
/// [`Error::NotFound`](crate::error::Error::NotFound).
pub async fn by_id(db: &Db, id: &str) -> Result<Group> {
    store::by_id(db, id).await
}

/// Keeps a new group and its topics.
pub async fn insert(tx: &mut Tx, group: &Group) -> sqlx::Result<()> {
    store::insert(tx, group).await
}

/// From now on it is in this state.
pub async fn set_state(tx: &mut Tx, id: &str, state: State) -> Result<()> {
    store::set_state(tx, id, state).await
}

/// Its node was written with this order.
pub async fn set_order(tx: &mut Tx, id: &str, order: Order) -> Result<()> {
    store::set_order(tx, id, order).await
}

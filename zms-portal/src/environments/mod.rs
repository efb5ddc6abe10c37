//! Environments: where hosts and services belong, and the first part of every path.
//!
//! 1. This file: what an environment is, [`create`] and [`change`].
//! 2. [`networks`](networks()): where its brokers may be. `overview`: what one looks like now, and what a person should do next.
//! 3. `web` pages, `api` REST, `store` SQL.

mod api;
mod networks;
mod overview;
mod store;
#[cfg(test)]
mod tests;
mod web;

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use api::api;
pub use networks::{networks, read_networks, set_networks};
pub use web::pages;

use crate::access::{Actor, Role};
use crate::app::new_id;
use crate::db::{Db, Tx, is_taken};
use crate::error::{Error, Problem, Result};

/// A place with its own hosts and services: dev, test, a production room …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Environment {
    /// ULID.
    pub id: String,
    /// Stands in every path.
    pub name: String,
    /// For people.
    pub title: String,
    /// One of [`COLOURS`].
    pub colour: String,
    /// Dangerous acts are marked and ask twice.
    pub protected: bool,
}

/// What a person may choose.
pub const COLOURS: [&str; 6] = ["green", "blue", "purple", "orange", "red", "grey"];

/// A new environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "dev", "title": "Development", "colour": "green", "protected": false }))]
pub struct NewEnvironment {
    /// Stands in every path: 1 to 32 lower-case letters, digits and -, beginning with a letter.
    pub name: String,
    /// For people; the name if it is empty.
    #[serde(default)]
    pub title: String,
    /// green, blue, purple, orange, red or grey.
    pub colour: String,
    /// Dangerous acts are marked and ask twice.
    #[serde(default)]
    pub protected: bool,
}

/// What may become different; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "title": "Development", "protected": true }))]
pub struct EnvironmentChange {
    /// For people.
    pub title: Option<String>,
    /// green, blue, purple, orange, red or grey.
    pub colour: Option<String>,
    /// Dangerous acts are marked and ask twice.
    pub protected: Option<bool>,
}

/// Words that stand in paths beside names of environments.
const RESERVED: [&str; 2] = ["new", "all"];

/// Longest title, in characters.
const LONGEST_TITLE: usize = 60;

/// All environments, by name.
pub async fn list(db: &Db) -> Result<Vec<Environment>> {
    store::list(db).await
}

/// The environment of a path; [`Error::NotFound`] when there is none.
pub async fn find_by_name(db: &Db, name: &str) -> Result<Environment> {
    store::find_by_name(db.read(), name).await
}

/// An environment by its id; [`Error::NotFound`] when there is none.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Environment> {
    store::by_id(db.read(), id).await
}

/// Gives an environment that nothing belongs to yet another id, within `tx`: the one that its metadata tree has had before the database was
/// lost.
///
/// # Errors
/// [`Error::Conflict`] if something belongs to it, or another environment has that id.
pub(crate) async fn take_id(tx: &mut Tx, old: &str, new: &str) -> Result<()> {
    store::set_id(tx, old, new).await.map_err(|error| match error.as_database_error() {
        Some(refused) if refused.is_unique_violation() => Error::conflict(|m| m.environments_id_taken().to_owned()),
        Some(refused) if refused.is_foreign_key_violation() => Error::conflict(|m| m.environments_not_empty().to_owned()),
        _ => error.into(),
    })
}

/// Makes an environment; for operators and administrators.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong, also if the name is taken.
pub async fn create(db: &Db, actor: Actor<'_>, mut new: NewEnvironment, now_ms: i64) -> Result<Environment> {
    let target = target(&new.name);
    actor.require(db, Role::Operator, "environment.create", &target, now_ms).await?;
    let mut problems = Vec::new();
    if !is_name(&new.name) {
        problems.push(Problem::new("name", |m| m.environments_bad_name().to_owned()));
    }
    new.title = new.title.trim().to_owned();
    // What follows the name is not wrong a second time.
    problems.extend(wrong(if new.title.is_empty() { "-" } else { &new.title }, &new.colour));
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    if new.title.is_empty() {
        new.title.clone_from(&new.name);
    }
    let id = new_id();
    let mut tx = db.begin().await?;
    store::insert(&mut tx, &id, &new, now_ms).await.map_err(|error| {
        if is_taken(&error) {
            let name = new.name.clone();
            return Error::invalid("name", move |m| m.environments_name_taken(&name));
        }
        error.into()
    })?;
    actor.record(&mut tx, "environment.create", &target, json!(new), now_ms).await?;
    tx.commit().await?;
    tracing::info!(environment = new.name, "environment made");
    let NewEnvironment { name, title, colour, protected } = new;
    Ok(Environment { id, name, title, colour, protected })
}

/// Changes an environment; for operators and administrators. Its name stays: it stands in links and in the audit.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Invalid`] with what is wrong.
pub async fn change(db: &Db, actor: Actor<'_>, name: &str, change: EnvironmentChange, now_ms: i64) -> Result<Environment> {
    let target = target(name);
    actor.require(db, Role::Operator, "environment.change", &target, now_ms).await?;
    let mut tx = db.begin().await?;
    let before = store::find_by_name(&mut *tx, name).await?;
    let mut after = before.clone();
    if let Some(title) = change.title {
        after.title = title.trim().to_owned();
    }
    after.colour = change.colour.unwrap_or(after.colour);
    after.protected = change.protected.unwrap_or(after.protected);
    let problems: Vec<Problem> = wrong(&after.title, &after.colour).collect();
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    store::update(&mut tx, &after).await?;
    actor.record(&mut tx, "environment.change", &target, json!({ "before": before, "after": after }), now_ms).await?;
    tx.commit().await?;
    Ok(after)
}

fn wrong(title: &str, colour: &str) -> impl Iterator<Item = Problem> {
    let bad_title = title.is_empty() || title.chars().count() > LONGEST_TITLE || title.chars().any(char::is_control);
    let bad_colour = !COLOURS.contains(&colour);
    let title = bad_title.then(|| Problem::new("title", |m| m.environments_bad_title(LONGEST_TITLE)));
    let colour = bad_colour.then(|| Problem::new("colour", |m| m.environments_bad_colour().to_owned()));
    title.into_iter().chain(colour)
}

fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=32).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && !RESERVED.contains(&name)
}

/// An environment in the audit.
fn target(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("environment/{name}")
}

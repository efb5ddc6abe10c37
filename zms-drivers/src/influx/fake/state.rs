use std::collections::BTreeMap;

use zms_core::series::{Number, Retention};

use super::parse::{Written, parse};
use super::{Client, MetricError, Right};

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Of tests only.
    pub password: String,
    /// May do everything.
    pub administers: bool,
    /// What it may do with which database.
    pub rights: BTreeMap<String, Right>,
}

impl User {
    pub(super) fn with(password: &str) -> Self {
        Self { password: password.to_owned(), ..Self::default() }
    }
}

/// How long a retention is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// For how long points are kept.
    pub hours: u32,
    /// What one file covers.
    pub shard_hours: u32,
    /// Takes points that come without a retention.
    pub default: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub users: BTreeMap<String, User>,
    pub databases: BTreeMap<String, Database>,
    pub fault: Option<MetricError>,
    pub now_ms: Option<i64>,
}

/// What makes a series: retention, measurement and tags.
pub(super) type Key = (String, String, BTreeMap<String, String>);
/// Values of a series by time and field.
pub(super) type Values = BTreeMap<i64, BTreeMap<String, Number>>;

#[derive(Debug, Default)]
pub(super) struct Database {
    pub retentions: BTreeMap<String, Length>,
    pub series: BTreeMap<Key, Values>,
    /// Whether the first value of a field, by retention, measurement and name, was a whole number.
    whole: BTreeMap<(String, String, String), bool>,
}

pub(super) fn no_database(name: &str) -> MetricError {
    MetricError::Missing { what: format!("database {name:?}") }
}

impl State {
    pub fn user(&self, what: &str, name: &str, password: &str) -> Result<&User, MetricError> {
        let known = self.users.get(name).filter(|user| user.password == password);
        known.ok_or_else(|| MetricError::Denied { what: what.to_owned(), why: "authorization failed".to_owned() })
    }

    /// The database of a client, if it may do that there.
    pub fn open(&mut self, what: &str, client: &Client, right: Right) -> Result<&mut Database, MetricError> {
        let user = self.user(what, &client.user, &client.password)?;
        let may = user.administers || user.rights.get(&client.database) == Some(&right);
        match self.databases.get_mut(&client.database) {
            // Who may only ask is not told what is not there.
            None if may || right == Right::Write => Err(no_database(&client.database)),
            Some(database) if may => Ok(database),
            None | Some(_) => Err(MetricError::Denied {
                what: format!("{what} database {:?}", client.database),
                why: format!("user {:?} has no right to", client.user),
            }),
        }
    }

    pub fn ensure_database(&mut self, name: &str) {
        let database = self.databases.entry(name.to_owned()).or_default();
        for retention in Retention::ALL {
            let (hours, shard_hours) = (retention.hours(), retention.shard_hours());
            database.set_retention(retention.name(), Length { hours, shard_hours, default: retention == Retention::Raw });
        }
    }
}

impl Database {
    pub fn set_retention(&mut self, name: &str, length: Length) {
        if length.default {
            self.retentions.values_mut().for_each(|other| other.default = false);
        }
        self.retentions.insert(name.to_owned(), length);
    }

    pub fn has(&self, retention: Retention) -> Result<&Length, MetricError> {
        let missing = || MetricError::Missing { what: format!("retention policy {}", retention.name()) };
        self.retentions.get(retention.name()).ok_or_else(missing)
    }

    /// What cannot be read stops the batch: our lines can always be read.
    pub fn write(&mut self, retention: Retention, lines: &str, now_ms: Option<i64>) -> Result<(), MetricError> {
        let kept_ms = i64::from(self.has(retention)?.hours) * 3_600_000;
        let unread = |(line, why): (&str, String)| MetricError::Refused { why: format!("unable to parse {line:?}: {why}") };
        let points = lines.split_terminator('\n').map(|line| parse(line).map_err(|why| unread((line, why))));
        let points = points.collect::<Result<Vec<Written>, _>>()?;
        let (mut dropped, mut why) = (0, String::new());
        for point in points {
            let kept = if now_ms.is_some_and(|now| point.at_ms < now - kept_ms) {
                Err("points beyond retention policy".to_owned())
            } else {
                self.put(retention, point)
            };
            if let Err(error) = kept {
                (dropped, why) = (dropped + 1, error);
            }
        }
        if dropped == 0 { Ok(()) } else { Err(MetricError::Partial { dropped, why: format!("partial write: {why}") }) }
    }

    /// A point of which one field has another kind than before is left out as a whole.
    fn put(&mut self, retention: Retention, point: Written) -> Result<(), String> {
        let place = |field: &String| (retention.name().to_owned(), point.measurement.clone(), field.clone());
        let is_whole = |number: &Number| matches!(number, Number::Whole(_));
        for (field, number) in &point.fields {
            if self.whole.get(&place(field)).is_some_and(|whole| *whole != is_whole(number)) {
                return Err(format!("field type conflict: input field {field:?} on measurement {:?}", point.measurement));
            }
        }
        self.whole.extend(point.fields.iter().map(|(field, number)| (place(field), is_whole(number))));
        let key = (retention.name().to_owned(), point.measurement, point.tags);
        self.series.entry(key).or_default().entry(point.at_ms).or_default().extend(point.fields);
        Ok(())
    }

    pub fn points(&self, retention: &str) -> Vec<Written> {
        let series = self.series.iter().filter(|((kept, ..), _)| kept == retention);
        let points = series.flat_map(|((_, measurement, tags), values)| {
            values.iter().map(|(at_ms, fields)| {
                let (measurement, tags, fields) = (measurement.clone(), tags.clone(), fields.clone());
                Written { measurement, tags, fields, at_ms: *at_ms }
            })
        });
        points.collect()
    }
}

//! Administration of 1.x, by statements. Names and passwords cannot be bound in these, so they are quoted.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use zms_core::series::Retention;

use super::answer::Row;
use super::http::Client;
use super::{MetricAdmin, MetricError, Right, answer, quote};

/// Where points go that come without saying where to.
const DEFAULT: Retention = Retention::Raw;

pub(super) struct Admin {
    client: Client,
    user: String,
    password: String,
}

/// A retention as a server shows it.
#[derive(Debug, PartialEq, Eq)]
struct Policy {
    hours: Option<u32>,
    shard_hours: Option<u32>,
    default: bool,
}

impl Policy {
    fn wanted(retention: Retention) -> Self {
        let (hours, shard_hours) = (Some(retention.hours()), Some(retention.shard_hours()));
        Self { hours, shard_hours, default: retention == DEFAULT }
    }
}

impl Admin {
    pub(super) fn new(url: &str, user: &str, password: &str, deadline: Duration) -> Result<Self, MetricError> {
        let client = Client::new(url, user, password, deadline)?;
        Ok(Self { client, user: user.to_owned(), password: password.to_owned() })
    }

    async fn run(&self, what: &str, statement: &str) -> Result<Vec<Row>, MetricError> {
        let reply = self.client.query(&[("q", statement)]).await?;
        answer::asked(what, &reply).map_err(|error| self.client.hide(error))
    }

    /// Names of users, and whether they are administrators.
    async fn users(&self) -> Result<BTreeMap<String, bool>, MetricError> {
        let rows = self.run("list users", "show users").await?;
        let user = |record: BTreeMap<&str, &Value>| Some((text(&record, "user")?, record.get("admin")?.as_bool()?));
        Ok(rows.iter().flat_map(Row::records).filter_map(user).collect())
    }

    async fn policies(&self, database: &str) -> Result<BTreeMap<String, Policy>, MetricError> {
        let statement = format!("show retention policies on {}", quote::database(database)?);
        let rows = self.run(&format!("list the retentions of database {database:?}"), &statement).await?;
        let policy = |record: BTreeMap<&str, &Value>| {
            let length = |column| hours(record.get(column)?.as_str()?);
            let (hours, shard_hours) = (length("duration"), length("shardGroupDuration"));
            Some((text(&record, "name")?, Policy { hours, shard_hours, default: record.get("default")?.as_bool()? }))
        };
        Ok(rows.iter().flat_map(Row::records).filter_map(policy).collect())
    }

    async fn make_administrator(&self) -> Result<(), MetricError> {
        let (user, password) = (quote::user(&self.user)?, quote::password(&self.password)?);
        let statement = format!("create user {user} with password {password} with all privileges");
        let made = self.run(&format!("make the first administrator {:?}", self.user), &statement).await;
        match made {
            // Somebody else made one in the meantime; whether it is ours is seen below.
            Ok(_) | Err(MetricError::Denied { .. }) => self.check_administrator().await,
            Err(error) => Err(error.without(&password)),
        }
    }

    async fn check_administrator(&self) -> Result<(), MetricError> {
        if self.users().await?.get(&self.user) == Some(&true) {
            return Ok(());
        }
        // Where nobody has to say who they are, everybody may list users.
        let why = "it has other users, and not this one as administrator".to_owned();
        Err(MetricError::Denied { what: format!("be its administrator {:?}", self.user), why })
    }

    /// Takes away what a user may do but for one database, and the rights of an administrator.
    async fn revoke_others(&self, user: &str, administers: bool, database: &str) -> Result<(), MetricError> {
        let (what, quoted) = (format!("take rights from user {user:?}"), quote::user(user)?);
        if administers {
            self.run(&what, &format!("revoke all privileges from {quoted}")).await?;
        }
        let rows = self.run(&what, &format!("show grants for {quoted}")).await?;
        let grant = |record: BTreeMap<&str, &Value>| Some((text(&record, "database")?, text(&record, "privilege")?));
        for (other, privilege) in rows.iter().flat_map(Row::records).filter_map(grant) {
            if other != database && privilege != "NO PRIVILEGES" {
                let other = quote::database(&other)?;
                self.run(&what, &format!("revoke all privileges on {other} from {quoted}")).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl MetricAdmin for Admin {
    async fn ensure_administrator(&self) -> Result<(), MetricError> {
        quote::user(&self.user)?;
        quote::password(&self.password)?;
        match self.users().await {
            Ok(users) if users.is_empty() => self.make_administrator().await,
            Ok(_) => self.check_administrator().await,
            // All that a server without users allows; with users it says that the password is wrong, or that a right is missing.
            Err(MetricError::Denied { why, .. }) if why.contains("create admin user first") => self.make_administrator().await,
            Err(error) => Err(error),
        }
    }

    async fn ensure_database(&self, database: &str) -> Result<(), MetricError> {
        let (what, quoted) = (format!("make database {database:?}"), quote::database(database)?);
        let there = match self.policies(database).await {
            Err(MetricError::Missing { .. }) => {
                let lengths = lengths(DEFAULT);
                self.run(&what, &format!("create database {quoted} with {lengths} name \"{}\"", DEFAULT.name())).await?;
                self.policies(database).await?
            }
            policies => policies?,
        };
        for retention in Retention::ALL {
            let verb = match there.get(retention.name()) {
                Some(policy) if *policy == Policy::wanted(retention) => continue,
                // Being the default is taken away by giving it to another.
                Some(policy) if policy.default && Policy { default: false, ..*policy } == Policy::wanted(retention) => continue,
                Some(_) => "alter",
                None => "create",
            };
            let default = if retention == DEFAULT { " default" } else { "" };
            let (name, lengths) = (retention.name(), lengths(retention));
            self.run(&what, &format!("{verb} retention policy \"{name}\" on {quoted} {lengths}{default}")).await?;
        }
        Ok(())
    }

    async fn ensure_user(&self, user: &str, password: &str, database: &str, right: Right) -> Result<(), MetricError> {
        if user == self.user {
            return Err(MetricError::Refused { why: format!("user {user:?} is the administrator; another name would be right") });
        }
        let (name, secret) = (quote::user(user)?, quote::password(password)?);
        let there = quote::database(database)?;
        let known = self.users().await?.get(user).copied();
        let statement = match known {
            Some(_) => format!("set password for {name} = {secret}"),
            None => format!("create user {name} with password {secret}"),
        };
        let made = self.run(&format!("make user {user:?}"), &statement).await;
        made.map_err(|error| error.without(&secret).without(password))?;
        self.revoke_others(user, known == Some(true), database).await?;
        // Takes the place of what was granted on this database before.
        let right = match right {
            Right::Read => "read",
            Right::Write => "write",
        };
        let what = format!("let user {user:?} {right} database {database:?}");
        self.run(&what, &format!("grant {right} on {there} to {name}")).await.map(drop)
    }
}

fn lengths(retention: Retention) -> String {
    format!("duration {}h replication 1 shard duration {}h", retention.hours(), retention.shard_hours())
}

/// `168h0m0s`; what is no whole number of hours is none of ours.
fn hours(text: &str) -> Option<u32> {
    text.strip_suffix("h0m0s")?.parse().ok()
}

fn text(record: &BTreeMap<&str, &Value>, column: &str) -> Option<String> {
    record.get(column)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_shown() {
        assert_eq!(hours("168h0m0s"), Some(168));
        for other in ["0s", "1h30m0s", "7d", "", "h0m0s"] {
            assert_eq!(hours(other), None, "{other}");
        }
        assert_eq!(lengths(Retention::H1), "duration 17520h replication 1 shard duration 720h");
    }
}

//! What can be asked for.

use serde::{Deserialize, Serialize};
use zms_core::metadata::ConsumeFrom;
use zms_core::names::{GroupName, TopicName};

use crate::error::Problem;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = RequestWish, example = json!({ "kind": "topic", "name": "orders", "about": "Orders as they are placed", "rate": 500, "size": 1024, "retention_hours": 72, "group": "billing", "from": "earliest" }))]
pub enum Wish {
    /// A topic, and perhaps a first group on it.
    Topic(TopicWish),
    /// A group on a topic that is there.
    Group(GroupWish),
}

/// A topic that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicWish {
    /// 1 to 100 letters, digits, _ and -.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Messages a second at its busiest.
    pub rate: u32,
    /// Size of a message, bytes.
    pub size: u32,
    /// For how long messages stay, hours.
    pub retention_hours: u32,
    /// A first group on it; empty for none.
    pub group: String,
    /// Where that group begins.
    #[schema(value_type = String, example = "earliest")]
    pub from: ConsumeFrom,
}

/// A group that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupWish {
    /// 1 to 100 letters, digits, _ and -.
    pub name: String,
    /// The topic that it consumes.
    pub topic: String,
    /// What it is for.
    pub about: String,
    /// Where it begins.
    #[schema(value_type = String, example = "earliest")]
    pub from: ConsumeFrom,
}

/// Longest text about a wish, in characters.
const LONGEST_ABOUT: usize = 1000;
/// Most messages a second: what one cluster can take, with room.
const MOST_RATE: u32 = 1_000_000;
/// Largest message, bytes: Kafka's own default limit.
const MOST_SIZE: u32 = 1_000_000;
/// Longest retention, hours: a year.
const MOST_HOURS: u32 = 366 * 24;

impl Wish {
    /// `topic/orders`, `group/billing`.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.kind(), self.name().chars().take(100).collect::<String>())
    }

    /// `topic` or `group`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic",
            Self::Group(_) => "group",
        }
    }

    /// The name that is asked for.
    pub fn name(&self) -> &str {
        match self {
            Self::Topic(topic) => &topic.name,
            Self::Group(group) => &group.name,
        }
    }

    /// What it is for.
    pub fn about(&self) -> &str {
        match self {
            Self::Topic(topic) => &topic.about,
            Self::Group(group) => &group.about,
        }
    }

    /// Without blanks around what was typed.
    pub(super) fn trimmed(self) -> Self {
        let trim = |text: String| text.trim().to_owned();
        match self {
            Self::Topic(topic) => {
                Self::Topic(TopicWish { name: trim(topic.name), about: trim(topic.about), group: trim(topic.group), ..topic })
            }
            Self::Group(group) => {
                Self::Group(GroupWish { name: trim(group.name), topic: trim(group.topic), about: trim(group.about), ..group })
            }
        }
    }

    /// Everything that is wrong with it by itself.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |good: bool, problem: Problem| {
            if !good {
                problems.push(problem);
            }
        };
        match self {
            Self::Topic(topic) => {
                check(TopicName::new(&topic.name).is_ok(), Problem::new("name", |m| m.requests_bad_name().to_owned()));
                check((1..=MOST_RATE).contains(&topic.rate), Problem::new("rate", |m| m.requests_bad_number(MOST_RATE)));
                check((1..=MOST_SIZE).contains(&topic.size), Problem::new("size", |m| m.requests_bad_number(MOST_SIZE)));
                let hours = (1..=MOST_HOURS).contains(&topic.retention_hours);
                check(hours, Problem::new("retention_hours", |m| m.requests_bad_number(MOST_HOURS)));
                let group = topic.group.is_empty() || GroupName::new(&topic.group).is_ok();
                check(group, Problem::new("group", |m| m.requests_bad_name().to_owned()));
            }
            Self::Group(group) => {
                check(GroupName::new(&group.name).is_ok(), Problem::new("name", |m| m.requests_bad_name().to_owned()));
                check(TopicName::new(&group.topic).is_ok(), Problem::new("topic", |m| m.requests_bad_name().to_owned()));
            }
        }
        let about = self.about();
        let good = !about.is_empty()
            && about.chars().count() <= LONGEST_ABOUT
            && !about.chars().any(|c| c.is_control() && c != '\n' && c != '\r');
        check(good, Problem::new("about", |m| m.requests_bad_about(LONGEST_ABOUT)));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(change: impl FnOnce(&mut TopicWish)) -> Vec<String> {
        let mut wish = TopicWish {
            name: "orders".into(),
            about: "why".into(),
            rate: 10,
            size: 1024,
            retention_hours: 72,
            group: "billing".into(),
            from: ConsumeFrom::Earliest,
        };
        change(&mut wish);
        Wish::Topic(wish).problems().into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        assert!(topic(|_| {}).is_empty());
        assert_eq!(topic(|wish| wish.name = "订单".into()), ["name"]);
        assert_eq!(topic(|wish| wish.name = "x".repeat(101)), ["name"]);
        assert_eq!(topic(|wish| wish.name = "statistic_ping_topic".into()), ["name"]);
        assert_eq!(topic(|wish| wish.group = "a b".into()), ["group"]);
        assert!(topic(|wish| wish.group = String::new()).is_empty());
        let all = topic(|wish| *wish = TopicWish { rate: u32::MAX, ..TopicWish::default() });
        assert_eq!(all, ["name", "rate", "size", "retention_hours", "about"]);
    }
}

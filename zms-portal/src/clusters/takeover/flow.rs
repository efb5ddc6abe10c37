//! The state machine of a take-over.
//!
//! ```text
//! Topics (each on its own) ─▶ Groups (each on its own) ─▶ Done, with what failed and why
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::engine::{Machine, Next, Refused, Status};
use crate::web::messages::Messages;

/// See the module.
pub struct TakeOver;

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Topics are being taken over.
    Topics {
        /// Those that are not settled.
        open: BTreeSet<String>,
        /// To be taken over afterwards.
        groups: BTreeSet<String>,
        /// What every step needs.
        #[serde(flatten)]
        common: Common,
    },
    /// Groups are being taken over.
    Groups {
        /// Those that are not settled.
        open: BTreeSet<String>,
        /// What every step needs.
        #[serde(flatten)]
        common: Common,
    },
    /// Everything is settled.
    Done {
        /// How many are governed now.
        taken: usize,
        /// `topic x` or `group x` → why not.
        failed: BTreeMap<String, String>,
    },
}

/// What every step needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// Id of the cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Who will answer for all of them.
    pub owner: String,
    /// How many are governed now.
    pub taken: usize,
    /// `topic x` or `group x` → why not.
    pub failed: BTreeMap<String, String>,
}

/// What moves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A topic is settled.
    Topic {
        /// Which.
        name: String,
        /// Why it is not governed; absent if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A group is settled.
    Group {
        /// Which.
        name: String,
        /// Why it is not governed; absent if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

/// What is done outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// The topic has a row and a node.
    EnsureTopic {
        /// Id of the cluster.
        cluster: String,
        /// Its name.
        on: String,
        /// The topic.
        topic: String,
        /// Who answers for it.
        owner: String,
    },
    /// The group has a row, and a node if it consumes one topic.
    EnsureGroup {
        /// Id of the cluster.
        cluster: String,
        /// Its name.
        on: String,
        /// The group.
        group: String,
        /// Who answers for it.
        owner: String,
    },
}

/// The first step; there is at least one topic or group.
pub fn begin(cluster: &str, name: &str, owner: &str, topics: BTreeSet<String>, groups: BTreeSet<String>) -> Next<State, Effect> {
    let common =
        Common { cluster: cluster.to_owned(), name: name.to_owned(), owner: owner.to_owned(), taken: 0, failed: BTreeMap::new() };
    if topics.is_empty() {
        return of_groups(common, groups);
    }
    let effect = |topic: &String| Effect::EnsureTopic {
        cluster: common.cluster.clone(),
        on: common.name.clone(),
        topic: topic.clone(),
        owner: common.owner.clone(),
    };
    let effects = topics.iter().map(effect).collect();
    Next { state: State::Topics { open: topics, groups, common }, effects }
}

fn of_groups(common: Common, groups: BTreeSet<String>) -> Next<State, Effect> {
    if groups.is_empty() {
        return Next { state: State::Done { taken: common.taken, failed: common.failed }, effects: Vec::new() };
    }
    let effect = |group: &String| Effect::EnsureGroup {
        cluster: common.cluster.clone(),
        on: common.name.clone(),
        group: group.clone(),
        owner: common.owner.clone(),
    };
    let effects = groups.iter().map(effect).collect();
    Next { state: State::Groups { open: groups, common }, effects }
}

impl Common {
    fn settle(&mut self, what: String, why: &Option<String>) {
        match why {
            None => self.taken += 1,
            Some(why) => drop(self.failed.insert(what, why.clone())),
        }
    }
}

impl Machine for TakeOver {
    const KIND: &'static str = "cluster.take_over";
    type State = State;
    type Command = Command;
    type Effect = Effect;

    fn step(state: &State, command: &Command) -> Result<Next<State, Effect>, Refused> {
        match (state.clone(), command) {
            (State::Topics { mut open, groups, mut common }, Command::Topic { name, why }) => {
                if !open.remove(name) {
                    return Err(Refused::Stale);
                }
                common.settle(format!("topic {name}"), why);
                if open.is_empty() {
                    return Ok(of_groups(common, groups));
                }
                Ok(Next { state: State::Topics { open, groups, common }, effects: Vec::new() })
            }
            (State::Groups { mut open, mut common }, Command::Group { name, why }) => {
                if !open.remove(name) {
                    return Err(Refused::Stale);
                }
                common.settle(format!("group {name}"), why);
                if open.is_empty() {
                    return Ok(of_groups(common, BTreeSet::new()));
                }
                Ok(Next { state: State::Groups { open, common }, effects: Vec::new() })
            }
            (State::Topics { .. }, Command::Group { .. })
            | (State::Groups { .. }, Command::Topic { .. })
            | (State::Done { .. }, Command::Topic { .. } | Command::Group { .. }) => Err(Refused::Stale),
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Topics { .. } | State::Groups { .. } => Status::Running,
            State::Done { taken: 0, .. } => Status::Failed,
            State::Done { .. } => Status::Done,
        }
    }

    fn effect_name(effect: &Effect) -> &'static str {
        match effect {
            Effect::EnsureTopic { .. } => "ensure_topic",
            Effect::EnsureGroup { .. } => "ensure_group",
        }
    }

    fn target(effect: &Effect) -> String {
        match effect {
            Effect::EnsureTopic { on, .. } | Effect::EnsureGroup { on, .. } => format!("cluster {on}"),
        }
    }

    fn title(m: Messages) -> &'static str {
        m.clusters_flow_take()
    }

    fn effect_title(m: Messages, name: &str) -> String {
        match name {
            "ensure_topic" => m.clusters_step_take_topic(),
            _ => m.clusters_step_take_group(),
        }
        .to_owned()
    }

    fn command_title(m: Messages, name: &str) -> String {
        match name {
            "topic" => m.clusters_command_topic(),
            _ => m.clusters_command_group(),
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(prefix: &str, count: usize) -> BTreeSet<String> {
        (0..count).map(|n| format!("{prefix}{n}")).collect()
    }

    proptest! {
        /// In whatever order outcomes come, and however often: each topic and group is settled once, and groups only after all topics.
        #[test]
        fn everything_is_settled_once(topics in 0_usize..6, groups in 0_usize..6, order: Vec<(prop::sample::Index, bool)>) {
            prop_assume!(topics + groups > 0);
            let first = begin("c", "main", "dora", names("t", topics), names("g", groups));
            let (mut state, mut pending, mut failures) = (first.state, first.effects, 0);
            let mut order = order.into_iter();
            while !pending.is_empty() {
                let (index, fails) = order.next().map_or((0, false), |(index, fails)| (index.index(pending.len()), fails));
                let why = fails.then(|| "no".to_owned());
                failures += usize::from(fails);
                let command = match pending.remove(index) {
                    Effect::EnsureTopic { topic, .. } => Command::Topic { name: topic, why },
                    Effect::EnsureGroup { group, .. } => Command::Group { name: group, why },
                };
                let next = TakeOver::step(&state, &command).unwrap();
                state = next.state;
                pending.extend(next.effects);
                prop_assert!(TakeOver::step(&state, &command).is_err(), "a second outcome of the same");
                prop_assert_eq!(serde_json::from_value::<State>(serde_json::to_value(&state).unwrap()).unwrap(), state.clone());
            }
            let State::Done { taken, failed } = state else { panic!("{state:?}") };
            prop_assert_eq!((taken, failed.len()), (topics + groups - failures, failures));
        }
    }
}

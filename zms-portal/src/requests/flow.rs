//! The state machine that makes a topic and its groups.
//!
//! ```text
//! Looking ─▶ Topic (on the broker) ─▶ Node ─▶ Groups ─▶ Finishing ─▶ Done
//!    │         └── what a person has to look at ──▶ Stuck ──▶ again, or Withdrawing ─▶ Cancelled
//!    └── somebody's already ──▶ Found ──▶ looked for again, or Withdrawing
//! ```
//!
//! Brokers keep no mark of who made a topic. So it is looked for once before anything is made: what is there then belongs to somebody, what is there after that
//! is this flow's own, also when its answer was lost.

use serde::{Deserialize, Serialize};

use crate::engine::{Machine, Next, Refused, Status};
use crate::web::messages::Messages;

/// See the module.
pub struct Create;

/// Something with its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// ULID of its row.
    pub id: String,
    /// For people.
    pub name: String,
}

/// What is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the cluster, for people and as a target.
    pub cluster: String,
    /// The topic; `None` where only groups are made.
    pub topic: Option<Named>,
    /// Groups.
    pub groups: Vec<Named>,
    /// Nothing of these names was on the cluster before: what is there now this flow made.
    #[serde(default)]
    pub absent: bool,
    /// Nodes of these names may have been written.
    #[serde(default)]
    pub written: bool,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum State {
    /// Whether somebody has these names on the cluster is being looked at.
    Looking { plan: Plan },
    /// These are on the cluster already, and a person has to say what they are.
    Found { plan: Plan, topics: Vec<String>, groups: Vec<String> },
    /// The topic is being made on its brokers.
    Topic { plan: Plan },
    /// Its node is being written.
    Node { plan: Plan },
    /// Nodes of groups are being written; these are not yet.
    Groups { plan: Plan, left: Vec<String> },
    /// Everything is there and is being marked so.
    Finishing { plan: Plan },
    /// Applications can use it.
    Done,
    /// A person has to look.
    Stuck { plan: Plan, why: String },
    /// A person gave it up: what applications could read of it is being taken back.
    Withdrawing { plan: Plan },
    /// A person gave it up.
    Cancelled,
}

impl State {
    /// What is to be made; `None` when it is over.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Looking { plan }
            | Self::Found { plan, .. }
            | Self::Withdrawing { plan }
            | Self::Topic { plan }
            | Self::Node { plan }
            | Self::Groups { plan, .. }
            | Self::Finishing { plan }
            | Self::Stuck { plan, .. } => Some(plan),
            Self::Done | Self::Cancelled => None,
        }
    }
}

/// What moves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Command {
    /// Nobody has these names on the cluster.
    Absent,
    /// Somebody has.
    Found { topics: Vec<String>, groups: Vec<String> },
    /// The topic is on its brokers as it was approved.
    TopicMade,
    /// Its node is written.
    NodeWritten,
    /// A group's node is written.
    GroupWritten { group: String },
    /// Everything is marked as active.
    Finished,
    /// Trying again would not help.
    Stuck { why: String },
    /// A person wants another try.
    Retry,
    /// A person gives up.
    Cancel,
    /// Applications can read nothing of it, and the names are free.
    Withdrawn,
}

/// What is done outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Effect {
    /// Looks whether somebody has these names on the cluster.
    Look { plan: Plan },
    /// The topic is on its brokers, as its row says.
    EnsureTopic { topic: Named, cluster: String },
    /// Its node says where it lives.
    EnsureNode { topic: Named },
    /// A group's node says what it consumes.
    EnsureGroup { group: Named },
    /// Topic and groups are active.
    EnsureActive { plan: Plan },
    /// Neither nodes nor rows of what was given up.
    EnsureWithdrawn { plan: Plan },
}

/// The first step, also of another try: every effect may be done again.
pub fn begin(plan: Plan) -> Next<State, Effect> {
    if plan.absent {
        return make(plan);
    }
    Next { state: State::Looking { plan: plan.clone() }, effects: vec![Effect::Look { plan }] }
}

fn make(plan: Plan) -> Next<State, Effect> {
    match plan.topic.clone() {
        Some(topic) => {
            let effects = vec![Effect::EnsureTopic { topic, cluster: plan.cluster.clone() }];
            Next { state: State::Topic { plan }, effects }
        }
        None => groups(plan),
    }
}

fn groups(mut plan: Plan) -> Next<State, Effect> {
    plan.written = true;
    if plan.groups.is_empty() {
        let effects = vec![Effect::EnsureActive { plan: plan.clone() }];
        return Next { state: State::Finishing { plan }, effects };
    }
    let effects = plan.groups.iter().cloned().map(|group| Effect::EnsureGroup { group }).collect();
    let left = plan.groups.iter().map(|group| group.name.clone()).collect();
    Next { state: State::Groups { plan, left }, effects }
}

impl Machine for Create {
    const KIND: &'static str = "topic.create";
    type State = State;
    type Command = Command;
    type Effect = Effect;

    fn step(state: &State, command: &Command) -> Result<Next<State, Effect>, Refused> {
        let still = |state: State| Ok(Next { state, effects: Vec::new() });
        match (state, command) {
            (State::Looking { plan }, Command::Absent) => Ok(make(Plan { absent: true, ..plan.clone() })),
            (State::Looking { plan }, Command::Found { topics, groups }) => {
                still(State::Found { plan: plan.clone(), topics: topics.clone(), groups: groups.clone() })
            }
            (State::Topic { plan }, Command::TopicMade) => {
                let topic = plan.topic.clone().ok_or(Refused::Stale)?;
                let plan = Plan { written: true, ..plan.clone() };
                Ok(Next { state: State::Node { plan }, effects: vec![Effect::EnsureNode { topic }] })
            }
            (State::Node { plan }, Command::NodeWritten) => Ok(groups(plan.clone())),
            (State::Groups { plan, left }, Command::GroupWritten { group }) if left.contains(group) => {
                let left: Vec<String> = left.iter().filter(|name| *name != group).cloned().collect();
                if !left.is_empty() {
                    return still(State::Groups { plan: plan.clone(), left });
                }
                let effects = vec![Effect::EnsureActive { plan: plan.clone() }];
                Ok(Next { state: State::Finishing { plan: plan.clone() }, effects })
            }
            (State::Finishing { .. }, Command::Finished) => still(State::Done),
            (State::Stuck { plan, .. } | State::Found { plan, .. }, Command::Retry) => Ok(begin(plan.clone())),
            (state, Command::Stuck { why }) => match state.plan() {
                Some(plan) => still(State::Stuck { plan: plan.clone(), why: why.clone() }),
                None => Err(Refused::Stale),
            },
            (State::Withdrawing { .. }, Command::Withdrawn) => still(State::Cancelled),
            // Its only step marks it as there.
            (State::Finishing { .. }, Command::Cancel) => Err(Refused::because(|m| m.requests_too_late().to_owned())),
            (State::Withdrawing { .. }, Command::Cancel) => Err(Refused::Stale),
            (state, Command::Cancel) => match state.plan() {
                Some(plan) => Ok(Next {
                    state: State::Withdrawing { plan: plan.clone() },
                    effects: vec![Effect::EnsureWithdrawn { plan: plan.clone() }],
                }),
                None => Err(Refused::Stale),
            },
            (_, Command::Retry) => Err(Refused::because(|m| m.requests_not_stuck().to_owned())),
            _ => Err(Refused::Stale),
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Looking { .. }
            | State::Topic { .. }
            | State::Node { .. }
            | State::Groups { .. }
            | State::Finishing { .. }
            | State::Withdrawing { .. } => Status::Running,
            State::Found { .. } | State::Stuck { .. } => Status::Waiting,
            State::Done => Status::Done,
            State::Cancelled => Status::Cancelled,
        }
    }

    fn wanted(state: &State, effect: &Effect) -> bool {
        match state {
            State::Stuck { .. } | State::Found { .. } => false,
            State::Withdrawing { .. } => matches!(effect, Effect::EnsureWithdrawn { .. }),
            State::Looking { .. }
            | State::Topic { .. }
            | State::Node { .. }
            | State::Groups { .. }
            | State::Finishing { .. }
            | State::Done
            | State::Cancelled => true,
        }
    }

    fn effect_name(effect: &Effect) -> &'static str {
        match effect {
            Effect::Look { .. } => "look",
            Effect::EnsureWithdrawn { .. } => "ensure_withdrawn",
            Effect::EnsureTopic { .. } => "ensure_topic",
            Effect::EnsureNode { .. } => "ensure_node",
            Effect::EnsureGroup { .. } => "ensure_group",
            Effect::EnsureActive { .. } => "ensure_active",
        }
    }

    fn target(effect: &Effect) -> String {
        match effect {
            Effect::Look { plan: Plan { cluster, .. } } | Effect::EnsureTopic { cluster, .. } => format!("cluster {cluster}"),
            Effect::EnsureNode { topic } => format!("/zms/topic/{}", topic.name),
            Effect::EnsureGroup { group } => format!("/zms/consumergroup/{}", group.name),
            Effect::EnsureActive { .. } => "portal".to_owned(),
            Effect::EnsureWithdrawn { plan } => {
                let first = plan.topic.iter().map(|topic| format!("/zms/topic/{}", topic.name));
                let mut all = first.chain(plan.groups.iter().map(|group| format!("/zms/consumergroup/{}", group.name)));
                all.next().unwrap_or_else(|| "portal".to_owned())
            }
        }
    }

    fn title(m: Messages) -> &'static str {
        m.requests_flow()
    }

    fn effect_title(m: Messages, name: &str) -> String {
        match name {
            "look" => m.requests_step_look(),
            "ensure_withdrawn" => m.requests_step_withdrawn(),
            "ensure_topic" => m.requests_step_topic(),
            "ensure_node" => m.requests_step_node(),
            "ensure_group" => m.requests_step_group(),
            _ => m.requests_step_active(),
        }
        .to_owned()
    }

    fn command_title(m: Messages, name: &str) -> String {
        match name {
            "absent" => m.requests_command_absent(),
            "found" => m.requests_command_found(),
            "withdrawn" => m.requests_command_withdrawn(),
            "topic_made" => m.requests_command_topic_made(),
            "node_written" => m.requests_command_node_written(),
            "group_written" => m.requests_command_group_written(),
            "finished" => m.requests_command_finished(),
            "stuck" => m.requests_command_stuck(),
            "retry" => m.requests_command_retry(),
            _ => m.requests_command_cancel(),
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Named {
        Named { id: format!("id-{name}"), name: name.into() }
    }

    fn plan(groups: &[&str]) -> Plan {
        let groups = groups.iter().map(|name| named(name)).collect();
        Plan { cluster: "k".into(), topic: Some(named("orders")), groups, absent: false, written: false }
    }

    fn walk(mut next: Next<State, Effect>, commands: &[Command]) -> State {
        for command in commands {
            next = Create::step(&next.state, command).unwrap_or_else(|error| panic!("{command:?}: {error:?}"));
        }
        next.state
    }

    #[test]
    fn broker_then_node_then_groups_and_each_in_its_turn() {
        let group = |name: &str| Command::GroupWritten { group: name.into() };
        let all = [Command::Absent, Command::TopicMade, Command::NodeWritten, group("a"), group("b"), Command::Finished];
        assert_eq!(walk(begin(plan(&["a", "b"])), &all), State::Done);
        let alone = [Command::Absent, Command::TopicMade, Command::NodeWritten, Command::Finished];
        assert_eq!(walk(begin(plan(&[])), &alone), State::Done);
        let only = Plan { topic: None, ..plan(&["a"]) };
        assert_eq!(walk(begin(only), &[Command::Absent, group("a"), Command::Finished]), State::Done);
    }

    #[test]
    fn what_a_person_must_look_at_waits_and_another_try_begins_at_the_beginning() {
        let stuck = walk(begin(plan(&["a"])), &[Command::Absent, Command::TopicMade, Command::Stuck { why: "x".into() }]);
        assert_eq!(Create::status(&stuck), Status::Waiting);
        let again = Create::step(&stuck, &Command::Retry).unwrap();
        // What is there now it made itself: it does not look again.
        assert!(matches!(&again.effects[..], [Effect::EnsureTopic { .. }]), "{again:?}");
        assert_eq!(walk(begin(plan(&[])), &[Command::Cancel, Command::Withdrawn]), State::Cancelled);
    }

    #[test]
    fn what_somebody_has_already_waits_and_is_looked_for_again() {
        let found = Command::Found { topics: vec!["orders".into()], groups: Vec::new() };
        let waits = walk(begin(plan(&["a"])), std::slice::from_ref(&found));
        assert_eq!(Create::status(&waits), Status::Waiting);
        assert!(!Create::wanted(&waits, &Effect::Look { plan: plan(&["a"]) }));
        let again = Create::step(&waits, &Command::Retry).unwrap();
        assert_eq!(again, begin(plan(&["a"])));
        assert!(matches!(Create::step(&walk(again, &[Command::Absent]), &found), Err(Refused::Stale)));
    }

    #[test]
    fn what_is_given_up_is_taken_back_first_and_what_is_nearly_done_cannot_be_given_up() {
        let given_up = walk(begin(plan(&["a"])), &[Command::Absent, Command::TopicMade, Command::Cancel]);
        let State::Withdrawing { plan: kept } = &given_up else { panic!("{given_up:?}") };
        assert!(kept.written, "nodes may be there");
        assert_eq!(Create::status(&given_up), Status::Running);
        assert!(!Create::wanted(&given_up, &Effect::EnsureNode { topic: named("orders") }));
        assert!(Create::wanted(&given_up, &Effect::EnsureWithdrawn { plan: kept.clone() }));
        assert!(matches!(Create::step(&given_up, &Command::NodeWritten), Err(Refused::Stale)));
        let finishing = [Command::Absent, Command::TopicMade, Command::NodeWritten];
        let finishing = walk(begin(plan(&[])), &finishing);
        assert!(matches!(Create::step(&finishing, &Command::Cancel), Err(Refused::Because(_))));
    }

    #[test]
    fn an_outcome_that_comes_twice_is_stale() {
        let state = walk(begin(plan(&["a"])), &[Command::Absent, Command::TopicMade]);
        assert!(matches!(Create::step(&state, &Command::TopicMade), Err(Refused::Stale)));
        assert!(matches!(Create::step(&State::Done, &Command::Cancel), Err(Refused::Stale)));
        assert!(matches!(Create::step(&State::Cancelled, &Command::Stuck { why: String::new() }), Err(Refused::Stale)));
    }
}

//! The state machine that makes a topic and its groups.
//!
//! ```text
//! Topic (on the broker) ─▶ Node ─▶ Groups ─▶ Finishing ─▶ Done
//!        └── what a person has to look at ──▶ Stuck ──▶ again, or Cancelled
//! ```

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
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum State {
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
    /// A person gave it up.
    Cancelled,
}

impl State {
    /// What is to be made; `None` when it is over.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Topic { plan }
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
}

/// What is done outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Effect {
    /// The topic is on its brokers, as its row says.
    EnsureTopic { topic: Named, cluster: String },
    /// Its node says where it lives.
    EnsureNode { topic: Named },
    /// A group's node says what it consumes.
    EnsureGroup { group: Named },
    /// Topic and groups are active.
    EnsureActive { plan: Plan },
}

/// The first step, also of another try: every effect may be done again.
pub fn begin(plan: Plan) -> Next<State, Effect> {
    match plan.topic.clone() {
        Some(topic) => {
            let effects = vec![Effect::EnsureTopic { topic, cluster: plan.cluster.clone() }];
            Next { state: State::Topic { plan }, effects }
        }
        None => groups(plan),
    }
}

fn groups(plan: Plan) -> Next<State, Effect> {
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
            (State::Topic { plan }, Command::TopicMade) => {
                let topic = plan.topic.clone().ok_or(Refused::Stale)?;
                Ok(Next { state: State::Node { plan: plan.clone() }, effects: vec![Effect::EnsureNode { topic }] })
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
            (State::Stuck { plan, .. }, Command::Retry) => Ok(begin(plan.clone())),
            (state, Command::Stuck { why }) => match state.plan() {
                Some(plan) => still(State::Stuck { plan: plan.clone(), why: why.clone() }),
                None => Err(Refused::Stale),
            },
            (state, Command::Cancel) if state.plan().is_some() => still(State::Cancelled),
            (_, Command::Retry) => Err(Refused::because(|m| m.requests_not_stuck().to_owned())),
            _ => Err(Refused::Stale),
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Topic { .. } | State::Node { .. } | State::Groups { .. } | State::Finishing { .. } => Status::Running,
            State::Stuck { .. } => Status::Waiting,
            State::Done => Status::Done,
            State::Cancelled => Status::Cancelled,
        }
    }

    fn wanted(state: &State, _: &Effect) -> bool {
        !matches!(state, State::Stuck { .. })
    }

    fn effect_name(effect: &Effect) -> &'static str {
        match effect {
            Effect::EnsureTopic { .. } => "ensure_topic",
            Effect::EnsureNode { .. } => "ensure_node",
            Effect::EnsureGroup { .. } => "ensure_group",
            Effect::EnsureActive { .. } => "ensure_active",
        }
    }

    fn target(effect: &Effect) -> String {
        match effect {
            Effect::EnsureTopic { cluster, .. } => format!("cluster {cluster}"),
            Effect::EnsureNode { topic } => format!("/zms/topic/{}", topic.name),
            Effect::EnsureGroup { group } => format!("/zms/consumergroup/{}", group.name),
            Effect::EnsureActive { .. } => "portal".to_owned(),
        }
    }

    fn title(m: Messages) -> &'static str {
        m.requests_flow()
    }

    fn effect_title(m: Messages, name: &str) -> String {
        match name {
            "ensure_topic" => m.requests_step_topic(),
            "ensure_node" => m.requests_step_node(),
            "ensure_group" => m.requests_step_group(),
            _ => m.requests_step_active(),
        }
        .to_owned()
    }

    fn command_title(m: Messages, name: &str) -> String {
        match name {
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
        Plan { cluster: "k".into(), topic: Some(named("orders")), groups: groups.iter().map(|name| named(name)).collect() }
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
        let all = [Command::TopicMade, Command::NodeWritten, group("a"), group("b"), Command::Finished];
        assert_eq!(walk(begin(plan(&["a", "b"])), &all), State::Done);
        assert_eq!(walk(begin(plan(&[])), &[Command::TopicMade, Command::NodeWritten, Command::Finished]), State::Done);
        let only = Plan { topic: None, ..plan(&["a"]) };
        assert_eq!(walk(begin(only), &[group("a"), Command::Finished]), State::Done);
    }

    #[test]
    fn what_a_person_must_look_at_waits_and_another_try_begins_at_the_beginning() {
        let stuck = walk(begin(plan(&["a"])), &[Command::TopicMade, Command::Stuck { why: "x".into() }]);
        assert_eq!(Create::status(&stuck), Status::Waiting);
        let again = Create::step(&stuck, &Command::Retry).unwrap();
        assert_eq!(again.effects, begin(plan(&["a"])).effects);
        assert_eq!(walk(begin(plan(&[])), &[Command::Cancel]), State::Cancelled);
    }

    #[test]
    fn an_outcome_that_comes_twice_is_stale() {
        let state = walk(begin(plan(&["a"])), &[Command::TopicMade]);
        assert!(matches!(Create::step(&state, &Command::TopicMade), Err(Refused::Stale)));
        assert!(matches!(Create::step(&State::Done, &Command::Cancel), Err(Refused::Stale)));
        assert!(matches!(Create::step(&State::Cancelled, &Command::Stuck { why: String::new() }), Err(Refused::Stale)));
    }
}

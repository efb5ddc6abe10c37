//! The state machine that makes a cluster known to applications.
//!
//! ```text
//! Awaiting ─▶ Publishing ─▶ Preparing (topics of statistics, in the environment's first cluster) ─▶ Done
//! ```

use serde::{Deserialize, Serialize};

use crate::engine::{Machine, Next, Refused, Status};
use crate::web::messages::Messages;

/// See the module.
pub struct Publish;

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Its brokers do not all answer yet.
    Awaiting {
        /// Id of the cluster.
        cluster: String,
        /// Its name.
        name: String,
    },
    /// Its node is being written.
    Publishing {
        /// Id of the cluster.
        cluster: String,
        /// Its name.
        name: String,
    },
    /// Topics of statistics are being made.
    Preparing,
    /// Applications find it.
    Done,
    /// It went away meanwhile.
    Cancelled,
}

/// What moves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// All of its brokers answer.
    Answered,
    /// Its node says where it is.
    Published,
    /// Topics of statistics are there.
    Prepared,
    /// The cluster is not there any more.
    Gone,
}

/// What is done outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Waits until so many brokers answer.
    AwaitBrokers {
        /// Id of the cluster.
        cluster: String,
        /// Its name.
        name: String,
        /// How many.
        brokers: usize,
    },
    /// Writes its node.
    EnsureNode {
        /// Id of the cluster.
        cluster: String,
        /// Its name.
        name: String,
    },
    /// Makes the environment's topics of statistics, if no other cluster has them.
    EnsureStatistics {
        /// Id of the cluster.
        cluster: String,
        /// Its name.
        name: String,
    },
}

/// The first step.
pub fn begin(cluster: &str, name: &str, brokers: usize) -> Next<State, Effect> {
    let (cluster, name) = (cluster.to_owned(), name.to_owned());
    Next {
        state: State::Awaiting { cluster: cluster.clone(), name: name.clone() },
        effects: vec![Effect::AwaitBrokers { cluster, name, brokers }],
    }
}

/// The last step alone: a cluster that applications know already.
pub fn begin_statistics(cluster: &str, name: &str) -> Next<State, Effect> {
    let effect = Effect::EnsureStatistics { cluster: cluster.to_owned(), name: name.to_owned() };
    Next { state: State::Preparing, effects: vec![effect] }
}

impl Machine for Publish {
    const KIND: &'static str = "cluster.publish";
    type State = State;
    type Command = Command;
    type Effect = Effect;

    fn step(state: &State, command: &Command) -> Result<Next<State, Effect>, Refused> {
        match (state, command) {
            (State::Awaiting { cluster, name }, Command::Answered) => Ok(Next {
                state: State::Publishing { cluster: cluster.clone(), name: name.clone() },
                effects: vec![Effect::EnsureNode { cluster: cluster.clone(), name: name.clone() }],
            }),
            (State::Publishing { cluster, name }, Command::Published) => Ok(Next {
                state: State::Preparing,
                effects: vec![Effect::EnsureStatistics { cluster: cluster.clone(), name: name.clone() }],
            }),
            (State::Preparing, Command::Prepared) => Ok(Next { state: State::Done, effects: Vec::new() }),
            (State::Awaiting { .. } | State::Publishing { .. } | State::Preparing, Command::Gone) => {
                Ok(Next { state: State::Cancelled, effects: Vec::new() })
            }
            (State::Awaiting { .. } | State::Publishing { .. } | State::Preparing | State::Done | State::Cancelled, _) => {
                Err(Refused::Stale)
            }
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Awaiting { .. } | State::Publishing { .. } | State::Preparing => Status::Running,
            State::Done => Status::Done,
            State::Cancelled => Status::Cancelled,
        }
    }

    fn effect_name(effect: &Effect) -> &'static str {
        match effect {
            Effect::AwaitBrokers { .. } => "await_brokers",
            Effect::EnsureNode { .. } => "ensure_node",
            Effect::EnsureStatistics { .. } => "ensure_statistics",
        }
    }

    fn target(effect: &Effect) -> String {
        match effect {
            Effect::AwaitBrokers { name, .. } | Effect::EnsureNode { name, .. } | Effect::EnsureStatistics { name, .. } => {
                format!("cluster {name}")
            }
        }
    }

    fn title(m: Messages) -> &'static str {
        m.clusters_flow_publish()
    }

    fn effect_title(m: Messages, name: &str) -> String {
        match name {
            "await_brokers" => m.clusters_step_await().to_owned(),
            "ensure_node" => m.clusters_step_node().to_owned(),
            _ => m.clusters_step_statistics().to_owned(),
        }
    }

    fn command_title(m: Messages, name: &str) -> String {
        match name {
            "answered" => m.clusters_command_answered(),
            "published" => m.clusters_command_published(),
            "prepared" => m.clusters_command_prepared(),
            _ => m.clusters_command_gone(),
        }
        .to_owned()
    }
}

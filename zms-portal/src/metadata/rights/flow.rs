//! The state machine that writes the rights of all nodes anew.
//!
//! ```text
//! Rewriting System ─▶ Clusters ─▶ Topics ─▶ Groups ─▶ Done
//! ```

use serde::{Deserialize, Serialize};

use super::Mode;
use crate::engine::{Machine, Next, Refused, Status};
use crate::web::messages::Messages;

/// See the module.
pub struct Switch;

/// Nodes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What is there before any topic.
    System,
    /// Clusters.
    Clusters,
    /// Topics.
    Topics,
    /// Groups.
    Groups,
}

impl Part {
    const fn next(self) -> Option<Self> {
        match self {
            Self::System => Some(Self::Clusters),
            Self::Clusters => Some(Self::Topics),
            Self::Topics => Some(Self::Groups),
            Self::Groups => None,
        }
    }
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Rights of this part are being written.
    Rewriting {
        /// Of which environment.
        environment: String,
        /// To what.
        mode: Mode,
        /// Which.
        part: Part,
        /// Nodes that had other rights so far.
        changed: u64,
    },
    /// Every node has the rights of the mode.
    Done {
        /// Which.
        mode: Mode,
        /// Nodes that had other rights.
        changed: u64,
    },
}

/// What moves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A part is done.
    Rewritten {
        /// Which.
        part: Part,
        /// Nodes that had other rights.
        changed: u64,
    },
}

/// What is done outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Gives every node of a part the rights of the mode that the environment has then.
    EnsureRights {
        /// Of which environment.
        environment: String,
        /// Which.
        part: Part,
    },
}

fn at(environment: &str, mode: Mode, part: Part, changed: u64) -> Next<State, Effect> {
    let environment = environment.to_owned();
    Next {
        state: State::Rewriting { environment: environment.clone(), mode, part, changed },
        effects: vec![Effect::EnsureRights { environment, part }],
    }
}

/// The first step.
pub fn begin(environment: &str, mode: Mode) -> Next<State, Effect> {
    at(environment, mode, Part::System, 0)
}

impl Machine for Switch {
    const KIND: &'static str = "metadata.rights";
    type State = State;
    type Command = Command;
    type Effect = Effect;

    fn step(state: &State, command: &Command) -> Result<Next<State, Effect>, Refused> {
        let Command::Rewritten { part: done, changed: more } = command;
        match state {
            State::Rewriting { environment, mode, part, changed } if part == done => {
                let changed = changed + more;
                Ok(match part.next() {
                    Some(next) => at(environment, *mode, next, changed),
                    None => Next { state: State::Done { mode: *mode, changed }, effects: Vec::new() },
                })
            }
            State::Rewriting { .. } | State::Done { .. } => Err(Refused::Stale),
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Rewriting { .. } => Status::Running,
            State::Done { .. } => Status::Done,
        }
    }

    fn effect_name(effect: &Effect) -> &'static str {
        let Effect::EnsureRights { part, .. } = effect;
        match part {
            Part::System => "ensure_system_rights",
            Part::Clusters => "ensure_cluster_rights",
            Part::Topics => "ensure_topic_rights",
            Part::Groups => "ensure_group_rights",
        }
    }

    fn target(effect: &Effect) -> String {
        let Effect::EnsureRights { environment, .. } = effect;
        format!("metadata {environment}")
    }

    fn title(m: Messages) -> &'static str {
        m.metadata_flow_rights()
    }

    fn effect_title(m: Messages, name: &str) -> String {
        match name {
            "ensure_system_rights" => m.metadata_step_system(),
            "ensure_cluster_rights" => m.metadata_step_clusters(),
            "ensure_topic_rights" => m.metadata_step_topics(),
            _ => m.metadata_step_groups(),
        }
        .to_owned()
    }

    fn command_title(m: Messages, _: &str) -> String {
        m.metadata_command_rewritten().to_owned()
    }
}

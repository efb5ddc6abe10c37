//! The state machine of an import.
//!
//! ```text
//! Adding Clusters ─▶ Topics ─▶ Groups ─▶ TakingOver ─▶ Done
//! ```

use serde::{Deserialize, Serialize};

use crate::engine::{Machine, Next, Refused, Status};
use crate::web::messages::Messages;

/// See the module.
pub struct Import;

/// What is imported, for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Id of the environment.
    pub environment: String,
    /// Who answers for what is imported.
    pub by: String,
    /// From where that was said, for the audit.
    pub address: String,
    /// Rights of all nodes are written anew at the end: identities were lost with the database.
    pub renew_rights: bool,
}

/// Rows of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Clusters.
    Clusters,
    /// Topics.
    Topics,
    /// Groups.
    Groups,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Rows of this part are being made.
    Adding {
        /// What is imported.
        task: Task,
        /// Which.
        part: Part,
        /// Rows that were made so far.
        added: u64,
    },
    /// The tree is being made this environment's.
    TakingOver {
        /// What is imported.
        task: Task,
        /// Rows that were made.
        added: u64,
    },
    /// The portal knows everything that could be imported.
    Done {
        /// Rows that were made.
        added: u64,
    },
}

/// What moves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A part is done.
    Added {
        /// Which.
        part: Part,
        /// Rows that were made.
        rows: u64,
    },
    /// The tree is this environment's.
    TakenOver,
}

/// What is done outside. Each reads the tree again: what is there then counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Makes the rows of a part that are not there.
    EnsureRows {
        /// What is imported.
        task: Task,
        /// Which.
        part: Part,
    },
    /// Makes the nodes that say whose tree it is.
    EnsureOurs {
        /// What is imported.
        task: Task,
    },
}

/// The first step.
pub fn begin(task: Task) -> Next<State, Effect> {
    adding(task, Part::Clusters, 0)
}

fn adding(task: Task, part: Part, added: u64) -> Next<State, Effect> {
    Next { state: State::Adding { task: task.clone(), part, added }, effects: vec![Effect::EnsureRows { task, part }] }
}

impl Machine for Import {
    const KIND: &'static str = "metadata.import";
    type State = State;
    type Command = Command;
    type Effect = Effect;

    fn step(state: &State, command: &Command) -> Result<Next<State, Effect>, Refused> {
        match (state, command) {
            (State::Adding { task, part, added }, Command::Added { part: done, rows }) if part == done => {
                let (task, added) = (task.clone(), added + rows);
                Ok(match part {
                    Part::Clusters => adding(task, Part::Topics, added),
                    Part::Topics => adding(task, Part::Groups, added),
                    Part::Groups => Next {
                        state: State::TakingOver { task: task.clone(), added },
                        effects: vec![Effect::EnsureOurs { task }],
                    },
                })
            }
            (State::TakingOver { added, .. }, Command::TakenOver) => {
                Ok(Next { state: State::Done { added: *added }, effects: Vec::new() })
            }
            (
                State::Adding { .. } | State::TakingOver { .. } | State::Done { .. },
                Command::Added { .. } | Command::TakenOver,
            ) => Err(Refused::Stale),
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Adding { .. } | State::TakingOver { .. } => Status::Running,
            State::Done { .. } => Status::Done,
        }
    }

    fn effect_name(effect: &Effect) -> &'static str {
        match effect {
            Effect::EnsureRows { part: Part::Clusters, .. } => "ensure_clusters",
            Effect::EnsureRows { part: Part::Topics, .. } => "ensure_topics",
            Effect::EnsureRows { part: Part::Groups, .. } => "ensure_groups",
            Effect::EnsureOurs { .. } => "ensure_ours",
        }
    }

    fn target(effect: &Effect) -> String {
        let (Effect::EnsureRows { task, .. } | Effect::EnsureOurs { task }) = effect;
        format!("metadata {}", task.environment)
    }

    fn title(m: Messages) -> &'static str {
        m.import_flow()
    }

    fn effect_title(m: Messages, name: &str) -> String {
        match name {
            "ensure_clusters" => m.import_step_clusters(),
            "ensure_topics" => m.import_step_topics(),
            "ensure_groups" => m.import_step_groups(),
            _ => m.import_step_ours(),
        }
        .to_owned()
    }

    fn command_title(m: Messages, name: &str) -> String {
        match name {
            "added" => m.import_command_added(),
            _ => m.import_command_taken_over(),
        }
        .to_owned()
    }
}

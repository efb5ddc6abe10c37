//! What an agent found on its host.

use serde::{Deserialize, Serialize};

use super::{InstanceSpec, Phase, SpecHash};
use crate::names::InstanceId;

/// The last look at all instances, sent with every sync and kept on the host for `zms-agent status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Version of the agent.
    pub agent_version: String,
    /// Generation of the desired state it works on; 0 when it has none yet.
    pub generation: u64,
    /// Is supervisord answering, and which one?
    pub supervisor: SupervisorReport,
    /// One entry for each instance of the desired state.
    pub instances: Vec<InstanceReport>,
    /// Instances that supervisord has and the desired state does not name: shown, never touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<InstanceId>,
}

/// What is known of supervisord.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SupervisorReport {
    /// No instance is wanted, so it is not needed.
    NotNeeded,
    /// It answers.
    Running {
        /// Its process.
        pid: u32,
        /// What `getSupervisorVersion` says.
        version: String,
    },
    /// It does not answer; the agent starts it.
    Down {
        /// What was tried and what happened.
        reason: String,
    },
}

/// One instance as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Which one.
    pub id: InstanceId,
    /// What is wanted of it.
    pub wanted: Phase,
    /// What is wanted of it.
    pub wanted_hash: SpecHash,
    /// Hash of the running process; absent when nothing runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_hash: Option<SpecHash>,
    /// Its process, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// False for a process that outlived its supervisord and was adopted.
    #[serde(default)]
    pub supervised: bool,
    /// What the probe says.
    pub health: Health,
    /// What the agent is doing about it, or would do next.
    pub step: Step,
    /// Why it is not done yet, in a sentence; empty when it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Starts that failed in a row with this hash.
    #[serde(default)]
    pub failures: u32,
}

impl InstanceReport {
    /// Is it what `spec` wants? A report may still be of an earlier spec.
    pub fn done_as(&self, spec: &InstanceSpec) -> bool {
        self.id == spec.id && self.wanted == spec.phase && self.wanted_hash == spec.hash && self.done()
    }

    /// Is it what was wanted when it was looked at?
    pub fn done(&self) -> bool {
        match self.wanted {
            Phase::Running => {
                self.health == Health::Healthy && self.running_hash.as_ref() == Some(&self.wanted_hash) && self.step == Step::Done
            }
            Phase::Stopped | Phase::Absent => self.pid.is_none() && self.step == Step::Done,
        }
    }
}

/// What the probe of an instance says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Health {
    /// Nothing runs, so nothing was asked.
    Unknown,
    /// It answered its protocol as it should.
    Healthy,
    /// It did not, or not yet.
    NotYet {
        /// What was expected and what came.
        why: String,
    },
}

/// The steps between a wish and a healthy process, in their order. Each is derived anew from what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A package's archive is missing.
    Fetch,
    /// A package is not unpacked.
    Unpack,
    /// The configuration folder of this hash is not written or not the current one.
    Render,
    /// A port is taken, space is short, no Java …
    Preflight,
    /// supervisord does not answer.
    Supervisor,
    /// supervisord does not know the program, or knows another one.
    Register,
    /// A process with another hash runs.
    Stop,
    /// No process runs.
    Start,
    /// It runs and does not answer its probe yet.
    Health,
    /// Registered, files or data still there though it should be absent.
    Remove,
    /// Nothing to do.
    Done,
}

//! What an agent and a portal say to one another. JSON over HTTPS; after the join the host is known by its certificate.
//!
//! | call | who | what |
//! |---|---|---|
//! | `POST /join/v1` (UI port) | a host with a token | [`JoinRequest`] → [`JoinReply`] |
//! | `POST /agent/v1/sync` (mTLS) | agent | [`SyncRequest`] → [`SyncReply`], held up to 25 s while nothing is new |
//! | `POST /agent/v1/renew` (mTLS, also with a certificate that expired up to 30 days ago) | agent | [`RenewRequest`] → [`RenewReply`] |
//! | `GET /agent/v1/packages/{sha512}` (mTLS) | agent | the archive; `Range: bytes=N-` goes on at byte N |
//! | `GET /agent/v1/secrets/{reference}` (mTLS) | agent | a secret named in this host's desired state |

use serde::{Deserialize, Serialize};

use super::{DesiredState, HostReport, InstanceSpec};
use crate::names::{HostId, InstanceId};

/// A host asks to be one of the portal's. The same `enrolment` with the same key gets the same answer again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The token of the join line.
    pub token: String,
    /// Made by the host before its first try (a ULID), so that a lost answer can be asked for again.
    pub enrolment: String,
    /// Certificate signing request, PEM. Only its key and its proof of possession count.
    pub csr: String,
    /// What the host says of itself.
    pub facts: HostFacts,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").field("enrolment", &self.enrolment).field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// The host is one of the portal's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// Its id from now on.
    pub host: HostId,
    /// Its certificate, PEM.
    pub certificate: String,
    /// Where to sync: `https://portal:8444`.
    pub agent_url: String,
}

/// Facts that a host says of itself: shown to people, used for defaults by size; never for trust.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// Host name without domain.
    pub hostname: String,
    /// Its addresses but loopback, in the order of its interfaces.
    pub addresses: Vec<String>,
    /// For example `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// As `uname -m` prints it.
    pub arch: String,
    /// Processors.
    pub cpus: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Size of the file system that holds the prefix, MiB.
    pub disk_mib: u64,
    /// Free space there, MiB.
    pub disk_free_mib: u64,
    /// Version of `python3`, empty without one.
    pub python: String,
    /// Changes with each boot.
    pub boot_id: String,
    /// SHA-256 of the machine id: tells clones apart without giving the id away.
    pub machine: String,
    /// The folder of ZMS.
    pub prefix: String,
    /// Does the agent run without root rights?
    pub unprivileged: bool,
}

/// What the agent has and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// Changes with each start of the agent.
    pub run: String,
    /// Grows by one with each request of a run.
    pub n: u64,
    /// Generation of the desired state that it has; 0 for none.
    pub have: u64,
    /// Its clock, milliseconds since 1970.
    pub clock_ms: u64,
    /// What it found; sent when it changed, and in the first request of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<HostReport>,
    /// Sent in the first request of a run and when they changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<HostFacts>,
    /// Answers to questions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
}

/// What the portal wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReply {
    /// The portal's clock, milliseconds since 1970.
    pub clock_ms: u64,
    /// The desired state, if it is newer than what the agent has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<DesiredState>,
    /// Questions; each may be lost or come twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// Wait this long before the next request, milliseconds (0 but when the portal is under load).
    #[serde(default)]
    pub pause_ms: u64,
    /// Send everything again: the portal does not know this run.
    #[serde(default)]
    pub full: bool,
}

/// Something to look at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// For the answer.
    pub id: String,
    /// What.
    pub ask: Ask,
}

/// What can be asked. There is no "run this command".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Ask {
    /// Could these instances run here? Read only.
    Preflight {
        /// With their ports, space and packages.
        instances: Vec<InstanceSpec>,
    },
    /// A piece of an instance's log.
    Log {
        /// Which one.
        instance: InstanceId,
        /// From this byte on; absent for the end of the log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
    },
}

/// An answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of the question.
    pub id: String,
    /// What was found; the error is a sentence.
    pub found: Result<Finding, String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Finding {
    /// One entry for each check.
    Preflight {
        /// In the order they were made.
        checks: Vec<Check>,
    },
    /// A piece of a log.
    Log {
        /// At most 256 KiB, invalid UTF-8 replaced.
        text: String,
        /// Where the piece begins.
        from: u64,
        /// Where the next one begins.
        next: u64,
        /// How long the log is.
        size: u64,
    },
}

/// One thing that was looked at before an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stable name: `port`, `space`, `memory`, `python`, `java`, `data`, `address`.
    pub name: String,
    /// Which instance it is about.
    pub instance: InstanceId,
    /// How it came out.
    pub level: Level,
    /// A sentence with the numbers that were found.
    pub text: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Pass,
    /// It will run; look at it.
    Warn,
    /// It would not run.
    Fail,
}

/// Another certificate for a known host, for a new key or (where the old certificate has expired) the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// Certificate signing request, PEM.
    pub csr: String,
}

/// The new certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewReply {
    /// PEM.
    pub certificate: String,
}

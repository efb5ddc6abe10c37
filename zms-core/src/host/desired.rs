//! The desired state of one host: which instances it should run, from which packages, with which files.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::collect::FigureWish;
use crate::names::{InstanceId, KindName};
use crate::package::PackageRef;
use crate::probe::Probe;

/// Everything a host should be. A higher generation replaces a lower one as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Grows by one with each change; an agent refuses to go back.
    pub generation: u64,
    /// The supervisor package that runs the instances; absent while a host has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<PackageRef>,
    /// What should be on this host.
    #[serde(default)]
    pub instances: Vec<InstanceSpec>,
    /// Which figures it reads, and where it sends them.
    #[serde(default)]
    pub figures: FigureWish,
}

/// Hash of an instance's meaning: an instance runs what is wanted when it reports the wanted hash.
///
/// The portal computes it; agents carry it and compare it, so a newer portal may hash fields that an older agent
/// does not know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecHash(String);

impl SpecHash {
    /// The hash as 32 hexadecimal digits; also the name of the instance's configuration folder.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a hash back, for example from a process's environment.
    pub fn parse(text: &str) -> Option<Self> {
        let ok = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        ok.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Should it run?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It runs, with exactly this spec.
    Running,
    /// Its files are in place; nothing runs.
    Stopped,
    /// Nothing runs and nothing is registered. Its data moves to the trash folder, it is never deleted.
    Absent,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Names its folders, lock and supervisord program.
    pub id: InstanceId,
    /// Changes when an instance is deleted and made again under the same id, so that old data is never adopted.
    pub uid: String,
    /// Kind of service.
    pub kind: KindName,
    /// Should it run? Not part of the hash: a stopped instance keeps its configuration.
    pub phase: Phase,
    /// Of everything in `body`; see [`InstanceSpec::new`].
    pub hash: SpecHash,
    /// What it is made of.
    #[serde(flatten)]
    pub body: SpecBody,
}

/// Is this, in braces, a placeholder in a spec, which the agent replaces? `package:<name>` is an unpacked package of this spec, `conf` the folder of rendered
/// files, `data` the data folder, `tmp` the folder that is emptied before each start, `java` the Java launcher (of the package `jre` if listed, else the host's),
/// `portal` the portal's address for agents, `authority` the file with the certificate of its authority.
pub fn is_placeholder(name: &str) -> bool {
    let of_package = |rest: &str| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    matches!(name, "conf" | "data" | "tmp" | "java" | "portal" | "authority")
        || name.strip_prefix("package:").is_some_and(of_package)
}

/// What the hash covers.
///
/// Texts in `files`, `exec` and `prepare` may hold placeholders ([`is_placeholder`]), mostly for absolute paths. Other braces stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecBody {
    /// A change of this number restarts the instance.
    #[serde(default)]
    pub restart: u64,
    /// Packages to unpack.
    pub packages: Vec<PackageRef>,
    /// Files to write into a new configuration folder.
    #[serde(default)]
    pub files: Vec<ConfigFile>,
    /// Done under the instance's lock, before each start.
    #[serde(default)]
    pub prepare: Vec<Prepare>,
    /// The process.
    pub exec: Exec,
    /// Addresses that must be free before it starts and are its own afterwards.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// When it counts as healthy.
    pub probe: Probe,
    /// Smallest free space below the data folder to start it, in MiB.
    #[serde(default)]
    pub min_free_mib: u64,
    /// Share of the file system in use, in percent, from which on it refuses its work, whatever is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_full_at: Option<u8>,
}

impl InstanceSpec {
    /// Puts the hash of `body` (and of `uid`) on it.
    pub fn new(id: InstanceId, uid: String, kind: KindName, phase: Phase, body: SpecBody) -> Self {
        let hash = body.hash(&uid);
        Self { id, uid, kind, phase, hash, body }
    }
}

impl SpecBody {
    fn hash(&self, uid: &str) -> SpecHash {
        // Field order is the declaration's and maps are sorted, so equal specs give equal bytes.
        let json = serde_json::to_vec(self).expect("a spec has only string keys");
        let mut digest = Sha256::new();
        digest.update(uid.as_bytes());
        digest.update([0]);
        digest.update(&json);
        SpecHash(digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// File name inside the configuration folder; no `/`.
    pub name: String,
    /// Content with placeholders. Secrets stand as `{secret:<reference>}` and are put in by the agent.
    pub body: String,
    /// Readable by the instance's user alone (0600); set for files that hold secrets.
    #[serde(default)]
    pub private: bool,
}

/// A preparation under the instance's lock before the process starts. Each may happen twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Prepare {
    /// Copies a rendered file into the data folder (ZooKeeper wants `myid` there).
    Copy {
        /// Rendered file.
        from: String,
        /// Target, for example `{data}/myid`.
        to: String,
    },
    /// Runs a command of a package to its end, unless a file exists (Kafka wants its log directories formatted).
    Run {
        /// The command was done if this exists.
        unless: String,
        /// Program and arguments.
        argv: Vec<String>,
        /// Given up and killed after this time, in seconds.
        timeout_s: u32,
    },
}

/// A process: no shell, an argument list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments. The program must lie in an unpacked package or be the Java launcher.
    pub argv: Vec<String>,
    /// Environment; nothing is inherited but `PATH`, `HOME`, `LANG` and `TZ`, and `TMPDIR` is a folder of its own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Limit of open files.
    pub nofile: u64,
    /// The signal that stops it: `TERM`, `INT` or `QUIT`.
    pub stop_signal: StopSignal,
    /// How long a stop may take before the process is killed, in seconds.
    pub stop_wait_s: u32,
    /// A process that ends earlier than this after its start counts as failed, in seconds.
    pub start_secs: u32,
}

/// A signal that ends a process in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
}

impl StopSignal {
    /// The name supervisord uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
        }
    }
}

/// An address an instance listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// What it is for: `client`, `quorum` …
    pub name: String,
    /// An address of the host, or `0.0.0.0`.
    pub address: String,
    /// TCP port.
    pub port: u16,
}

impl Port {
    /// `address:port`, with an IPv6 address in brackets.
    pub fn socket(&self) -> String {
        let Self { address, port, .. } = self;
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
    }
}

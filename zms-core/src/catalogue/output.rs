//! What comes out for an instance: files, preparations, the process and its probe.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::condition::Condition;
use super::template::Template;
use crate::host::StopSignal;

/// A text made of all members, such as a list of addresses.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// Its name in templates.
    pub name: String,
    /// A role, or `members` for all.
    pub over: String,
    /// What one member adds, with that member's variables.
    pub item: Template,
    /// What stands between two.
    pub join: String,
}

/// A file in an instance's configuration folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileKind {
    /// File name.
    pub name: String,
    /// How it is written.
    pub format: Format,
    /// Only then.
    #[serde(default)]
    pub when: Option<Condition>,
    /// Lines that are no settings.
    #[serde(default, rename = "line")]
    pub lines: Vec<Line>,
    /// The whole file, of format `text`.
    #[serde(default)]
    pub body: Option<Template>,
    /// Instead of a body: the whole file is this secret, which the agent fetches and only the instance's user may read.
    #[serde(default)]
    pub secret: Option<Secret>,
}

/// A secret that the portal has for instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// The instance's own key (PKCS#8) and certificate, PEM.
    Tls,
    /// Certificate of the authority that hosts, services and the portal have in common, PEM.
    Authority,
}

impl Secret {
    /// What stands for it in a spec's file.
    pub fn placeholder(self, uid: &str) -> String {
        match self {
            Self::Tls => format!("{{secret:{}}}", Self::tls_reference(uid)),
            Self::Authority => "{secret:authority/certificate}".to_owned(),
        }
    }

    /// Under which reference an instance's key and certificate are kept.
    pub fn tls_reference(uid: &str) -> String {
        format!("instance/{uid}/tls")
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Java properties.
    Properties,
    /// TOML; values that are one number or boolean stand bare.
    Toml,
    /// As `body` says.
    Text,
}

/// A line of a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Section, in TOML files.
    #[serde(default)]
    pub section: Option<String>,
    /// Key; with placeholders only when `each` is given.
    pub key: Template,
    /// Value.
    pub value: LineValue,
    /// Only then.
    #[serde(default)]
    pub when: Option<Condition>,
    /// Repeated for each member of this role (or of all: `members`), with that member's variables.
    #[serde(default)]
    pub each: Option<String>,
}

/// What a line is set to.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a line's value is a text with known {placeholders}, a whole number, true or false")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LineValue {
    Boolean(bool),
    Integer(i64),
    Template(Template),
}

/// A preparation before a start.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum PrepareKind {
    /// Copies a file of this kind into the data folder, on instances that have the file.
    Copy {
        /// A file of this kind.
        from: String,
        /// Where to.
        to: Template,
    },
    /// Runs a command, unless a file exists.
    Run {
        /// It was done if this file exists.
        unless: Template,
        /// Program and arguments.
        argv: Vec<Arg>,
        /// Given up after this time, in seconds.
        timeout_s: u32,
    },
}

/// The process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecKind {
    /// Program and arguments.
    pub argv: Vec<Arg>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// A setting of type `environment` that adds to it.
    #[serde(default)]
    pub more_env: Option<String>,
    /// Limit of open files: a number or an integer setting.
    pub nofile: LineValue,
    /// What stops it.
    pub stop_signal: StopSignal,
    /// How long a stop may take, in seconds.
    pub stop_wait_s: u32,
    /// An end within this time after the start counts as failed, in seconds.
    pub start_secs: u32,
}

/// One argument or some.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "an argument is a text with known {placeholders}, { when = \"…\", args = […] } or { words = \"<setting of type jvm>\" }"
)]
pub enum Arg {
    /// Always.
    Always(Template),
    /// Only when a condition holds.
    When(ArgWhen),
    /// The words of a setting of type `jvm`.
    Words(ArgWords),
}

/// Arguments under a condition.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ArgWhen {
    pub when: Condition,
    pub args: Vec<Template>,
}

/// Arguments that people chose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgWords {
    /// A setting of type `jvm`.
    pub words: String,
}

/// When an instance counts as healthy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeKind {
    /// Which questions are asked.
    pub kind: ProbeProtocol,
    /// The port that is asked, where it listens.
    pub port: String,
    /// For HTTP.
    #[serde(default)]
    pub path: Option<String>,
    /// For a broker of RocketMQ: who it is, and which name servers list it.
    #[serde(default)]
    pub broker: Option<BrokerIdentity>,
}

/// What RocketMQ knows a broker by.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerIdentity {
    /// Its name.
    pub name: Template,
    /// Its id, a number.
    pub id: Template,
    /// `host:port` of the name servers, with `;` between them.
    pub name_servers: Template,
}

/// Which questions a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "crate::probe::Probe says it")]
pub enum ProbeProtocol {
    Kafka,
    Zookeeper,
    Influxdb,
    RocketmqNameserver,
    RocketmqBroker,
    Http,
}

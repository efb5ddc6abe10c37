//! What a catalogue file holds. Each type is one table of the file; [`Kind::parse`] checks what types cannot say.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::condition::Condition;
use super::output::{ExecKind, FileKind, Joined, PrepareKind, ProbeKind};
use super::setting::{Scalar, Setting};
use super::template::Template;
use crate::collect::{Jolokia, Read};
use crate::host::InstanceSpec;
use crate::names::{KindName, PackageName};

/// A kind of service, read and checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    pub(super) kind: KindName,
    pub(super) title: Bilingual,
    pub(super) about: Bilingual,
    pub(super) hosts: Hosts,
    #[serde(rename = "package")]
    pub(super) packages: Vec<Needed>,
    #[serde(default, rename = "role")]
    pub(super) roles: Vec<Role>,
    #[serde(default, rename = "port")]
    pub(super) ports: Vec<PortKind>,
    #[serde(default, rename = "group")]
    pub(super) groups: Vec<Group>,
    #[serde(default, rename = "setting")]
    pub(super) settings: Vec<Setting>,
    #[serde(default)]
    pub(super) generated: Vec<Generated>,
    #[serde(default, rename = "list")]
    pub(super) lists: Vec<Joined>,
    #[serde(default, rename = "file")]
    pub(super) files: Vec<FileKind>,
    #[serde(default)]
    pub(super) prepare: Vec<PrepareKind>,
    pub(super) exec: ExecKind,
    pub(super) probe: ProbeKind,
    pub(super) needs: Needs,
    #[serde(default)]
    pub(super) jolokia: Option<JolokiaKind>,
}

/// Figures that instances of this kind give over Jolokia's protocol.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JolokiaKind {
    /// One of the ports, bound to loopback.
    pub port: String,
    /// What is read. Names are those of the series; an MBean that an instance does not have is left out.
    #[serde(rename = "read")]
    pub reads: Vec<Read>,
}

/// A text for people, in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bilingual {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// How many hosts a service of this kind may have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    /// Fewest.
    pub min: usize,
    /// Most.
    pub max: usize,
    /// The only counts allowed between them; empty allows all.
    #[serde(default)]
    pub counts: Vec<usize>,
    /// Largest node id; the smallest is 1.
    pub max_node_id: i32,
}

/// A package that instances of this kind are made of.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needed {
    /// Its name.
    pub name: PackageName,
    /// The catalogue is written for versions that begin with one of these; empty fits all.
    #[serde(default)]
    pub versions: Vec<String>,
    /// It may be left out (a JRE, where the host has a Java).
    #[serde(default)]
    pub optional: bool,
}

/// What some members are and others are not. Members take roles in the order of their node ids.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name, also the value of the variable `role`.
    pub name: String,
    /// How many members take it, by the number of members; empty for the last role, which takes the rest.
    #[serde(default)]
    pub take: Vec<Step>,
    /// Variables of its members. Every role defines the same ones.
    #[serde(default)]
    pub values: BTreeMap<String, Template>,
    /// The number of its first member, if roles stand side by side: a host then has an instance of each role that takes it.
    #[serde(default)]
    pub first_number: Option<i32>,
    /// Which host has its first member, counted from 0: a copy is not beside what it is a copy of.
    #[serde(default)]
    pub first_host: usize,
    /// There are members of it only then. Decided when a service is made.
    #[serde(default)]
    pub when: Option<Condition>,
    /// Instead of the kind's.
    #[serde(default)]
    pub probe: Option<ProbeKind>,
    /// Instead of the kind's, in seconds.
    #[serde(default)]
    pub stop_wait_s: Option<u32>,
    /// Instead of the kind's.
    #[serde(default)]
    pub needs: Option<Needs>,
}

/// A row of a table of values: the first that is not below the looked-up number counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Up to and with this number; absent in the last row.
    #[serde(default)]
    pub up_to: Option<i64>,
    /// The value.
    pub value: Scalar,
}

/// A port that instances listen on. It is also a setting, `<name>_port`, in the group `ports`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortKind {
    /// What it is called in desired states, for example `client`.
    pub name: String,
    /// Used unless people choose another.
    pub default: u16,
    /// Where it listens.
    pub bind: Bind,
    /// Ports that come with it and cannot be chosen apart.
    #[serde(default)]
    pub beside: Vec<BesidePort>,
    /// Only then.
    #[serde(default)]
    pub when: Option<Condition>,
    /// For people.
    pub title: Bilingual,
    /// For people.
    pub help: Bilingual,
}

/// A port that follows another one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BesidePort {
    /// What it is called in desired states; `<name>_port` in templates.
    pub name: String,
    /// So much above the other; below it if negative.
    pub plus: i32,
}

/// Where a port listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bind {
    /// At the member's address.
    Address,
    /// At 127.0.0.1.
    Loopback,
}

/// Settings that stand together in a form.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What settings refer to.
    pub name: String,
    /// For people.
    pub title: Bilingual,
}

/// A value that is made once and kept, such as the id of a cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// Its name in templates.
    pub name: String,
    /// One for all, or one for each.
    pub per: Per,
    /// Its form.
    pub form: Form,
}

/// What a generated value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// All members share it.
    Service,
    /// Each member has its own.
    Instance,
}

/// The form of a generated value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// 16 random bytes in URL-safe base64, 22 characters.
    KafkaUuid,
}

/// What a host must have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Smallest free space below the data folder, in MiB.
    pub free_mib: u64,
    /// Share of the file system in use, in percent, from which on it refuses its work, whatever is free.
    #[serde(default)]
    pub full_at: Option<u8>,
    /// Memory beside the settings below, in MiB.
    pub memory_mib: u64,
    /// Settings of type `bytes` that count as memory.
    #[serde(default)]
    pub memory_settings: Vec<String>,
}

impl Kind {
    /// Its name, also that of its file.
    pub fn name(&self) -> &KindName {
        &self.kind
    }

    /// What it is called.
    pub fn title(&self) -> &Bilingual {
        &self.title
    }

    /// What it is.
    pub fn about(&self) -> &Bilingual {
        &self.about
    }

    /// How many hosts it may have.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// What it is made of; the first is the server itself.
    pub fn packages(&self) -> &[Needed] {
        &self.packages
    }

    /// Groups of settings, in the order of the form.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// All settings, those of the ports first.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The setting with this key.
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// Ports that instances listen on.
    pub fn ports(&self) -> &[PortKind] {
        &self.ports
    }

    /// Roles; empty if all members are alike.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Values to make once when a service or a member is made; see [`Generated::make`].
    pub fn generated(&self) -> &[Generated] {
        &self.generated
    }

    /// What a host must have, where a role says nothing else.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// What is to be read of an instance of this kind; `None` where there is nothing to ask.
    pub fn jolokia(&self, instance: &InstanceSpec) -> Option<Jolokia> {
        let wanted = self.jolokia.as_ref()?;
        let port = instance.body.ports.iter().find(|port| port.name == wanted.port)?;
        Some(Jolokia { port: port.port, reads: wanted.reads.clone() })
    }
}

impl BesidePort {
    /// Its variable.
    pub fn setting_key(&self) -> String {
        format!("{}_port", self.name)
    }
}

impl PortKind {
    /// It and those beside it: their names and variables.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, String)> {
        let beside = self.beside.iter().map(|port| (port.name.as_str(), port.setting_key()));
        std::iter::once((self.name.as_str(), self.setting_key())).chain(beside)
    }

    /// The key of its setting.
    pub fn setting_key(&self) -> String {
        format!("{}_port", self.name)
    }
}

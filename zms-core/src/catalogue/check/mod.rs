//! What [`Kind::parse`] refuses: whatever would only show when somebody installs a service of this kind.

mod names;
mod output;
mod roles;
mod settings;

use std::fmt;

use super::model::{Bilingual, Bind, Kind, PortKind};
use super::setting::{DefaultValue, Scalar, Setting, ValueType};

/// Why a text is no catalogue file. It lists everything that was found, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// No TOML, an unknown key, a missing one or a wrong type; with line and column.
    #[error("{0}")]
    Syntax(String),
    /// It reads well and cannot be right.
    #[error("{}", .0.join("\n"))]
    Content(Vec<String>),
}

/// What was found, each with its place in the file.
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }

    fn add_unless(&mut self, good: bool, place: impl fmt::Display, what: impl fmt::Display) {
        if !good {
            self.add(place, what);
        }
    }

    /// A text that people read.
    fn bilingual(&mut self, place: impl fmt::Display, text: &Bilingual) {
        let empty = text.en.trim().is_empty() || text.zh.trim().is_empty();
        self.add_unless(!empty, place, "a text for people is empty; write it in en and zh");
    }

    /// Names that may each be there once.
    fn unique<'a>(&mut self, what: &str, names: impl IntoIterator<Item = &'a str>) {
        let mut seen = Vec::new();
        for name in names {
            self.add_unless(!seen.contains(&name), format!("{what} \"{name}\""), "is there twice; remove one");
            seen.push(name);
        }
    }
}

impl Kind {
    /// Reads a catalogue file and checks it; see the module `check` for what is checked.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let mut kind: Self = toml::from_str(text).map_err(|error| CatalogueError::Syntax(error.to_string()))?;
        let mut ports: Vec<Setting> = kind.ports.iter().map(port_setting).collect();
        ports.append(&mut kind.settings);
        kind.settings = ports;
        fill_owned(&mut kind);

        let mut findings = Findings(Vec::new());
        people(&kind, &mut findings);
        hosts(&kind, &mut findings);
        names::check(&kind, &mut findings);
        settings::check(&kind, &mut findings);
        output::check(&kind, &mut findings);
        roles::check(&kind, &mut findings);
        figures(&kind, &mut findings);
        if findings.0.is_empty() { Ok(kind) } else { Err(CatalogueError::Content(findings.0)) }
    }
}

/// A port as a setting. Below 1024 only root may listen, at the ports beside it too.
fn port_setting(port: &PortKind) -> Setting {
    let beside = || port.beside.iter().map(|beside| i64::from(beside.plus)).chain([0]);
    let below = beside().min().unwrap_or_default();
    let above = beside().max().unwrap_or_default();
    Setting {
        key: port.setting_key(),
        group: "ports".to_owned(),
        value_type: ValueType::Integer,
        unit: String::new(),
        min: Some(Scalar::Integer(1024 - below)),
        max: Some(Scalar::Integer(65535 - above)),
        at_most: None,
        unlimited: None,
        choices: Vec::new(),
        chars: None,
        refused: Vec::new(),
        allowed: Vec::new(),
        default: DefaultValue::One(Scalar::Integer(port.default.into())),
        label: port.title.clone(),
        help: port.help.clone(),
        restart: true,
        advanced: false,
        into: Vec::new(),
        owned: Vec::new(),
    }
}

/// Gives every free list the keys that stand beside it; `*` at the end is for keys that are repeated for members.
fn fill_owned(kind: &mut Kind) {
    let owned_in = |kind: &Kind, file: &str| -> Vec<String> {
        let lines = kind.files.iter().filter(|known| known.name == file).flat_map(|known| &known.lines);
        let lines = lines.map(|line| match line.each {
            Some(_) => format!("{}*", line.key.literal_prefix()),
            None => line.key.to_string(),
        });
        let targets = kind.settings.iter().flat_map(|setting| setting.into.iter().map(move |target| (setting, target)));
        let settings = targets
            .filter(|(setting, target)| target.file == file && setting.value_type != ValueType::Properties)
            .map(|(setting, target)| target.key.clone().unwrap_or_else(|| setting.key.clone()));
        lines.chain(settings).collect()
    };
    let owned: Vec<Vec<String>> = kind
        .settings
        .iter()
        .map(|setting| match setting.value_type {
            ValueType::Properties => setting.into.iter().flat_map(|target| owned_in(kind, &target.file)).collect(),
            ValueType::Environment => kind.exec.env.keys().cloned().collect(),
            _ => Vec::new(),
        })
        .collect();
    for (setting, owned) in kind.settings.iter_mut().zip(owned) {
        setting.owned = owned;
    }
}

fn people(kind: &Kind, findings: &mut Findings) {
    findings.bilingual("title", &kind.title);
    findings.bilingual("about", &kind.about);
    for group in &kind.groups {
        findings.bilingual(format!("group \"{}\"", group.name), &group.title);
        let used = kind.settings.iter().any(|setting| setting.group == group.name);
        findings.add_unless(used, format!("group \"{}\"", group.name), "no setting is in it; remove it");
    }
    for setting in &kind.settings {
        let place = format!("setting \"{}\"", setting.key);
        findings.bilingual(&place, &setting.label);
        findings.bilingual(&place, &setting.help);
        let known = kind.groups.iter().any(|group| group.name == setting.group);
        findings.add_unless(known, place, format_args!("there is no group \"{}\"; add a [[group]]", setting.group));
    }
}

fn hosts(kind: &Kind, findings: &mut Findings) {
    let hosts = &kind.hosts;
    findings.add_unless(1 <= hosts.min && hosts.min <= hosts.max, "hosts", "min and max must be 1 or more, min not above max");
    let within = hosts.counts.iter().all(|count| (hosts.min..=hosts.max).contains(count));
    findings.add_unless(within, "hosts", "every one of counts must lie within min and max");
    let enough = usize::try_from(hosts.max_node_id).is_ok_and(|largest| largest >= hosts.max);
    findings.add_unless(enough, "hosts", "max_node_id must be max or more: every member has its own number");
    let first = kind.packages.first();
    findings.add_unless(
        first.is_some_and(|first| !first.optional),
        "package",
        "the first package is the server and not optional",
    );
    for (place, role) in kind.roles.iter().enumerate() {
        let name = format!("role \"{}\"", role.name);
        let is_last = place + 1 == kind.roles.len();
        findings.add_unless(role.take.is_empty() == is_last, &name, "every role but the last has take; the last takes the rest");
        settings::steps(&name, &role.take, findings);
        let numbers = role.take.iter().all(|row| matches!(row.value, Scalar::Integer(0..)));
        findings.add_unless(numbers, &name, "take has numbers of members");
        let same = role.values.keys().eq(kind.roles[0].values.keys());
        findings.add_unless(same, name, "its values must have the same names as those of the first role");
    }
    for name in kind.ports.iter().flat_map(|port| port.all().map(|(name, _)| name)) {
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        findings.add_unless(good, format!("port \"{name}\""), "a port's name has lower-case letters and _ only");
    }
}

fn figures(kind: &Kind, findings: &mut Findings) {
    let Some(jolokia) = &kind.jolokia else { return };
    let port = kind.ports.iter().find(|port| port.name == jolokia.port);
    let loopback = port.is_some_and(|port| port.bind == Bind::Loopback);
    findings.add_unless(
        loopback,
        "jolokia",
        format_args!("port \"{}\" must be a [[port]] that is bound to loopback", jolokia.port),
    );
    findings.unique("jolokia read", jolokia.reads.iter().map(|read| read.name.as_str()));
    for read in &jolokia.reads {
        let place = format!("jolokia read \"{}\"", read.name);
        let name = !read.name.is_empty() && read.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        findings.add_unless(name, &place, "a name has lower-case letters, digits and _ only");
        let plain = read.mbean.contains(':') && !read.mbean.contains(['*', '?']);
        findings.add_unless(plain, place, "an MBean is named in full, without patterns");
    }
}

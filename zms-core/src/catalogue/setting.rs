//! What people may choose: the `[[setting]]` tables of a catalogue file.

use serde::Deserialize;

use super::condition::Condition;
use super::model::{Bilingual, Step};
use super::template::Template;
use super::value::Chars;

/// Something people may choose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Its name in templates and in what people save. Where it is one property of the server, the property's name.
    pub key: String,
    /// Where it stands in a form.
    pub group: String,
    /// What may be typed.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// What it counts. Of `bytes` and `duration` it is also the unit that is rendered.
    #[serde(default)]
    pub unit: String,
    /// Smallest value, or fewest characters of a text.
    #[serde(default)]
    pub min: Option<Scalar>,
    /// Largest value, or most characters of a text.
    #[serde(default)]
    pub max: Option<Scalar>,
    /// Not above another value of the same instance.
    #[serde(default)]
    pub at_most: Option<AtMost>,
    /// What people may type as `unlimited`, and how it is rendered.
    #[serde(default)]
    pub unlimited: Option<i64>,
    /// The values of a choice.
    #[serde(default)]
    pub choices: Vec<String>,
    /// The characters of a text, for example `A-Za-z0-9._-`.
    #[serde(default)]
    pub chars: Option<Chars>,
    /// Beginnings of keys (properties, environment) that people may not set.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Beginnings of `-D` keys that people may set.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// Used unless people choose.
    pub default: DefaultValue,
    /// For people.
    pub label: Bilingual,
    /// For people: what it does, and when to change it.
    pub help: Bilingual,
    /// A change takes effect by a restart.
    #[serde(default = "yes")]
    pub restart: bool,
    /// Hidden in forms until asked for.
    #[serde(default)]
    pub advanced: bool,
    /// Where it is written, besides templates that name it.
    #[serde(default)]
    pub into: Vec<Target>,
    /// Keys that the catalogue sets beside this list; filled in by [`Kind::parse`](super::Kind::parse).
    #[serde(skip)]
    pub owned: Vec<String>,
}

fn yes() -> bool {
    true
}

/// What a setting's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of `choices`.
    Choice,
    /// Characters out of `chars`; if it is empty nothing is written.
    Text,
    /// A size, rendered as a number of its unit.
    Bytes,
    /// A duration, rendered as a number of its unit.
    Duration,
    /// Further properties, one `key=value` a line.
    Properties,
    /// Further environment, one `KEY=value` a line.
    Environment,
    /// Further options of the JVM, separated by blanks or line ends.
    Jvm,
}

/// An upper bound that is another value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtMost {
    /// A number: a variable such as `members`, or a setting that stands before this one.
    pub of: String,
    /// So much of it.
    #[serde(default = "hundred")]
    pub percent: i64,
}

fn hundred() -> i64 {
    100
}

/// The value that holds unless people choose.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a default is a value, or { by = \"memory_mib\", steps = [{ up_to = 2048, value = … }, { value = … }] }"
)]
pub enum DefaultValue {
    /// Always the same. A text that is one placeholder takes the value of a computed variable, for example `{replicas}`.
    One(Scalar),
    /// By a number of the instance.
    By(DefaultBy),
}

/// A table of defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultBy {
    /// A variable such as `memory_mib`, or a setting that stands before this one.
    pub by: String,
    /// Rows in rising order.
    pub steps: Vec<Step>,
}

/// A value in TOML.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a value is a whole number, true, false or a text")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Boolean(bool),
    Integer(i64),
    Text(String),
}

impl std::fmt::Display for Scalar {
    /// As a person would type it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// Where a setting is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// A file of this kind.
    pub file: String,
    /// Its section, in TOML files.
    #[serde(default)]
    pub section: Option<String>,
    /// Its key there; absent means the setting's key.
    #[serde(default)]
    pub key: Option<String>,
    /// What is written; absent means the value alone.
    #[serde(default)]
    pub value: Option<Template>,
    /// Only then.
    #[serde(default)]
    pub when: Option<Condition>,
}

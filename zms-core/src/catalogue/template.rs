//! Texts with `{placeholders}`.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::host::is_placeholder;

/// A text with placeholders, split once when the catalogue is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(Vec<Part>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Literal(String),
    /// `{name}`: put in when an instance is rendered.
    Variable(String),
    /// `{conf}`, `{data}`, `{tmp}`, `{java}`, `{portal}`, `{authority}` or `{package:<name>}`: left for the agent, which knows the paths.
    Agent(String),
}

impl Template {
    /// Splits `text`; the error says which brace is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            if at > 0 {
                parts.push(Part::Literal(rest[..at].to_owned()));
            }
            let name = rest[at..].strip_prefix('{').and_then(|inside| inside.split_once('}')).map(|(name, _)| name);
            let Some(name) = name.filter(|name| is_name(name)) else {
                return Err(format!(
                    "\"{text}\" has a brace that belongs to no placeholder; write {{name}}, literal braces cannot be written"
                ));
            };
            parts.push(if is_placeholder(name) { Part::Agent(name.to_owned()) } else { Part::Variable(name.to_owned()) });
            rest = &rest[at + name.len() + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Its pieces.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The variables it asks for.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) | Part::Agent(_) => None,
        })
    }

    /// The variable, if it is nothing but one: such a template has the type of its variable.
    pub fn single(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Variable(name)] => Some(name),
            _ => None,
        }
    }

    /// What stands before the first placeholder.
    pub fn literal_prefix(&self) -> &str {
        match self.0.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// The text with every variable replaced by what `lookup` says; the agent's placeholders stay.
    pub(super) fn fill(&self, lookup: impl Fn(&str) -> String) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.clone(),
                Part::Variable(name) => lookup(name),
                Part::Agent(name) => format!("{{{name}}}"),
            })
            .collect()
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fill(|name| format!("{{{name}}}")))
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_and_the_agents_placeholders_stay() {
        let template = Template::parse("{package:kafka}/libs/{name}-{conf}").unwrap();
        assert_eq!(template.fill(|name| name.to_uppercase()), "{package:kafka}/libs/NAME-{conf}");
        assert_eq!(template.variables().collect::<Vec<_>>(), ["name"]);
        assert_eq!(template.to_string(), "{package:kafka}/libs/{name}-{conf}");
    }

    #[test]
    fn a_lone_brace_is_refused() {
        for bad in ["{", "}", "a{b", "a}b", "{}", "{a b}", "{{a}}", "${x", "{a{b}}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_lone_variable_is_single() {
        assert_eq!(Template::parse("{a}").unwrap().single(), Some("a"));
        for other in ["", "a", "{a}s", "{conf}", "{a}{b}"] {
            assert_eq!(Template::parse(other).unwrap().single(), None, "{other}");
        }
    }
}

//! What placeholders stand for.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use zms_core::host::{InstanceSpec, is_placeholder};

use super::content::Content;
use super::{RenderError, refused};
use crate::layout::Layout;
use crate::portal::Membership;
use crate::secrets::{PREFIX, Secrets};

/// What placeholders stand for.
pub struct Places {
    values: BTreeMap<String, String>,
    java: Option<String>,
    releases: Vec<PathBuf>,
    data: PathBuf,
}

impl Places {
    pub fn new(layout: &Layout, spec: &InstanceSpec, java: Option<&Path>) -> Self {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut values = BTreeMap::new();
        let mut releases = Vec::new();
        let mut packed_java = None;
        for package in &spec.body.packages {
            let folder = layout.release(package);
            if package.name.as_str() == "jre" {
                packed_java = Some(text(folder.join("bin/java")));
            }
            values.insert(format!("package:{}", package.name), text(folder.clone()));
            releases.push(folder);
        }
        let data = layout.data_dir(&spec.id);
        values.insert("data".into(), text(data.clone()));
        values.insert("tmp".into(), text(layout.tmp_dir(&spec.id)));
        values.insert("conf".into(), text(layout.conf(&spec.id, &spec.hash)));
        // A host without a portal has neither; a spec that names them is refused there.
        if let Ok(Some(membership)) = Membership::load(layout) {
            values.insert("portal".into(), membership.agent_url);
            values.insert("authority".into(), text(layout.authority()));
        }
        let java = packed_java.or_else(|| java.map(|path| path.to_string_lossy().into_owned()));
        Self { values, java, releases, data }
    }

    /// Replaces `{name}` by paths.
    pub fn resolve(&self, text: &str, place: &str) -> Result<String, RenderError> {
        let mut out = String::with_capacity(text.len());
        for part in parts(text) {
            out.push_str(match part {
                Part::Text(text) => text,
                Part::Name(name) => self.value(name, place)?,
                Part::Secret(reference) => {
                    return Err(refused(place.to_owned(), format!("{{{PREFIX}{reference}}}: secrets stand in files only")));
                }
            });
        }
        Ok(out)
    }

    /// Replaces `{name}` by paths and `{secret:<reference>}` by secrets as far as they are at hand.
    pub fn content(&self, text: &str, place: &str, secrets: &Secrets) -> Result<Content, RenderError> {
        let mut content = Content::default();
        for part in parts(text) {
            match part {
                Part::Text(text) => content.push(text),
                Part::Name(name) => content.push(self.value(name, place)?),
                Part::Secret(reference) => content.push_secret(reference, secrets.get(reference)),
            }
        }
        Ok(content)
    }

    fn value(&self, name: &str, place: &str) -> Result<&str, RenderError> {
        if name == "java" {
            let rule = "needs Java: no package jre in this spec and no Java 17 or newer on this host";
            return self.java.as_deref().ok_or_else(|| refused(place.to_owned(), rule));
        }
        let known = || self.values.keys().map(|key| format!("{{{key}}}")).collect::<Vec<_>>().join(" ");
        self.values
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| refused(place.to_owned(), format!("{{{name}}} is not known here; there are {} {{java}}", known())))
    }

    pub fn argv(&self, argv: &[String], place: &str) -> Result<Vec<String>, RenderError> {
        let argv: Vec<String> = argv.iter().map(|word| self.resolve(word, place)).collect::<Result<_, _>>()?;
        let program = argv.first().ok_or_else(|| refused(place.to_owned(), "a command has a program"))?;
        let ours = self.java.as_ref() == Some(program) || self.releases.iter().any(|release| below(Path::new(program), release));
        if !ours || argv.iter().any(|word| word.contains('\0')) {
            return Err(refused(format!("{place} {program:?}"), "the program lies in a package of the spec or is {java}"));
        }
        Ok(argv)
    }

    pub fn below_data(&self, text: &str) -> Result<PathBuf, RenderError> {
        let path = PathBuf::from(self.resolve(text, "prepare")?);
        if below(&path, &self.data) { Ok(path) } else { Err(refused(format!("prepare {text:?}"), "the file lies below {data}")) }
    }
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    /// As it is.
    Text(&'t str),
    /// What stands in braces and is one of ours.
    Name(&'t str),
    /// A secret, by its reference.
    Secret(&'t str),
}

/// Cuts a text into its parts. Braces that are no placeholder of ours stay (a log pattern may have them); a name that looks like
/// one of ours is one, so that an unknown one can be refused.
pub fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut from, mut length) = (0, rest.len());
        while let Some(start) = rest[from..].find('{').map(|n| from + n) {
            if let Some(part) = placeholder(&rest[start..]) {
                if start > 0 {
                    length = start;
                    break;
                }
                let (part, after) = part;
                rest = &rest[after..];
                return Some(part);
            }
            from = start + 1;
        }
        let (text, after) = rest.split_at(length);
        rest = after;
        Some(Part::Text(text))
    })
}

/// The placeholder that this text begins with, and its length with braces.
fn placeholder(text: &str) -> Option<(Part<'_>, usize)> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let part = match name.strip_prefix(PREFIX) {
        Some(reference) if !reference.is_empty() && reference.bytes().all(in_reference) => Part::Secret(reference),
        Some(_) => return None,
        None if is_placeholder(name) => Part::Name(name),
        None => return None,
    };
    Some((part, name.len() + 2))
}

fn in_reference(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._/@:-".contains(&byte)
}

fn below(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder) && path != folder && !path.components().any(|part| part == Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_at_our_placeholders_alone() {
        use Part::{Name, Secret, Text};
        let table: [(&str, &[Part]); 8] = [
            ("", &[]),
            ("plain {x} %X{y}", &[Text("plain {x} %X{y}")]),
            ("{data}", &[Name("data")]),
            ("a{data}{tmp}b", &[Text("a"), Name("data"), Name("tmp"), Text("b")]),
            ("{{data}}", &[Text("{"), Name("data"), Text("}")]),
            ("p={secret:a/b@3}\n", &[Text("p="), Secret("a/b@3"), Text("\n")]),
            ("{secret:}{secret:a b}", &[Text("{secret:}{secret:a b}")]),
            ("{package:jre}/x{", &[Name("package:jre"), Text("/x{")]),
        ];
        for (text, expected) in table {
            assert_eq!(parts(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_of_any_text(text in "[{}a-z:]{0,40}|(\\{data\\}|\\{secret:x\\}|[{}x]){0,9}") {
            let again: String = parts(&text).map(|part| match part {
                Part::Text(text) => text.to_owned(),
                Part::Name(name) => format!("{{{name}}}"),
                Part::Secret(reference) => format!("{{{PREFIX}{reference}}}"),
            }).collect();
            prop_assert_eq!(again, text);
        }
    }
}

//! Writes the files of an instance.

use super::model::Kind;
use super::output::{FileKind, Format, Line, LineValue};
use super::properties;
use super::scope::Scope;
use super::template::Template;
use super::value::Value;

/// One line before it is written.
struct Entry {
    section: Option<String>,
    key: String,
    value: Value,
}

/// The body of a file for the instance of `scope`; `members` are the scopes of all live members, in order.
pub(super) fn body(kind: &Kind, file: &FileKind, scope: &Scope, members: &[&Scope]) -> String {
    if let Some(body) = &file.body {
        return scope.text(body);
    }
    let mut entries = Vec::new();
    for line in &file.lines {
        push_line(&mut entries, line, scope, members);
    }
    for setting in &kind.settings {
        for target in setting.into.iter().filter(|target| target.file == file.name && scope.holds(target.when.as_ref())) {
            let value = match (&target.value, scope.get(&setting.key)) {
                (_, Value::Pairs(pairs)) => {
                    let pair = |(key, value): &(String, String)| Entry {
                        section: None,
                        key: key.clone(),
                        value: Value::Text(value.clone()),
                    };
                    entries.extend(pairs.iter().map(pair));
                    continue;
                }
                // A text that was left empty writes no line.
                (_, Value::Text(text)) if text.is_empty() => continue,
                (Some(template), _) => value_of(template, scope),
                (None, value) => value.clone(),
            };
            let key = target.key.clone().unwrap_or_else(|| setting.key.clone());
            entries.push(Entry { section: target.section.clone(), key, value });
        }
    }
    let (instance, service) = (scope.get("instance"), scope.get("service"));
    let head =
        format!("# {instance} of {service}, written by ZMS from its settings and written anew with every change of them.\n");
    match file.format {
        Format::Properties => {
            entries.iter().fold(head, |body, entry| body + &properties::line(&entry.key, &entry.value.to_string()))
        }
        Format::Toml => head + &toml(&entries),
        Format::Text => unreachable!("Kind::parse refuses a text file without body"),
    }
}

fn push_line(entries: &mut Vec<Entry>, line: &Line, scope: &Scope, members: &[&Scope]) {
    if !scope.holds(line.when.as_ref()) {
        return;
    }
    let mut push = |scope: &Scope| {
        let value = match &line.value {
            LineValue::Boolean(value) => Value::Boolean(*value),
            LineValue::Integer(value) => Value::Integer(*value),
            LineValue::Template(template) => value_of(template, scope),
        };
        entries.push(Entry { section: line.section.clone(), key: scope.text(&line.key), value });
    };
    match &line.each {
        None => push(scope),
        Some(over) => members.iter().filter(|member| is_over(over, member)).for_each(|member| push(member)),
    }
}

/// Does a member belong to a list over `over`?
pub(super) fn is_over(over: &str, member: &Scope) -> bool {
    over == "members" || *member.get("role") == Value::Text(over.to_owned())
}

fn value_of(template: &Template, scope: &Scope) -> Value {
    template.single().map_or_else(|| Value::Text(scope.text(template)), |name| scope.get(name).clone())
}

/// Keys without section first, then each section once.
fn toml(entries: &[Entry]) -> String {
    let mut sections: Vec<Option<&str>> = vec![None];
    for entry in entries {
        if !sections.contains(&entry.section.as_deref()) {
            sections.push(entry.section.as_deref());
        }
    }
    let mut out = String::new();
    for section in sections {
        if let Some(name) = section {
            out += &format!("\n[{name}]\n");
        }
        for entry in entries.iter().filter(|entry| entry.section.as_deref() == section) {
            let value = match &entry.value {
                Value::Integer(value) => toml::Value::Integer(*value),
                Value::Boolean(value) => toml::Value::Boolean(*value),
                other => toml::Value::String(other.to_string()),
            };
            out += &format!("{} = {value}\n", entry.key);
        }
    }
    out
}

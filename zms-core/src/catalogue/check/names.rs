//! Names are there once, and every template and condition names what exists where it is filled.

use std::fmt;

use super::Findings;
use crate::catalogue::condition::{Condition, Operator};
use crate::catalogue::model::Kind;
use crate::catalogue::output::{Arg, LineValue, PrepareKind};
use crate::catalogue::scope::{COMPUTED, VariableType};
use crate::catalogue::setting::ValueType;
use crate::catalogue::template::{Part, Template};
use crate::host::is_placeholder;

/// When a template is filled: each stage knows what the earlier ones made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Values of roles: computed variables, settings, generated values.
    Role,
    /// Items of lists: also values of roles.
    List,
    /// Files, arguments, environment: also lists.
    Output,
}

pub(super) fn check(kind: &Kind, findings: &mut Findings) {
    findings.unique("package", kind.packages.iter().map(|package| package.name.as_str()));
    findings.unique("group", kind.groups.iter().map(|group| group.name.as_str()));
    findings.unique("role", kind.roles.iter().map(|role| role.name.as_str()));
    findings.unique("file", kind.files.iter().map(|file| file.name.as_str()));
    let variables = variables(kind);
    findings.unique("name", variables.iter().map(|(name, ..)| name.as_str()));
    for (name, ..) in &variables {
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        findings.add_unless(good, format!("name \"{name}\""), "a name has letters, digits and . _ - only");
        findings.add_unless(!is_placeholder(name), format!("name \"{name}\""), "is a placeholder of the agent; choose another");
    }
    for list in &kind.lists {
        is_over(kind, format!("list \"{}\"", list.name), &list.over, findings);
    }
    for (place, stage, template) in templates(kind) {
        for part in template.parts() {
            match part {
                Part::Literal(_) => {}
                Part::Agent(name) => agents(kind, &place, name, findings),
                Part::Variable(name) => match variables.iter().find(|(known, ..)| known == name) {
                    None => findings.add(&place, format_args!("there is no variable {{{name}}}")),
                    Some((_, _, VariableType::List)) => {
                        findings.add(&place, format_args!("{{{name}}} is a list; name it in into, words or more_env"));
                    }
                    Some((_, known_from, _)) if *known_from > stage => {
                        findings.add(&place, format_args!("{{{name}}} is not known yet where this is filled"));
                    }
                    Some(_) => {}
                },
            }
        }
    }
    for (place, condition) in conditions(kind) {
        is_comparable(kind, &variables, &place, condition, findings);
    }
    used(kind, &variables, findings);
}

/// Every variable, with the stage from which it is known.
fn variables(kind: &Kind) -> Vec<(String, Stage, VariableType)> {
    let computed = COMPUTED.iter().map(|(name, kind)| ((*name).to_owned(), Stage::Role, *kind));
    let settings = kind.settings.iter().map(|setting| (setting.key.clone(), Stage::Role, variable_type(setting.value_type)));
    let generated = kind.generated.iter().map(|value| (value.name.clone(), Stage::Role, VariableType::Text));
    let roles = kind.roles.first().into_iter().flat_map(|role| role.values.keys());
    let roles = roles.map(|name| (name.clone(), Stage::List, VariableType::Text));
    let lists = kind.lists.iter().map(|list| (list.name.clone(), Stage::Output, VariableType::Text));
    let beside = kind.ports.iter().flat_map(|port| &port.beside);
    let beside = beside.map(|port| (port.setting_key(), Stage::Role, VariableType::Number));
    computed.chain(settings).chain(beside).chain(generated).chain(roles).chain(lists).collect()
}

fn variable_type(value_type: ValueType) -> VariableType {
    match value_type {
        ValueType::Integer | ValueType::Bytes | ValueType::Duration => VariableType::Number,
        ValueType::Boolean => VariableType::Boolean,
        ValueType::Choice | ValueType::Text => VariableType::Text,
        ValueType::Properties | ValueType::Environment | ValueType::Jvm => VariableType::List,
    }
}

/// Every template of the file, with its place and when it is filled.
fn templates(kind: &Kind) -> Vec<(String, Stage, &Template)> {
    let mut all = Vec::new();
    for role in &kind.roles {
        all.extend(role.values.iter().map(|(name, value)| (format!("role \"{}\", {name}", role.name), Stage::Role, value)));
    }
    all.extend(kind.lists.iter().map(|list| (format!("list \"{}\"", list.name), Stage::List, &list.item)));
    for setting in &kind.settings {
        let values = setting.into.iter().filter_map(|target| target.value.as_ref());
        all.extend(values.map(|value| (format!("setting \"{}\", into", setting.key), Stage::Output, value)));
    }
    for file in &kind.files {
        all.extend(file.body.iter().map(|body| (format!("file \"{}\"", file.name), Stage::Output, body)));
        for line in &file.lines {
            let place = format!("file \"{}\", \"{}\"", file.name, line.key);
            if let LineValue::Template(value) = &line.value {
                all.push((place.clone(), Stage::Output, value));
            }
            all.push((place, Stage::Output, &line.key));
        }
    }
    for broker in kind.roles.iter().filter_map(|role| role.probe.as_ref()).chain([&kind.probe]).filter_map(|p| p.broker.as_ref())
    {
        let templates = [&broker.name, &broker.id, &broker.name_servers];
        all.extend(templates.map(|template| ("probe, broker".to_owned(), Stage::Output, template)));
    }
    for prepare in &kind.prepare {
        match prepare {
            PrepareKind::Copy { to, .. } => all.push(("prepare, to".to_owned(), Stage::Output, to)),
            PrepareKind::Run { unless, argv, .. } => {
                all.push(("prepare, unless".to_owned(), Stage::Output, unless));
                all.extend(arguments(argv).map(|template| ("prepare, argv".to_owned(), Stage::Output, template)));
            }
        }
    }
    all.extend(arguments(&kind.exec.argv).map(|template| ("exec, argv".to_owned(), Stage::Output, template)));
    all.extend(kind.exec.env.iter().map(|(key, value)| (format!("exec, env \"{key}\""), Stage::Output, value)));
    if let LineValue::Template(nofile) = &kind.exec.nofile {
        all.push(("exec, nofile".to_owned(), Stage::Output, nofile));
    }
    all
}

fn arguments(args: &[Arg]) -> impl Iterator<Item = &Template> {
    args.iter().flat_map(|arg| match arg {
        Arg::Always(template) => std::slice::from_ref(template),
        Arg::When(choice) => choice.args.as_slice(),
        Arg::Words(_) => &[],
    })
}

fn conditions(kind: &Kind) -> Vec<(String, &Condition)> {
    let ports = kind.ports.iter().filter_map(|port| Some((format!("port \"{}\"", port.name), port.when.as_ref()?)));
    let lines = kind.files.iter().flat_map(|file| file.lines.iter().map(move |line| (file, line)));
    let lines = lines.filter_map(|(file, line)| Some((format!("file \"{}\", \"{}\"", file.name, line.key), line.when.as_ref()?)));
    let prepare = kind.prepare.iter().flat_map(|prepare| match prepare {
        PrepareKind::Run { argv, .. } => argv.as_slice(),
        PrepareKind::Copy { .. } => &[],
    });
    let args = prepare.chain(&kind.exec.argv).filter_map(|arg| match arg {
        Arg::When(choice) => Some(("argv".to_owned(), &choice.when)),
        Arg::Always(_) | Arg::Words(_) => None,
    });
    let targets = kind.settings.iter().flat_map(|setting| setting.into.iter().map(move |target| (setting, target)));
    let targets =
        targets.filter_map(|(setting, target)| Some((format!("setting \"{}\", into", setting.key), target.when.as_ref()?)));
    let roles = kind.roles.iter().filter_map(|role| Some((format!("role \"{}\"", role.name), role.when.as_ref()?)));
    let files = kind.files.iter().filter_map(|file| Some((format!("file \"{}\"", file.name), file.when.as_ref()?)));
    ports.chain(lines).chain(args).chain(targets).chain(roles).chain(files).collect()
}

fn agents(kind: &Kind, place: &str, name: &str, findings: &mut Findings) {
    let Some(package) = name.strip_prefix("package:") else { return };
    match kind.packages.iter().find(|needed| needed.name.as_str() == package) {
        None => findings.add(place, format_args!("there is no package \"{package}\"; add a [[package]]")),
        Some(needed) if needed.optional => {
            findings.add(place, format_args!("package \"{package}\" is optional and may be missing"))
        }
        Some(_) => {}
    }
}

/// A role of this kind, or all members.
pub(super) fn is_over(kind: &Kind, place: impl fmt::Display, over: &str, findings: &mut Findings) {
    let known = over == "members" || kind.roles.iter().any(|role| role.name == over);
    findings.add_unless(known, place, format_args!("\"{over}\" is no role of this kind and not \"members\""));
}

fn is_comparable(
    kind: &Kind,
    variables: &[(String, Stage, VariableType)],
    place: &str,
    condition: &Condition,
    findings: &mut Findings,
) {
    let Condition { left, operator, right } = condition;
    let orders = !matches!(operator, Operator::Equal | Operator::Unequal);
    let choices = kind.setting(left).filter(|setting| setting.value_type == ValueType::Choice).map(|setting| &setting.choices);
    let variable = variables.iter().find(|(name, ..)| name == left);
    // Ports are decided before the values of roles and the lists are made.
    let is_made_later = variable.is_some_and(|(_, known_from, _)| *known_from > Stage::Role);
    let wrong = match variable.map(|(_, _, variable)| variable) {
        None => "compares a variable that does not exist",
        Some(_) if is_made_later => "compares a value that is made later; compare a setting, role or members",
        Some(VariableType::Number) if right.parse::<i64>().is_err() => "compares a number with something else",
        Some(VariableType::Boolean) if orders || !matches!(right.as_str(), "true" | "false") => "must be == true or == false",
        Some(VariableType::Text | VariableType::List) if orders => "orders texts; write == or !=",
        Some(VariableType::Text) if left == "role" && !kind.roles.iter().any(|role| role.name == *right) => "names no role",
        Some(VariableType::Text) if choices.is_some_and(|choices| !choices.contains(right)) => "names none of the choices",
        Some(VariableType::List) => "compares a list",
        Some(_) => return,
    };
    findings.add(place, format_args!("the condition on {left} {wrong}"));
}

/// Whatever people may choose or somebody generates must change something.
fn used(kind: &Kind, variables: &[(String, Stage, VariableType)], findings: &mut Findings) {
    let templates = templates(kind);
    let conditions = conditions(kind);
    let args = kind.exec.argv.iter().filter_map(|arg| match arg {
        Arg::Words(words) => Some(words.words.as_str()),
        Arg::Always(_) | Arg::When(_) => None,
    });
    let named: Vec<&str> = args.chain(kind.exec.more_env.as_deref()).collect();
    let is_port = |name: &str| kind.ports.iter().any(|port| port.all().any(|(_, key)| key == name));
    for (name, ..) in variables.iter().skip(COMPUTED.len()) {
        let written = kind.setting(name).is_some_and(|setting| !setting.into.is_empty())
            || is_port(name)
            || named.contains(&name.as_str())
            || conditions.iter().any(|(_, condition)| condition.left == *name)
            || templates.iter().any(|(_, _, template)| template.variables().any(|variable| variable == name));
        findings.add_unless(written, format!("\"{name}\""), "is written nowhere; give it into, or name it in a template");
    }
}

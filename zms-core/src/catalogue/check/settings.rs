//! Settings: their attributes fit their type, and their defaults are values that a person could have typed.

use std::fmt;

use super::Findings;
use crate::catalogue::amount::Unit;
use crate::catalogue::model::{Kind, Step};
use crate::catalogue::output::Format;
use crate::catalogue::scope::{COMPUTED, Scope, VariableType};
use crate::catalogue::setting::{DefaultValue, Scalar, Setting, ValueType};
use crate::catalogue::template::Template;

pub(super) fn check(kind: &Kind, findings: &mut Findings) {
    for (place, setting) in kind.settings.iter().enumerate() {
        let name = format!("setting \"{}\"", setting.key);
        attributes(setting, &name, findings);
        default(kind, setting, place, &name, findings);
        if let Some(bound) = &setting.at_most {
            earlier_number(kind, place, &bound.of, &format!("{name}, at_most"), findings);
            findings.add_unless((1..=100).contains(&bound.percent), &name, "percent of at_most must be 1 to 100");
        }
        targets(kind, setting, &name, findings);
    }
    let needs = kind.roles.iter().filter_map(|role| role.needs.as_ref()).chain([&kind.needs]);
    for percent in needs.clone().filter_map(|needs| needs.full_at) {
        findings.add_unless((1..=100).contains(&percent), "needs, full_at", "a share in percent, 1 to 100");
    }
    for key in needs.flat_map(|needs| &needs.memory_settings) {
        let is_size = kind.setting(key).is_some_and(|setting| setting.value_type == ValueType::Bytes);
        findings.add_unless(is_size, "needs, memory_settings", format_args!("\"{key}\" is no setting of type bytes"));
    }
}

/// Which attributes make sense for which type.
fn attributes(setting: &Setting, name: &str, findings: &mut Findings) {
    use ValueType::{Boolean, Bytes, Choice, Duration, Environment, Integer, Jvm, Properties, Text};
    let value_type = setting.value_type;
    let mut only = |given: bool, attribute: &str, types: &[ValueType]| {
        let what = format_args!("{attribute} has no meaning for this type; remove it");
        findings.add_unless(!given || types.contains(&value_type), name, what);
    };
    only(setting.min.is_some() || setting.max.is_some(), "min or max", &[Integer, Bytes, Duration, Text]);
    only(setting.at_most.is_some(), "at_most", &[Integer, Bytes, Duration]);
    only(setting.unlimited.is_some(), "unlimited", &[Integer, Bytes, Duration]);
    only(!setting.choices.is_empty(), "choices", &[Choice]);
    only(setting.chars.is_some(), "chars", &[Text]);
    only(!setting.refused.is_empty(), "refused", &[Properties, Environment, Jvm]);
    only(!setting.allowed.is_empty(), "allowed", &[Environment, Jvm]);
    match value_type {
        Choice => findings.add_unless(setting.choices.len() > 1, name, "a choice needs two or more choices"),
        Text => {
            findings.add_unless(setting.chars.is_some(), name, "a text needs chars, for example \"A-Za-z0-9._-\"");
            let bounds = [&setting.min, &setting.max];
            let counts = bounds.into_iter().flatten().all(|bound| matches!(bound, Scalar::Integer(0..)));
            findings.add_unless(counts && setting.max.is_some(), name, "a text needs max, and min and max count characters");
        }
        Integer | Bytes | Duration => numbers(setting, name, findings),
        Boolean | Properties | Environment | Jvm => {}
    }
}

fn numbers(setting: &Setting, name: &str, findings: &mut Findings) {
    if let Some(family) = setting.family().filter(|_| setting.amount_unit().is_none()) {
        return findings.add(name, format_args!("its unit must be one of {}", Unit::names(family)));
    }
    for (bound, given) in [("min", &setting.min), ("max", &setting.max)] {
        findings.add_unless(
            setting.bound(given).is_some(),
            name,
            format_args!("{bound} is missing or no number of its type; every number has a smallest and a largest value"),
        );
    }
    if let (Some(min), Some(max)) = (setting.bound(&setting.min), setting.bound(&setting.max)) {
        findings.add_unless(min <= max, name, "min is above max");
        findings.add_unless(setting.unlimited.is_none_or(|value| value <= min), name, "unlimited must not lie above min");
    }
}

fn default(kind: &Kind, setting: &Setting, place: usize, name: &str, findings: &mut Findings) {
    let mut values = Vec::new();
    match &setting.default {
        DefaultValue::One(Scalar::Text(text)) if text.contains(['{', '}']) => {
            let template = Template::parse(text).unwrap_or_default();
            let variable = template.single().filter(|variable| Scope::of_count(1).integer(variable).is_some());
            if variable.is_none() {
                findings.add(
                    name,
                    "a default with a placeholder is one computed number and nothing else, for example \"{replicas}\"",
                );
            }
            let counts = [kind.hosts.min, kind.hosts.max];
            values.extend(counts.into_iter().filter_map(|members| Scope::of_count(members).default_of(setting)));
        }
        DefaultValue::One(value) => values.push(value.to_string()),
        DefaultValue::By(table) => {
            earlier_number(kind, place, &table.by, &format!("{name}, default"), findings);
            steps(name, &table.steps, findings);
            findings.add_unless(!table.steps.is_empty(), name, "a default by a table needs a row");
            values.extend(table.steps.iter().map(|row| row.value.to_string()));
        }
    }
    for value in values {
        if let Err(fault) = setting.read(&value) {
            findings.add(name, format_args!("its default does not pass its own check: {fault}"));
        }
    }
}

/// A number that is known before this setting is read.
fn earlier_number(kind: &Kind, place: usize, of: &str, name: &str, findings: &mut Findings) {
    let computed = COMPUTED.iter().any(|(known, variable)| *known == of && *variable == VariableType::Number);
    let is_number = |setting: &Setting| matches!(setting.value_type, ValueType::Integer | ValueType::Bytes | ValueType::Duration);
    let earlier = kind.settings[..place].iter().any(|setting| setting.key == of && is_number(setting));
    findings.add_unless(computed || earlier, name, format_args!("\"{of}\" is no number that is known before this setting"));
}

/// Rows rise, and only the last has no bound.
pub(super) fn steps(name: &str, rows: &[Step], findings: &mut Findings) {
    let Some((last, others)) = rows.split_last() else { return };
    let bounds: Option<Vec<i64>> = others.iter().map(|row| row.up_to).collect();
    let rising = bounds.is_some_and(|bounds| bounds.is_sorted_by(|a, b| a < b));
    findings.add_unless(
        rising && last.up_to.is_none(),
        name,
        "up_to must rise from row to row and be absent in the last row only",
    );
}

fn targets(kind: &Kind, setting: &Setting, name: &str, findings: &mut Findings) {
    let is_properties = setting.value_type == ValueType::Properties;
    if matches!(setting.value_type, ValueType::Jvm | ValueType::Environment) {
        findings.add_unless(setting.into.is_empty(), name, "into has no meaning for this type; name it in words or more_env");
    }
    for target in &setting.into {
        let Some(file) = kind.files.iter().find(|file| file.name == target.file) else {
            findings.add(name, format_args!("there is no file \"{}\"", target.file));
            continue;
        };
        let place: &dyn fmt::Display = &format_args!("{name}, into \"{}\"", file.name);
        match file.format {
            Format::Text => findings.add(place, "a text file has a body; name the setting there"),
            Format::Properties => findings.add_unless(target.section.is_none(), place, "properties have no sections"),
            Format::Toml => findings.add_unless(!is_properties, place, "this type goes into properties files only"),
        }
        if is_properties {
            let alone = target.key.is_none() && target.value.is_none();
            findings.add_unless(alone, place, "a list of properties has its own keys; remove key and value");
        }
    }
}

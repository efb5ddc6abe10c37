//! Settings as fields of a form.

use std::collections::{BTreeMap, BTreeSet};

use zms_core::catalogue::{Bilingual, Kind, Scalar, Setting, ValueType};

use super::super::defaults;
use crate::web::Problems;
use crate::web::messages::{Language, Messages};

/// Settings that stand together.
pub(super) struct GroupView {
    pub title: String,
    pub usual: Vec<FieldView>,
    pub advanced: Vec<FieldView>,
    /// Is something advanced set or wrong, so that it must be seen?
    pub open: bool,
}

/// One setting.
pub(super) struct FieldView {
    pub key: String,
    pub name: String,
    pub label: String,
    pub help: String,
    pub widget: Widget,
    pub value: String,
    pub default: String,
    pub unit: String,
    pub range: String,
    pub restart: bool,
    pub problems: Vec<String>,
}

/// How a setting is typed.
pub(super) enum Widget {
    Line,
    /// One of these, or the default.
    Choice(Vec<String>),
    /// Several lines.
    Area,
}

/// The text in the reader's language.
pub(super) fn text(m: Messages, text: &Bilingual) -> String {
    match m.0 {
        Language::English => text.en.clone(),
        Language::Chinese => text.zh.clone(),
    }
}

/// The settings of a kind for hosts of these sizes (MiB of memory each).
pub(super) fn groups(
    kind: &Kind,
    m: Messages,
    values: &BTreeMap<String, String>,
    memories: &[u64],
    problems: &Problems,
) -> Vec<GroupView> {
    let sizes: BTreeSet<u64> = memories.iter().copied().collect();
    let by_size: Vec<_> = sizes.iter().map(|size| defaults::of(kind, memories.len(), *size, values)).collect();
    let field = |setting: &Setting| {
        let name = format!("settings.{}", setting.key);
        FieldView {
            key: setting.key.clone(),
            label: text(m, &setting.label),
            help: text(m, &setting.help),
            widget: widget(setting),
            value: values.get(&setting.key).cloned().unwrap_or_default(),
            default: differing(by_size.iter().filter_map(|defaults| defaults.get(&setting.key))),
            unit: setting.unit.clone(),
            range: range(setting, m),
            restart: setting.restart,
            problems: problems.of(&name).into_iter().map(str::to_owned).collect(),
            name,
        }
    };
    let group = |group: &zms_core::catalogue::Group| {
        let of_group = |advanced| {
            let settings = kind.settings().iter().filter(|setting| setting.group == group.name && setting.advanced == advanced);
            settings.map(field).collect::<Vec<_>>()
        };
        let advanced = of_group(true);
        let open = advanced.iter().any(|field| !field.value.is_empty() || !field.problems.is_empty());
        GroupView { title: text(m, &group.title), usual: of_group(false), advanced, open }
    };
    kind.groups().iter().map(group).filter(|group| !group.usual.is_empty() || !group.advanced.is_empty()).collect()
}

/// One default, or all of them where hosts of different sizes have different ones.
fn differing<'a>(defaults: impl Iterator<Item = &'a String>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for default in defaults {
        if !seen.contains(&default.as_str()) {
            seen.push(default);
        }
    }
    seen.join(" / ")
}

fn widget(setting: &Setting) -> Widget {
    match setting.value_type {
        ValueType::Boolean => Widget::Choice(vec!["true".to_owned(), "false".to_owned()]),
        ValueType::Choice => Widget::Choice(setting.choices.clone()),
        ValueType::Properties | ValueType::Environment | ValueType::Jvm => Widget::Area,
        ValueType::Integer | ValueType::Text | ValueType::Bytes | ValueType::Duration => Widget::Line,
    }
}

fn range(setting: &Setting, m: Messages) -> String {
    let bound = |bound: &Option<Scalar>| match bound {
        // A bare number of a size or a duration counts its unit; a text has it already.
        Some(Scalar::Integer(number)) if matches!(setting.value_type, ValueType::Bytes | ValueType::Duration) => {
            Some(format!("{number} {}", setting.unit))
        }
        Some(other) => Some(other.to_string()),
        None => None,
    };
    let is_text = setting.value_type == ValueType::Text;
    match (bound(&setting.min), bound(&setting.max)) {
        (Some(min), Some(max)) if is_text => m.services_range_characters(min, max),
        (Some(min), Some(max)) => m.services_range(min, max),
        (Some(min), None) => m.services_range_from(min),
        (None, Some(max)) => m.services_range_to(max),
        (None, None) => String::new(),
    }
}

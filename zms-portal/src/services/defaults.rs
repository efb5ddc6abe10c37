//! What a setting is unless people choose: shown beside its field, by the size of the hosts.

use std::collections::BTreeMap;

use zms_core::catalogue::{DefaultValue, Kind, Scalar, Setting, Template, Value};

/// The default of each setting for `members` hosts of `memory_mib`, where `typed` are the values that people chose (others may
/// depend on them).
pub fn of(kind: &Kind, members: usize, memory_mib: u64, typed: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let members = i64::try_from(members.max(1)).unwrap_or(i64::MAX);
    let replicas = members.min(3);
    let mut numbers: BTreeMap<String, i64> = BTreeMap::from([
        ("members".to_owned(), members),
        ("replicas".to_owned(), replicas),
        ("min_isr".to_owned(), (replicas - 1).max(1)),
        ("memory_mib".to_owned(), i64::try_from(memory_mib).unwrap_or(i64::MAX)),
    ]);
    let mut defaults = BTreeMap::new();
    for setting in kind.settings() {
        let default = default_of(setting, &numbers);
        let chosen = typed.get(&setting.key).filter(|text| !text.trim().is_empty()).or(default.as_ref());
        if let Some(Ok(Value::Integer(number))) = chosen.map(|text| setting.read(text)) {
            numbers.insert(setting.key.clone(), number);
        }
        defaults.insert(setting.key.clone(), default.unwrap_or_default());
    }
    defaults
}

fn default_of(setting: &Setting, numbers: &BTreeMap<String, i64>) -> Option<String> {
    match &setting.default {
        DefaultValue::One(Scalar::Text(text)) => match Template::parse(text).ok()?.single() {
            Some(variable) => numbers.get(variable).map(i64::to_string),
            None => Some(text.clone()),
        },
        DefaultValue::One(value) => Some(value.to_string()),
        DefaultValue::By(table) => {
            let number = numbers.get(&table.by)?;
            let row = table.steps.iter().find(|row| row.up_to.is_none_or(|up_to| *number <= up_to))?;
            Some(row.value.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Catalogue;
    use crate::services::test_support::service;

    /// The core decides what is rendered; this is only shown. So: what is shown, typed in, must render to the same.
    #[test]
    fn what_is_shown_as_default_is_what_is_rendered() {
        let catalogue = Catalogue::load(None).unwrap();
        for kind in catalogue.kinds() {
            for (members, memory_mib) in [(1, 1500), (1, 64_000), (3, 3000), (3, 9000), (3, 20_000)] {
                let mut service = service(kind, members, memory_mib);
                let untouched = kind.render(&service).unwrap();
                service.settings = of(kind, members, memory_mib, &BTreeMap::new());
                assert!(service.settings.values().any(|text| !text.is_empty()));
                assert_eq!(kind.render(&service).unwrap(), untouched, "{} on {members} hosts of {memory_mib} MiB", kind.name());
            }
        }
    }

    #[test]
    fn a_default_follows_what_was_typed_elsewhere() {
        let catalogue = Catalogue::load(None).unwrap();
        let kafka = catalogue.find("kafka").unwrap();
        let typed = BTreeMap::from([("heap".to_owned(), "4g".to_owned())]);
        assert_eq!(of(kafka, 1, 2000, &BTreeMap::new())["log.cleaner.dedupe.buffer.size"], "4MiB");
        assert_eq!(of(kafka, 1, 2000, &typed)["log.cleaner.dedupe.buffer.size"], "128MiB");
        assert_eq!(of(kafka, 1, 2000, &typed)["heap"], "256");
    }
}

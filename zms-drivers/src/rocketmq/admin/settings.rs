//! Settings of a topic: permission, order, and from 5.0 on its attributes, the type of its messages among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bodies::TopicConfig;
use crate::broker::{BrokerError, Setting};

const PERM: &str = "perm";
const ORDER: &str = "order";
/// Not to be changed by us.
const FILTER: &str = "topicFilterType";
const SYSTEM: &str = "topicSysFlag";
/// Attribute that a topic without it has.
const MESSAGE_TYPE: (&str, &str) = ("message.type", "NORMAL");

/// What a topic has that says nothing else: read and write.
pub(super) const DEFAULT_PERM: u32 = 6;

/// Changes for one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    pub config: TopicConfig,
    /// As request 17 takes them: `+name=value` sets, `-name` takes away.
    pub attributes: String,
}

/// Settings as one broker has them; `attributes`: whether it knows any.
fn settings_of(config: &TopicConfig, attributes: bool) -> BTreeMap<String, Setting> {
    let of = |value: String, own, read_only| Setting { value: Some(value), own, read_only };
    let mut settings = BTreeMap::from([
        (PERM.to_owned(), of(config.perm.to_string(), config.perm != DEFAULT_PERM, false)),
        (ORDER.to_owned(), of(config.order.to_string(), config.order, false)),
        (FILTER.to_owned(), of(config.topic_filter_type.clone(), false, true)),
        (SYSTEM.to_owned(), of(config.topic_sys_flag.to_string(), false, true)),
    ]);
    if attributes {
        settings.insert(MESSAGE_TYPE.0.to_owned(), of(MESSAGE_TYPE.1.to_owned(), false, false));
        settings.extend(config.attributes.iter().map(|(name, value)| (name.clone(), of(value.clone(), true, false))));
    }
    settings
}

/// Settings of a topic. Where brokers differ, the value names them.
pub(super) fn settings(configs: &BTreeMap<Arc<str>, TopicConfig>, attributes: bool) -> BTreeMap<String, Setting> {
    let mut all: BTreeMap<String, Vec<(&Arc<str>, Setting)>> = BTreeMap::new();
    for (broker, config) in configs {
        for (name, setting) in settings_of(config, attributes) {
            all.entry(name).or_default().push((broker, setting));
        }
    }
    let merge = |found: Vec<(&Arc<str>, Setting)>| {
        let mut merged = found[0].1.clone();
        if found.len() < configs.len() || found.iter().any(|(_, setting)| *setting != merged) {
            let texts =
                found.iter().map(|(broker, setting)| format!("{broker}: {}", setting.value.as_deref().unwrap_or_default()));
            merged.value = Some(texts.collect::<Vec<_>>().join(", "));
            merged.own = found.iter().any(|(_, setting)| setting.own);
        }
        merged
    };
    all.into_iter().map(|(name, found)| (name, merge(found))).collect()
}

/// What must change on one broker; `None` if nothing. `attributes`: whether it knows any.
pub(super) fn changed(
    what: &str,
    there: &TopicConfig,
    changes: &BTreeMap<String, Option<String>>,
    attributes: bool,
) -> Result<Option<Changed>, BrokerError> {
    let refused = |why: String| BrokerError::Refused { what: what.to_owned(), why };
    let mut config = there.clone();
    let mut altered = Vec::new();
    for (name, value) in changes {
        let value = value.as_deref();
        match name.as_str() {
            PERM => {
                let text = value.unwrap_or("6");
                let perm = text.parse().ok().filter(|perm| [2, 4, 6].contains(perm));
                config.perm = perm.ok_or_else(|| refused(format!("perm is 2 (write), 4 (read) or 6 (both), not {text:?}")))?;
            }
            ORDER => {
                let text = value.unwrap_or("false");
                config.order = text.parse().map_err(|_| refused(format!("order is true or false, not {text:?}")))?;
            }
            FILTER | SYSTEM => return Err(refused(format!("{name} cannot be changed"))),
            _ if !attributes => return Err(refused(format!("no setting {name}: a topic of this broker has perm and order"))),
            _ if name.contains(['+', '-', '=', ',', ' '])
                || value.is_some_and(|value| value.is_empty() || value.contains(',')) =>
            {
                return Err(refused(format!("{name}: neither name nor value of an attribute may have + - = , or blanks")));
            }
            _ => match value {
                Some(value) if config.attributes.get(name).map(String::as_str) != Some(value) => {
                    altered.push(format!("+{name}={value}"));
                    config.attributes.insert(name.clone(), value.to_owned());
                }
                None if config.attributes.remove(name).is_some() => altered.push(format!("-{name}")),
                _ => {}
            },
        }
    }
    Ok((config != *there).then(|| Changed { config, attributes: altered.join(",") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(perm: u32, attributes: &[(&str, &str)]) -> TopicConfig {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicConfig { read_queue_nums: 1, write_queue_nums: 1, perm, attributes, ..TopicConfig::default() }
    }

    fn changes(changes: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
        changes.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn only_what_differs_is_changed() {
        let there = config(6, &[("message.type", "FIFO")]);
        for (wanted, attributes, perm) in [
            (&[("perm", Some("4"))][..], Some(""), 4),
            (&[("perm", Some("6"))], None, 6),
            (&[("perm", None), ("order", None)], None, 6),
            (&[("message.type", Some("DELAY"))], Some("+message.type=DELAY"), 6),
            (&[("message.type", Some("FIFO"))], None, 6),
            (&[("message.type", None), ("perm", Some("2"))], Some("-message.type"), 2),
        ] {
            let found = changed("topic t", &there, &changes(wanted), true).unwrap();
            assert_eq!(found.as_ref().map(|changed| changed.attributes.as_str()), attributes, "{wanted:?}");
            assert_eq!(found.map_or(6, |changed| changed.config.perm), perm, "{wanted:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_a_broker_is_asked() {
        for (name, value, attributes) in [
            ("perm", "soon", true),
            ("perm", "7", true),
            ("order", "maybe", true),
            ("topicSysFlag", "1", true),
            ("message.type", "FIFO", false),
            ("a,b", "1", true),
            ("a", "1,+b=2", true),
        ] {
            let found = changed("topic t", &config(6, &[]), &changes(&[(name, Some(value))]), attributes);
            assert!(matches!(found, Err(BrokerError::Refused { .. })), "{name}={value}: {found:?}");
        }
    }

    #[test]
    fn where_brokers_differ_the_value_names_them() {
        let configs = BTreeMap::from([(Arc::from("a"), config(6, &[])), (Arc::from("b"), config(4, &[]))]);
        let found = settings(&configs, true);
        assert_eq!((found["perm"].value.as_deref(), found["perm"].own), (Some("a: 6, b: 4"), true));
        assert_eq!((found["message.type"].value.as_deref(), found["message.type"].own), (Some("NORMAL"), false));
        assert!(!settings(&configs, false).contains_key("message.type"));
    }
}

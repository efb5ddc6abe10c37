//! Roles that stand side by side, what they have instead of the kind's, and the probes.

use super::Findings;
use crate::catalogue::condition::Operator;
use crate::catalogue::model::{Kind, PortKind, Role};
use crate::catalogue::output::{ProbeKind, ProbeProtocol};
use crate::catalogue::setting::{DefaultValue, ValueType};

pub(super) fn check(kind: &Kind, findings: &mut Findings) {
    side_by_side(kind, findings);
    for role in &kind.roles {
        let place = format!("role \"{}\"", role.name);
        findings.add_unless(role.stop_wait_s != Some(0), &place, "stop_wait_s must be 1 or more");
        if let Some(when) = &role.when {
            let setting = kind.setting(&when.left);
            let plain = setting.is_some_and(|setting| {
                matches!(setting.value_type, ValueType::Boolean | ValueType::Choice)
                    && matches!(setting.default, DefaultValue::One(_))
            });
            let equals = matches!(when.operator, Operator::Equal | Operator::Unequal);
            let what = "its condition must compare a boolean or a choice with one default, by == or !=";
            findings.add_unless(plain && equals, place, what);
        }
    }
    if kind.roles.is_empty() {
        probe(kind, None, &kind.probe, findings);
    }
    for role in &kind.roles {
        probe(kind, Some(role), role.probe.as_ref().unwrap_or(&kind.probe), findings);
    }
}

/// Their numbers must not meet, and every host has a member of the last one.
fn side_by_side(kind: &Kind, findings: &mut Findings) {
    if !kind.roles.iter().any(|role| role.first_number.is_some()) {
        let alone = kind.roles.iter().all(|role| role.when.is_none() && role.first_host == 0);
        findings.add_unless(alone, "role", "when and first_host are for roles side by side; give every role a first_number");
        return;
    }
    let room = i32::try_from(kind.hosts.max).unwrap_or(i32::MAX);
    let mut firsts: Vec<i32> = kind.roles.iter().filter_map(|role| role.first_number).collect();
    firsts.sort_unstable();
    let apart = firsts.len() == kind.roles.len() && firsts[0] == 1 && firsts.windows(2).all(|pair| pair[1] - pair[0] >= room);
    findings.add_unless(apart, "role", "every role has a first_number, the lowest is 1, and they are hosts.max apart or more");
    let end = firsts[firsts.len() - 1].saturating_add(room - 1);
    findings.add_unless(kind.hosts.max_node_id >= end, "hosts", format_args!("max_node_id must be {end} or more"));
    let last = kind.roles.last().is_some_and(|role| role.when.is_none());
    findings.add_unless(last, "role", "the last role is on every host, so it has no condition");
}

/// An instance is asked at a port that it has, and for what its protocol needs.
fn probe(kind: &Kind, role: Option<&Role>, probe: &ProbeKind, findings: &mut Findings) {
    let has = |port: &&PortKind| match (&port.when, role) {
        (None, _) => true,
        (Some(when), Some(role)) => when.left == "role" && (when.operator == Operator::Equal) == (when.right == role.name),
        (Some(_), None) => false,
    };
    let known = kind.ports.iter().filter(has).any(|port| port.name == probe.port);
    findings.add_unless(known, "probe, port", format_args!("\"{}\" is no port that every instance has", probe.port));
    let is_http = probe.kind == ProbeProtocol::Http;
    let path = probe.path.as_ref().is_some_and(|path| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()));
    findings.add_unless(
        path == is_http && probe.path.is_some() == is_http,
        "probe, path",
        "probes of kind http, and no others, have a path that begins with /",
    );
    let is_broker = probe.kind == ProbeProtocol::RocketmqBroker;
    let named = probe.broker.is_some() == is_broker;
    findings.add_unless(named, "probe, broker", "probes of kind rocketmq-broker, and no others, say which broker is asked");
    // A role's value may be anything that is a number there.
    let number = |text: &str| text.parse::<u64>().is_ok();
    let numbered = probe.broker.as_ref().is_none_or(|broker| match broker.id.single() {
        Some(name) => kind.roles.iter().all(|role| role.values.get(name).is_some_and(|id| number(&id.to_string()))),
        None => number(&broker.id.to_string()),
    });
    findings.add_unless(numbered, "probe, broker", "its id is a number, or a value that is a number in every role");
}

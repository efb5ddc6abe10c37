//! Could it run there? Each host is asked, and what only the portal knows is looked at too.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use zms_core::host::{Ask, Finding, InstanceSpec, Level, Phase};

use super::decide::Decided;
use super::store::InstanceRow;
use crate::app::App;
use crate::error::{Error, Text};
use crate::hosts;

/// A host that does not answer within this time has failed the check.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the hub may need beyond its own deadline.
const SPARE: Duration = Duration::from_secs(1);

/// A share of a host's memory, in percent, beyond which a person is asked.
const MEMORY_PERCENT: u64 = 80;

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Name of the host.
    pub host: String,
    /// Name of the instance.
    pub instance: String,
    /// Stable name of the check.
    pub name: String,
    /// How it came out.
    pub level: Level,
    /// A sentence with the numbers that were found.
    pub text: Text,
}

/// What an environment's other instances already use.
#[derive(Debug, Default)]
pub(super) struct InUse {
    /// Instances that are there, by host.
    pub instances: Vec<InstanceRow>,
    /// Memory that they may use, in MiB, by host.
    pub memory_mib: BTreeMap<String, u64>,
}

/// Asks all hosts at the same time; what failed first, then what is worth a look, each in the order of the members.
pub(super) async fn run(app: &App, decided: &Decided, in_use: &InUse) -> Vec<Checked> {
    let asked = decided.planned.iter().zip(&decided.hosts).map(async |(planned, host)| {
        // Of this service there may be more than one instance on a host.
        let others = decided.planned.iter().zip(&decided.hosts).filter(|(_, other)| other.id == host.id);
        let beside_mib = others.map(|(other, _)| other.memory_mib).sum::<u64>() - planned.memory_mib;
        let memory = Memory { needs_mib: planned.memory_mib, beside_mib, has_mib: host.facts.memory_mib };
        let mut checks = portal_checks(&planned.spec, memory, &host.id, in_use);
        let ask = Ask::Preflight { instances: vec![planned.spec.clone()] };
        // The hub has the deadline too; this one holds whatever the hub does.
        let answer = tokio::time::timeout(DEADLINE + SPARE, hosts::ask(app, &host.id, ask, DEADLINE)).await;
        match answer {
            Ok(Ok(Finding::Preflight { checks: found })) => checks.extend(found.into_iter().map(|check| {
                let text = check.text;
                (check.name, check.level, Text::new(move |_| text.clone()))
            })),
            Ok(Err(Error::Unavailable(text) | Error::Conflict(text))) => checks.push(("answer".to_owned(), Level::Fail, text)),
            Ok(Ok(Finding::Log { .. })) | Ok(Err(_)) | Err(_) => {
                let seconds = DEADLINE.as_secs();
                checks.push(("answer".to_owned(), Level::Fail, Text::new(move |m| m.services_check_no_answer(seconds))));
            }
        }
        checks.into_iter().map(|(name, level, text)| Checked {
            host: host.name.clone(),
            instance: planned.spec.id.to_string(),
            name,
            level,
            text,
        })
    });
    worst_first(join_all(asked).await.into_iter().flatten().collect())
}

fn worst_first(mut checks: Vec<Checked>) -> Vec<Checked> {
    checks.sort_by_key(|check| std::cmp::Reverse(check.level));
    checks
}

/// Of a host, in MiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// What the instance may use.
    needs_mib: u64,
    /// What the service's other instances on this host may.
    beside_mib: u64,
    /// What there is; 0 if the host never said.
    has_mib: u64,
}

fn portal_checks(spec: &InstanceSpec, memory: Memory, host: &str, in_use: &InUse) -> Vec<(String, Level, Text)> {
    let Memory { needs_mib, beside_mib, has_mib } = memory;
    let mut checks = Vec::new();
    for port in &spec.body.ports {
        let others = in_use.instances.iter().filter(|other| other.host_id == host && other.spec.phase != Phase::Absent);
        let taken = others.flat_map(|other| other.spec.body.ports.iter().map(move |theirs| (other, theirs)));
        let clash = taken.into_iter().find(|(_, theirs)| theirs.port == port.port && overlaps(&theirs.address, &port.address));
        if let Some((other, _)) = clash {
            let (number, name) = (port.port, other.name().to_owned());
            checks.push(("port".to_owned(), Level::Fail, Text::new(move |m| m.services_check_port(number, &name))));
        }
    }
    let others_mib = beside_mib + in_use.memory_mib.get(host).copied().unwrap_or_default();
    if has_mib > 0 {
        let fits = needs_mib + others_mib <= has_mib * MEMORY_PERCENT / 100;
        let level = if fits { Level::Pass } else { Level::Warn };
        checks.push(("memory".to_owned(), level, Text::new(move |m| m.services_check_memory(needs_mib, others_mib, has_mib))));
    }
    checks
}

/// Can both be listened on at once? An address that stands for all overlaps with every one.
fn overlaps(left: &str, right: &str) -> bool {
    left == right || ["0.0.0.0", "::"].iter().any(|all| left == *all || right == *all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::test_support::{instance_row, spec};

    #[test]
    fn what_failed_stands_above_what_passed() {
        let check = |instance: &str, level| Checked {
            host: "h".to_owned(),
            instance: instance.to_owned(),
            name: "disk".to_owned(),
            level,
            text: Text::new(|_| String::new()),
        };
        let checks = [("a", Level::Pass), ("b", Level::Warn), ("c", Level::Fail), ("d", Level::Pass), ("e", Level::Fail)];
        let sorted = worst_first(checks.map(|(instance, level)| check(instance, level)).into());
        assert_eq!(sorted.iter().map(|check| check.instance.as_str()).collect::<String>(), "cebad");
    }

    fn levels(spec: &InstanceSpec, needs_mib: u64, has_mib: u64, in_use: &InUse) -> Vec<(String, Level)> {
        let memory = Memory { needs_mib, beside_mib: 0, has_mib };
        portal_checks(spec, memory, "H", in_use).into_iter().map(|(name, level, _)| (name, level)).collect()
    }

    #[test]
    fn a_port_of_a_stopped_neighbour_is_taken_and_one_of_a_removed_neighbour_is_not() {
        let wanted = spec("new-1", Phase::Running, 2181);
        for (phase, host, port, taken) in [
            (Phase::Running, "H", 2181, true),
            (Phase::Stopped, "H", 2181, true),
            (Phase::Absent, "H", 2181, false),
            (Phase::Running, "H", 2182, false),
            (Phase::Running, "other", 2181, false),
        ] {
            let in_use = InUse { instances: vec![instance_row(host, spec("old-1", phase, port))], ..InUse::default() };
            let found = levels(&wanted, 0, 0, &in_use);
            assert_eq!(found == [("port".to_owned(), Level::Fail)], taken, "{phase:?} {host} {port}: {found:?}");
        }
    }

    #[test]
    fn a_host_that_gets_full_is_a_warning_that_counts_its_other_instances() {
        let wanted = spec("new-1", Phase::Running, 2181);
        let mut in_use = InUse::default();
        let memory = |level| vec![("memory".to_owned(), level)];
        assert_eq!(levels(&wanted, 800, 1000, &in_use), memory(Level::Pass));
        assert_eq!(levels(&wanted, 801, 1000, &in_use), memory(Level::Warn));
        in_use.memory_mib.insert("H".to_owned(), 1);
        assert_eq!(levels(&wanted, 800, 1000, &in_use), memory(Level::Warn));
        assert_eq!(levels(&wanted, 800, 0, &in_use), [], "a host that said nothing of its memory is not judged");
    }
}

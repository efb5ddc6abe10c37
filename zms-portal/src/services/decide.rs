//! A wish becomes a service that could be installed, or everything that is wrong with it. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use zms_core::catalogue::{Fault, Kind, Member, Place, Planned, Service};
use zms_core::host::Phase;
use zms_core::names::{InstanceId, ServiceName};
use zms_core::package::PackageRef;

use super::Catalogue;
use super::faults;
use super::wish::{Wish, WishedHost};
use crate::app::new_id;
use crate::error::Problem;
use crate::hosts::{HostRow, HostStatus};
use crate::packages::Stock;

/// What a decision is made of, beside the wish.
pub(super) struct Known<'a> {
    pub catalogue: &'a Catalogue,
    pub stock: &'a Stock,
    /// Of the environment.
    pub hosts: &'a [HostRow],
    /// Names of the environment's services.
    pub taken: &'a [String],
    pub now_ms: i64,
}

/// What would be installed.
#[derive(Debug)]
pub(super) struct Decided {
    pub service: Service,
    /// In the order of the members.
    pub planned: Vec<Planned>,
    /// In the order of the members.
    pub hosts: Vec<HostRow>,
}

/// Stands for a name that is not typed yet, so that everything else can be checked without it.
const UNNAMED: &str = "service";

pub(super) fn decide(known: &Known<'_>, wish: &Wish) -> Result<Decided, Vec<Problem>> {
    let Some(kind) = known.catalogue.find(&wish.kind) else {
        return Err(vec![Problem::new("kind", |m| m.services_choose_kind().to_owned())]);
    };
    let mut problems = Vec::new();
    let chosen = find_hosts(known, wish, &mut problems);
    let archs = chosen.iter().map(|(host, _)| host.facts.arch.as_str()).collect::<Vec<_>>();
    let packages = choose_packages(kind, known.stock, &wish.version, &archs).unwrap_or_else(|mut missing| {
        problems.append(&mut missing);
        Vec::new()
    });
    let name = checked_name(known, wish, &mut problems);
    let places = kind.places(chosen.len(), &wish.settings);
    let members = places.iter().map(|place| member(wish, &name, place, chosen[place.host])).collect();
    let generated = wish.generated.iter().filter(|(key, _)| !key.contains('/'));
    let service = Service {
        name,
        packages,
        settings: wish.settings.clone(),
        members,
        generated: generated.map(|(key, value)| (key.clone(), value.clone())).collect(),
    };
    let hosts: Vec<HostRow> = places.iter().map(|place| chosen[place.host].0.clone()).collect();
    let has_version_problem = problems.iter().any(|problem| problem.field == "version");
    match kind.plan(&service) {
        Ok(planned) if problems.is_empty() => return Ok(Decided { service, planned, hosts }),
        Ok(_) => {}
        Err(found) => problems.extend(
            found
                .iter()
                .map(|problem| of_catalogue(kind, &service, &hosts, problem))
                // Said already, with what to do about it.
                .filter(|problem| !(has_version_problem && problem.field == "version")),
        ),
    }
    Err(problems)
}

/// The hosts of a wish as far as they can be used; a host that cannot is a problem.
fn find_hosts<'h>(known: &Known<'h>, wish: &'h Wish, problems: &mut Vec<Problem>) -> Vec<(&'h HostRow, &'h WishedHost)> {
    let mut hosts: Vec<(&HostRow, &WishedHost)> = Vec::new();
    for wished in &wish.hosts {
        let Some(host) = known.hosts.iter().find(|host| host.id == wished.host) else {
            let id = wished.host.chars().take(40).collect::<String>();
            problems.push(Problem::new("hosts", move |m| m.services_unknown_host(&id)));
            continue;
        };
        let name = host.name.clone();
        if hosts.iter().any(|(other, _)| other.id == host.id) {
            problems.push(Problem::new("hosts", move |m| m.services_host_twice(&name)));
            continue;
        }
        match host.status(known.now_ms) {
            HostStatus::Online => {}
            HostStatus::Offline | HostStatus::Pending | HostStatus::Revoked => {
                problems.push(Problem::new("hosts", move |m| m.services_host_offline(&name)));
            }
        }
        if wish.hosts.len() > 1 && is_loopback(&address_of(wished, host)) {
            problems.push(Problem::new(format!("address.{}", host.id), |m| m.services_loopback().to_owned()));
        }
        hosts.push((host, wished));
    }
    hosts
}

/// Addresses that a form offers for a host; loopback only for a service of one host.
pub(super) fn addresses(host: &HostRow, alone: bool) -> Vec<String> {
    let mut addresses = host.facts.addresses.clone();
    if alone || addresses.is_empty() {
        addresses.push("127.0.0.1".to_owned());
    }
    addresses
}

fn address_of(wished: &WishedHost, host: &HostRow) -> String {
    match wished.address.as_str() {
        "" => addresses(host, false).swap_remove(0),
        chosen => chosen.to_owned(),
    }
}

fn is_loopback(address: &str) -> bool {
    address.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The packages of a service: of the server the version that was chosen, of the rest the newest that fits these hosts.
pub(super) fn choose_packages(
    kind: &Kind,
    stock: &Stock,
    version: &str,
    archs: &[&str],
) -> Result<Vec<PackageRef>, Vec<Problem>> {
    let (mut chosen, mut problems) = (Vec::new(), Vec::new());
    for (place, needed) in kind.packages().iter().enumerate() {
        let runs_everywhere = |arch: &str| arch == "any" || archs.iter().all(|host| *host == arch);
        let mut fitting = stock.fitting(needed.name.as_str(), &needed.versions);
        fitting.retain(|found| runs_everywhere(&found.manifest.arch));
        if place == 0 && !version.is_empty() {
            fitting.retain(|found| found.manifest.package.version.as_str() == version);
        }
        match fitting.into_iter().next() {
            Some(found) => chosen.push(found.manifest.package),
            None if needed.optional => {}
            None => {
                let name = needed.name.clone();
                let wanted = if place == 0 && !version.is_empty() { version.to_owned() } else { versions_text(&needed.versions) };
                problems.push(Problem::new("version", move |m| m.services_package_missing(&name, &wanted)));
            }
        }
    }
    if problems.is_empty() { Ok(chosen) } else { Err(problems) }
}

fn versions_text(versions: &[String]) -> String {
    versions.iter().map(|version| format!("{version}*")).collect::<Vec<_>>().join(", ")
}

fn checked_name(known: &Known<'_>, wish: &Wish, problems: &mut Vec<Problem>) -> ServiceName {
    if known.taken.contains(&wish.name) {
        let name = wish.name.clone();
        problems.push(Problem::new("name", move |m| m.services_name_taken(&name)));
    }
    ServiceName::new(wish.name.as_str()).unwrap_or_else(|_| {
        problems.push(Problem::new("name", |m| m.services_bad_name().to_owned()));
        ServiceName::new(UNNAMED).expect("it is a name")
    })
}

fn member(wish: &Wish, service: &ServiceName, place: &Place, (host, wished): (&HostRow, &WishedHost)) -> Member {
    let number = place.number;
    let prefix = format!("{number}/");
    let generated = wish.generated.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())));
    Member {
        instance: InstanceId::new(format!("{service}-{number}"))
            .expect("40 characters of a name and a number of at most 7 digits"),
        uid: new_id(),
        node_id: number,
        address: address_of(wished, host),
        memory_mib: host.facts.memory_mib,
        phase: Phase::Running,
        restart: 0,
        role: place.role.clone(),
        generated: generated.collect(),
        settings: BTreeMap::new(),
    }
}

/// The catalogue's problem at the field where a person can do something about it.
pub(super) fn of_catalogue(kind: &Kind, service: &Service, hosts: &[HostRow], problem: &zms_core::catalogue::Problem) -> Problem {
    let fault = problem.fault.clone();
    if let Some((instance, key)) = problem.field.split_once('/') {
        let place = service.members.iter().position(|member| member.instance.as_str() == instance);
        let field = match (key, place.and_then(|place| hosts.get(place))) {
            ("address", Some(host)) => format!("address.{}", host.id),
            (key, _) if kind.setting(key).is_some() => format!("settings.{key}"),
            _ => "hosts".to_owned(),
        };
        let instance = instance.to_owned();
        return Problem::new(field, move |m| format!("{instance}: {}", faults::say(m, &fault)));
    }
    let field = match (problem.field.as_str(), &fault) {
        ("members", _) => "hosts".to_owned(),
        (field, _) if field.starts_with("package:") => "version".to_owned(),
        (_, Fault::BadGenerated { .. }) => "kind".to_owned(),
        (key, _) => format!("settings.{key}"),
    };
    Problem::new(field, move |m| faults::say(m, &fault))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

//! What of a service makes no sense whatever its settings are, and who has which role.

use std::net::IpAddr;

use super::model::{Kind, Per, Role};
use super::problem::{Fault, Problem};
use super::service::{Member, Service};
use crate::names::shown;

/// Everything wrong with packages, members and generated values.
pub(super) fn problems(kind: &Kind, service: &Service) -> Vec<Problem> {
    let mut problems = Vec::new();
    packages(kind, service, &mut problems);
    count(kind, service, &mut problems);
    for (place, member) in service.members.iter().enumerate() {
        let id = &member.instance;
        if let Some(twin) = service.members[..place].iter().find(|other| other.instance == *id) {
            problems.push(Fault::SameAs { other: twin.instance.to_string() }.at(format!("{id}/instance")));
        }
        let max = kind.hosts.max_node_id;
        if !(1..=max).contains(&member.node_id) {
            let fault = Fault::BadNodeId { value: member.node_id.to_string(), min: "1".to_owned(), max: max.to_string() };
            problems.push(fault.at(format!("{id}/node_id")));
        }
        let earlier = service.members[..place].iter().filter(|other| other.is_live() && member.is_live());
        if let Some(twin) = earlier.clone().find(|other| other.node_id == member.node_id) {
            problems.push(Fault::SameAs { other: twin.instance.to_string() }.at(format!("{id}/node_id")));
        }
        if !is_address(&member.address) {
            problems.push(Fault::BadAddress { value: shown(&member.address) }.at(format!("{id}/address")));
        }
        if let Some(role) = &member.role
            && !kind.roles.iter().any(|known| known.name == *role)
        {
            let roles: Vec<_> = kind.roles.iter().map(|role| role.name.as_str()).collect();
            problems.push(Fault::UnknownRole { role: shown(role), roles: roles.join(", ") }.at(format!("{id}/role")));
        }
    }
    generated(kind, service, &mut problems);
    problems
}

fn packages(kind: &Kind, service: &Service, problems: &mut Vec<Problem>) {
    for needed in &kind.packages {
        let field = format!("package:{}", needed.name);
        match service.packages.iter().find(|package| package.name == needed.name) {
            None if needed.optional => {}
            None => problems.push(Fault::MissingPackage { package: needed.name.to_string() }.at(field)),
            Some(package) => {
                let version = package.version.as_str();
                if !needed.versions.is_empty() && !needed.versions.iter().any(|fit| version.starts_with(fit.as_str())) {
                    let fits = needed.versions.iter().map(|fit| format!("{fit}*")).collect::<Vec<_>>().join(", ");
                    let fault = Fault::UnfitPackage { package: needed.name.to_string(), version: version.to_owned(), fits };
                    problems.push(fault.at(field));
                }
            }
        }
    }
    for (place, package) in service.packages.iter().enumerate() {
        let known = kind.packages.iter().any(|needed| needed.name == package.name);
        let double = service.packages[..place].iter().any(|other| other.name == package.name);
        if !known || double {
            problems.push(Fault::UnknownPackage { package: package.name.to_string() }.at(format!("package:{}", package.name)));
        }
    }
}

fn count(kind: &Kind, service: &Service, problems: &mut Vec<Problem>) {
    let hosts = &kind.hosts;
    let count = kind.size(&service.members);
    // A service whose members are all to go has no count to keep.
    if !service.members.is_empty() && !service.members.iter().any(Member::is_live) {
        return;
    }
    let allowed = (hosts.min..=hosts.max).contains(&count) && (hosts.counts.is_empty() || hosts.counts.contains(&count));
    if !allowed {
        let allowed = if hosts.counts.is_empty() {
            format!("{} to {}", hosts.min, hosts.max)
        } else {
            hosts.counts.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
        };
        problems.push(Fault::MemberCount { count: count.to_string(), allowed }.at("members"));
    } else if kind.is_side_by_side() {
        side_by_side(kind, service, count, problems);
    }
}

/// Roles that a service of this size has, and no others: a setting that decides about a role cannot change later.
fn side_by_side(kind: &Kind, service: &Service, count: usize, problems: &mut Vec<Problem>) {
    let places = kind.places(count, &service.settings);
    for role in &kind.roles {
        let wanted = places.iter().any(|place| place.role.as_ref() == Some(&role.name));
        let there = service.members.iter().any(|member| member.is_live() && kind.has_role(member, role));
        match &role.when {
            Some(when) if wanted != there => problems.push(Fault::Settled { setting: when.left.clone() }.at(&when.left)),
            None if wanted && !there => problems.push(Fault::MissingRole { role: role.name.clone() }.at("members")),
            Some(_) | None => {}
        }
    }
}

fn generated(kind: &Kind, service: &Service, problems: &mut Vec<Problem>) {
    for generated in &kind.generated {
        let name = &generated.name;
        let wrong = |value: Option<&String>| value.is_none_or(|value| !generated.is_right(value));
        match generated.per {
            Per::Service if wrong(service.generated.get(name)) => {
                problems.push(Fault::BadGenerated { name: name.clone() }.at(name));
            }
            Per::Service => {}
            Per::Instance => {
                for member in service.members.iter().filter(|member| wrong(member.generated.get(name))) {
                    problems.push(Fault::BadGenerated { name: name.clone() }.at(format!("{}/{name}", member.instance)));
                }
            }
        }
    }
}

/// An address of one host that others can dial: no wildcard, no multicast, no scope, no blanks.
fn is_address(text: &str) -> bool {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return !ip.is_unspecified() && !ip.is_multicast();
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last label is a number is a mistyped IPv4 address.
    let last_is_number = text.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && !last_is_number && text.split('.').all(is_label)
}

/// The role of each member, in the order of the members; `None` for a kind without roles.
pub(super) fn roles<'a>(kind: &'a Kind, service: &Service) -> Vec<Option<&'a Role>> {
    if kind.is_side_by_side() {
        let of = |member| kind.roles.iter().find(|role| kind.has_role(member, role));
        return service.members.iter().map(of).collect();
    }
    let live = service.members.iter().filter(|member| member.is_live()).count();
    let mut given: Vec<Option<&Role>> = service
        .members
        .iter()
        .map(|member| match &member.role {
            Some(name) => kind.roles.iter().find(|role| role.name == *name),
            None if member.is_live() => None,
            None => kind.roles.last(),
        })
        .collect();
    let mut order: Vec<usize> = (0..service.members.len()).filter(|place| given[*place].is_none()).collect();
    order.sort_by_key(|place| service.members[*place].node_id);
    let mut waiting = order.into_iter();
    for role in &kind.roles {
        let quota = quota(role, live);
        let is_taken = |(place, given): &(usize, &Option<&Role>)| {
            service.members[*place].is_live() && given.is_some_and(|given| given.name == role.name)
        };
        let taken = given.iter().enumerate().filter(is_taken).count();
        for place in waiting.by_ref().take(quota.saturating_sub(taken)) {
            given[place] = Some(role);
        }
    }
    given
}

/// How many of `live` members take this role.
pub(super) fn quota(role: &Role, live: usize) -> usize {
    if role.take.is_empty() {
        return usize::MAX;
    }
    let live = i64::try_from(live).unwrap_or(i64::MAX);
    let row = role.take.iter().find(|row| row.up_to.is_none_or(|up_to| live <= up_to));
    row.and_then(|row| row.value.to_string().parse().ok()).unwrap_or_default()
}

/// Members in the order of their numbers, absent ones left out: the order of every list.
pub(super) fn live_places(members: &[Member]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..members.len()).filter(|place| members[*place].is_live()).collect();
    places.sort_by_key(|place| members[*place].node_id);
    places
}

//! Which instances a service gets on its hosts, where that is more than one on each.
//!
//! Members of most kinds are one a host. Where roles have a `first_number` of their own, a host has an instance of each role that
//! takes it: RocketMQ's name servers stand beside brokers, and a slave beside the master of another.

use std::collections::BTreeMap;

use super::members::quota;
use super::model::{Kind, Role};
use super::service::Member;
use super::setting::{DefaultValue, Setting};
use super::value::Value;

/// An instance to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which of the hosts, counted from 0.
    pub host: usize,
    /// Its number within the service.
    pub number: i32,
    /// `None` for a kind whose members take roles by their order.
    pub role: Option<String>,
}

impl Kind {
    /// The instances of a new service on so many hosts, by their numbers; what people typed may decide which roles there are.
    pub fn places(&self, hosts: usize, settings: &BTreeMap<String, String>) -> Vec<Place> {
        if !self.is_side_by_side() {
            return (0..hosts).zip(1..).map(|(host, number)| Place { host, number, role: None }).collect();
        }
        let mut places = Vec::new();
        for role in self.roles.iter().filter(|role| self.is_wanted(role, settings)) {
            let count = quota(role, hosts).min(hosts);
            let numbers = role.first_number.unwrap_or(1)..;
            let place = |(n, number)| Place { host: (n + role.first_host) % hosts, number, role: Some(role.name.clone()) };
            places.extend((0..count).zip(numbers).map(place));
        }
        places.sort_by_key(|place| place.number);
        places
    }

    /// Do hosts have an instance for each role?
    pub(super) fn is_side_by_side(&self) -> bool {
        self.roles.iter().any(|role| role.first_number.is_some())
    }

    /// Whose number it is.
    pub(super) fn role_by_number(&self, node_id: i32) -> Option<&Role> {
        let begun = self.roles.iter().filter(|role| role.first_number.is_some_and(|first| first <= node_id));
        begun.max_by_key(|role| role.first_number)
    }

    /// How many hosts' worth of members these are: where roles stand side by side, those of the last role.
    pub(super) fn size(&self, members: &[Member]) -> usize {
        let live = members.iter().filter(|member| member.is_live());
        match self.roles.last() {
            Some(last) if self.is_side_by_side() => live.filter(|member| self.has_role(member, last)).count(),
            Some(_) | None => live.count(),
        }
    }

    pub(super) fn has_role(&self, member: &Member, role: &Role) -> bool {
        let own = member.role.as_deref().or_else(|| Some(self.role_by_number(member.node_id)?.name.as_str()));
        own == Some(role.name.as_str())
    }

    /// Does the service's setting want members of this role?
    fn is_wanted(&self, role: &Role, settings: &BTreeMap<String, String>) -> bool {
        let Some(when) = &role.when else { return true };
        let setting = self.setting(&when.left).expect("Kind::parse refuses conditions of roles on anything but settings");
        let value = settings.get(&when.left).filter(|text| !text.trim().is_empty()).and_then(|text| setting.read(text).ok());
        when.holds(&value.unwrap_or_else(|| plain_default(setting)))
    }
}

fn plain_default(setting: &Setting) -> Value {
    match &setting.default {
        DefaultValue::One(value) => setting.read(&value.to_string()).ok(),
        DefaultValue::By(_) => None,
    }
    .expect("Kind::parse refuses conditions of roles on settings without one default")
}

//! The variables of one instance.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::condition::Condition;
use super::model::{Kind, Per, Role};
use super::problem::{Fault, Problem};
use super::service::{Member, Service};
use super::setting::{DefaultValue, Scalar, Setting};
use super::template::Template;
use super::value::Value;

/// What a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VariableType {
    Number,
    Boolean,
    Text,
    /// Properties, environment, options: not for templates.
    List,
}

/// Variables that every instance has, whatever its kind. `host` is `address` as it stands in front of `:port`; `number` is its place in
/// its role, from 1.
pub(super) const COMPUTED: [(&str, VariableType); 11] = [
    ("service", VariableType::Text),
    ("instance", VariableType::Text),
    ("role", VariableType::Text),
    ("address", VariableType::Text),
    ("host", VariableType::Text),
    ("node_id", VariableType::Number),
    ("number", VariableType::Number),
    ("memory_mib", VariableType::Number),
    ("members", VariableType::Number),
    ("replicas", VariableType::Number),
    ("min_isr", VariableType::Number),
];

/// The variables of one instance, by name.
#[derive(Debug, Clone)]
pub(super) struct Scope(BTreeMap<String, Value>);

impl Scope {
    /// What follows from the number of members alone.
    pub fn of_count(members: usize) -> Self {
        let members = i64::try_from(members).unwrap_or(i64::MAX);
        let replicas = members.clamp(1, 3);
        let values = [("members", members), ("replicas", replicas), ("min_isr", (replicas - 1).max(1)), ("memory_mib", 0)];
        Self(values.into_iter().map(|(name, value)| (name.to_owned(), Value::Integer(value))).collect())
    }

    /// The variables that stand in [`COMPUTED`], and the generated ones.
    pub fn of_member(kind: &Kind, service: &Service, member: &Member, role: Option<&Role>, members: usize) -> Self {
        let mut scope = Self::of_count(members);
        let is_ipv6 = member.address.parse().is_ok_and(|ip: IpAddr| ip.is_ipv6());
        let host = if is_ipv6 { format!("[{}]", member.address) } else { member.address.clone() };
        scope.set("service", Value::Text(service.name.to_string()));
        scope.set("instance", Value::Text(member.instance.to_string()));
        scope.set("role", Value::Text(role.map_or(String::new(), |role| role.name.clone())));
        scope.set("address", Value::Text(member.address.clone()));
        scope.set("host", Value::Text(host));
        scope.set("node_id", Value::Integer(member.node_id.into()));
        let before = role.and_then(|role| role.first_number).map_or(0, |first| first - 1);
        scope.set("number", Value::Integer((member.node_id - before).into()));
        scope.set("memory_mib", Value::Integer(member.memory_mib.try_into().unwrap_or(i64::MAX)));
        for generated in &kind.generated {
            let values = match generated.per {
                Per::Service => &service.generated,
                Per::Instance => &member.generated,
            };
            scope.set(&generated.name, Value::Text(values.get(&generated.name).cloned().unwrap_or_default()));
        }
        scope
    }

    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// A variable that [`Kind::parse`] has seen to exist.
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).expect("Kind::parse refuses templates with unknown variables")
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Value::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// A port; its setting has the range of ports.
    pub fn port(&self, key: &str) -> u16 {
        let port = self.integer(key).and_then(|port| u16::try_from(port).ok());
        port.expect("a port's setting allows 1024 to 65535 only")
    }

    pub fn text(&self, template: &Template) -> String {
        template.fill(|name| self.get(name).to_string())
    }

    pub fn texts(&self, templates: &[Template]) -> Vec<String> {
        templates.iter().map(|template| self.text(template)).collect()
    }

    pub fn holds(&self, when: Option<&Condition>) -> bool {
        when.is_none_or(|when| when.holds(self.get(&when.left)))
    }

    /// Reads every setting, first the member's own value, then the service's, then the default.
    pub fn read_settings(&mut self, kind: &Kind, service: &Service, member: &Member) -> Vec<Problem> {
        let given =
            |values: &BTreeMap<String, String>, key: &str| values.get(key).filter(|text| !text.trim().is_empty()).cloned();
        let mut problems = Vec::new();
        for setting in &kind.settings {
            let key = &setting.key;
            let (field, typed) = match (given(&member.settings, key), given(&service.settings, key)) {
                (Some(own), _) => (format!("{}/{key}", member.instance), Some(own)),
                (None, Some(common)) => (key.clone(), Some(common)),
                (None, None) => (key.clone(), self.default_of(setting)),
            };
            // A default that follows another setting is missing when that one is wrong; its problem says enough.
            let Some(typed) = typed else { continue };
            match setting.read(&typed).and_then(|value| self.keep_below(kind, setting, value)) {
                Ok(value) => self.set(key, value),
                Err(fault) => problems.push(fault.at(field)),
            }
        }
        for port in &kind.ports {
            let Some(number) = self.integer(&port.setting_key()) else { continue };
            for beside in &port.beside {
                self.set(&beside.setting_key(), Value::Integer(number + i64::from(beside.plus)));
            }
        }
        problems
    }

    /// The default as a person would type it.
    pub fn default_of(&self, setting: &Setting) -> Option<String> {
        match &setting.default {
            DefaultValue::One(Scalar::Text(text)) => match Template::parse(text).ok()?.single() {
                Some(variable) => self.integer(variable).map(|value| value.to_string()),
                None => Some(text.clone()),
            },
            DefaultValue::One(value) => Some(value.to_string()),
            DefaultValue::By(table) => {
                let number = self.integer(&table.by)?;
                let row = table.steps.iter().find(|row| row.up_to.is_none_or(|up_to| number <= up_to))?;
                Some(row.value.to_string())
            }
        }
    }

    fn keep_below(&self, kind: &Kind, setting: &Setting, value: Value) -> Result<Value, Fault> {
        let (Some(bound), Value::Integer(number)) = (&setting.at_most, &value) else { return Ok(value) };
        let factor = match (bound.of.as_str(), kind.setting(&bound.of)) {
            (_, Some(other)) => other.factor(),
            ("memory_mib", None) => 1 << 20,
            (_, None) => 1,
        };
        let Some(limit) = self.integer(&bound.of).filter(|limit| *limit > 0) else { return Ok(value) };
        let limit = i128::from(limit) * i128::from(factor) * i128::from(bound.percent) / 100 / i128::from(setting.factor());
        if i128::from(*number) <= limit {
            return Ok(value);
        }
        let limit = setting.with_unit(i64::try_from(limit).unwrap_or(i64::MAX));
        Err(Fault::Exceeds { value: setting.with_unit(*number), limit, of: bound.of.clone() })
    }
}

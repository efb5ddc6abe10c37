//! From a service as people decided it to what each of its hosts should run.

use super::files;
use super::guard;
use super::members;
use super::model::{Bind, Kind, Needs, Role};
use super::output::{Arg, FileKind, LineValue, PrepareKind, ProbeProtocol};
use super::problem::{Fault, Problem};
use super::scope::Scope;
use super::service::{Member, Service};
use super::value::Value;
use crate::host::{ConfigFile, Exec, InstanceSpec, Port, Prepare, SpecBody};
use crate::probe::Probe;

/// An instance and what a preflight wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What its host should run.
    pub spec: InstanceSpec,
    /// Its role, to be kept with the member; `None` for a kind whose members are all alike.
    pub role: Option<String>,
    /// Memory it may use, in MiB.
    pub memory_mib: u64,
}

impl Kind {
    /// What each member's host should run, in the order of the members; or everything that is wrong.
    pub fn render(&self, service: &Service) -> Result<Vec<InstanceSpec>, Vec<Problem>> {
        self.plan(service).map(|planned| planned.into_iter().map(|planned| planned.spec).collect())
    }

    /// Like [`Kind::render`], with each member's role and memory.
    pub fn plan(&self, service: &Service) -> Result<Vec<Planned>, Vec<Problem>> {
        let mut problems = members::problems(self, service);
        problems.extend(self.unknown_settings(service));
        let roles = members::roles(self, service);
        let order = members::live_places(&service.members);
        let size = self.size(&service.members);
        let mut scopes = Vec::new();
        for (member, role) in service.members.iter().zip(&roles) {
            let mut scope = Scope::of_member(self, service, member, *role, size);
            for problem in scope.read_settings(self, service, member) {
                // A value of the service is wrong once, not once for each member.
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
            scopes.push(scope);
        }
        if problems.is_empty() {
            problems = self.taken_ports(service, &scopes, &order);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for (scope, role) in scopes.iter_mut().zip(&roles) {
            for (name, value) in role.iter().flat_map(|role| &role.values) {
                scope.set(name, Value::Text(scope.text(value)));
            }
        }
        for list in &self.lists {
            let members = order.iter().map(|place| &scopes[*place]).filter(|member| files::is_over(&list.over, member));
            let joined = members.map(|member| member.text(&list.item)).collect::<Vec<_>>().join(&list.join);
            scopes.iter_mut().for_each(|scope| scope.set(&list.name, Value::Text(joined.clone())));
        }
        let live: Vec<&Scope> = order.iter().map(|place| &scopes[*place]).collect();
        let planned = service.members.iter().zip(&scopes).zip(&roles).map(|((member, scope), role)| Planned {
            spec: self.instance(service, member, *role, scope, &live),
            role: role.map(|role| role.name.clone()),
            memory_mib: self.memory_of(*role, scope),
        });
        Ok(planned.collect())
    }

    fn unknown_settings(&self, service: &Service) -> Vec<Problem> {
        let common = service.settings.keys().map(|key| (key, key.clone()));
        let own = service
            .members
            .iter()
            .flat_map(|member| member.settings.keys().map(|key| (key, format!("{}/{key}", member.instance))));
        common
            .chain(own)
            .filter(|(key, _)| self.setting(key).is_none())
            .map(|(_, field)| Fault::UnknownSetting { kind: self.kind.to_string() }.at(field))
            .collect()
    }

    fn taken_ports(&self, service: &Service, scopes: &[Scope], order: &[usize]) -> Vec<Problem> {
        let mut seen: Vec<(&str, u16, String)> = Vec::new();
        let mut problems = Vec::new();
        for place in order {
            let (member, scope) = (&service.members[*place], &scopes[*place]);
            for port in self.ports.iter().filter(|port| scope.holds(port.when.as_ref())) {
                let address = member.address.as_str();
                for (name, key) in port.all() {
                    let number = scope.port(&key);
                    match seen.iter().find(|(other, taken, _)| *other == address && *taken == number) {
                        Some((_, _, other)) => {
                            let fault = Fault::PortTaken { port: number.to_string(), other: other.clone() };
                            problems.push(fault.at(format!("{}/{}", member.instance, port.setting_key())));
                        }
                        None => seen.push((address, number, format!("{name} of {}", member.instance))),
                    }
                }
            }
        }
        problems
    }

    fn instance(&self, service: &Service, member: &Member, role: Option<&Role>, scope: &Scope, live: &[&Scope]) -> InstanceSpec {
        let packages =
            self.packages.iter().filter_map(|needed| service.packages.iter().find(|package| package.name == needed.name));
        let file = |kind: &FileKind| match kind.secret {
            Some(secret) => secret.placeholder(&member.uid),
            None => files::body(self, kind, scope, live),
        };
        let files: Vec<&FileKind> = self.files.iter().filter(|kind| scope.holds(kind.when.as_ref())).collect();
        let is_done = |prepare: &&PrepareKind| match prepare {
            PrepareKind::Copy { from, .. } => files.iter().any(|file| file.name == *from),
            PrepareKind::Run { .. } => true,
        };
        let body = SpecBody {
            restart: member.restart,
            packages: packages.cloned().collect(),
            files: files
                .iter()
                .map(|kind| ConfigFile { name: kind.name.clone(), body: file(kind), private: kind.secret.is_some() })
                .collect(),
            prepare: self.prepare.iter().filter(is_done).map(|prepare| prepare_for(prepare, scope)).collect(),
            exec: self.exec_for(role, scope),
            ports: self.ports_for(member, scope),
            probe: self.probe_for(member, role, scope),
            min_free_mib: self.needs_of(role).free_mib,
            disk_full_at: self.needs_of(role).full_at,
        };
        InstanceSpec::new(member.instance.clone(), member.uid.clone(), self.kind.clone(), member.phase, body)
    }

    fn exec_for(&self, role: Option<&Role>, scope: &Scope) -> Exec {
        let exec = &self.exec;
        let mut env: std::collections::BTreeMap<_, _> =
            exec.env.iter().map(|(key, value)| (key.clone(), scope.text(value))).collect();
        if let Some(Value::Pairs(pairs)) = exec.more_env.as_ref().map(|setting| scope.get(setting)) {
            debug_assert!(pairs.iter().all(|(key, _)| !guard::is_code_variable(key)), "guard::environment refused these");
            env.extend(pairs.iter().cloned());
        }
        let nofile = match &exec.nofile {
            LineValue::Integer(number) => Some(*number),
            LineValue::Template(template) => template.single().and_then(|name| scope.integer(name)),
            LineValue::Boolean(_) => None,
        };
        Exec {
            argv: arguments(&exec.argv, scope),
            env,
            nofile: nofile.and_then(|number| u64::try_from(number).ok()).expect("Kind::parse sees to a positive number"),
            stop_signal: exec.stop_signal,
            stop_wait_s: role.and_then(|role| role.stop_wait_s).unwrap_or(exec.stop_wait_s),
            start_secs: exec.start_secs,
        }
    }

    fn ports_for(&self, member: &Member, scope: &Scope) -> Vec<Port> {
        let wanted = self.ports.iter().filter(|port| scope.holds(port.when.as_ref()));
        let ports = wanted.flat_map(|port| {
            let address = match port.bind {
                Bind::Address => member.address.as_str(),
                Bind::Loopback => "127.0.0.1",
            };
            port.all().map(move |(name, key)| Port { name: name.to_owned(), address: address.to_owned(), port: scope.port(&key) })
        });
        ports.collect()
    }

    fn probe_for(&self, member: &Member, role: Option<&Role>, scope: &Scope) -> Probe {
        let probe = role.and_then(|role| role.probe.as_ref()).unwrap_or(&self.probe);
        // Asked where the port listens: one on the loopback is not there at the member's address.
        let on_loopback = self.ports.iter().any(|port| port.name == probe.port && port.bind == Bind::Loopback);
        let host = if on_loopback { "127.0.0.1".to_owned() } else { member.address.clone() };
        let port = scope.port(&format!("{}_port", probe.port));
        match probe.kind {
            ProbeProtocol::Kafka => Probe::Kafka { host, port, node_id: member.node_id },
            ProbeProtocol::Zookeeper => Probe::Zookeeper { host, port },
            ProbeProtocol::Influxdb => Probe::Influxdb { host, port },
            ProbeProtocol::RocketmqNameserver => Probe::RocketmqNameserver { host, port },
            ProbeProtocol::RocketmqBroker => {
                let who = probe.broker.as_ref().expect("Kind::parse refuses such a probe without broker");
                let id = scope.text(&who.id).parse().expect("Kind::parse sees to a number");
                let name_servers = scope.text(&who.name_servers).split(';').map(str::to_owned).collect();
                Probe::RocketmqBroker { host, port, broker: scope.text(&who.name), id, name_servers }
            }
            ProbeProtocol::Http => Probe::Http { host, port, path: probe.path.clone().unwrap_or_default() },
        }
    }

    fn needs_of<'a>(&'a self, role: Option<&'a Role>) -> &'a Needs {
        role.and_then(|role| role.needs.as_ref()).unwrap_or(&self.needs)
    }

    fn memory_of(&self, role: Option<&Role>, scope: &Scope) -> u64 {
        let needs = self.needs_of(role);
        let settings = needs.memory_settings.iter().filter_map(|key| {
            let bytes = scope.integer(key)?.checked_mul(self.setting(key)?.factor())?;
            u64::try_from(bytes >> 20).ok()
        });
        needs.memory_mib + settings.sum::<u64>()
    }
}

fn prepare_for(prepare: &PrepareKind, scope: &Scope) -> Prepare {
    match prepare {
        PrepareKind::Copy { from, to } => Prepare::Copy { from: from.clone(), to: scope.text(to) },
        PrepareKind::Run { unless, argv, timeout_s } => {
            Prepare::Run { unless: scope.text(unless), argv: arguments(argv, scope), timeout_s: *timeout_s }
        }
    }
}

fn arguments(args: &[Arg], scope: &Scope) -> Vec<String> {
    let mut out = Vec::new();
    for arg in args {
        match arg {
            Arg::Always(template) => out.push(scope.text(template)),
            Arg::When(choice) if scope.holds(Some(&choice.when)) => out.extend(scope.texts(&choice.args)),
            Arg::When(_) => {}
            Arg::Words(words) => {
                if let Value::Words(words) = scope.get(&words.words) {
                    out.extend(words.iter().cloned());
                }
            }
        }
    }
    out
}

//! Could these instances run here? One entry for each thing looked at, with the numbers that were found.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};

use zms_core::host::{Check, DesiredState, InstanceSpec, Level, Phase, Port};

use crate::exec::data;
use crate::layout::Layout;
use crate::lock::{self, Holder};
use crate::space::Space;
use crate::supervisor::{program, server};
use crate::{facts, preflight};

/// Heaps that take more than this share of the memory leave too little for files, threads and the system, in percent.
const HEAP_SHARE: u64 = 75;
/// So near to what is too full, in percent, a disk is worth a word.
const NEARLY: u64 = 5;

/// All checks of all instances, in order. Blocks shortly and changes nothing.
pub fn all(layout: &Layout, current: &DesiredState, instances: &[InstanceSpec]) -> Vec<Check> {
    let host = Host::look(layout, current, instances);
    instances.iter().flat_map(|spec| host.check(layout, current, spec)).collect()
}

/// What is the same for all instances.
struct Host {
    addresses: Vec<IpAddr>,
    memory_mib: u64,
    heaps_mib: u64,
    disk: Result<Space, String>,
    wanted_mib: u64,
    python: Result<String, String>,
    /// How many of the asked instances want an address.
    wanted_ports: BTreeMap<(String, u16), usize>,
}

impl Host {
    fn look(layout: &Layout, current: &DesiredState, instances: &[InstanceSpec]) -> Self {
        let others = current
            .instances
            .iter()
            .filter(|other| other.phase == Phase::Running && instances.iter().all(|spec| spec.id != other.id));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut wanted_ports = BTreeMap::new();
        for port in instances.iter().flat_map(|spec| &spec.body.ports) {
            *wanted_ports.entry((port.address.clone(), port.port)).or_default() += 1;
        }
        Self {
            addresses: facts::addresses(),
            memory_mib: facts::memory_mib(),
            heaps_mib: others.chain(instances).filter_map(heap_mib).sum(),
            disk: Space::of(layout.prefix()).map_err(|error| format!("free space of {}: {error}", layout.prefix().display())),
            wanted_mib: instances.iter().map(|spec| spec.body.min_free_mib).sum(),
            python: server::find_python(&path).map(|path| path.display().to_string()).map_err(|error| error.to_string()),
            wanted_ports,
        }
    }

    fn check(&self, layout: &Layout, current: &DesiredState, spec: &InstanceSpec) -> Vec<Check> {
        let mut checks = Vec::new();
        let mut add = |name: &str, level: Level, text: String| {
            checks.push(Check { name: name.to_owned(), instance: spec.id.clone(), level, text });
        };
        if let Err(error) = program::check_id(&spec.id) {
            add("data", Level::Fail, error.to_string());
        }
        let held = ports_held(layout, current, spec);
        for port in &spec.body.ports {
            let (level, text) = self.address(&port.address);
            add("address", level, text);
            // A port of an address that is not here would only say so again.
            if level != Level::Fail {
                let (level, text) = self.port(port, &held);
                add("port", level, text);
            }
        }
        let (level, text) = self.space();
        add("space", level, text);
        if let Some((level, text)) = self.fullness(spec) {
            add("disk", level, text);
        }
        if let Some((level, text)) = self.memory(spec) {
            add("memory", level, text);
        }
        match &self.python {
            Ok(path) => add("python", Level::Pass, format!("{path} runs supervisord")),
            Err(error) => add("python", Level::Fail, error.clone()),
        }
        if let Some((level, text)) = java(spec) {
            add("java", level, text);
        }
        match data::refusal(&layout.data_dir(&spec.id), &spec.uid) {
            Ok(None) => add("data", Level::Pass, format!("{} is free for it", layout.data_dir(&spec.id).display())),
            Ok(Some(refusal)) => add("data", Level::Fail, refusal),
            Err(error) => add("data", Level::Fail, format!("{}: {error}", layout.data_dir(&spec.id).display())),
        }
        checks
    }

    fn address(&self, address: &str) -> (Level, String) {
        match address.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => (Level::Pass, format!("{address} stands for all addresses of this host")),
            Ok(ip) if ip.is_loopback() || self.addresses.contains(&ip) => {
                (Level::Pass, format!("{address} is an address of this host"))
            }
            // It may be one that only the system knows (an address that is bound without an interface).
            Ok(ip) if TcpListener::bind((ip, 0)).is_ok() => (Level::Pass, format!("{address} is an address of this host")),
            Ok(_) => {
                let have: Vec<String> = self.addresses.iter().map(IpAddr::to_string).collect();
                (Level::Fail, format!("{address} is no address of this host, which has {}", have.join(", ")))
            }
            Err(_) => match TcpListener::bind((address, 0)) {
                Ok(_) => (Level::Pass, format!("{address} is this host")),
                Err(error) => (Level::Fail, format!("{address} is not this host: {error}")),
            },
        }
    }

    fn port(&self, port: &Port, held: &[Port]) -> (Level, String) {
        let label = format!("{}:{} ({})", port.address, port.port, port.name);
        if self.wanted_ports.get(&(port.address.clone(), port.port)).is_some_and(|count| *count > 1) {
            return (Level::Fail, format!("port {label} is wanted more than once; give each instance its own"));
        }
        if held.iter().any(|own| own.port == port.port) {
            return (Level::Pass, format!("port {label} is held by this instance itself"));
        }
        match preflight::port_in_use(port) {
            None => (Level::Pass, format!("port {label} is free")),
            Some(problem) => (Level::Fail, problem),
        }
    }

    fn space(&self) -> (Level, String) {
        match &self.disk {
            Ok(disk) => {
                let level = if disk.free_mib() < self.wanted_mib { Level::Fail } else { Level::Pass };
                (level, format!("{} MiB are free, {} MiB are needed in all", disk.free_mib(), self.wanted_mib))
            }
            Err(error) => (Level::Fail, error.clone()),
        }
    }

    /// Some refuse their work on a disk that is nearly full, though much may be free there.
    fn fullness(&self, spec: &InstanceSpec) -> Option<(Level, String)> {
        let full_at = u64::from(spec.body.disk_full_at?);
        // That it cannot be looked at was said with the space.
        let used = self.disk.as_ref().ok()?.used_percent;
        let level = match used {
            used if used >= full_at => Level::Fail,
            used if used + NEARLY >= full_at => Level::Warn,
            _ => Level::Pass,
        };
        Some((
            level,
            format!(
                "{used} % of the disk are in use; from {full_at} % on it refuses its work: make room, or choose another host"
            ),
        ))
    }

    fn memory(&self, spec: &InstanceSpec) -> Option<(Level, String)> {
        let own = heap_mib(spec)?;
        let text = format!(
            "a heap of {own} MiB; all heaps on this host would have {} of {} MiB memory",
            self.heaps_mib, self.memory_mib
        );
        let level = match self.heaps_mib {
            all if all > self.memory_mib => Level::Fail,
            all if all * 100 > self.memory_mib * HEAP_SHARE => Level::Warn,
            _ => Level::Pass,
        };
        Some((level, text))
    }
}

/// What an instance of this id that runs now listens on.
fn ports_held(layout: &Layout, current: &DesiredState, spec: &InstanceSpec) -> Vec<Port> {
    let runs = matches!(lock::holder(&layout.lock(&spec.id)), Ok(Holder::Held { .. }));
    let known = current.instances.iter().find(|known| known.id == spec.id && known.uid == spec.uid);
    known.filter(|_| runs).map(|known| known.body.ports.clone()).unwrap_or_default()
}

fn java(spec: &InstanceSpec) -> Option<(Level, String)> {
    let wants = |words: &[String]| words.iter().any(|word| word.contains("{java}"));
    let prepared = spec.body.prepare.iter().any(|step| match step {
        zms_core::host::Prepare::Run { argv, .. } => wants(argv),
        zms_core::host::Prepare::Copy { .. } => false,
    });
    if !wants(&spec.body.exec.argv) && !prepared {
        return None;
    }
    if let Some(jre) = spec.body.packages.iter().find(|package| package.name.as_str() == "jre") {
        return Some((Level::Pass, format!("Java {} comes with it", jre.version)));
    }
    Some(match preflight::find_java() {
        Some(path) => (Level::Warn, format!("it would run on {}, whose version nobody has tried with it", path.display())),
        None => (Level::Fail, "no package jre in its spec and no Java on this host".to_owned()),
    })
}

/// The `-Xmx` of a JVM, in MiB.
fn heap_mib(spec: &InstanceSpec) -> Option<u64> {
    spec.body.exec.argv.iter().rev().find_map(|word| {
        let size = word.strip_prefix("-Xmx")?;
        let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u64 = digits.parse().ok()?;
        Some(match size[digits.len()..].to_ascii_lowercase().as_str() {
            "" => number >> 20,
            "k" => number >> 10,
            "m" => number,
            "g" => number << 10,
            "t" => number << 20,
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::sleeper;
    use crate::lock::InstanceLock;

    fn place() -> (tempfile::TempDir, Layout, DesiredState) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        std::fs::create_dir_all(layout.prefix()).unwrap();
        (folder, layout, DesiredState { generation: 1, ..DesiredState::default() })
    }

    fn with(id: &str, change: impl FnOnce(&mut InstanceSpec)) -> InstanceSpec {
        let mut spec = sleeper(id);
        change(&mut spec);
        spec
    }

    fn found(checks: &[Check], name: &str) -> (Level, String) {
        let check = checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name} in {checks:#?}"));
        (check.level, check.text.clone())
    }

    #[test]
    fn what_stands_against_an_instance_is_told_with_its_numbers() {
        let (_keep, layout, current) = place();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |address: &str, port| Port { name: "client".into(), address: address.into(), port };
        let busy = taken.local_addr().unwrap().port();
        std::fs::create_dir_all(layout.data_dir(&"s-1".parse().unwrap())).unwrap();
        std::fs::write(layout.data_dir(&"s-1".parse().unwrap()).join("precious"), "x").unwrap();
        let spec = with("s-1", |spec| {
            spec.body.ports = vec![port("127.0.0.1", busy)];
            spec.body.min_free_mib = u64::MAX >> 1;
            spec.body.exec.argv = vec!["{java}".into(), "-Xmx900000g".into()];
            spec.body.packages[0].name = "jre".parse().unwrap();
        });
        let checks = all(&layout, &current, &[spec]);
        assert_eq!(found(&checks, "address").0, Level::Pass);
        assert!(matches!(found(&checks, "port"), (Level::Fail, text) if text.contains("in use")));
        assert!(matches!(found(&checks, "space"), (Level::Fail, text) if text.contains("MiB are free")));
        assert!(matches!(found(&checks, "memory"), (Level::Fail, text) if text.contains("921600000")));
        assert!(matches!(found(&checks, "data"), (Level::Fail, text) if text.contains("precious")));
        assert!(matches!(found(&checks, "java"), (Level::Pass, text) if text.contains("comes with it")));

        let away = all(&layout, &current, &[with("s-2", |spec| spec.body.ports = vec![port("192.0.2.77", 1)])]);
        assert!(matches!(found(&away, "address"), (Level::Fail, text) if text.contains("192.0.2.77 is no address")));
        assert!(away.iter().all(|check| check.name != "port"));
    }

    #[test]
    fn a_disk_that_is_too_full_for_it_is_told_before_it_is_installed() {
        let (_keep, layout, current) = place();
        let host = |used_percent: u64| Host {
            disk: Ok(Space { used_percent, ..Space::of(layout.prefix()).unwrap() }),
            ..Host::look(&layout, &current, &[])
        };
        let spec = |full_at: Option<u8>| with("s-1", |spec| spec.body.disk_full_at = full_at);
        assert_eq!(host(100).fullness(&spec(None)), None);
        for (used, level) in [(84, Level::Pass), (85, Level::Warn), (89, Level::Warn), (90, Level::Fail)] {
            let (found, text) = host(used).fullness(&spec(Some(90))).unwrap();
            assert!(
                found == level && text.starts_with(&format!("{used} % of the disk are in use; from 90 %")),
                "{found:?} {text}"
            );
        }
        let used = Space::of(layout.prefix()).unwrap().used_percent;
        let checks = all(&layout, &current, &[spec(Some(1))]);
        assert!(matches!(found(&checks, "disk"), (Level::Fail, text) if text.starts_with(&format!("{used} %"))), "{checks:?}");
    }

    #[test]
    fn a_port_that_the_instance_itself_holds_is_fine_and_one_wanted_twice_is_not() {
        let (_keep, layout, mut current) = place();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = Port { name: "client".into(), address: "127.0.0.1".into(), port: taken.local_addr().unwrap().port() };
        let spec = with("s-1", |spec| spec.body.ports = vec![busy.clone()]);
        current.instances = vec![spec.clone()];
        assert_eq!(found(&all(&layout, &current, std::slice::from_ref(&spec)), "port").0, Level::Fail, "nothing holds its lock");
        let _lock = InstanceLock::try_acquire(&layout.lock(&spec.id)).unwrap().unwrap();
        let (level, text) = found(&all(&layout, &current, std::slice::from_ref(&spec)), "port");
        assert!(level == Level::Pass && text.contains("by this instance itself"), "{text}");
        let twin = with("s-2", |spec| spec.body.ports = vec![busy]);
        assert!(
            matches!(found(&all(&layout, &current, &[spec, twin]), "port"), (Level::Fail, text) if text.contains("more than once"))
        );
    }

    #[test]
    fn heaps_are_read_as_a_jvm_does_and_summed_with_what_runs() {
        for (word, mib) in
            [("-Xmx1g", Some(1024)), ("-Xmx512m", Some(512)), ("-Xmx2097152", Some(2)), ("-Xmxx", None), ("-Xms1g", None)]
        {
            assert_eq!(heap_mib(&with("s-1", |spec| spec.body.exec.argv.push(word.into()))), mib, "{word}");
        }
        let (_keep, layout, mut current) = place();
        let heap = |id: &str| with(id, |spec| spec.body.exec.argv.push("-Xmx100m".into()));
        current.instances = vec![heap("s-1"), heap("s-2")];
        let checks = all(&layout, &current, &[heap("s-2"), heap("s-3")]);
        assert!(found(&checks, "memory").1.contains("would have 300 of"), "{checks:?}");
    }
}

//! A host in a temporary folder: a real agent, a real supervisord, real servers.

#![allow(clippy::disallowed_methods, reason = "the test plays the person who starts an agent on a host")]
#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod example;
pub mod real;

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zms_agent::layout::Layout;
use zms_agent::lock::{self, Holder};
use zms_agent::process;
use zms_core::host::{DesiredState, HostReport, InstanceReport, InstanceSpec, Phase, SupervisorReport};
use zms_core::names::InstanceId;
use zms_core::package::{Manifest, PackageRef};

/// See the module. Dropping it ends every process that it started.
pub struct Host {
    _folder: tempfile::TempDir,
    _packages: Option<tempfile::TempDir>,
    certificates: zms_testbed::Certificates,
    pub layout: Layout,
    pub packages: PathBuf,
    desired: PathBuf,
    generation: u64,
    supervisor: PackageRef,
    wanted: Vec<InstanceSpec>,
    ids: Vec<InstanceId>,
    agents: Vec<Child>,
}

/// Where `scripts/packages` puts them.
pub fn package_folder() -> PathBuf {
    let cache = std::env::var_os("ZMS_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/zms"));
    cache.join("packages")
}

/// The package of this name whose version begins with one of `lines` (the first of them that is there), or any if there are none; a
/// missing one fails the test with what to run.
pub fn package(folder: &Path, name: &str, lines: &[String]) -> PackageRef {
    let manifests = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}; run scripts/packages", folder.display()));
    let named: Vec<PackageRef> = manifests
        .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.extension().is_some_and(|e| e == "json")))
        .filter_map(|path| serde_json::from_slice::<Manifest>(&fs::read(path).ok()?).ok())
        .map(|manifest| manifest.package)
        .filter(|package| package.name.as_str() == name)
        .collect();
    let of_line = |line: &str| named.iter().find(|package| package.version.as_str().starts_with(line));
    let found = if lines.is_empty() { named.first() } else { lines.iter().find_map(|line| of_line(line)) };
    found.unwrap_or_else(|| panic!("no package {name} in {}; run scripts/packages {name}", folder.display())).clone()
}

pub use zms_testbed::free_port;

impl Host {
    /// A host with nothing on it, whose packages come from the project's cache.
    pub fn new() -> Self {
        // Links, so that secrets can lie beside the archives.
        let folder = tempfile::Builder::new().prefix("zms-packages-").tempdir().unwrap();
        for entry in fs::read_dir(package_folder()).unwrap().flatten() {
            std::os::unix::fs::symlink(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let mut host = Self::with_packages(folder.path().to_owned());
        host._packages = Some(folder);
        host
    }

    /// What a portal would have for these instances: their certificates, and that of the authority.
    fn put_secrets(&self, instances: &[InstanceSpec]) {
        let wanted = |spec: &InstanceSpec| spec.body.files.iter().any(|file| file.body.contains("{secret:"));
        for spec in instances.iter().filter(|spec| wanted(spec)) {
            let secrets = self.packages.join("secrets");
            for (reference, text) in [
                (zms_core::catalogue::Secret::tls_reference(&spec.uid), &self.certificates.server_pem),
                ("authority/certificate".to_owned(), &self.certificates.authority_pem),
            ] {
                zms_agent::disk::write_whole(&secrets.join(reference), text.as_bytes(), 0o600).unwrap();
            }
        }
    }

    pub fn with_packages(packages: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("zms-host-").tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        fs::create_dir_all(layout.prefix().join("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zms-agent"), layout.agent_binary()).unwrap();
        let supervisor = package(&package_folder(), "supervisor", &[]);
        let desired = folder.path().join("wanted.json");
        Self {
            _folder: folder,
            _packages: None,
            certificates: zms_testbed::Certificates::new(),
            layout,
            packages,
            desired,
            generation: 0,
            supervisor,
            wanted: vec![],
            ids: vec![],
            agents: vec![],
        }
    }

    /// Writes the next generation of the desired state.
    pub fn want(&mut self, instances: Vec<InstanceSpec>) {
        self.put_secrets(&instances);
        self.generation += 1;
        self.wanted.clone_from(&instances);
        self.ids.extend(instances.iter().map(|i| i.id.clone()));
        self.ids.sort();
        self.ids.dedup();
        let state = self.state(self.generation, instances);
        self.write_desired(&serde_json::to_vec_pretty(&state).unwrap());
    }

    /// Writes these bytes where the desired state is looked for.
    pub fn write_desired(&self, bytes: &[u8]) {
        zms_agent::disk::write_whole(&self.desired, bytes, 0o600).unwrap();
    }

    /// The desired state of this generation with these instances.
    pub fn state(&self, generation: u64, instances: Vec<InstanceSpec>) -> DesiredState {
        DesiredState { generation, supervisor: Some(self.supervisor.clone()), instances, ..DesiredState::default() }
    }

    /// Generation of the last state that was wanted.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Starts an agent as a person would.
    pub fn start_agent(&mut self) {
        self.start_agent_with(&[]);
    }

    /// Its process.
    pub fn start_agent_with(&mut self, environment: &[(&str, &str)]) -> u32 {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.layout.prefix().join("agent.log")).unwrap();
        let child = Command::new(self.layout.agent_binary())
            .arg("--prefix")
            .arg(self.layout.prefix())
            .arg("run")
            .arg("--desired")
            .arg(&self.desired)
            .arg("--packages")
            .arg(&self.packages)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = child.id();
        self.agents.push(child);
        pid
    }

    /// What the agents that were started here have logged.
    pub fn agent_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.layout.prefix().join("agent.log")).unwrap_or_default()).into_owned()
    }

    /// The process of the agent that acts.
    pub fn agent_pid(&self) -> Option<u32> {
        match lock::holder(&self.layout.agent_lock()) {
            Ok(Holder::Held { pid }) => pid,
            _ => None,
        }
    }

    pub fn report(&self) -> Option<HostReport> {
        serde_json::from_slice(&fs::read(self.layout.report()).ok()?).ok()
    }

    pub fn instance(&self, id: &str) -> Option<InstanceReport> {
        self.report()?.instances.into_iter().find(|i| i.id.as_str() == id)
    }

    pub fn supervisor_pid(&self) -> Option<u32> {
        match self.report()?.supervisor {
            SupervisorReport::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Waits until every instance is as it was last wanted.
    pub fn settle(&self, within: Duration) -> HostReport {
        self.until("all instances are as wanted", within, |host| host.settled().then(|| host.report()).flatten())
    }

    /// Is every instance as it was last wanted?
    pub fn settled(&self) -> bool {
        self.report().is_some_and(|report| {
            let all = self.wanted.iter().all(|spec| report.instances.iter().any(|found| found.done_as(spec)));
            let needed = self.wanted.iter().any(|spec| spec.phase == Phase::Running);
            let supervised = matches!(report.supervisor, SupervisorReport::Running { .. });
            all && report.generation == self.generation && (supervised || !needed)
        })
    }

    /// Waits for a condition; when the deadline passes, says what was still missing and shows the logs.
    pub fn until<T>(&self, what: &str, within: Duration, condition: impl Fn(&Self) -> Option<T>) -> T {
        let end = Instant::now() + within;
        loop {
            if let Some(found) = condition(self) {
                return found;
            }
            if Instant::now() > end {
                panic!("after {within:?} still not: {what}\n{}", self.story());
            }
            // Between two looks; the deadline above decides.
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Status, the agent's log and the ends of the instances' logs.
    pub fn story(&self) -> String {
        let mut story = zms_agent::status::show(&self.layout, SystemTime::now()).unwrap_or_else(|e| e.to_string());
        let mut logs = vec![self.layout.prefix().join("agent.log"), self.layout.supervisor_log()];
        logs.extend(self.ids.iter().map(|id| self.layout.log_file(id)));
        for log in logs {
            let lines = zms_agent::status::last_lines(&log, 25).unwrap_or_default();
            story.push_str(&format!("\n--- {}\n{}\n", log.display(), lines.join("\n")));
        }
        story
    }

    /// How many processes carry the instance's marker and hold its lock's descriptor: more than one is the disaster.
    pub fn copies(&self, id: &str) -> Vec<u32> {
        process::find_instances(&id.parse().unwrap())
            .into_iter()
            .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(self.layout.prefix())))
            .collect()
    }

    pub fn log_of(&self, id: &str) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = fs::File::open(self.layout.log_file(&id.parse().unwrap())) {
            file.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// `kill -9`.
pub fn kill_9(pid: u32) {
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap_or_else(|error| panic!("kill -9 {pid}: {error}"));
}

/// Makes a JVM write a thread dump to its standard output.
pub fn signal_quit(pid: u32) {
    kill(Pid::from_raw(pid as i32), Signal::SIGQUIT).unwrap_or_else(|error| panic!("kill -QUIT {pid}: {error}"));
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
        // First whoever restarts things, then the things. Each round reads the process ids anew.
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let mut pids = Vec::new();
            pids.extend(self.agents.iter().map(Child::id));
            pids.extend(processes_below(self.layout.prefix()));
            for child in &mut self.agents {
                let _ = child.kill();
                let _ = child.wait();
            }
            self.agents.clear();
            pids.retain(|pid| process::alive(*pid));
            if pids.is_empty() || Instant::now() > end {
                break;
            }
            for pid in pids {
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// Processes of this host: their command line or working folder lies below the prefix, which is a fresh folder of ours.
fn processes_below(prefix: &Path) -> Vec<u32> {
    let needle = prefix.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let inside = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(prefix));
            inside || String::from_utf8_lossy(&command).contains(&needle)
        })
        .collect()
}

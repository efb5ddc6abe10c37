//! `zms-agent exec` as supervisord runs it: the built binary, a real lock, real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use zms_agent::exec::{ExecFile, PrepareStep};
use zms_agent::layout::Layout;
use zms_agent::lock::{self, Holder, InstanceLock};
use zms_agent::process;
use zms_core::host::SpecHash;
use zms_core::names::InstanceId;

const SPEC: &str = "0123456789abcdef0123456789abcdef";

/// A prefix with one instance in it.
struct Host {
    folder: tempfile::TempDir,
    layout: Layout,
    id: InstanceId,
}

impl Host {
    fn new(change: impl FnOnce(&mut ExecFile)) -> Self {
        // Names are counted over all of /proc, so each test has its own.
        Self::named(|folder| format!("t-{}", folder.replace('.', "").to_lowercase()), change)
    }

    fn named(name: impl FnOnce(&str) -> String, change: impl FnOnce(&mut ExecFile)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        let id = InstanceId::new(name(folder.path().file_name().unwrap().to_str().unwrap())).unwrap();
        let host = Self { folder, layout, id };
        host.write(change);
        host
    }

    fn write(&self, change: impl FnOnce(&mut ExecFile)) {
        let mut file = ExecFile {
            id: self.id.clone(),
            uid: "u-1".to_owned(),
            spec: SpecHash::parse(SPEC).unwrap(),
            argv: argv(&["/bin/sleep", "300"]),
            env: BTreeMap::new(),
            nofile: 64,
            prepare: Vec::new(),
            data_dir: self.layout.data_dir(&self.id),
            log_file: self.layout.log_file(&self.id),
        };
        change(&mut file);
        let path = self.layout.exec_file(&self.id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_vec(&file).unwrap()).unwrap();
    }

    fn command(&self) -> Command {
        #[allow(clippy::disallowed_methods, reason = "what is run is zms-agent exec")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_zms-agent"));
        command.arg("--prefix").arg(self.layout.prefix()).args(["exec", self.id.as_str()]).env("ZMS_STRAY", "x");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    fn output(&self) -> Output {
        self.command().output().unwrap()
    }

    /// Starts, and returns once the process is the instance.
    fn start(&self) -> Running {
        let child = Running(self.command().spawn().unwrap());
        let pid = child.0.id();
        until("the process to be the instance", || process::marker(pid).is_some_and(|marker| marker.instance == self.id));
        child
    }

    fn holder(&self) -> Holder {
        lock::holder(&self.layout.lock(&self.id)).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.layout.log_file(&self.id)).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn argv(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn sh(script: &str) -> Vec<String> {
    argv(&["/bin/sh", "-c", script])
}

fn until(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !met() {
        assert!(Instant::now() < end, "waited 30 s for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_process_takes_the_place_of_exec_and_carries_the_lock_on_descriptor_3() {
    let host = Host::new(|_| {});
    let running = host.start();
    let pid = running.0.id();
    assert_eq!(process::command(pid).unwrap(), "/bin/sleep 300");
    assert_eq!(process::marker(pid).unwrap().spec.as_str(), SPEC);
    assert_eq!(host.holder(), Holder::Held { pid: Some(pid) });
    let lock = fs::metadata(host.layout.lock(&host.id)).unwrap();
    let carried = fs::metadata(format!("/proc/{pid}/fd/3")).unwrap();
    assert_eq!((lock.dev(), lock.ino()), (carried.dev(), carried.ino()));
    let ours = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter(|descriptor| fs::read_link(descriptor.as_ref().unwrap().path()).unwrap().starts_with(host.folder.path()));
    assert_eq!(ours.count(), 3, "the log twice and the lock, nothing else of ours");
    assert_eq!(process::find_instances(&host.id), [pid]);
    drop(running);
    assert_eq!(host.holder(), Holder::Free);
}

#[test]
fn a_second_copy_is_turned_away_with_75_and_told_who_runs() {
    let host = Host::new(|_| {});
    let running = host.start();
    let second = host.output();
    assert_eq!(second.status.code(), Some(75));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains(&format!("process {} (/bin/sleep 300) holds", running.0.id())), "{message}");
    assert!(host.log().contains("zms-agent exec") && host.log().contains("would destroy its data"), "{}", host.log());
    assert_eq!(process::find_instances(&host.id).len(), 1);
}

#[test]
fn the_lock_is_given_back_when_the_process_is_killed() {
    let host = Host::new(|_| {});
    for _ in 0..3 {
        let mut running = host.start();
        running.0.kill().unwrap();
        running.0.wait().unwrap();
        assert_eq!(host.holder(), Holder::Free);
    }
}

#[test]
fn the_process_gets_its_environment_folder_and_limits_and_nothing_more() {
    let host = Host::new(|file| {
        file.env = BTreeMap::from([("A".to_owned(), "1 %x;".to_owned())]);
        file.nofile = 65;
        file.argv = sh("echo $$; env; pwd; umask; ulimit -n; readlink /proc/self/fd/0; echo to stderr >&2");
    });
    // A low soft limit shows that it is raised.
    let mut command = host.command();
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TZ", "UTC").env("SECRET", "x").env("SUPERVISOR_ENABLED", "1");
    // SAFETY: between fork and exec it makes one system call.
    unsafe { command.pre_exec(|| Ok(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 32, 4096)?)) };
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let log = host.log();
    let (environment, rest): (Vec<&str>, Vec<&str>) = log.lines().skip(1).partition(|line| line.contains('='));
    let mut names: Vec<&str> = environment.iter().map(|line| line.split('=').next().unwrap()).collect();
    names.retain(|name| !["PWD", "OLDPWD", "_", "SHLVL"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["A", "PATH", "TMPDIR", "TZ", "ZMS_INSTANCE", "ZMS_SPEC"], "{log}");
    assert!(environment.contains(&"A=1 %x;"), "{log}");
    let data = host.layout.data_dir(&host.id);
    assert_eq!(rest, [data.to_str().unwrap(), "0027", "65", "/dev/null", "to stderr"], "{log}");
    assert_eq!(fs::read_to_string(data.join(".zms-uid")).unwrap(), "u-1\n");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(data), mode(host.layout.log_file(&host.id))), (0o750, 0o640));
}

#[test]
fn what_an_earlier_process_left_of_its_temporary_files_is_gone() {
    let host = Host::new(|file| file.argv = sh("ls -A $TMPDIR; echo x > $TMPDIR/left; kill -9 $$"));
    for _ in 0..2 {
        assert!(!host.command().status().unwrap().success());
    }
    assert_eq!(host.log().lines().filter(|line| *line == "left").count(), 0, "{}", host.log());
    let folder = host.layout.tmp_dir(&host.id);
    assert!(folder.join("left").exists());
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn more_open_files_than_allowed_are_a_line_in_the_log_and_no_failure() {
    let host = Host::new(|file| {
        file.nofile = 100_000_000_000;
        file.argv = sh("ulimit -n");
    });
    let mut command = host.command();
    // SAFETY: between fork and exec it makes one system call.
    unsafe { command.pre_exec(|| Ok(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 32, 77)?)) };
    assert!(command.status().unwrap().success());
    let log = host.log();
    assert!(log.contains("100000000000 open files are wanted and 77 allowed") && log.ends_with("\n77\n"), "{log}");
}

#[test]
fn the_pipe_of_whoever_started_it_is_held_though_nothing_is_read_from_it() {
    // supervisord asks the system about its end of the pipe when a connection of the same number was there before, and is told at once,
    // again and again, for as long as nobody holds the other end: a processor's worth of nothing.
    let host = Host::new(|_| {});
    let child = host.command().stdin(Stdio::piped()).spawn().unwrap();
    let running = Running(child);
    let pid = running.0.id();
    until("the process to be the instance", || process::marker(pid).is_some_and(|marker| marker.instance == host.id));
    let ours = running.0.stdin.as_ref().map(std::os::fd::AsRawFd::as_raw_fd).unwrap();
    let pipe = fs::read_link(format!("/proc/self/fd/{ours}")).unwrap();
    let open = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    until("the process to be there", || process::command(pid).is_some_and(|command| command.starts_with("/bin/sleep")));
    assert_eq!(open().filter(|link| *link == pipe).count(), 1, "{:?}", open().collect::<Vec<_>>());
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/0")).unwrap(), PathBuf::from("/dev/null"));
}

#[test]
fn a_broken_pipe_ends_the_process_as_it_would_without_us() {
    // The Rust runtime ignores SIGPIPE; a program must not inherit that.
    let host = Host::new(|file| file.argv = sh("grep SigIgn /proc/self/status"));
    assert!(host.output().status.success());
    let log = host.log();
    let ignored = u64::from_str_radix(log.trim().strip_prefix("SigIgn:\t").unwrap(), 16).unwrap();
    assert_eq!(ignored & 1 << (nix::libc::SIGPIPE - 1), 0, "{log}");
}

#[test]
fn wrong_configuration_ends_with_78_and_a_sentence_in_the_log() {
    type Change = fn(&mut ExecFile);
    let table: [(&str, Change); 5] = [
        ("must be an absolute path", |file| file.argv = argv(&["sleep", "1"])),
        ("unpacked package", |file| file.argv = argv(&["/nonexistent/java"])),
        ("is for instance other", |file| file.id = InstanceId::new("other").unwrap()),
        ("must be an absolute path", |file| {
            file.prepare = vec![PrepareStep::Run { unless: "/x".into(), argv: argv(&["format"]), timeout_s: 1 }];
        }),
        ("unpacked package", |file| {
            file.prepare = vec![PrepareStep::Run { unless: "/x".into(), argv: argv(&["/nonexistent/format"]), timeout_s: 1 }];
        }),
    ];
    for (expected, change) in table {
        let host = Host::new(change);
        assert_eq!(host.output().status.code(), Some(78), "{expected}");
        assert!(host.log().contains(expected), "{} should contain {expected:?}", host.log());
        assert_eq!(host.log().matches(expected).count(), 1, "said once: {}", host.log());
    }
    let host = Host::new(|_| {});
    fs::remove_file(host.layout.exec_file(&host.id)).unwrap();
    assert_eq!(host.output().status.code(), Some(78));
}

#[test]
fn the_data_of_an_earlier_instance_with_the_same_name_is_not_touched() {
    let host = Host::new(|file| file.argv = sh("echo x > file"));
    assert!(host.output().status.success());
    host.write(|file| {
        file.uid = "u-2".to_owned();
        file.argv = sh("echo y > file");
    });
    let second = host.output();
    assert_eq!(second.status.code(), Some(78));
    assert!(String::from_utf8(second.stderr).unwrap().contains("uid \"u-1\", this one has \"u-2\""));
    assert_eq!(fs::read_to_string(host.layout.data_dir(&host.id).join("file")).unwrap(), "x\n");
}

#[test]
fn preparations_run_once_in_order_and_their_output_is_in_the_log() {
    let host = Host::new(|_| {});
    let data = host.layout.data_dir(&host.id);
    fs::write(host.path("myid"), "7\n").unwrap();
    host.write(|file| {
        file.prepare = vec![
            PrepareStep::Copy { from: host.path("myid"), to: data.join("version/myid") },
            PrepareStep::Run {
                unless: data.join("formatted"),
                argv: sh("echo formatting with $(cat version/myid) as $ZMS_INSTANCE; : > formatted"),
                timeout_s: 30,
            },
        ];
        file.argv = sh("echo started");
    });
    assert!(host.output().status.success());
    assert!(host.output().status.success());
    let log = host.log();
    assert_eq!(log.matches(&format!("formatting with 7 as {}", host.id)).count(), 1, "{log}");
    assert_eq!(log.matches("started").count(), 2, "{log}");
}

#[test]
fn a_preparation_that_fails_or_hangs_ends_with_70_and_the_process_is_not_started() {
    for (script, expected) in [("echo no space; exit 9", "exit status: 9"), ("sleep 300", "took longer than 1 s")] {
        let host = Host::new(|file| {
            file.prepare = vec![PrepareStep::Run { unless: "/nonexistent".into(), argv: sh(script), timeout_s: 1 }];
            file.argv = sh("echo started");
        });
        assert_eq!(host.output().status.code(), Some(70), "{script}");
        assert!(host.log().contains(expected) && !host.log().contains("started"), "{}", host.log());
        assert_eq!(host.holder(), Holder::Free);
    }
}

#[test]
fn a_preparation_ends_with_exec_and_does_not_hold_its_lock() {
    let host = Host::new(|file| {
        let script = format!("exec 9> {}/child.tmp; echo $$ >&9; mv child.tmp child; exec sleep 300", file.data_dir.display());
        file.prepare = vec![PrepareStep::Run { unless: "/nonexistent".into(), argv: sh(&script), timeout_s: 300 }];
    });
    let mut exec = Running(host.command().spawn().unwrap());
    let file = host.layout.data_dir(&host.id).join("child");
    until("the preparation to run", || file.exists());
    let child: u32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    assert!(process::alive(child));
    assert_eq!(host.holder(), Holder::Held { pid: Some(exec.0.id()) });
    let lock = fs::metadata(host.layout.lock(&host.id)).unwrap();
    until("the preparation to be its own program", || process::has_open(child, &lock) == Some(false));
    exec.0.kill().unwrap();
    assert_eq!(exec.0.wait().unwrap().signal(), Some(9));
    until("the preparation to end", || !process::alive(child));
    assert_eq!(host.holder(), Holder::Free);
}

#[test]
fn many_starts_at_once_lead_to_one_process() {
    let host = Host::new(|_| {});
    let mut children: Vec<Running> = (0..6).map(|_| Running(host.command().spawn().unwrap())).collect();
    until("all but one to be turned away", || children.iter_mut().filter_map(|child| child.0.try_wait().unwrap()).count() == 5);
    let codes: Vec<_> = children.iter_mut().filter_map(|child| child.0.try_wait().unwrap()?.code()).collect();
    assert_eq!(codes, [75; 5]);
    assert_eq!(process::find_instances(&host.id).len(), 1);
}

#[test]
fn a_second_agent_stands_by_until_the_first_ends() {
    let host = Host::named(|_| "zms-agent".to_owned(), |_| {});
    let first = host.start();
    let mut second = Running(host.command().spawn().unwrap());
    let lock = fs::metadata(host.layout.lock(&host.id)).unwrap();
    until("the second to wait for the lock", || process::has_open(second.0.id(), &lock) == Some(true));
    assert_eq!(host.holder(), Holder::Held { pid: Some(first.0.id()) });
    drop(first);
    let pid = second.0.id();
    until("the second to take over", || process::command(pid).is_some_and(|command| command == "/bin/sleep 300"));
    assert_eq!(host.holder(), Holder::Held { pid: Some(pid) });
    assert!(second.0.try_wait().unwrap().is_none());
}

#[test]
fn a_lock_held_by_a_stranger_is_respected() {
    let host = Host::new(|_| {});
    let _lock = InstanceLock::try_acquire(&host.layout.lock(&host.id)).unwrap().unwrap();
    assert_eq!(host.output().status.code(), Some(75));
    assert!(host.log().contains(&format!("process {}", std::process::id())), "{}", host.log());
}

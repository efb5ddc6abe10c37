//! A server's process: its log in a file, ended with the test.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Ports that tests give to servers: below those that the system gives to connections, which would take one before its server does.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A free port of 127.0.0.1, which no other test of this process is given, nor its neighbours: RocketMQ's brokers take those two below and one above.
pub fn free_port() -> u16 {
    free_ports(4) + 2
}

/// The first of so many free ports in a row.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    // Test binaries that run side by side begin at different places.
    let mut first = next.unwrap_or_else(|| PORTS.start + u16::try_from(std::process::id() % 199).unwrap() * 100);
    for _ in 0..PORTS.len() {
        if first + count > PORTS.end {
            first = PORTS.start;
        }
        match (first..first + count).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_err()) {
            None => {
                *next = Some(first + count);
                return first;
            }
            Some(taken) => first = taken + 1,
        }
    }
    panic!("no {count} free ports in a row");
}

#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it in `folder`, its output appended to `folder/log`.
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Self {
        let log = folder.join("log");
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        command.current_dir(folder).stdin(Stdio::null()).stderr(file.try_clone().unwrap()).stdout(file);
        // SAFETY: prctl is async-signal-safe and touches nothing of ours.
        #[allow(unsafe_code, reason = "there is no safe way to run something between fork and exec")]
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from));
        }
        let child = spawn(command);
        Self { child, log }
    }

    /// Waits until `ready` says so; a process that ended or took too long fails the test with the end of its log.
    pub(crate) fn await_ready(&mut self, what: &str, mut ready: impl FnMut(&str) -> bool) {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if ready(&log) {
                return;
            }
            let over = self.child.try_wait().unwrap();
            let tail: String = log.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            assert!(over.is_none(), "{what} ended ({over:?}):\n{tail}");
            assert!(Instant::now() < end, "{what} was not ready after 90 s:\n{tail}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for the end of a process that was told to end; it is killed after `most`.
    pub(crate) fn wait_or_kill(mut self, most: Duration) {
        let end = Instant::now() + most;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it where it is (SIGSTOP), or lets it go on. A signal is on its way when `kill` returns, so this waits until all threads stand.
    pub(crate) fn freeze(&self, frozen: bool) {
        let pid = self.child.id();
        self.signal(if frozen { Signal::SIGSTOP } else { Signal::SIGCONT });
        let end = Instant::now() + Duration::from_secs(10);
        while frozen && !all_stand(pid) {
            assert!(Instant::now() < end, "process {pid} does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// SIGKILL, and waits for its end.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // An error means that it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a process from a thread that lives as long as the tests: the death signal follows the thread, not the process, and a server
/// that several tests share must not end with the test that started it.
fn spawn(command: &mut Command) -> Child {
    type Job = Box<dyn FnOnce() + Send>;
    static SPAWNER: OnceLock<mpsc::SyncSender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::sync_channel::<Job>(0);
        std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        sender
    });
    let mut command = std::mem::replace(command, Command::new("true"));
    let (sender, child) = mpsc::sync_channel(1);
    let job = move || {
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"));
        sender.send(child).expect("it is waited for");
    };
    spawner.send(Box::new(job)).expect("the thread never ends");
    child.recv().expect("an answer is sent").unwrap_or_else(|error| panic!("{error}"))
}

/// Does something accept connections there?
pub(crate) fn accepts(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1)).is_ok()
}

/// Is every thread stopped?
fn all_stand(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    // The name of a thread, in brackets, may hold anything.
    states.all(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 't'])))
}

/// Flags of a small JVM.
pub(crate) const SMALL_JVM: [&str; 7] = [
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-XX:ReservedCodeCacheSize=48m",
    "-XX:MaxMetaspaceSize=128m",
];

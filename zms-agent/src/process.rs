//! What /proc says of a process, and how one that nobody supervises is ended.
//!
//! A pid is only a number that is used again. What is remembered of a process is therefore [`Process`]: pid and start
//! time, and what an instance was started with is read from its own environment ([`Marker`]).

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use zms_core::host::{SpecHash, StopSignal};
use zms_core::names::InstanceId;

/// Names the instance in the environment of its process.
pub const INSTANCE_VARIABLE: &str = "ZMS_INSTANCE";
/// Names the hash of its spec.
pub const SPEC_VARIABLE: &str = "ZMS_SPEC";

/// An environment is at most this long here; the kernel allows arguments and environment some MiB together.
const ENVIRON_LIMIT: u64 = 4 << 20;
/// Longest command line in a message, in characters.
const COMMAND_LIMIT: usize = 160;
/// How often a process that should end is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a process may need to vanish after SIGKILL (it may hang in a write to a disk).
const KILL_WAIT: Duration = Duration::from_secs(20);

/// What `zms-agent exec` left in the environment of the process that it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Which instance it is.
    pub instance: InstanceId,
    /// The spec it was started with.
    pub spec: SpecHash,
}

/// One process and no other that may get its number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Clock ticks between the start of the machine and its own.
    pub start_time: u64,
}

impl Process {
    /// The living process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Stat::of(pid).filter(Stat::lives)?;
        Some(Self { pid, start_time: stat.start_time })
    }

    /// Does it still live?
    pub fn alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }
}

/// Reads the marker of a process; absent for a process that is none of ours, that is gone, or that may not be read.
pub fn marker(pid: u32) -> Option<Marker> {
    let mut environ = Vec::new();
    File::open(format!("/proc/{pid}/environ")).ok()?.take(ENVIRON_LIMIT).read_to_end(&mut environ).ok()?;
    marker_in(&environ)
}

fn marker_in(environ: &[u8]) -> Option<Marker> {
    let value = |name: &str| {
        environ.split(|byte| *byte == 0).find_map(|entry| {
            let rest = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(rest).ok()
        })
    };
    Some(Marker { instance: InstanceId::new(value(INSTANCE_VARIABLE)?).ok()?, spec: SpecHash::parse(value(SPEC_VARIABLE)?)? })
}

/// Does a process with this number live? A zombie does not.
pub fn alive(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.lives())
}

/// When the process started, in clock ticks since the machine did.
pub fn start_time(pid: u32) -> Option<u64> {
    Stat::of(pid).map(|stat| stat.start_time)
}

/// The command line, shortened and on one line, for messages.
pub fn command(pid: u32) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline")).ok()?.take(4 * COMMAND_LIMIT as u64).read_to_end(&mut bytes).ok()?;
    if bytes.is_empty() {
        return Some(format!("[{}]", fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim()));
    }
    let line = String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ");
    let mut short: String = line.chars().take(COMMAND_LIMIT).flat_map(char::escape_debug).collect();
    if line.chars().count() > COMMAND_LIMIT {
        short.push('…');
    }
    Some(short)
}

/// All processes that are this instance: more than one means that a lock was evaded. A child that inherited the
/// marker from an instance's process is not counted, it is part of that one.
pub fn find_instances(id: &InstanceId) -> Vec<u32> {
    let is = |pid: u32| marker(pid).is_some_and(|marker| marker.instance == *id);
    let mut found: Vec<u32> =
        pids().filter(|pid| is(*pid)).filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.lives() && !is(stat.parent))).collect();
    found.sort_unstable();
    found
}

/// Has the process this file open? `None` when it may not be asked.
pub fn has_open(pid: u32, file: &fs::Metadata) -> Option<bool> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(
        descriptors.flatten().any(|descriptor| {
            fs::metadata(descriptor.path()).is_ok_and(|open| open.dev() == file.dev() && open.ino() == file.ino())
        }),
    )
}

/// All living processes that have this file open, as far as they may be asked.
pub fn all_with_open(file: &fs::Metadata) -> Vec<u32> {
    pids().filter(|pid| has_open(*pid, file) == Some(true)).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was gone before it was asked.
    AlreadyGone,
    /// By itself after the signal.
    Stopped,
    /// It was killed, because it took too long.
    Killed,
}

/// Why a process still lives.
#[derive(Debug, thiserror::Error)]
pub enum TerminateError {
    /// The signal was not delivered.
    #[error("send {signal} to process {pid}: {error}")]
    Signal {
        /// To which process.
        pid: u32,
        /// Which one.
        signal: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// Even SIGKILL did not end it.
    #[error("process {pid} still lives {} s after SIGKILL: it hangs in the kernel, probably on a disk", KILL_WAIT.as_secs())]
    Undead {
        /// Which process.
        pid: u32,
    },
}

/// Ends a process: `signal`, then after `wait` SIGKILL (to its whole group where it leads one, as supervisord does).
/// Returns when it is gone, at the latest after `wait` and 20 s. A process that has got the number meanwhile is left
/// alone.
pub async fn terminate(process: Process, signal: StopSignal, wait: Duration) -> Result<Ended, TerminateError> {
    if !process.alive() {
        return Ok(Ended::AlreadyGone);
    }
    let gentle = match signal {
        StopSignal::Term => Signal::SIGTERM,
        StopSignal::Int => Signal::SIGINT,
        StopSignal::Quit => Signal::SIGQUIT,
    };
    send(process, gentle, kill)?;
    if gone_within(process, wait).await {
        return Ok(Ended::Stopped);
    }
    match Stat::of(process.pid) {
        Some(stat) if stat.group == process.pid => send(process, Signal::SIGKILL, killpg)?,
        _ => send(process, Signal::SIGKILL, kill)?,
    }
    if gone_within(process, KILL_WAIT).await { Ok(Ended::Killed) } else { Err(TerminateError::Undead { pid: process.pid }) }
}

fn send(process: Process, signal: Signal, how: fn(Pid, Signal) -> nix::Result<()>) -> Result<(), TerminateError> {
    if !process.alive() {
        return Ok(());
    }
    let pid = Pid::from_raw(i32::try_from(process.pid).expect("the kernel's pids are below 2^22"));
    match how(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(TerminateError::Signal { pid: process.pid, signal: signal.as_str(), error: errno.into() }),
    }
}

async fn gone_within(process: Process, wait: Duration) -> bool {
    let gone = async {
        let mut look = tokio::time::interval(LOOK_AGAIN);
        while process.alive() {
            look.tick().await;
        }
    };
    tokio::time::timeout(wait, gone).await.is_ok()
}

/// The fields of `/proc/<pid>/stat` that matter here.
struct Stat {
    state: u8,
    parent: u32,
    group: u32,
    start_time: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in parentheses, which may itself hold blanks and parentheses.
    fn parse(line: &[u8]) -> Option<Self> {
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let mut fields = std::str::from_utf8(&line[end + 1..]).ok()?.split_ascii_whitespace();
        Some(Self {
            state: *fields.next()?.as_bytes().first()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            start_time: fields.nth(16)?.parse().ok()?,
        })
    }

    fn lives(&self) -> bool {
        !b"ZXx".contains(&self.state)
    }
}

#[cfg(test)]
mod tests;

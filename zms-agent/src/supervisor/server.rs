//! Starts supervisord itself: through `zms-agent exec` like everything else, so that its lock keeps a second one away.
//!
//! It runs in a session of its own and outlives the agent; what it has started outlives it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout_at};
use zms_core::host::SpecHash;
use zms_core::names::InstanceId;

use super::program::{self, AGENT, Refused, SUPERVISORD};
use super::rpc::{Client, RpcError, ServerState};
use crate::disk;
use crate::exec::{ExecFile, Exit};
use crate::layout::Layout;
use crate::status;

/// How often a supervisord that is starting is asked whether it works.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why there is no supervisord.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The prefix does not do.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nothing on this host can run it.
    #[error("python3: not found in {path:?}; supervisord needs Python 3")]
    NoPython {
        /// The search path.
        path: String,
    },
    /// The package is not what it should be.
    #[error("{}: not there; the package supervisor has it", .0.display())]
    NoPackage(PathBuf),
    /// A file could not be written.
    #[error("write {}: {error}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The agent's own program could not be run.
    #[error("run {} exec {SUPERVISORD}: {error}", path.display())]
    Spawn {
        /// Which program.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It ended at once.
    #[error("supervisord ended with {status}; the end of its log: {log}")]
    Ended {
        /// How.
        status: std::process::ExitStatus,
        /// The last lines.
        log: String,
    },
    /// It does not answer in time.
    #[error("supervisord was not ready within {} s: {last}", .timeout.as_secs())]
    NotReady {
        /// How long it was given.
        timeout: Duration,
        /// The last answer, or why there was none.
        last: String,
    },
}

/// Makes sure that supervisord runs and answers; starts the one of the unpacked package `release` if not. A socket that
/// an earlier one left behind does not matter. Returns at the latest after `timeout` and one call.
pub async fn ensure(layout: &Layout, release: &Path, client: &Client, timeout: Duration) -> Result<(), ServerError> {
    if ready(client).await.is_ok() {
        return Ok(());
    }
    program::check_prefix(layout)?;
    write_supervisord(layout, release, &std::env::var_os("PATH").unwrap_or_default())?;
    let mut child = Some(spawn(layout)?);
    let end = Instant::now() + timeout;
    let mut look = interval(LOOK_AGAIN);
    let mut last = "it was not asked".to_owned();
    while Instant::now() < end {
        look.tick().await;
        match timeout_at(end, ready(client)).await {
            Ok(Ok(())) => {
                reap(child);
                return Ok(());
            }
            Ok(Err(why)) => last = why,
            Err(_) => break,
        }
        match child.as_mut().map(Child::try_wait) {
            // Another one holds the lock: it may be starting, so its answer is waited for all the same.
            Some(Ok(Some(status))) if status.code() == Some(Exit::Busy as i32) => child = None,
            Some(Ok(Some(status))) => return Err(ServerError::Ended { status, log: log_end(layout) }),
            Some(Ok(None) | Err(_)) | None => {}
        }
    }
    if child.is_none() {
        last = format!("{last}; {}", log_end(layout));
    }
    reap(child);
    Err(ServerError::NotReady { timeout, last })
}

async fn ready(client: &Client) -> Result<(), String> {
    match client.state().await {
        Ok(ServerState::Running) => Ok(()),
        Ok(other) => Err(format!("it says that it is {other:?}")),
        Err(RpcError::Connect(error)) => Err(format!("nobody answers on its socket ({error})")),
        Err(other) => Err(other.to_string()),
    }
}

/// Writes supervisord's configuration and what `zms-agent exec` needs to start it.
fn write_supervisord(layout: &Layout, release: &Path, path: &OsStr) -> Result<(), ServerError> {
    let library = release.join("lib");
    if !library.join("supervisor/supervisord.py").is_file() {
        return Err(ServerError::NoPackage(library.join("supervisor/supervisord.py")));
    }
    let python = find_python(path)?;
    let conf = layout.supervisor_conf();
    let argv = [&*python.to_string_lossy(), "-s", "-m", "supervisor.supervisord", "-n", "-c", &*conf.to_string_lossy()];
    let env = [
        ("PYTHONPATH", &*library.to_string_lossy()),
        // The package is not for writing, and the log is read while it runs.
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONUNBUFFERED", "1"),
    ];
    let programs = layout.programs_dir();
    std::fs::create_dir_all(&programs).map_err(|error| ServerError::Write { path: programs, error })?;
    write(&conf, program::supervisord_conf(layout).as_bytes())?;
    write_exec(layout, SUPERVISORD, argv.map(str::to_owned).to_vec(), env.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
}

/// Makes the agent a program of supervisord: `zms-agent --prefix … <arguments>` (`run` and its options) with the
/// environment `env`. supervisord takes it up when it next reads its files. Needs no running supervisord.
pub fn write_agent(layout: &Layout, arguments: &[String], env: BTreeMap<String, String>) -> Result<(), ServerError> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut argv = vec![text(&layout.agent_binary()), "--prefix".to_owned(), text(layout.prefix())];
    argv.extend_from_slice(arguments);
    write_exec(layout, AGENT, argv, env)?;
    write(&layout.programs_dir().join(format!("{AGENT}.conf")), program::agent_text(layout).as_bytes())
}

fn write_exec(layout: &Layout, name: &str, argv: Vec<String>, env: BTreeMap<String, String>) -> Result<(), ServerError> {
    let id = InstanceId::new(name).expect("our own names are ids");
    let file = ExecFile {
        uid: name.to_owned(),
        spec: hash(&argv, &env),
        argv,
        env,
        nofile: 0,
        prepare: Vec::new(),
        data_dir: layout.data_dir(&id),
        log_file: layout.log_file(&id),
        id,
    };
    let text = serde_json::to_vec_pretty(&file).expect("an exec file has only string keys");
    // For our user alone, like those of instances: the address of a proxy may hold a password.
    write_as(&layout.exec_file(&file.id), &text, 0o600)
}

/// No portal has made a spec of it, so the hash is of what is started.
fn hash(argv: &[String], env: &BTreeMap<String, String>) -> SpecHash {
    let text = serde_json::to_vec(&(argv, env)).expect("texts are JSON");
    let digits: String = Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    SpecHash::parse(&digits).expect("16 bytes are 32 hexadecimal digits")
}

fn write(path: &Path, content: &[u8]) -> Result<(), ServerError> {
    write_as(path, content, 0o640)
}

fn write_as(path: &Path, content: &[u8], mode: u32) -> Result<(), ServerError> {
    disk::write_whole(path, content, mode).map_err(|error| ServerError::Write { path: path.to_owned(), error })
}

/// The `python3` of a search path.
pub fn find_python(path: &OsStr) -> Result<PathBuf, ServerError> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("python3"))
        .find(|file| file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
        .ok_or_else(|| ServerError::NoPython { path: path.to_string_lossy().into_owned() })
}

fn spawn(layout: &Layout) -> Result<Child, ServerError> {
    let path = layout.agent_binary();
    #[allow(clippy::disallowed_methods, reason = "what is run is zms-agent exec")]
    let mut command = Command::new(&path);
    command.arg("--prefix").arg(layout.prefix()).args(["exec", SUPERVISORD]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe {
        // A session of its own: what ends the agent's terminal or group must not end supervisord.
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
    }
    command.spawn().map_err(|error| ServerError::Spawn { path, error })
}

/// Waits for its end in the background, so that it does not stay a zombie while the agent lives.
fn reap(child: Option<Child>) {
    let Some(mut child) = child else { return };
    tokio::spawn(async move {
        match child.wait().await {
            Ok(status) => tracing::warn!(%status, "supervisord ended"),
            Err(error) => tracing::warn!(%error, "cannot wait for supervisord"),
        }
    });
}

fn log_end(layout: &Layout) -> String {
    status::last_lines(&layout.supervisor_log(), 3).map(|lines| lines.join(" | ")).unwrap_or_default()
}

#[cfg(test)]
mod tests;

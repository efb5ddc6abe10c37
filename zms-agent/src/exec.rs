//! `zms-agent exec <instance>`: the one way in which a process of ours is started.
//!
//! It takes the instance's lock, makes everything as the process needs it, and becomes the process, so that pid, lock
//! and log belong to it alone. Two servers on one data folder destroy it; supervisord starts such a second one when it
//! was itself killed, and the lock is what turns that one away. supervisord captures no output (a server whose pipe is
//! gone dies of its next log line): standard output and error are the instance's log file.
//!
//! Read in this order: [`mod@file`] what is to be started, [`main`] the steps, `data` whose data folder it is, `prepare`
//! what is done before each start, [`error`] how it can fail.
//!
//! There is no async runtime and no second thread here: the parent-death signal of a preparation belongs to the thread
//! that started it, and descriptors are moved about.

pub(crate) mod data;
pub mod error;
pub mod file;
mod log;
mod prepare;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, SFlag, fstat, umask};
use zms_core::names::InstanceId;

pub use error::{ExecError, Exit};
pub use file::{ExecFile, PrepareStep};

use crate::layout::Layout;
use crate::lock::{self, Holder, InstanceLock};
use crate::process;
use crate::supervisor::program::AGENT;

/// How long a lock may look taken because somebody looks at it ([`lock::holder`]).
const LOOKED_AT: Duration = Duration::from_millis(500);

/// Inherited from whoever starts us; everything else an instance gets is in its spec.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// The search path where none is inherited.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Becomes the instance's process. Returns, with the code to end with ([`Exit`]), only if that fails. Why is then in the
/// instance's log, because supervisord throws our standard error away; it is also said there for whoever tries by hand.
///
/// Call it before any thread is started and with no files open.
pub fn main(layout: &Layout, id: &InstanceId) -> ExitCode {
    // No other may read what an instance writes, and its group may not change it.
    umask(Mode::from_bits_truncate(0o027));
    let mut redirected = false;
    let Err(error) = start(layout, id, &mut redirected);
    log::say(&layout.log_file(id), id, &error.to_string());
    if !redirected {
        eprintln!("zms-agent exec {id}: {error}");
    }
    ExitCode::from(error.code())
}

fn start(layout: &Layout, id: &InstanceId, redirected: &mut bool) -> Result<Infallible, ExecError> {
    let path = layout.exec_file(id);
    let file = ExecFile::read(&path).map_err(ExecError::config)?;
    if file.id != *id {
        return Err(ExecError::config(format!("{} is for instance {}, not for {id}", path.display(), file.id)));
    }
    let lock = take_lock(&layout.lock(id), id)?;
    data::claim(&file.data_dir, &file.uid)?;
    redirect(&file.log_file)?;
    *redirected = true;
    std::env::set_current_dir(&file.data_dir)
        .map_err(|error| ExecError::system(format!("enter {}", file.data_dir.display()), error))?;
    limit_open_files(file.nofile, |warning| log::say(&file.log_file, id, warning))?;
    let temporary = layout.tmp_dir(id);
    empty(&temporary).map_err(|error| ExecError::system(format!("empty {}", temporary.display()), error))?;
    let environment = environment(&file, &temporary);
    for step in &file.prepare {
        prepare::perform(step, &environment, &file.data_dir, |note| log::say(&file.log_file, id, note))?;
    }
    lock.name_spec(&file.spec).map_err(|error| ExecError::system("write the spec's hash into the lock".to_owned(), error))?;
    // SAFETY: the log file is open as descriptors 1 and 2 alone, everything else that was opened above is closed.
    unsafe { lock.carry_over() }.map_err(|error| ExecError::system("leave the lock to the process".to_owned(), error))?;
    // `exec` also gives SIGPIPE back its default, which the Rust runtime had taken.
    #[allow(clippy::disallowed_methods, reason = "this is zms-agent exec, and the lock is held")]
    let error = Command::new(&file.argv[0]).args(&file.argv[1..]).env_clear().envs(environment).exec();
    let attempt = format!("start {}", file.argv[0]);
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            Err(ExecError::config(format!("{attempt}: {error}; it must be an executable file of an unpacked package")))
        }
        _ => Err(ExecError::system(attempt, error)),
    }
}

fn take_lock(path: &Path, id: &InstanceId) -> Result<InstanceLock, ExecError> {
    let failed = |error| ExecError::system(format!("take the lock of {id}"), error);
    if id.as_str() == AGENT {
        // supervisord was started again by an agent that lives: the one it starts stands by for when that one ends,
        // while a program that was turned away would be given up for good.
        return InstanceLock::wait(path).map_err(failed);
    }
    if let Some(lock) = InstanceLock::acquire_within(path, LOOKED_AT).map_err(failed)? {
        return Ok(lock);
    }
    let who = match lock::holder(path) {
        Ok(Holder::Held { pid: Some(pid) }) => match process::command(pid) {
            Some(command) => format!("process {pid} ({command})"),
            None => format!("process {pid}"),
        },
        Ok(Holder::Held { pid: None } | Holder::Free) | Err(_) => "another process".to_owned(),
    };
    Err(ExecError::busy(format!("{who} holds {}: {id} runs already, a second copy would destroy its data", path.display())))
}

/// Where the pipe that was standard input is kept: above all that is opened here.
const KEPT: i32 = 10;

/// Holds the pipe that supervisord gave as standard input, for as long as the process lives. supervisord 4.3 asks the system about its
/// end of it when one of its connections had the same number before, and is told at once that nobody holds the other end, again and
/// again: it would use a whole processor.
fn hold_the_pipe() -> nix::Result<()> {
    let input = io::stdin();
    let kind = SFlag::from_bits_truncate(fstat(&input)?.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFIFO {
        // Meant to be left open across exec.
        fcntl(&input, FcntlArg::F_DUPFD(KEPT))?;
    }
    Ok(())
}

/// Standard input from nowhere, output and error to the end of the log.
fn redirect(path: &Path) -> Result<(), ExecError> {
    let to = |error: io::Error| ExecError::system(format!("send the output to {}", path.display()), error);
    let nothing = File::open("/dev/null").map_err(to)?;
    let log = log::open(path).map_err(to)?;
    hold_the_pipe().map_err(|error| to(error.into()))?;
    nix::unistd::dup2_stdin(&nothing).map_err(|error| to(error.into()))?;
    nix::unistd::dup2_stdout(&log).map_err(|error| to(error.into()))?;
    nix::unistd::dup2_stderr(&log).map_err(|error| to(error.into()))
}

/// Sets the limit of open files as it is wanted, as far as it is allowed. The hard limit too: a JVM raises its soft limit to the
/// hard one by itself, and what a spec says would not be what holds.
fn limit_open_files(wanted: u64, warn: impl FnOnce(&str)) -> Result<(), ExecError> {
    if wanted == 0 {
        return Ok(());
    }
    let failed = |error: nix::Error| ExecError::system(format!("set the limit of open files to {wanted}"), error.into());
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if wanted > hard {
        warn(&format!(
            "{wanted} open files are wanted and {hard} allowed: raise the hard limit of this user (LimitNOFILE, limits.conf)"
        ));
    }
    let limit = wanted.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).map_err(failed)
}

/// A folder with nothing in it: whoever was killed could not clear up.
fn empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn environment(file: &ExecFile, temporary: &Path) -> BTreeMap<OsString, OsString> {
    let mut environment = BTreeMap::from([("PATH".into(), PATH.into()), ("TMPDIR".into(), temporary.into())]);
    environment.extend(INHERITED.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))));
    environment.extend(file.env.iter().map(|(name, value)| (name.into(), value.into())));
    environment.insert(process::INSTANCE_VARIABLE.into(), file.id.as_str().into());
    environment.insert(process::SPEC_VARIABLE.into(), file.spec.as_str().into());
    environment
}

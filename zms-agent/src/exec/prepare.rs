//! What is done under the lock before each start.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getppid};

use super::{ExecError, PrepareStep};

/// Pause between two looks at a running command.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Does one step. `note` gets remarks for the log; the command's own output goes to our standard output and error.
pub fn perform(
    step: &PrepareStep,
    environment: &BTreeMap<OsString, OsString>,
    folder: &Path,
    note: impl Fn(&str),
) -> Result<(), ExecError> {
    match step {
        PrepareStep::Copy { from, to } => {
            copy(from, to).map_err(|error| ExecError::system(format!("copy {} to {}", from.display(), to.display()), error))
        }
        PrepareStep::Run { unless, .. } if unless.exists() => Ok(()),
        PrepareStep::Run { unless, argv, timeout_s } => {
            note(&format!("{} does not exist, so {} is run first", unless.display(), argv[0]));
            run(argv, environment, folder, Duration::from_secs(u64::from(*timeout_s)))?;
            if !unless.exists() {
                note(&format!("{} still does not exist: {} will run before each start", unless.display(), argv[0]));
            }
            Ok(())
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut half = to.as_os_str().to_owned();
    half.push(".zms-half");
    fs::copy(from, &half)?;
    File::open(&half)?.sync_all()?;
    fs::rename(&half, to)?;
    File::open(folder)?.sync_all()
}

fn run(argv: &[String], environment: &BTreeMap<OsString, OsString>, folder: &Path, timeout: Duration) -> Result<(), ExecError> {
    let me = getpid();
    #[allow(clippy::disallowed_methods, reason = "this is zms-agent exec, and the lock is held")]
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).env_clear().envs(environment).current_dir(folder).stdin(Stdio::null());
    // A group of its own, to be killed as a whole.
    command.process_group(0);
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            // The lock ends with us, so the command must too: a format without a lock beside a running server.
            set_pdeathsig(Signal::SIGKILL)?;
            // We may have died before that call; then nobody sends the signal.
            if getppid() == me { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
        });
    }
    let mut child = command.spawn().map_err(|error| {
        ExecError::config(format!("run {}: {error}; it must be an executable file of an unpacked package", argv[0]))
    })?;
    match wait(&mut child, timeout) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(ExecError::preparation(format!("{} ended with {status}; its output stands above", shown(argv)))),
        Ok(None) => {
            kill_group(&mut child);
            Err(ExecError::preparation(format!("{} took longer than {} s and was killed", shown(argv), timeout.as_secs())))
        }
        Err(error) => {
            kill_group(&mut child);
            Err(ExecError::system(format!("wait for {}", argv[0]), error))
        }
    }
}

/// The end of the command, or `None` when the time is over.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        #[allow(clippy::disallowed_methods, reason = "it ends at a deadline, and the end of a child can only be looked for")]
        std::thread::sleep(LOOK_AGAIN.min(left));
    }
}

fn kill_group(child: &mut Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).expect("the kernel's pids are below 2^22"));
    // It may have ended in this moment; then there is nothing to kill.
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}

/// The file name of the program and its arguments, short.
fn shown(argv: &[String]) -> String {
    let program = Path::new(&argv[0]).file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let text: String =
        std::iter::once(program.as_ref()).chain(argv[1..].iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    if text.chars().count() > 160 { text.chars().take(160).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perform_here(step: &PrepareStep) -> Result<(), ExecError> {
        perform(step, &BTreeMap::new(), Path::new("/"), |_| {})
    }

    #[test]
    fn a_copy_replaces_the_whole_file_and_makes_its_folder() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("myid"), place.path().join("data/version/myid"));
        for content in ["1\n", "22222\n", "3"] {
            fs::write(&from, content).unwrap();
            perform_here(&PrepareStep::Copy { from: from.clone(), to: to.clone() }).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), content);
        }
        assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1, "nothing half is left");
        let missing = PrepareStep::Copy { from: place.path().join("none"), to: to.clone() };
        let error = perform_here(&missing).unwrap_err().to_string();
        assert!(error.contains("none") && error.contains("myid"), "{error}");
        assert_eq!(fs::read_to_string(&to).unwrap(), "3");
    }

    fn run_step(place: &Path, script: &str, timeout_s: u32) -> PrepareStep {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        PrepareStep::Run { unless: place.join("done"), argv, timeout_s }
    }

    #[test]
    fn a_command_runs_once_and_its_failure_is_told() {
        let place = tempfile::tempdir().unwrap();
        let count = place.path().join("count");
        let shown = place.path().display();
        let step = run_step(place.path(), &format!("echo x >> {shown}/count && : > {shown}/done"), 20);
        perform_here(&step).unwrap();
        perform_here(&step).unwrap();
        assert_eq!(fs::read_to_string(count).unwrap(), "x\n");

        fs::remove_file(place.path().join("done")).unwrap();
        let error = perform_here(&run_step(place.path(), "exit 3", 20)).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert_eq!(error.code(), 70);
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let place = tempfile::tempdir().unwrap();
        let script = format!("sleep 300 & echo $! > {}/child; wait", place.path().display());
        let error = perform_here(&run_step(place.path(), &script, 1)).unwrap_err();
        assert!(error.to_string().contains("took longer than 1 s"), "{error}");
        let child: u32 = fs::read_to_string(place.path().join("child")).unwrap().trim().parse().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while crate::process::alive(child) {
            assert!(Instant::now() < end, "process {child} outlived the command that started it");
            std::thread::yield_now();
        }
    }
}

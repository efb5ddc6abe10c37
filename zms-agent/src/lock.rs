//! The lock of an instance: whoever holds it is the instance, for as long as it lives.
//!
//! It is an advisory lock (`flock`) on a file that is never deleted. The kernel keeps it on the open file, so it goes
//! through `execve` into the process that an instance becomes and ends with that process, however it ends. The pid
//! written into the file is a help for finding the holder; the lock itself is the truth.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use zms_core::host::SpecHash;

use crate::process;

/// The descriptor on which a process carries its lock. supervisord closes every inherited descriptor from 5 on when
/// it starts, and 0 to 2 are taken.
const CARRIED_ON: i32 = 3;

/// Pause between two tries to get a lock that a look at it may hold for a moment.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// A lock that this process holds. Dropping it gives it back.
#[derive(Debug)]
pub struct InstanceLock {
    file: File,
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Free,
    /// A living process.
    Held {
        /// Which one; absent when it could not be told (another user's process, or it went away meanwhile).
        pid: Option<u32>,
    },
}

impl InstanceLock {
    /// Takes the lock, or returns `None` when somebody else has it. Makes the file and its folder if need be.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(about("lock", path, error)),
            }
            if still_there(&file, path) {
                return Self::signed(file, path).map(Some);
            }
        }
    }

    /// Like [`Self::try_acquire`], but keeps trying for `patience`: [`holder`] takes the lock for a moment to see
    /// whether it is free, and that must not look like a running instance.
    pub fn acquire_within(path: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let end = Instant::now() + patience;
        loop {
            if let Some(lock) = Self::try_acquire(path)? {
                return Ok(Some(lock));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            #[allow(clippy::disallowed_methods, reason = "nobody is told when a lock gets free, except who waits without end")]
            std::thread::sleep(TRY_AGAIN);
        }
    }

    /// Waits for the lock without end, blocking the thread: a second agent stands by until the first is gone.
    pub fn wait(path: &Path) -> io::Result<Self> {
        loop {
            let file = open(path)?;
            file.lock().map_err(|error| about("lock", path, error))?;
            if still_there(&file, path) {
                return Self::signed(file, path);
            }
        }
    }

    /// Says with which spec the process is about to start; until then it counts as preparing. It stands in the lock file
    /// because another user's environment cannot be read.
    pub fn name_spec(&self, spec: &SpecHash) -> io::Result<()> {
        self.file.write_all_at(format!("{}\n{spec}\n", std::process::id()).as_bytes(), 0)
    }

    /// Leaves the lock to the program that this process is about to become, on descriptor 3.
    ///
    /// # Safety
    /// Nothing in this process may own descriptor 3, other than this lock. After it the lock is never given back.
    pub unsafe fn carry_over(self) -> io::Result<()> {
        let own = self.file.into_raw_fd();
        // SAFETY: `own` was taken out of its owner in the line above and stays open until the process ends.
        let own = unsafe { std::os::fd::BorrowedFd::borrow_raw(own) };
        // SAFETY: the caller says that nobody else owns descriptor 3; the new owner is forgotten at once.
        let carried = unsafe { nix::unistd::dup2_raw(own, CARRIED_ON) }?;
        // A copy has no close-on-exec mark; where the lock was on 3 already, nothing was copied and the mark is still set.
        fcntl(&carried, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let _ = carried.into_raw_fd();
        Ok(())
    }

    fn signed(file: File, path: &Path) -> io::Result<Self> {
        let sign = || {
            file.set_len(0)?;
            file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
        };
        sign().map_err(|error| about("write the pid into", path, error))?;
        Ok(Self { file })
    }
}

/// Looks who holds a lock, without keeping it. A file that does not exist is a free lock.
pub fn holder(path: &Path) -> io::Result<Holder> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Free),
        Err(error) => return Err(about("open", path, error)),
    };
    // A shared lock, so that two who look at the same time do not see each other.
    match file.try_lock_shared() {
        Ok(()) => return Ok(Holder::Free),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(about("look at", path, error)),
    }
    let metadata = file.metadata().map_err(|error| about("look at", path, error))?;
    // The file may still name the one before (the holder signs after it has the lock), and that pid may be in use
    // again by a stranger: believe it only if that process has the file open. The lock may also have passed to a
    // child when its holder died; then whoever has the file open holds it.
    let named = signature(&file).map(|(pid, _)| pid).filter(|pid| process::alive(*pid));
    let pid = match named {
        Some(pid) if process::has_open(pid, &metadata) != Some(false) => Some(pid),
        _ => process::all_with_open(&metadata).into_iter().find(|pid| *pid != std::process::id()),
    };
    Ok(Holder::Held { pid })
}

/// The spec that the holder `pid` was started with; `None` while it prepares its start.
pub fn started_with(path: &Path, pid: u32) -> Option<SpecHash> {
    let (named, spec) = signature(&File::open(path).ok()?)?;
    if named == pid { spec } else { None }
}

/// Process and spec that the file names.
fn signature(file: &File) -> Option<(u32, Option<SpecHash>)> {
    let mut text = [0; 64];
    let length = file.read_at(&mut text, 0).ok()?;
    let mut lines = std::str::from_utf8(&text[..length]).ok()?.lines();
    Some((lines.next()?.trim().parse().ok()?, lines.next().and_then(SpecHash::parse)))
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| about("make the folder of", path, error))?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(path)
        .map_err(|error| about("open", path, error))
}

/// Is what was locked still what the path names? Somebody may have removed the file in between.
fn still_there(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(named)) => ours.dev() == named.dev() && ours.ino() == named.ino(),
        _ => false,
    }
}

fn about(attempt: &str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{attempt} lock file {}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "processes that hold a lock")]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    fn place() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks/kafka-1.lock");
        (folder, path)
    }

    /// A child that another test has just forked may hold a copy until it is its own program.
    fn until_free(path: &Path) {
        let end = Instant::now() + Duration::from_secs(20);
        while holder(path).unwrap() != Holder::Free {
            assert!(Instant::now() < end, "{} is still held: {:?}", path.display(), holder(path));
            std::thread::yield_now();
        }
    }

    #[test]
    fn only_one_holds_it_and_the_other_learns_who() {
        let (_folder, path) = place();
        assert_eq!(holder(&path).unwrap(), Holder::Free, "no file yet");
        let first = InstanceLock::try_acquire(&path).unwrap().unwrap();
        assert!(InstanceLock::try_acquire(&path).unwrap().is_none());
        assert_eq!(holder(&path).unwrap(), Holder::Held { pid: Some(std::process::id()) });
        drop(first);
        until_free(&path);
        assert!(InstanceLock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn the_pid_of_a_stranger_in_the_file_is_not_believed() {
        let (_folder, path) = place();
        let lock = InstanceLock::try_acquire(&path).unwrap().unwrap();
        // Pid 1 is alive and has nothing to do with this file.
        std::fs::write(&path, "1\n").unwrap();
        assert_ne!(holder(&path).unwrap(), Holder::Held { pid: Some(1) });
        std::fs::write(&path, "not a number").unwrap();
        assert!(matches!(holder(&path).unwrap(), Holder::Held { .. }));
        drop(lock);
    }

    #[test]
    fn a_lock_that_outlived_its_taker_in_a_child_is_still_held_and_the_child_is_found() {
        let (_folder, path) = place();
        let lock = InstanceLock::try_acquire(&path).unwrap().unwrap();
        // The child carries a copy of the open file on its standard input, as it would on descriptor 3.
        let mut child = Command::new("/bin/sleep").arg("60").stdin(lock.file.try_clone().unwrap()).spawn().unwrap();
        drop(lock);
        std::fs::write(&path, "4194304\n").unwrap();
        let held = holder(&path).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(held, Holder::Held { pid: Some(child.id()) });
        until_free(&path);
    }

    #[test]
    fn a_removed_lock_file_does_not_make_two_holders_of_one_name() {
        let (_folder, path) = place();
        let _first = InstanceLock::try_acquire(&path).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        let second = InstanceLock::try_acquire(&path).unwrap().unwrap();
        assert!(still_there(&second.file, &path));
        assert!(InstanceLock::try_acquire(&path).unwrap().is_none());
    }

    #[test]
    fn a_look_at_a_free_lock_does_not_turn_a_starting_instance_away() {
        let (_folder, path) = place();
        drop(InstanceLock::try_acquire(&path).unwrap());
        let look = File::open(&path).unwrap();
        look.lock_shared().unwrap();
        assert!(InstanceLock::try_acquire(&path).unwrap().is_none());
        let starting = std::thread::scope(|scope| {
            let starting = scope.spawn(|| InstanceLock::acquire_within(&path, Duration::from_secs(20)));
            drop(look);
            starting.join().unwrap()
        });
        assert!(starting.unwrap().is_some());
    }

    #[test]
    fn the_one_who_waits_gets_it_when_the_holder_dies() {
        let (_folder, path) = place();
        let lock = InstanceLock::try_acquire(&path).unwrap().unwrap();
        let mut holding = Command::new("/bin/cat")
            .stdin(Stdio::piped())
            .stdout(lock.file.try_clone().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(lock);
        assert!(InstanceLock::try_acquire(&path).unwrap().is_none());
        let waiting = {
            let path = path.clone();
            std::thread::spawn(move || InstanceLock::wait(&path))
        };
        holding.kill().unwrap();
        holding.wait().unwrap();
        let _second = waiting.join().unwrap().unwrap();
        let mut text = String::new();
        File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }
}

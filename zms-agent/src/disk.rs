//! Files that are whole or absent, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces a file: temporary file, fsync, rename, fsync of the folder.
pub fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other(format!("{} has no folder", path.display())))?;
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(name);
    let written = write_synced(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that is returned says what went wrong; a left-over is swept at the next write.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync(folder)
}

/// Writes a new file and waits until it is on the disk.
pub fn write_synced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Waits until a file is on the disk, or a folder with the renames in it.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Calls `sync` for everything below a folder and then for the folder itself. A symbolic link is on the disk with its folder.
pub fn sync_tree(folder: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path(), sync)?;
        } else if kind.is_file() {
            sync(&entry.path())?;
        }
    }
    sync(folder)
}

/// Is there no room for what was to be written?
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error of writing below `place` in words that say what would be right, or with the cause that it hides.
pub fn told(error: io::Error, place: &Path) -> io::Error {
    if is_full(&error) {
        let sentence = format!("the disk of {} is full; free space or file nodes there (see df and df -i)", place.display());
        return io::Error::new(error.kind(), sentence);
    }
    let mut cause = error.get_ref().and_then(|inner| inner.source());
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    match cause {
        Some(cause) => io::Error::new(error.kind(), format!("{error}: {cause}")),
        None => error,
    }
}

/// Reads a file of at most `limit` bytes; absent is `None`.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if size > limit {
        return Err(io::Error::other(format!("{} has {size} bytes; at most {limit} are read", path.display())));
    }
    fs::read(path).map(Some)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Says to a test where its small disk is.
    const SMALL: &str = "ZMS_TEST_SMALL_DISK";

    /// Runs the calling test, whose whole name is given, once more in a namespace where a file system of 4 MiB and 64 file nodes is
    /// mounted; there this is its folder.
    #[allow(clippy::disallowed_methods, reason = "a test that runs itself")]
    pub(crate) fn small_disk(name: &str) -> Option<PathBuf> {
        if let Some(small) = std::env::var_os(SMALL) {
            return Some(small.into());
        }
        let run = |arguments: &[&std::ffi::OsStr], small: &Path| {
            std::process::Command::new("unshare").arg("-Urm").args(arguments).env(SMALL, small).output().unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        if !run(&["true".as_ref()], folder.path()).status.success() {
            // A test that passes is not heard, so where nothing may be left out it does not pass.
            assert!(std::env::var_os("CI").is_none(), "{name} needs a namespace of its own: unshare -Urm");
            println!("NOT RUN: {name} (unshare -Urm makes no namespace here)");
            return None;
        }
        let script = "mount -t tmpfs -o size=4m,nr_inodes=64 small \"$0\" && exec \"$@\"";
        let program = std::env::current_exe().unwrap();
        let words = ["sh".as_ref(), "-c".as_ref(), script.as_ref(), folder.path().as_os_str(), program.as_os_str()];
        let output = run(&[&words[..], &["--exact".as_ref(), name.as_ref()]].concat(), folder.path());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        None
    }

    #[test]
    fn on_a_full_disk_a_file_stays_as_it_was() {
        let Some(small) = small_disk("disk::tests::on_a_full_disk_a_file_stays_as_it_was") else { return };
        let path = small.join("state/desired.json");
        write_whole(&path, b"old", 0o600).unwrap();
        let error = write_whole(&path, &vec![1; 8 << 20], 0o600).unwrap_err();
        assert!(is_full(&error), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
        write_whole(&path, b"new", 0o600).unwrap();
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state.json");
        write_whole(&path, b"one", 0o600).unwrap();
        write_whole(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn everything_in_a_folder_is_synced_before_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("a/b")).unwrap();
        for file in ["top", "a/b/deep"] {
            fs::write(at(file), "x").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", at("a/link")).unwrap();
        let mut synced = Vec::new();
        let mut sync = |path: &Path| -> io::Result<()> {
            synced.push(path.to_owned());
            sync(path)
        };
        sync_tree(folder.path(), &mut sync).unwrap();
        let place = |path: &str| synced.iter().position(|one| *one == at(path)).unwrap_or_else(|| panic!("{path}: {synced:?}"));
        assert!(place("a/b/deep") < place("a/b") && place("a/b") < place("a") && place("a") < place(""), "{synced:?}");
        assert!(place("top") < place("") && synced.len() == 5, "{synced:?}");
    }

    #[test]
    fn an_error_says_the_cause_that_it_hides() {
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        #[derive(Debug, thiserror::Error)]
        #[error("failed to unpack `x`")]
        struct Hiding(#[source] io::Error);
        let error = told(io::Error::new(cause.kind(), Hiding(cause)), Path::new("/zms"));
        assert_eq!(error.to_string(), "failed to unpack `x`: permission denied");
        let plain = told(io::Error::from(io::ErrorKind::NotFound), Path::new("/zms"));
        assert_eq!(plain.to_string(), "entity not found");
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        fs::write(&path, vec![0; 100]).unwrap();
        let error = read_bounded(&path, 10).unwrap_err().to_string();
        assert!(error.contains("100 bytes") && error.contains("at most 10"), "{error}");
        assert!(read_bounded(&folder.path().join("none"), 10).unwrap().is_none());
    }
}

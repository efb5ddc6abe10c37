//! Logs of instances, rotated by copy and truncate: the process keeps its descriptor, opened for appending.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// When and how much.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// Rotate a log that has grown beyond this, in bytes.
    pub max_bytes: u64,
    /// How many old ones stay.
    pub keep: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_bytes: 20 << 20, keep: 5 }
    }
}

/// Rotates one log if it is due. Lines written between copy and truncation are lost; that is the price of a process
/// that is never told.
pub fn rotate(log: &Path, rotation: Rotation) -> io::Result<bool> {
    match fs::metadata(log) {
        Ok(found) if found.len() > rotation.max_bytes => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    for n in (1..rotation.keep).rev() {
        match fs::rename(numbered(log, n), numbered(log, n + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let temporary = numbered(log, 0);
    fs::copy(log, &temporary)?;
    fs::rename(&temporary, numbered(log, 1))?;
    OpenOptions::new().write(true).open(log)?.set_len(0)?;
    Ok(true)
}

fn numbered(log: &Path, n: u32) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_writer_that_appends_goes_on_in_the_emptied_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("out.log");
        let mut writer = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let rotation = Rotation { max_bytes: 10, keep: 2 };
        for round in 0..4 {
            writeln!(writer, "a long line of round {round}").unwrap();
            assert!(rotate(&log, rotation).unwrap());
            assert!(!rotate(&log, rotation).unwrap());
        }
        writeln!(writer, "last").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "last\n");
        assert!(fs::read_to_string(numbered(&log, 1)).unwrap().contains("round 3"));
        assert!(fs::read_to_string(numbered(&log, 2)).unwrap().contains("round 2"));
        assert!(!numbered(&log, 3).exists());
    }
}

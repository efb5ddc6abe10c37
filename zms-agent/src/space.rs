//! How full the file system is that a folder is on.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// As `df` says it, to those who are not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes.
    pub total: u64,
    /// What may be written, in bytes.
    pub free: u64,
    /// Used, of what is used and what may be written.
    pub used_percent: u64,
}

impl Space {
    /// Before the first package a folder of ours may be missing: then that of the nearest folder above it which is there.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let found = statvfs(there)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
        let used = found.blocks().saturating_sub(found.blocks_free());
        let used_percent = percent(used, used + found.blocks_available());
        Ok(Self { total: bytes(found.blocks()), free: bytes(found.blocks_available()), used_percent })
    }

    /// All of it, in MiB.
    pub const fn total_mib(&self) -> u64 {
        self.total >> 20
    }

    /// What may be written, in MiB.
    pub const fn free_mib(&self) -> u64 {
        self.free >> 20
    }
}

/// Rounded up, as `df` does.
fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).div_ceil(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_space_of_the_one_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let (there, missing) = (Space::of(folder.path()).unwrap(), Space::of(&folder.path().join("not/yet")).unwrap());
        assert!(there.total == missing.total && there.total >= there.free && there.free_mib() > 0, "{there:?}");
        assert!((1..=100).contains(&there.used_percent), "{there:?}");
    }

    #[test]
    fn shares_are_rounded_up() {
        for (part, whole, is) in [(0, 0, 0), (1, 1000, 1), (89, 100, 89), (895, 1000, 90), (1, 1, 100)] {
            assert_eq!(percent(part, whole), is, "{part} of {whole}");
        }
    }
}

//! Archives unpacked side by side; a folder in `releases/` is whole or absent.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use tar::EntryType;
use zms_core::package::PackageRef;

use crate::layout::Layout;

/// Most entries an archive may have.
const MAX_ENTRIES: u64 = 200_000;
/// Most bytes it may unpack to.
const MAX_BYTES: u64 = 4 << 30;

/// Why an archive was not unpacked; nothing of it stays.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive wants something that is never allowed.
    #[error("package {package}: entry {entry:?}: {rule}")]
    Refused {
        /// Name and version.
        package: String,
        /// Path inside the archive.
        entry: String,
        /// What would be right.
        rule: &'static str,
    },
    /// Reading or writing failed.
    #[error("package {package}: unpacking: {source}")]
    Io {
        /// Name and version.
        package: String,
        /// Why.
        source: io::Error,
    },
}

/// Is it unpacked?
pub fn present(layout: &Layout, package: &PackageRef) -> bool {
    layout.release(package).is_dir()
}

/// Unpacks one archive into its folder. Blocks: call it where that is allowed.
pub fn unpack(layout: &Layout, package: &PackageRef) -> Result<(), UnpackError> {
    let label = format!("{} {}", package.name, package.version);
    let io_failed = |source| UnpackError::Io { package: label.clone(), source };
    let releases = layout.releases();
    fs::create_dir_all(&releases).map_err(io_failed)?;
    // One folder a package: a left-over of a killed agent is in the way only of the next try, which removes it.
    let temporary = releases.join(format!(".tmp-{}", package.folder()));
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(io_failed)?;
    }
    fs::create_dir(&temporary).map_err(io_failed)?;
    let unpacked = unpack_into(&temporary, &layout.archive(&package.sha512), &label);
    if let Err(error) = unpacked {
        fs::remove_dir_all(&temporary).map_err(io_failed)?;
        return Err(error);
    }
    fs::rename(&temporary, layout.release(package)).map_err(io_failed)?;
    crate::disk::sync_folder(&releases).map_err(io_failed)
}

fn unpack_into(target: &Path, archive: &Path, package: &str) -> Result<(), UnpackError> {
    let io_failed = |source| UnpackError::Io { package: package.to_owned(), source };
    let file = File::open(archive).map_err(io_failed)?;
    let plain = zstd::Decoder::new(BufReader::new(file)).map_err(io_failed)?;
    let mut tar = tar::Archive::new(plain);
    tar.set_preserve_permissions(true);
    tar.set_preserve_mtime(false);
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    for entry in tar.entries().map_err(io_failed)? {
        let mut entry = entry.map_err(io_failed)?;
        let path = entry.path().map_err(io_failed)?.into_owned();
        let refused = |rule| UnpackError::Refused { package: package.to_owned(), entry: path.display().to_string(), rule };
        entries += 1;
        bytes += entry.size();
        if entries > MAX_ENTRIES || bytes > MAX_BYTES {
            return Err(refused("an archive has at most 200 000 entries and 4 GiB"));
        }
        if !stays_inside(&path) {
            return Err(refused("paths are relative and have no .."));
        }
        match entry.header().entry_type() {
            EntryType::Directory | EntryType::Regular => {}
            EntryType::Symlink | EntryType::Link => {
                let link = entry.link_name().map_err(io_failed)?.unwrap_or_default().into_owned();
                if !link_stays_inside(&path, &link, entry.header().entry_type() == EntryType::Link) {
                    return Err(refused("links point at places inside the archive"));
                }
            }
            _ => return Err(refused("only files, folders and links are unpacked")),
        }
        if entry.header().mode().map_err(io_failed)? & 0o7000 != 0 {
            return Err(refused("no setuid, setgid or sticky bits"));
        }
        if !entry.unpack_in(target).map_err(io_failed)? {
            return Err(refused("paths stay inside the archive"));
        }
    }
    fs::set_permissions(target, fs::Permissions::from_mode(0o755)).map_err(io_failed)
}

fn stays_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// A symbolic link is relative to its own folder, a hard link to the root of the archive.
fn link_stays_inside(path: &Path, link: &Path, hard: bool) -> bool {
    let mut depth: i64 =
        if hard { 0 } else { path.components().filter(|c| matches!(c, Component::Normal(_))).count() as i64 - 1 };
    for part in link.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fetch::tests::stock;

    /// An archive of these files: path, mode, content.
    pub(crate) fn archive(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, mode, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            // `set_path` would refuse the evil paths that the tests need.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap()
    }

    async fn try_unpack(bytes: &[u8]) -> (tempfile::TempDir, Layout, PackageRef, Result<(), UnpackError>) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        let package = stock(folder.path(), "thing", bytes);
        crate::fetch::fetch(&layout, &crate::fetch::Source::Folder(folder.path().into()), &package).await.unwrap();
        let result = unpack(&layout, &package);
        (folder, layout, package, result)
    }

    #[tokio::test]
    async fn files_come_out_with_their_modes() {
        let bytes = archive(&[("bin/run", 0o755, b"#!"), ("lib/a", 0o644, b"a")]);
        let (_keep, layout, package, result) = try_unpack(&bytes).await;
        result.unwrap();
        assert!(present(&layout, &package));
        let run = layout.release(&package).join("bin/run");
        assert_eq!(fs::metadata(&run).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read(layout.release(&package).join("lib/a")).unwrap(), b"a");
    }

    #[tokio::test]
    async fn what_leaves_the_folder_or_gives_rights_is_refused_and_nothing_stays() {
        for (path, mode) in [("../evil", 0o644), ("a/../../evil", 0o644), ("/evil", 0o644), ("root", 0o4755)] {
            let bytes = archive(&[("fine", 0o644, b"x"), (path, mode, b"x")]);
            let (keep, layout, package, result) = try_unpack(&bytes).await;
            assert!(matches!(result, Err(UnpackError::Refused { .. })), "{path}: {result:?}");
            assert!(!present(&layout, &package), "{path}");
            assert_eq!(fs::read_dir(layout.releases()).unwrap().count(), 0, "{path}");
            assert!(!keep.path().join("evil").exists() && !Path::new("/evil").exists());
        }
    }

    #[test]
    fn links_are_judged_from_where_they_stand() {
        for (path, link, hard, fits) in [
            ("a/b", "c", false, true),
            ("a/b", "../c", false, true),
            ("a/b", "../../c", false, false),
            ("b", "../c", false, false),
            ("b", "/etc/passwd", false, false),
            ("a/b", "c", true, true),
            ("a/b", "../c", true, false),
        ] {
            assert_eq!(link_stays_inside(Path::new(path), Path::new(link), hard), fits, "{path} -> {link}");
        }
    }

    #[tokio::test]
    async fn a_left_over_of_a_killed_agent_is_no_obstacle() {
        let bytes = archive(&[("a", 0o644, b"a")]);
        let (_keep, layout, package, result) = try_unpack(&bytes).await;
        result.unwrap();
        fs::rename(layout.release(&package), layout.releases().join(format!(".tmp-{}", package.folder()))).unwrap();
        unpack(&layout, &package).unwrap();
        assert!(present(&layout, &package));
    }

    #[tokio::test]
    async fn garbage_is_an_error_and_leaves_nothing() {
        let (_keep, layout, package, result) = try_unpack(b"this is no archive").await;
        assert!(matches!(result, Err(UnpackError::Io { .. })));
        assert!(!present(&layout, &package));
    }
}

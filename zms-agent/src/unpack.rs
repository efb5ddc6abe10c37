//! Archives unpacked side by side; a folder in `releases/` is whole or absent.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use tar::EntryType;
use zms_core::package::PackageRef;

use crate::layout::Layout;
use crate::{disk, preflight};

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

/// Is it unpacked? Its folder comes into being by a rename, after everything in it is on the disk.
pub fn present(layout: &Layout, package: &PackageRef) -> bool {
    layout.release(package).is_dir()
}

/// Unpacks one archive into its folder. Blocks: call it where that is allowed.
pub fn unpack(layout: &Layout, package: &PackageRef) -> Result<(), UnpackError> {
    unpack_synced(layout, package, &mut disk::sync)
}

fn unpack_synced(
    layout: &Layout,
    package: &PackageRef,
    sync: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> Result<(), UnpackError> {
    let label = format!("{} {}", package.name, package.version);
    let (releases, archive) = (layout.releases(), layout.archive(&package.sha512));
    let io_failed = |source| UnpackError::Io { package: label.clone(), source: disk::told(source, &releases) };
    fs::create_dir_all(&releases).map_err(io_failed)?;
    // One folder a package: a left-over of a killed agent is in the way only of the next try, which removes it.
    let temporary = releases.join(format!(".tmp-{}", package.folder()));
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(io_failed)?;
    }
    // Others write on this disk too: what does not fit is not begun.
    let bytes = unpacked_size(&archive).map_err(io_failed)?;
    if let Some(problem) = preflight::too_little_space(&releases, (bytes >> 20) + 1) {
        return Err(UnpackError::Io { package: label.clone(), source: io::Error::new(io::ErrorKind::StorageFull, problem) });
    }
    fs::create_dir(&temporary).map_err(io_failed)?;
    // Without it a power cut could leave a folder of empty files, which counts as whole.
    let synced = |()| disk::sync_tree(&temporary, sync).map_err(io_failed);
    let unpacked = unpack_into(&temporary, &archive, &io_failed, &label).and_then(synced);
    if let Err(error) = unpacked {
        fs::remove_dir_all(&temporary).map_err(io_failed)?;
        return Err(error);
    }
    fs::rename(&temporary, layout.release(package)).map_err(io_failed)?;
    disk::sync(&releases).map_err(io_failed)
}

fn open(archive: &Path) -> io::Result<tar::Archive<impl io::Read>> {
    Ok(tar::Archive::new(zstd::Decoder::new(BufReader::new(File::open(archive)?))?))
}

/// Bytes of all entries, as far as they are allowed.
fn unpacked_size(archive: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in open(archive)?.entries()? {
        bytes = bytes.saturating_add(entry?.size());
        if bytes > MAX_BYTES {
            break;
        }
    }
    Ok(bytes)
}

fn unpack_into(
    target: &Path,
    archive: &Path,
    io_failed: &impl Fn(io::Error) -> UnpackError,
    package: &str,
) -> Result<(), UnpackError> {
    let mut tar = open(archive).map_err(io_failed)?;
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
    use crate::disk::tests::small_disk;
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
        try_unpack_in(tempfile::tempdir().unwrap(), bytes).await
    }

    async fn try_unpack_in(
        folder: tempfile::TempDir,
        bytes: &[u8],
    ) -> (tempfile::TempDir, Layout, PackageRef, Result<(), UnpackError>) {
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
    async fn a_release_is_in_its_place_only_when_all_of_it_is_on_the_disk() {
        let bytes = archive(&[("bin/run", 0o755, b"#!"), ("lib/a", 0o644, b"a")]);
        let (_keep, layout, package, result) = try_unpack(&bytes).await;
        result.unwrap();
        let release = layout.release(&package);
        fs::remove_dir_all(&release).unwrap();

        let broken = unpack_synced(&layout, &package, &mut |_| Err(io::Error::other("the disk is broken"))).unwrap_err();
        assert!(broken.to_string().contains("the disk is broken"), "{broken}");
        assert_eq!(fs::read_dir(layout.releases()).unwrap().count(), 0, "nothing stays");

        let mut synced = Vec::new();
        let mut sync = |path: &Path| -> io::Result<()> {
            assert!(!release.exists(), "{} is synced after the release is in its place", path.display());
            let inside = path.strip_prefix(layout.releases()).unwrap().components().skip(1).collect::<std::path::PathBuf>();
            synced.push(inside.display().to_string());
            Ok(())
        };
        unpack_synced(&layout, &package, &mut sync).unwrap();
        synced.sort();
        assert_eq!(synced, ["", "bin", "bin/run", "lib", "lib/a"]);
        assert!(present(&layout, &package));
    }

    #[tokio::test]
    async fn a_disk_that_is_too_small_is_told_and_nothing_stays() {
        let Some(small) = small_disk("unpack::tests::a_disk_that_is_too_small_is_told_and_nothing_stays") else { return };
        let names: Vec<String> = (0..100).map(|n| format!("file-{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), 0o644, &b"x"[..])).collect();
        let large = vec![0; 5 << 20];
        for (files, sentence) in [
            (vec![("large", 0o644, large.as_slice())], "MiB free; 6 MiB are needed"),
            // It has the bytes, but not the nodes.
            (many, "is full; free space or file nodes there"),
        ] {
            let folder = tempfile::tempdir_in(&small).unwrap();
            let (_keep, layout, package, result) = try_unpack_in(folder, &archive(&files)).await;
            let error = result.unwrap_err().to_string();
            assert!(error.contains("thing 1.0") && error.contains(sentence), "{error}");
            assert!(!present(&layout, &package) && fs::read_dir(layout.releases()).unwrap().count() == 0, "{error}");
        }
    }

    #[tokio::test]
    async fn garbage_is_an_error_and_leaves_nothing() {
        let (_keep, layout, package, result) = try_unpack(b"this is no archive").await;
        assert!(matches!(result, Err(UnpackError::Io { .. })));
        assert!(!present(&layout, &package));
    }
}

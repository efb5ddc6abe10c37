//! The packages that `scripts/packages` made, unpacked once for all tests.

use std::fs;
use std::path::{Path, PathBuf};

use zms_core::package::Manifest;

fn cache() -> PathBuf {
    let cache = std::env::var_os("ZMS_CACHE").map(PathBuf::from);
    cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/zms"))
}

/// The folder of an unpacked package whose version begins with `line`.
pub(crate) fn unpacked(name: &str, line: &str) -> PathBuf {
    let folder = cache().join("packages");
    let (manifest, archive) = find(&folder, name, line)
        .unwrap_or_else(|| panic!("no package {name} {line}* in {}; run scripts/packages", folder.display()));
    let to = cache().join("testbed").join(format!("{name}-{}", &manifest.package.sha512.as_str()[..16]));
    if !to.exists() {
        unpack(&archive, &to);
    }
    to
}

/// Is there a package whose version begins with `line`?
pub(crate) fn is_at_hand(name: &str, line: &str) -> bool {
    find(&cache().join("packages"), name, line).is_some()
}

fn find(folder: &Path, name: &str, line: &str) -> Option<(Manifest, PathBuf)> {
    let entries = fs::read_dir(folder).ok()?;
    let manifests =
        entries.filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.extension().is_some_and(|e| e == "json")));
    manifests
        .filter_map(|path| {
            let bytes = fs::read(&path).ok()?;
            let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
            let archive = serde_json::from_slice::<serde_json::Value>(&bytes).ok()?.get("archive")?.as_str()?.to_owned();
            Some((manifest, folder.join(archive)))
        })
        .find(|(manifest, _)| manifest.package.name.as_str() == name && manifest.package.version.as_str().starts_with(line))
}

/// Side by side and then renamed: several test binaries may do it at once.
fn unpack(archive: &Path, to: &Path) {
    let parent = to.parent().expect("it has a name");
    fs::create_dir_all(parent).unwrap();
    let aside = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(parent).unwrap();
    let file = fs::File::open(archive).unwrap_or_else(|e| panic!("{}: {e}; run scripts/packages", archive.display()));
    tar::Archive::new(zstd::Decoder::new(file).unwrap()).unpack(aside.path()).unwrap();
    if let Err(error) = fs::rename(aside.path(), to) {
        assert!(to.exists(), "{}: {error}", to.display());
    } else {
        // It is not there any more under the name that would be deleted.
        let _ = aside.keep();
    }
}

/// A Java 17 or newer: the package if there is one, else the machine's.
pub(crate) fn java() -> PathBuf {
    match find(&cache().join("packages"), "jre", "") {
        Some(_) => unpacked("jre", "").join("bin/java"),
        None => PathBuf::from("java"),
    }
}

//! Packages for tests.

use std::path::{Path, PathBuf};

use sha2::Digest;
use zms_core::names::{PackageName, Sha512, Version};
use zms_core::package::{Manifest, PackageKind, PackageRef};

/// Where [`put`] writes the archive.
pub fn archive_path(folder: &Path, name: &str, version: &str, arch: &str) -> PathBuf {
    folder.join(format!("{name}-{version}-{arch}.tar.zst"))
}

/// Writes an archive of these bytes and its manifest.
pub fn put(folder: &Path, name: &str, version: &str, arch: &str, bytes: &[u8]) -> PackageRef {
    let sha512: String = sha2::Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let package = PackageRef {
        name: PackageName::new(name).unwrap(),
        version: Version::new(version).unwrap(),
        sha512: Sha512::new(sha512.clone()).unwrap(),
        size: bytes.len() as u64,
    };
    let manifest = Manifest {
        package: package.clone(),
        licence: "Apache-2.0".to_owned(),
        kind: PackageKind::Service,
        arch: arch.to_owned(),
        archive: format!("{name}-{version}-{arch}.tar.zst"),
        tar_sha512: Sha512::new(sha512).unwrap(),
    };
    std::fs::write(archive_path(folder, name, version, arch), bytes).unwrap();
    std::fs::write(folder.join(format!("{name}-{version}-{arch}.json")), serde_json::to_vec(&manifest).unwrap()).unwrap();
    package
}

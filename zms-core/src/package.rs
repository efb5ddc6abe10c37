//! What an agent installs: an archive (`.tar.zst`) and the manifest that stands beside it.

use serde::{Deserialize, Serialize};

use crate::names::{PackageName, Sha512, Version};

/// What a desired state says of a package: enough to fetch it from anywhere and to trust what came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PackageRef {
    /// For example `kafka`.
    pub name: PackageName,
    /// For example `4.3.1`.
    pub version: Version,
    /// Of the archive's bytes.
    pub sha512: Sha512,
    /// Of the archive, in bytes.
    pub size: u64,
}

impl PackageRef {
    /// Name of the folder it is unpacked into, side by side with other versions and other builds of this version.
    pub fn folder(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, &self.sha512.as_str()[..8])
    }
}

/// `<archive>.json` beside each archive that `scripts/packages` builds or an operator imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name, version, hash and size of the archive.
    #[serde(flatten)]
    pub package: PackageRef,
    /// SPDX expression, for example `Apache-2.0`.
    pub licence: String,
    /// What it is for: `service`, `runtime` (a JRE), `tool` (supervisor, a JVM agent) or `agent`.
    pub kind: PackageKind,
    /// `any`, or an architecture as `uname -m` prints it.
    pub arch: String,
    /// File name of the archive, in the manifest's folder.
    pub archive: String,
    /// SHA-512 of the tar inside, which does not change with the version of zstd.
    pub tar_sha512: Sha512,
}

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    /// A server that runs as instances of a service.
    Service,
    /// Something a server runs on (a JRE).
    Runtime,
    /// Something that runs or watches servers (supervisor, a JVM agent).
    Tool,
    /// One of our own binaries for hosts.
    Agent,
}

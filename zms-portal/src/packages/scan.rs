//! One look at the folder of packages. Blocks; nothing is hashed here.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zms_core::names::Sha512;
use zms_core::package::Manifest;

use super::version;

/// Largest manifest that is read, in bytes.
const LARGEST_MANIFEST: u64 = 64 << 10;

/// What lies in the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// By name, newest first.
    pub packages: Vec<Found>,
    /// Manifests that cannot be used.
    pub broken: Vec<Broken>,
}

/// A package whose archive is there with the right size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What its manifest says.
    pub manifest: Manifest,
    /// The archive.
    pub archive: PathBuf,
    /// When the archive was last written: with path and size it tells a replaced file.
    pub modified: SystemTime,
}

/// A manifest that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = BrokenPackage)]
pub struct Broken {
    /// File name of the manifest.
    pub file: String,
    /// What is wrong with it or with its archive.
    pub reason: String,
}

/// Reads every `*.json` of the folder and looks at the archive it names.
pub fn scan(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(file) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".json")) else { continue };
        match look_at(folder, &path) {
            Ok(found) => listing.packages.push(found),
            Err(reason) => listing.broken.push(Broken { file: file.to_owned(), reason }),
        }
    }
    listing.packages.sort_by(|a, b| {
        let (left, right) = (&a.manifest.package, &b.manifest.package);
        let newest_first = || version::compare(right.version.as_str(), left.version.as_str());
        left.name.cmp(&right.name).then_with(newest_first).then_with(|| a.manifest.arch.cmp(&b.manifest.arch))
    });
    listing.broken.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(listing)
}

fn look_at(folder: &Path, path: &Path) -> Result<Found, String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| format!("reading the manifest: {error}"))?;
    file.take(LARGEST_MANIFEST).read_to_string(&mut text).map_err(|error| format!("reading the manifest: {error}"))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| format!("not a manifest: {error}"))?;
    // The name must stay inside the folder, whatever the manifest says.
    if manifest.archive.contains('/') || manifest.archive.starts_with('.') || manifest.archive.is_empty() {
        return Err(format!("its archive {:?} must be a file name in the same folder", manifest.archive));
    }
    let archive = folder.join(&manifest.archive);
    let found = fs::metadata(&archive).map_err(|error| format!("its archive {}: {error}", manifest.archive))?;
    if !found.is_file() || found.len() != manifest.package.size {
        let (size, wanted) = (found.len(), manifest.package.size);
        return Err(format!("its archive {} has {size} bytes, the manifest says {wanted}; copy it again", manifest.archive));
    }
    let modified = found.modified().map_err(|error| format!("its archive {}: {error}", manifest.archive))?;
    Ok(Found { manifest, archive, modified })
}

/// The SHA-512 of a file.
pub fn hash(path: &Path) -> io::Result<Sha512> {
    use sha2::Digest;
    let mut file = fs::File::open(path)?;
    let mut digest = sha2::Sha512::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Sha512::new(hex).expect("64 bytes are 128 hexadecimal digits"))
}

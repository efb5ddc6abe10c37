//! Archives: from a folder or from the portal into `cas/`, trusted only by their hash.

use std::io;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::{Digest, Sha512 as Hasher};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
use zms_core::names::Sha512;
use zms_core::package::{Manifest, PackageRef};

use crate::layout::Layout;
use crate::portal::error::CallError;
use crate::portal::link::Link;

/// Chunks of an archive, in order.
pub type Chunks = BoxStream<'static, io::Result<Vec<u8>>>;

/// Where archives come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder that `scripts/packages` filled: archives with a manifest beside each.
    Folder(PathBuf),
    /// The portal that this host belongs to.
    Portal(Link),
}

/// Why an archive is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source does not have it.
    #[error("package {package}: {place} has no archive with SHA-512 {sha512:.12}…; build or import it there")]
    Absent {
        /// Name and version.
        package: String,
        /// Where it was looked for.
        place: String,
        /// What was looked for.
        sha512: String,
    },
    /// Other bytes came than were promised. They were deleted.
    #[error("package {package}: what came has {found}, wanted was {wanted}; it was deleted and will be fetched again")]
    Corrupt {
        /// Name and version.
        package: String,
        /// Size or hash that came.
        found: String,
        /// Size or hash that was promised.
        wanted: String,
    },
    /// Reading or writing failed; what is there stays for the next try.
    #[error("package {package}: {doing}: {source}")]
    Io {
        /// Name and version.
        package: String,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Is the archive there? Its hash was checked when it was put there.
pub fn present(layout: &Layout, package: &PackageRef) -> bool {
    std::fs::metadata(layout.archive(&package.sha512)).is_ok_and(|found| found.len() == package.size)
}

/// Brings one archive. A cut transfer goes on where it stopped; a wrong hash deletes what came.
pub async fn fetch(layout: &Layout, source: &Source, package: &PackageRef) -> Result<(), FetchError> {
    let label = format!("{} {}", package.name, package.version);
    let failed = |doing: &'static str| {
        let package = label.clone();
        move |source| FetchError::Io { package, doing, source }
    };
    fs::create_dir_all(layout.archives()).await.map_err(failed("making the archive folder"))?;
    let part = layout.archives().join(format!(".part-{}", package.sha512));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&part)
        .await
        .map_err(failed("opening the part file"))?;

    let mut hasher = Hasher::new();
    let mut have = hash_existing(&mut file, &mut hasher).await.map_err(failed("reading what is there"))?;
    if have > package.size {
        file.set_len(0).await.map_err(failed("emptying the part file"))?;
        file.seek(SeekFrom::Start(0)).await.map_err(failed("emptying the part file"))?;
        hasher = Hasher::new();
        have = 0;
    }
    // A part that is whole was not put in place because we were killed; nobody has bytes beyond it.
    let mut chunks = if have < package.size { source.open(package, have).await? } else { futures::stream::empty().boxed() };
    while let Some(chunk) = chunks.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                // What came counts at the next try.
                file.flush().await.map_err(failed("writing (is the disk full?)"))?;
                return Err(failed("receiving")(error));
            }
        };
        have += chunk.len() as u64;
        if have > package.size {
            break;
        }
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(failed("writing (is the disk full?)"))?;
    }
    file.sync_all().await.map_err(failed("writing (is the disk full?)"))?;

    if have < package.size {
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, format!("{have} of {} bytes came", package.size));
        return Err(failed("receiving")(cut));
    }
    let found = hex(&hasher.finalize());
    if have > package.size || found != package.sha512.as_str() {
        fs::remove_file(&part).await.map_err(failed("deleting the wrong archive"))?;
        let (found, wanted) = if have > package.size {
            ("more bytes".to_owned(), format!("{} bytes", package.size))
        } else {
            (format!("SHA-512 {found:.12}…"), format!("SHA-512 {:.12}…", package.sha512.as_str()))
        };
        return Err(FetchError::Corrupt { package: label, found, wanted });
    }
    fs::rename(&part, layout.archive(&package.sha512)).await.map_err(failed("putting the archive in place"))
}

async fn hash_existing(file: &mut File, hasher: &mut Hasher) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 18];
    let mut have = 0;
    loop {
        let n = file.read(&mut buffer).await?;
        if n == 0 {
            return Ok(have);
        }
        hasher.update(&buffer[..n]);
        have += n as u64;
    }
}

impl Source {
    async fn open(&self, package: &PackageRef, offset: u64) -> Result<Chunks, FetchError> {
        match self {
            Self::Folder(folder) => open_in_folder(folder, package, offset).await,
            Self::Portal(link) => link.package(&package.sha512, offset).await.map_err(|error| of_portal(link, package, error)),
        }
    }

    /// The value of a secret; the error is a sentence.
    pub async fn secret(&self, reference: &str) -> Result<String, String> {
        match self {
            Self::Folder(folder) => secret_in_folder(folder, reference),
            Self::Portal(link) => link.now().secret(reference).await.map_err(|error| format!("secret {reference}: {error}")),
        }
    }
}

/// Largest secret that is read from a folder, in bytes.
const SECRET_LIMIT: u64 = 64 << 10;

/// On a host without a portal secrets are files `secrets/<reference>` beside the archives.
fn secret_in_folder(folder: &Path, reference: &str) -> Result<String, String> {
    let inside = reference.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    let path = folder.join("secrets").join(reference);
    let found = if inside { crate::disk::read_bounded(&path, SECRET_LIMIT).map_err(|error| error.to_string())? } else { None };
    let bytes = found.ok_or_else(|| {
        format!("secret {reference}: this host has no portal to ask for it, and {} is not there", path.display())
    })?;
    String::from_utf8(bytes).map_err(|_| format!("secret {reference}: {} is no text", path.display()))
}

fn of_portal(link: &Link, package: &PackageRef, error: CallError) -> FetchError {
    let label = format!("{} {}", package.name, package.version);
    match error {
        CallError::Refused { status: 404, .. } => {
            FetchError::Absent { package: label, place: link.now().url().to_owned(), sha512: package.sha512.to_string() }
        }
        other => FetchError::Io { package: label, doing: "asking the portal", source: io::Error::other(other) },
    }
}

async fn open_in_folder(folder: &Path, package: &PackageRef, offset: u64) -> Result<Chunks, FetchError> {
    let label = format!("{} {}", package.name, package.version);
    let failed = |doing, source| FetchError::Io { package: label.clone(), doing, source };
    let archive = find_in_folder(folder, &package.sha512).await.map_err(|e| failed("reading the package folder", e))?;
    let Some(archive) = archive else {
        return Err(FetchError::Absent {
            package: label,
            place: folder.display().to_string(),
            sha512: package.sha512.to_string(),
        });
    };
    let mut file = File::open(&archive).await.map_err(|e| failed("opening the archive", e))?;
    file.seek(SeekFrom::Start(offset)).await.map_err(|e| failed("reading the archive", e))?;
    let chunks = futures::stream::unfold(file, |mut file| async move {
        let mut buffer = vec![0; 1 << 18];
        match file.read(&mut buffer).await {
            Ok(0) => None,
            Ok(n) => {
                buffer.truncate(n);
                Some((Ok(buffer), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    Ok(chunks.boxed())
}

/// The archive whose manifest has this hash.
async fn find_in_folder(folder: &Path, sha512: &Sha512) -> io::Result<Option<PathBuf>> {
    let mut entries = fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&fs::read(&path).await?) else { continue };
        let plain = !manifest.archive.contains('/') && !manifest.archive.starts_with('.');
        if manifest.package.sha512 == *sha512 && plain {
            return Ok(Some(folder.join(manifest.archive)));
        }
    }
    Ok(None)
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Puts an archive with these bytes and its manifest into `folder`.
    pub(crate) fn stock(folder: &Path, name: &str, bytes: &[u8]) -> PackageRef {
        let package = PackageRef {
            name: name.parse().unwrap(),
            version: "1.0".parse().unwrap(),
            sha512: hex(&Hasher::digest(bytes)).parse().unwrap(),
            size: bytes.len() as u64,
        };
        let archive = format!("{name}.tar.zst");
        std::fs::write(folder.join(&archive), bytes).unwrap();
        let manifest = Manifest {
            package: package.clone(),
            licence: "Apache-2.0".into(),
            kind: zms_core::package::PackageKind::Service,
            arch: "any".into(),
            archive,
            tar_sha512: "0".repeat(128).parse().unwrap(),
        };
        std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec(&manifest).unwrap()).unwrap();
        package
    }

    fn place() -> (tempfile::TempDir, Layout, Source, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let stock = folder.path().join("stock");
        std::fs::create_dir(&stock).unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        (folder, layout, Source::Folder(stock.clone()), stock)
    }

    #[tokio::test]
    async fn an_archive_comes_once_and_is_there() {
        let (_keep, layout, source, folder) = place();
        let package = stock(&folder, "thing", &vec![7; 1_000_000]);
        assert!(!present(&layout, &package));
        fetch(&layout, &source, &package).await.unwrap();
        assert!(present(&layout, &package));
    }

    #[tokio::test]
    async fn a_cut_transfer_goes_on_where_it_stopped() {
        let (_keep, layout, source, folder) = place();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let package = stock(&folder, "thing", &bytes);
        std::fs::create_dir_all(layout.archives()).unwrap();
        std::fs::write(layout.archives().join(format!(".part-{}", package.sha512)), &bytes[..400_001]).unwrap();
        fetch(&layout, &source, &package).await.unwrap();
        assert_eq!(std::fs::read(layout.archive(&package.sha512)).unwrap(), bytes);
    }

    #[tokio::test]
    async fn a_wrong_hash_is_named_deleted_and_fetched_again() {
        let (_keep, layout, source, folder) = place();
        let package = stock(&folder, "thing", b"the right bytes");
        std::fs::write(folder.join("thing.tar.zst"), b"the wrong bytes").unwrap();
        let error = fetch(&layout, &source, &package).await.unwrap_err();
        assert!(matches!(error, FetchError::Corrupt { .. }), "{error}");
        assert!(!present(&layout, &package));
        std::fs::write(folder.join("thing.tar.zst"), b"the right bytes").unwrap();
        fetch(&layout, &source, &package).await.unwrap();
        assert!(present(&layout, &package));
    }

    #[tokio::test]
    async fn a_short_archive_stays_as_a_part_and_says_how_much_came() {
        let (_keep, layout, source, folder) = place();
        let package = stock(&folder, "thing", b"0123456789");
        std::fs::write(folder.join("thing.tar.zst"), b"01234").unwrap();
        let error = fetch(&layout, &source, &package).await.unwrap_err().to_string();
        assert!(error.contains("5 of 10 bytes"), "{error}");
    }

    #[tokio::test]
    async fn an_archive_that_nobody_has_names_the_place() {
        let (_keep, layout, source, folder) = place();
        let package = stock(&folder, "thing", b"x");
        std::fs::remove_file(folder.join("thing.json")).unwrap();
        let error = fetch(&layout, &source, &package).await.unwrap_err().to_string();
        assert!(error.contains("thing 1.0") && error.contains("stock"), "{error}");
    }
}

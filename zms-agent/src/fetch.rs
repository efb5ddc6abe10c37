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

use crate::disk;
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
    /// Reading or writing failed; what is there stays for the next try, but not on a full disk.
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
    let part = Part::open(layout, package).await?;
    // A part that is whole was not put in place because we were killed; nobody has bytes beyond it.
    let chunks = match package.size - part.have {
        0 => futures::stream::empty().boxed(),
        missing => {
            // Others write on this disk too: what does not fit is not begun.
            if let Some(problem) = crate::preflight::too_little_space(&layout.archives(), (missing >> 20) + 1) {
                let source = io::Error::new(io::ErrorKind::StorageFull, problem);
                return Err(FetchError::Io { package: label(package), doing: "receiving", source });
            }
            source.open(package, part.have).await?
        }
    };
    part.receive(chunks).await
}

/// As much of an archive as has come.
struct Part<'a> {
    layout: &'a Layout,
    package: &'a PackageRef,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    have: u64,
}

impl<'a> Part<'a> {
    /// What an earlier transfer left, or nothing.
    async fn open(layout: &'a Layout, package: &'a PackageRef) -> Result<Self, FetchError> {
        let failed = |doing| failed(layout, package, doing);
        fs::create_dir_all(layout.archives()).await.map_err(failed("making the archive folder"))?;
        let path = layout.archives().join(format!(".part-{}", package.sha512));
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).await;
        let mut file = opened.map_err(failed("opening the part file"))?;
        let mut hasher = Hasher::new();
        let mut have = hash_existing(&mut file, &mut hasher).await.map_err(failed("reading what is there"))?;
        if have > package.size {
            file.set_len(0).await.map_err(failed("emptying the part file"))?;
            file.seek(SeekFrom::Start(0)).await.map_err(failed("emptying the part file"))?;
            hasher = Hasher::new();
            have = 0;
        }
        Ok(Self { layout, package, path, file, hasher, have })
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> FetchError + use<> {
        failed(self.layout, self.package, doing)
    }

    /// Takes the rest, and puts the archive in place if it is the right one.
    async fn receive(mut self, mut chunks: Chunks) -> Result<(), FetchError> {
        while let Some(chunk) = chunks.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    // What came counts at the next try.
                    if let Err(error) = self.file.flush().await {
                        return Err(self.not_written(error).await);
                    }
                    return Err(self.failed("receiving")(error));
                }
            };
            self.have += chunk.len() as u64;
            if self.have > self.package.size {
                break;
            }
            self.hasher.update(&chunk);
            if let Err(error) = self.file.write_all(&chunk).await {
                return Err(self.not_written(error).await);
            }
        }
        // The last write goes on in the background, and only `flush` says how it ended.
        let written = match self.file.flush().await {
            Ok(()) => self.file.sync_all().await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => self.finish().await,
            Err(error) => Err(self.not_written(error).await),
        }
    }

    /// Where the disk is full a part is given up: what it takes is worth more to the servers that write there.
    async fn not_written(self, error: io::Error) -> FetchError {
        if disk::is_full(&error)
            && let Err(error) = fs::remove_file(&self.path).await
        {
            tracing::warn!(file = %self.path.display(), %error, "cannot delete a part of an archive from a full disk");
        }
        self.failed("writing")(error)
    }

    async fn finish(self) -> Result<(), FetchError> {
        let (have, size) = (self.have, self.package.size);
        if have < size {
            let cut = io::Error::new(io::ErrorKind::UnexpectedEof, format!("{have} of {size} bytes came"));
            return Err(self.failed("receiving")(cut));
        }
        let failed = |doing| self.failed(doing);
        let (found, wanted) = (hex(&self.hasher.clone().finalize()), &self.package.sha512);
        if have > size || found != wanted.as_str() {
            fs::remove_file(&self.path).await.map_err(failed("deleting the wrong archive"))?;
            let (found, wanted) = if have > size {
                ("more bytes".to_owned(), format!("{size} bytes"))
            } else {
                (format!("SHA-512 {found:.12}…"), format!("SHA-512 {:.12}…", wanted.as_str()))
            };
            return Err(FetchError::Corrupt { package: label(self.package), found, wanted });
        }
        fs::rename(&self.path, self.layout.archive(wanted)).await.map_err(failed("putting the archive in place"))
    }
}

fn label(package: &PackageRef) -> String {
    format!("{} {}", package.name, package.version)
}

fn failed(layout: &Layout, package: &PackageRef, doing: &'static str) -> impl Fn(io::Error) -> FetchError + use<> {
    let (package, place) = (label(package), layout.archives());
    move |source| FetchError::Io { package: package.clone(), doing, source: disk::told(source, &place) }
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
    let label = label(package);
    match error {
        CallError::Refused { status: 404, .. } => {
            FetchError::Absent { package: label, place: link.now().url().to_owned(), sha512: package.sha512.to_string() }
        }
        other => FetchError::Io { package: label, doing: "asking the portal", source: io::Error::other(other) },
    }
}

async fn open_in_folder(folder: &Path, package: &PackageRef, offset: u64) -> Result<Chunks, FetchError> {
    let label = label(package);
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
    use crate::disk::tests::small_disk;

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
    async fn an_archive_that_does_not_fit_is_not_begun_and_one_that_fills_the_disk_is_given_up() {
        let name = "fetch::tests::an_archive_that_does_not_fit_is_not_begun_and_one_that_fills_the_disk_is_given_up";
        let Some(small) = small_disk(name) else { return };
        let (_keep, _, source, folder) = place();
        let layout = Layout::new(small.join("zms")).unwrap();
        let package = stock(&folder, "thing", &vec![7; 3 << 20]);
        let left = || -> Vec<u64> {
            std::fs::read_dir(layout.archives()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect()
        };
        std::fs::write(small.join("other"), vec![0; 2 << 20]).unwrap();
        let error = fetch(&layout, &source, &package).await.unwrap_err().to_string();
        assert!(error.contains("thing 1.0") && error.contains("MiB free; 4 MiB are needed"), "{error}");
        assert_eq!(left(), [0], "nothing was written");

        // Somebody else takes what is left while the archive comes: before its middle, and before its end.
        for whole in [1_usize, 2] {
            std::fs::remove_file(small.join("other")).unwrap();
            let other = small.join("other");
            let chunks = futures::stream::iter(0..3_usize).map(move |n| {
                if n == whole {
                    std::fs::write(&other, vec![0; 8 << 20]).unwrap_err();
                }
                Ok(vec![7; 1 << 20])
            });
            let part = Part::open(&layout, &package).await.unwrap();
            let error = part.receive(chunks.boxed()).await.unwrap_err().to_string();
            assert!(error.contains("is full; free space"), "after {whole} MiB: {error}");
            assert_eq!(left(), [0_u64; 0], "after {whole} MiB");
        }
        std::fs::remove_file(small.join("other")).unwrap();
        fetch(&layout, &source, &package).await.unwrap();
        assert!(present(&layout, &package));
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

//! The packages at hand. Manifests and sizes are looked at each half minute, an archive's hash before it is first served.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::sync::watch;
use zms_core::names::Sha512;
use zms_core::package::PackageRef;

use super::scan::{self, Found, Listing};

/// A package that was copied into the folder is seen after this at the latest.
const RESCAN: Duration = Duration::from_secs(30);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    listing: watch::Sender<Arc<Listing>>,
    /// What became of hashing; the key changes when a file is replaced.
    checked: Mutex<HashMap<FileKey, Check>>,
    /// One archive is hashed at a time, so that many hosts that ask for the same one cost one reading.
    hashing: tokio::sync::Mutex<()>,
}

type FileKey = (PathBuf, SystemTime, u64);

/// Is an archive what its manifest says?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Nobody asked for it yet.
    NotYet,
    /// Its hash is right.
    Right,
    /// It is not, or cannot be read; nobody gets it.
    Wrong(String),
}

impl Stock {
    /// Looks at `folder`, which is made if it is missing, and looks again each half minute as long as the stock lives.
    pub async fn open(folder: PathBuf) -> anyhow::Result<Self> {
        tokio::fs::create_dir_all(&folder)
            .await
            .with_context(|| format!("making the folder of packages {}", folder.display()))?;
        let stock = Self(Arc::new(Inner {
            folder,
            listing: watch::channel(Arc::default()).0,
            checked: Mutex::default(),
            hashing: tokio::sync::Mutex::default(),
        }));
        stock.rescan().await?;
        tokio::spawn(keep_looking(Arc::downgrade(&stock.0)));
        Ok(stock)
    }

    /// Looks at the folder now.
    pub async fn rescan(&self) -> anyhow::Result<()> {
        let folder = self.0.folder.clone();
        let scanned = tokio::task::spawn_blocking(move || scan::scan(&folder)).await?;
        let listing = scanned.with_context(|| format!("reading the folder of packages {}", self.0.folder.display()))?;
        self.0.listing.send_if_modified(|current| {
            let changed = **current != listing;
            if changed {
                tracing::info!(packages = listing.packages.len(), broken = listing.broken.len(), "packages at hand changed");
                *current = Arc::new(listing);
            }
            changed
        });
        Ok(())
    }

    /// The folder.
    pub fn folder(&self) -> &std::path::Path {
        &self.0.folder
    }

    /// What lies there, as of the last look.
    pub fn list(&self) -> Arc<Listing> {
        self.0.listing.borrow().clone()
    }

    /// Packages of this name whose version begins with one of `versions` (any, if that is empty), newest first, without
    /// those that turned out to be damaged.
    pub fn fitting(&self, name: &str, versions: &[String]) -> Vec<Found> {
        let fits = |version: &str| versions.is_empty() || versions.iter().any(|fit| version.starts_with(fit.as_str()));
        let listing = self.list();
        let named = listing.packages.iter().filter(|found| found.manifest.package.name.as_str() == name);
        let fitting = named.filter(|found| fits(found.manifest.package.version.as_str()));
        fitting.filter(|found| !matches!(self.check(found), Check::Wrong(_))).cloned().collect()
    }

    /// The newest of [`Stock::fitting`], whatever its architecture.
    pub fn newest(&self, name: &str, versions: &[String]) -> Option<PackageRef> {
        self.fitting(name, versions).into_iter().next().map(|found| found.manifest.package)
    }

    /// The archive with this hash, after its bytes were hashed once; `None` if there is none or it is damaged.
    pub async fn find(&self, sha512: &Sha512) -> Option<PathBuf> {
        let listing = self.list();
        for found in listing.packages.iter().filter(|found| found.manifest.package.sha512 == *sha512) {
            match self.verify(found).await {
                Check::Right => return Some(found.archive.clone()),
                Check::Wrong(_) | Check::NotYet => {}
            }
        }
        None
    }

    /// What is known of an archive's hash.
    pub fn check(&self, found: &Found) -> Check {
        let checked = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.get(&key(found)).cloned().unwrap_or(Check::NotYet)
    }

    /// Hashes an archive, unless these very bytes were hashed before. Goes on when nobody waits for it any more: a host that gave up on a large archive or
    /// a slow disk asks again, and finds it done.
    pub async fn verify(&self, found: &Found) -> Check {
        // What is known waits for nobody else's archive.
        let known = self.check(found);
        if known != Check::NotYet {
            return known;
        }
        let (stock, owned) = (self.clone(), found.clone());
        let verified = tokio::spawn(async move { stock.verify_to_the_end(&owned).await });
        verified.await.unwrap_or_else(|error| Check::Wrong(format!("hashing {}: {error}", found.manifest.archive)))
    }

    async fn verify_to_the_end(&self, found: &Found) -> Check {
        let _one = self.0.hashing.lock().await;
        // Whoever had the turn before may have hashed it.
        let known = self.check(found);
        if known != Check::NotYet {
            return known;
        }
        let archive = found.archive.clone();
        let check = match tokio::task::spawn_blocking(move || scan::hash(&archive)).await {
            Ok(Ok(hash)) if hash == found.manifest.package.sha512 => Check::Right,
            Ok(Ok(_)) => {
                Check::Wrong(format!("{} is damaged: its SHA-512 is not the manifest's; copy it again", found.manifest.archive))
            }
            // A disk that fails now may read again; this is not kept.
            Ok(Err(error)) => return Check::Wrong(format!("reading {}: {error}", found.manifest.archive)),
            Err(error) => return Check::Wrong(format!("hashing {}: {error}", found.manifest.archive)),
        };
        if let Check::Wrong(reason) = &check {
            tracing::error!(archive = %found.archive.display(), reason, "package refused");
        }
        self.0.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(key(found), check.clone());
        check
    }
}

fn key(found: &Found) -> FileKey {
    (found.archive.clone(), found.modified, found.manifest.package.size)
}

async fn keep_looking(stock: Weak<Inner>) {
    let mut ticks = tokio::time::interval(RESCAN);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(inner) = stock.upgrade() else { return };
        if let Err(error) = Stock(inner).rescan().await {
            tracing::warn!(error = format!("{error:#}"), "the packages at hand could not be looked at; the last look counts");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::test_support::{archive_path, put};

    #[tokio::test]
    async fn the_newest_version_that_fits_is_chosen() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["3.9.5", "3.9.10", "3.10.0"] {
            put(folder.path(), "zookeeper", version, "any", b"bytes");
        }
        let stock = Stock::open(folder.path().to_owned()).await.unwrap();
        assert_eq!(stock.newest("zookeeper", &["3.9.".to_owned()]).unwrap().version.as_str(), "3.9.10");
        assert_eq!(stock.newest("zookeeper", &[]).unwrap().version.as_str(), "3.10.0");
        assert_eq!(stock.newest("kafka", &[]), None);
    }

    #[tokio::test]
    async fn a_damaged_archive_is_served_to_nobody_and_a_mended_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let package = put(folder.path(), "kafka", "4.3.1", "any", b"the right bytes");
        let archive = archive_path(folder.path(), "kafka", "4.3.1", "any");
        std::fs::write(&archive, b"the wrong bytes").unwrap();
        let stock = Stock::open(folder.path().to_owned()).await.unwrap();
        assert_eq!(stock.find(&package.sha512).await, None);
        assert_eq!(stock.newest("kafka", &[]), None, "a damaged package is not chosen for a new service");

        std::fs::write(&archive, b"the right bytes").unwrap();
        std::fs::File::options()
            .write(true)
            .open(&archive)
            .unwrap()
            .set_modified(SystemTime::now() + Duration::from_secs(9))
            .unwrap();
        stock.rescan().await.unwrap();
        assert_eq!(stock.find(&package.sha512).await, Some(archive));
    }

    #[tokio::test]
    async fn what_somebody_began_to_wait_for_is_hashed_though_nobody_waits_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let package = put(folder.path(), "kafka", "4.3.1", "any", b"bytes");
        let stock = Stock::open(folder.path().to_owned()).await.unwrap();
        let another = stock.0.hashing.lock().await;
        let given_up = tokio::time::timeout(Duration::from_millis(10), stock.find(&package.sha512)).await;
        assert!(given_up.is_err(), "another archive is being hashed");
        drop(another);
        let listing = stock.list();
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while stock.check(&listing.packages[0]) != Check::Right {
            assert!(std::time::Instant::now() < end, "it is begun anew by whoever asks next");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_was_hashed_is_served_while_another_archive_is_being_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let package = put(folder.path(), "kafka", "4.3.1", "any", b"bytes");
        let stock = Stock::open(folder.path().to_owned()).await.unwrap();
        let archive = stock.find(&package.sha512).await;
        assert!(archive.is_some());
        let _another = stock.0.hashing.lock().await;
        let again = tokio::time::timeout(Duration::from_secs(10), stock.find(&package.sha512)).await;
        assert_eq!(again.expect("it waits for nobody"), archive);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_listed_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "short", "1", "any", b"whole");
        std::fs::write(archive_path(folder.path(), "short", "1", "any"), b"who").unwrap();
        put(folder.path(), "away", "1", "any", b"x");
        std::fs::remove_file(archive_path(folder.path(), "away", "1", "any")).unwrap();
        std::fs::write(folder.path().join("nonsense.json"), "{").unwrap();
        let escaping =
            std::fs::read_to_string(folder.path().join("away-1-any.json")).unwrap().replace("away-1-any.tar.zst", "../secret");
        std::fs::write(folder.path().join("escaping.json"), escaping).unwrap();
        let stock = Stock::open(folder.path().to_owned()).await.unwrap();
        let broken: Vec<String> =
            stock.list().broken.iter().map(|broken| format!("{}: {}", broken.file, broken.reason)).collect();
        assert!(stock.list().packages.is_empty());
        for (part, place) in
            [("away-1-any.json: its archive", 0), ("must be a file name", 1), ("not a manifest", 2), ("has 3 bytes", 3)]
        {
            assert!(broken[place].contains(part), "{broken:#?}");
        }
    }
}

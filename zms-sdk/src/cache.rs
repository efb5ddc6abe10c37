//! The copy of metadata on disk, for a start while ZooKeeper is away. One small file a node, readable by its owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zms_core::metadata::text::LONGEST;

/// Where copies are, or nowhere.
#[derive(Debug, Clone)]
pub struct Cache(Option<PathBuf>);

/// A node as it was read last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Id of the environment that it is from.
    pub environment: String,
    /// Its value.
    pub data: Vec<u8>,
    /// When it was read, milliseconds since 1970.
    pub saved_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    environment: String,
    /// Of the node: a file that was renamed by hand is not taken for another node.
    path: String,
    saved_ms: u64,
    /// Values of nodes are ISO-8859-1, so each byte is one character.
    data: String,
    sha256: String,
}

/// Escapes make a file at most so much longer than what it holds.
const LONGEST_FILE: u64 = 8 * LONGEST as u64;

impl Cache {
    /// Keeps copies in this folder, which is made when it is first needed; `None`: nowhere.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// The copy of a node. `None` if there is none, or if it is damaged: a damaged one is worth no more than none.
    pub fn load(&self, path: &str) -> Option<Copy> {
        let file = self.file(path)?;
        match read(&file, path) {
            Ok(copy) => Some(copy),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the copy on disk is not usable");
                None
            }
        }
    }

    /// Keeps a copy. A failure is said and changes nothing else: the copy is for a day that may never come.
    pub fn save(&self, path: &str, environment: &str, data: &[u8]) {
        let Some(file) = self.file(path) else { return };
        if let Err(error) = write(&file, path, environment, data) {
            tracing::warn!(file = %file.display(), %error, "keeping a copy of metadata on disk");
        }
    }

    /// Deletes what is from another environment.
    pub fn keep_only(&self, environment: &str) {
        let Some(folder) = &self.0 else { return };
        let Ok(entries) = fs::read_dir(folder) else { return };
        for file in entries.flatten().map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|end| end == "json")) {
            let stored = bounded(&file).ok().and_then(|text| serde_json::from_slice::<Stored>(&text).ok());
            if stored.is_some_and(|stored| stored.environment != environment) {
                tracing::warn!(file = %file.display(), environment, "this copy of metadata is from another environment; it is deleted");
                let _ = fs::remove_file(&file);
            }
        }
    }

    fn file(&self, path: &str) -> Option<PathBuf> {
        let name = path.trim_start_matches("/zms/").replace('/', "-");
        // Names of topics may be as long as names of files.
        let name = if name.len() > 200 { digest(&[name.as_bytes()]) } else { name };
        Some(self.0.as_ref()?.join(name + ".json"))
    }
}

fn read(file: &Path, path: &str) -> io::Result<Copy> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let stored: Stored = serde_json::from_slice(&bounded(file)?).map_err(|error| invalid(error.to_string()))?;
    if stored.path != path {
        return Err(invalid(format!("it is of node {}", stored.path)));
    }
    let data: Option<Vec<u8>> = stored.data.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect();
    let data = data.ok_or_else(|| invalid("characters that no node has".to_owned()))?;
    if stored.sha256 != sum(&stored.environment, path, stored.saved_ms, &data) {
        return Err(invalid("its checksum is wrong".to_owned()));
    }
    Ok(Copy { environment: stored.environment, data, saved_ms: stored.saved_ms })
}

/// To a new file first, so that a crash leaves either the old copy or the new one.
fn write(file: &Path, path: &str, environment: &str, data: &[u8]) -> io::Result<()> {
    let folder = file.parent().ok_or_else(|| io::Error::other("a file stands in a folder"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let saved_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let stored = Stored {
        environment: environment.to_owned(),
        path: path.to_owned(),
        saved_ms,
        data: data.iter().copied().map(char::from).collect(),
        sha256: sum(environment, path, saved_ms, data),
    };
    let new = folder.join(format!(".{}.new", ulid::Ulid::new()));
    let written = (|| {
        let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        open.write_all(&serde_json::to_vec(&stored)?)?;
        open.sync_all()?;
        fs::rename(&new, file)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(file)?.take(LONGEST_FILE).read_to_end(&mut text)?;
    Ok(text)
}

fn sum(environment: &str, path: &str, saved_ms: u64, data: &[u8]) -> String {
    digest(&[environment.as_bytes(), path.as_bytes(), &saved_ms.to_be_bytes(), data])
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PATH: &str = "/zms/topic/orders";

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(folder.path().join("metadata")));
        (folder, cache)
    }

    #[test]
    fn a_copy_comes_back_and_only_its_owner_may_read_it() {
        let (_folder, cache) = cache();
        assert_eq!(cache.load(PATH), None);
        let data: Vec<u8> = (0..=255).collect();
        cache.save(PATH, "e", b"old");
        cache.save(PATH, "e", &data);
        let copy = cache.load(PATH).unwrap();
        assert_eq!((copy.environment.as_str(), &copy.data), ("e", &data));
        let file = cache.file(PATH).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_damaged_copy_is_none() {
        let (_folder, cache) = cache();
        cache.save(PATH, "e", b"clusterName=a\n");
        let file = cache.file(PATH).unwrap();
        let whole = fs::read(&file).unwrap();
        let changed = String::from_utf8(whole.clone()).unwrap().replace("clusterName=a", "clusterName=b").into_bytes();
        for damaged in [&whole[..whole.len() / 2], &changed, b"", b"null"] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(cache.load(PATH), None);
        }
        fs::write(cache.file("/zms/topic/other").unwrap(), &whole).unwrap();
        assert_eq!(cache.load("/zms/topic/other"), None, "of another node");
    }

    #[test]
    fn copies_of_another_environment_are_deleted() {
        let (_folder, cache) = cache();
        cache.save(PATH, "old", b"a");
        cache.save("/zms/topic/new", "new", b"b");
        cache.keep_only("new");
        assert!(cache.load(PATH).is_none() && cache.load("/zms/topic/new").is_some());
    }

    #[test]
    fn the_longest_name_of_a_topic_is_a_name_of_a_file() {
        let (_folder, cache) = cache();
        let path = format!("/zms/consumergroup/{}", "x".repeat(249));
        cache.save(&path, "e", b"a");
        assert!(cache.load(&path).is_some());
    }
}

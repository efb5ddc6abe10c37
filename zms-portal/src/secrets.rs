//! What the portal must keep and nobody may read in its database or its backups: sealed under a key that lies beside it.
//!
//! A value is sealed with AES-256-GCM; its reference and version are bound to it, so a row that was changed, moved to another
//! reference or put back to an older version does not open. Whoever backs the database up backs the key file up elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::db::{Db, Tx};
use crate::error::{Error, Result};

/// Bytes of the key.
const KEY: usize = 32;

/// A value as its row has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Grows with each value.
    pub version: i64,
    /// Base64 of nonce and cipher text.
    pub text: String,
}

/// See the module; cheap to clone. It has no `Debug`, so that no log line can show the key.
#[derive(Clone)]
pub struct Vault {
    db: Db,
    key: Arc<RandomizedNonceKey>,
}

impl Vault {
    /// Opens with the key in `key_file` (32 bytes, base64). The file is made (mode 0400) when it is absent and nothing is
    /// sealed yet. A key that others could read, or that does not open what is sealed, is refused.
    pub async fn open(db: Db, key_file: &Path) -> anyhow::Result<Self> {
        let newest = "select reference, version, sealed from secrets order by created_at desc, reference limit 1";
        let row: Option<(String, i64, String)> =
            sqlx::query_as(newest).fetch_optional(db.read()).await.context("reading what is sealed")?;
        let key = match read_key(key_file)? {
            Some(key) => key,
            None if row.is_none() => make_key(key_file)?,
            None => bail!(
                "key file {}: it is missing, and the database holds sealed values that only it opens; put it back from its backup",
                key_file.display()
            ),
        };
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key)
            .map_err(|_| anyhow!("key file {}: the key is not usable", key_file.display()))?;
        let vault = Self { db, key: Arc::new(key) };
        if let Some((reference, version, sealed)) = row {
            vault.unseal(&reference, version, &sealed).with_context(|| {
                format!(
                    "key file {}: it is not the key of this database; put the right one back from its backup",
                    key_file.display()
                )
            })?;
        }
        Ok(vault)
    }

    /// Seals `value` under `reference`, in place of what was there. `now_ms`: milliseconds since 1970.
    pub async fn put(&self, tx: &mut Tx, reference: &str, value: &[u8], now_ms: i64) -> Result<()> {
        // The row is taken first: its version is bound to the value, and from here on no one else counts it up.
        let take = "insert into secrets (reference, version, sealed, created_at) values ($1, 1, '', $2) \
                    on conflict (reference) do update set version = secrets.version + 1, created_at = $2 returning version";
        let version: i64 = sqlx::query_scalar(take).bind(reference).bind(now_ms).fetch_one(&mut **tx).await?;
        let sealed = self.seal(reference, version, value)?;
        let update = "update secrets set sealed = $1 where reference = $2";
        sqlx::query(update).bind(sealed).bind(reference).execute(&mut **tx).await?;
        Ok(())
    }

    /// Seals `value` under `reference` if nothing is there; says whether it did. Of two that try at once one waits for the
    /// other's end, so after a `false` the other's value can be read (once this transaction is over).
    pub async fn put_first(&self, tx: &mut Tx, reference: &str, value: &[u8], now_ms: i64) -> Result<bool> {
        let sealed = self.seal(reference, 1, value)?;
        let insert = "insert into secrets (reference, version, sealed, created_at) values ($1, 1, $2, $3) on conflict (reference) do nothing";
        let done = sqlx::query(insert).bind(reference).bind(sealed).bind(now_ms).execute(&mut **tx).await?;
        Ok(done.rows_affected() == 1)
    }

    /// The text under `reference`, made when it is first asked for.
    pub async fn get_or_make(&self, reference: &str, make: impl FnOnce() -> String, now_ms: i64) -> Result<String> {
        let found = match self.get(reference).await {
            Err(Error::NotFound) => {
                let mut tx = self.db.begin().await?;
                self.put_first(&mut tx, reference, make().as_bytes(), now_ms).await?;
                tx.commit().await?;
                // Somebody else's, if that one was quicker.
                self.get(reference).await?
            }
            found => found?,
        };
        Ok(String::from_utf8(found).map_err(anyhow::Error::new)?)
    }

    /// The value under `reference`; [`crate::error::Error::NotFound`] when there is none.
    pub async fn get(&self, reference: &str) -> Result<Vec<u8>> {
        let query = "select version, sealed from secrets where reference = $1";
        let (version, sealed): (i64, String) = sqlx::query_as(query).bind(reference).fetch_one(self.db.read()).await?;
        Ok(self.unseal(reference, version, &sealed)?)
    }

    /// Nothing is under `reference` any more.
    pub async fn remove(&self, tx: &mut Tx, reference: &str) -> Result<()> {
        sqlx::query("delete from secrets where reference = $1").bind(reference).execute(&mut **tx).await?;
        Ok(())
    }

    /// Opens a value that was read together with what it belongs to.
    pub fn open_sealed(&self, reference: &str, sealed: &Sealed) -> Result<Vec<u8>> {
        Ok(self.unseal(reference, sealed.version, &sealed.text)?)
    }

    fn seal(&self, reference: &str, version: i64, value: &[u8]) -> anyhow::Result<String> {
        let mut text = value.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(bound(reference, version)), &mut text)
            .map_err(|_| anyhow!("sealing {reference:?} failed"))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&text);
        Ok(BASE64_STANDARD.encode(sealed))
    }

    fn unseal(&self, reference: &str, version: i64, sealed: &str) -> anyhow::Result<Vec<u8>> {
        let refused = || anyhow!("the sealed value {reference:?} does not open: it was changed, or sealed under another key");
        let sealed = BASE64_STANDARD.decode(sealed).map_err(|_| refused())?;
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
        let mut text = text.to_vec();
        let aad = Aad::from(bound(reference, version));
        let length = self.key.open_in_place(Nonce::from(nonce), aad, &mut text).map_err(|_| refused())?.len();
        text.truncate(length);
        Ok(text)
    }
}

/// What a value is bound to. A reference is text without a zero byte, so two pairs never read the same.
fn bound(reference: &str, version: i64) -> Vec<u8> {
    [reference.as_bytes(), &[0], version.to_string().as_bytes()].concat()
}

fn read_key(path: &Path) -> anyhow::Result<Option<[u8; KEY]>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("opening the key file {}", path.display())),
    };
    let mode = file.metadata().with_context(|| format!("key file {}", path.display()))?.permissions().mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "key file {}: its mode is {mode:03o}, so others can reach the key; it has to belong to the portal alone: chmod 0400 {0}",
        path.display()
    );
    let text = std::io::read_to_string(file).with_context(|| format!("reading the key file {}", path.display()))?;
    let key = BASE64_STANDARD.decode(text.trim()).ok().and_then(|key| <[u8; KEY]>::try_from(key).ok());
    key.map(Some).ok_or_else(|| anyhow!("key file {}: it has to hold {KEY} bytes in base64, one line", path.display()))
}

fn make_key(path: &Path) -> anyhow::Result<[u8; KEY]> {
    let mut key = [0; KEY];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| anyhow!("the system gives no random bytes"))?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
        file.write_all(format!("{}\n", BASE64_STANDARD.encode(key)).as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("making the key file {}", path.display()))?;
    tracing::info!(key_file = %path.display(), "made the key that seals secrets; back it up apart from the database");
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::error::Error;

    async fn put(vault: &Vault, reference: &str, value: &[u8]) {
        let mut tx = vault.db.begin().await.unwrap();
        vault.put(&mut tx, reference, value, 1_000).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn change(vault: &Vault, sql: &'static str) {
        let mut tx = vault.db.begin().await.unwrap();
        assert_eq!(sqlx::query(sql).execute(&mut *tx).await.unwrap().rows_affected(), 1);
        tx.commit().await.unwrap();
    }

    async fn refused(db: &Db, key_file: &Path) -> String {
        format!("{:#}", Vault::open(db.clone(), key_file).await.err().expect("it must be refused"))
    }

    #[tokio::test]
    async fn a_value_comes_back_after_a_restart_and_the_newest_wins() {
        let (folder, db) = Db::temporary().await;
        let file = folder.path().join("key");
        let vault = Vault::open(db.clone(), &file).await.unwrap();
        put(&vault, "a", b"first").await;
        put(&vault, "a", b"second").await;
        put(&vault, "empty", b"").await;
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o400);
        let vault = Vault::open(db, &file).await.unwrap();
        assert_eq!(vault.get("a").await.unwrap(), b"second");
        assert_eq!(vault.get("empty").await.unwrap(), b"");
        assert!(matches!(vault.get("b").await, Err(Error::NotFound)));
        let stored: Vec<String> = sqlx::query_scalar("select sealed from secrets").fetch_all(vault.db.read()).await.unwrap();
        assert!(stored.iter().all(|sealed| !sealed.contains("second")));
    }

    #[tokio::test]
    async fn the_first_of_two_that_found_a_value_wins() {
        let (folder, db) = Db::temporary().await;
        let vault = Vault::open(db.clone(), &folder.path().join("key")).await.unwrap();
        for (value, first) in [(b"one", true), (b"two", false)] {
            let mut tx = db.begin().await.unwrap();
            assert_eq!(vault.put_first(&mut tx, "a", value, 1).await.unwrap(), first);
            tx.commit().await.unwrap();
        }
        assert_eq!(vault.get("a").await.unwrap(), b"one");
    }

    #[tokio::test]
    async fn another_key_is_refused_and_a_lost_key_is_not_made_anew() {
        let (folder, db) = Db::temporary().await;
        let vault = Vault::open(db.clone(), &folder.path().join("key")).await.unwrap();
        put(&vault, "a", b"value").await;
        let other = folder.path().join("other");
        assert!(refused(&db, &other).await.contains("only it opens"));
        assert!(!other.exists());
        make_key(&other).unwrap();
        assert!(refused(&db, &other).await.contains("not the key of this database"));
    }

    #[tokio::test]
    async fn a_row_that_was_changed_moved_or_set_back_does_not_open() {
        let (folder, db) = Db::temporary().await;
        let vault = Vault::open(db, &folder.path().join("key")).await.unwrap();
        for reference in ["changed", "moved", "other", "aged", "emptied"] {
            put(&vault, reference, reference.as_bytes()).await;
        }
        let flipped = "update secrets set sealed = case substr(sealed, 1, 1) when 'A' then 'B' else 'A' end || substr(sealed, 2) where reference = 'changed'";
        change(&vault, flipped).await;
        change(
            &vault,
            "update secrets set sealed = (select sealed from secrets where reference = 'other') where reference = 'moved'",
        )
        .await;
        change(&vault, "update secrets set version = 2 where reference = 'aged'").await;
        change(&vault, "update secrets set sealed = '' where reference = 'emptied'").await;
        for reference in ["changed", "moved", "aged", "emptied"] {
            assert!(matches!(vault.get(reference).await, Err(Error::Internal(_))), "{reference}");
        }
        assert_eq!(vault.get("other").await.unwrap(), b"other");
    }

    #[tokio::test]
    async fn a_key_that_others_can_read_or_that_is_no_key_is_refused() {
        let (folder, db) = Db::temporary().await;
        let file = folder.path().join("key");
        make_key(&file).unwrap();
        for mode in [0o440, 0o404, 0o420, 0o777] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let sentence = refused(&db, &file).await;
            assert!(sentence.contains(&format!("its mode is {mode:03o}")) && sentence.contains("chmod 0400"), "{sentence}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "c2hvcnQ=").unwrap();
        assert!(refused(&db, &file).await.contains("32 bytes in base64"));
    }
}

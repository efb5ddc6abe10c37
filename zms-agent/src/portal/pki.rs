//! The host's key and certificate on disk: `agent.key` and `agent.crt`, and while a new pair is tried out `next.key` and
//! `next.crt` beside them.
//!
//! A pair becomes the current one by two renames, key first. Whatever a kill leaves behind is understood at the next reading,
//! because a certificate says which key it is for.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use crate::disk;
use crate::layout::Layout;

/// Largest key or certificate that is read, in bytes.
const LIMIT: u64 = 64 << 10;

/// Why there is no usable key or certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody has joined this host, or its files are lost.
    #[error("{}: no key with a certificate for it; run a new join line of the portal", .0.display())]
    Absent(PathBuf),
    /// What came is no certificate for our key.
    #[error("certificate: {0}")]
    Certificate(String),
    /// A key could not be made or used.
    #[error("key: {0}")]
    Key(String),
}

/// A key and the certificate for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM, perhaps with intermediates.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// Since when it holds, milliseconds since 1970.
    pub from_ms: i64,
    /// Until when it holds, milliseconds since 1970.
    pub until_ms: i64,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("from_ms", &self.from_ms).field("until_ms", &self.until_ms).finish_non_exhaustive()
    }
}

impl Identity {
    /// Puts both together, if the certificate is for the key.
    pub fn new(certificate: String, key: String) -> Result<Self, PkiError> {
        let pair = KeyPair::from_pem(&key).map_err(|error| PkiError::Key(error.to_string()))?;
        let bad = |why: &dyn std::fmt::Display| PkiError::Certificate(why.to_string());
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|error| bad(&error))?;
        let parsed = pem.parse_x509().map_err(|error| bad(&error))?;
        if parsed.public_key().raw != pair.subject_public_key_info() {
            return Err(bad(&"it is for another key"));
        }
        let ms = |at: x509_parser::time::ASN1Time| at.timestamp().saturating_mul(1000);
        let (from_ms, until_ms) = (ms(parsed.validity().not_before), ms(parsed.validity().not_after));
        Ok(Self { certificate, key, from_ms, until_ms })
    }
}

/// What the folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What the portal is known to take.
    pub current: Identity,
    /// A newer one that the portal has signed and not been shown yet.
    pub candidate: Option<Identity>,
}

impl Held {
    /// The one to show now.
    pub fn best(&self) -> &Identity {
        self.candidate.as_ref().unwrap_or(&self.current)
    }
}

/// What a kill can leave behind.
enum LeftOver {
    Nothing,
    /// Of the two renames of a promotion only the key's was done.
    HalfPromoted,
    /// The certificate of the first join came and is not the current one yet.
    NotPromoted,
    /// A new certificate without its key.
    Stray,
}

/// The folder of keys.
#[derive(Debug, Clone)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// The one of this host; made when something is put into it.
    pub fn new(layout: &Layout) -> Self {
        Self { folder: layout.pki() }
    }

    /// Reads what is there and changes nothing.
    pub fn look(&self) -> Result<Held, PkiError> {
        self.find().map(|(held, _)| held)
    }

    /// Reads what is there, and ends what a kill interrupted. Only for whoever may change the host's certificate.
    pub fn load(&self) -> Result<Held, PkiError> {
        let (held, left_over) = self.find()?;
        match left_over {
            LeftOver::Nothing => {}
            LeftOver::HalfPromoted => self.rename("next.crt", "agent.crt")?,
            LeftOver::NotPromoted => self.promote()?,
            LeftOver::Stray => self.remove("next.crt")?,
        }
        Ok(held)
    }

    fn find(&self) -> Result<(Held, LeftOver), PkiError> {
        let (key, certificate) = (self.read("agent.key")?, self.read("agent.crt")?);
        let (next_key, next) = (self.read("next.key")?, self.read("next.crt")?);
        let pair = |certificate: &Option<String>, key: &Option<String>| Identity::new(certificate.clone()?, key.clone()?).ok();
        let found = |current, candidate| Held { current, candidate };
        if let Some(candidate) = pair(&next, &next_key) {
            return Ok(match pair(&certificate, &key) {
                Some(current) => (found(current, Some(candidate)), LeftOver::Nothing),
                None => (found(candidate, None), LeftOver::NotPromoted),
            });
        }
        if let Some(promoted) = pair(&next, &key) {
            return Ok((found(promoted, None), LeftOver::HalfPromoted));
        }
        let left_over = if next.is_some() { LeftOver::Stray } else { LeftOver::Nothing };
        let current = pair(&certificate, &key).ok_or_else(|| PkiError::Absent(self.folder.clone()))?;
        Ok((found(current, None), left_over))
    }

    /// The key that a new certificate is asked for with: the one of an earlier try, so that its answer still fits, else a new one.
    pub fn next_key(&self) -> Result<String, PkiError> {
        if let Some(key) = self.read("next.key")?.filter(|key| KeyPair::from_pem(key).is_ok()) {
            return Ok(key);
        }
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| PkiError::Key(error.to_string()))?;
        let key = pair.serialize_pem();
        self.write("next.key", &key, 0o600)?;
        Ok(key)
    }

    /// Is there a key whose certificate has not come yet?
    pub fn has_next_key(&self) -> Result<bool, PkiError> {
        Ok(self.read("next.key")?.is_some())
    }

    /// Forgets a new pair that the portal does not take, or a key that nothing was asked for with.
    pub fn withdraw(&self) -> Result<(), PkiError> {
        self.remove("next.crt")?;
        self.remove("next.key")
    }

    /// Keeps the certificate that came for [`next_key`](Self::next_key).
    pub fn propose(&self, certificate: String) -> Result<Identity, PkiError> {
        let key = self.read("next.key")?.ok_or_else(|| PkiError::Absent(self.folder.join("next.key")))?;
        let identity = Identity::new(certificate, key)?;
        self.write("next.crt", &identity.certificate, 0o640)?;
        Ok(identity)
    }

    /// Makes the new pair the current one.
    pub fn promote(&self) -> Result<(), PkiError> {
        self.rename("next.key", "agent.key")?;
        self.rename("next.crt", "agent.crt")
    }

    /// Another certificate for the current key; the old one has expired, so there is nothing to go back to.
    pub fn replace_certificate(&self, certificate: String) -> Result<Identity, PkiError> {
        let key = self.read("agent.key")?.ok_or_else(|| PkiError::Absent(self.folder.join("agent.key")))?;
        let identity = Identity::new(certificate, key)?;
        self.write("agent.crt", &identity.certificate, 0o640)?;
        Ok(identity)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self, name: &str) -> Result<Option<String>, PkiError> {
        let path = self.path(name);
        let bytes = disk::read_bounded(&path, LIMIT).map_err(failed(&path))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), PkiError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed(&self.folder))?;
        let path = self.path(name);
        disk::write_whole(&path, text.as_bytes(), mode).map_err(failed(&path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), PkiError> {
        let from = self.path(from);
        fs::rename(&from, self.path(to)).and_then(|()| disk::sync(&self.folder)).map_err(failed(&from))
    }

    fn remove(&self, name: &str) -> Result<(), PkiError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path)(error)),
            _ => Ok(()),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::Io { path, source }
}

/// A certificate signing request for a key, PEM. It names nobody: the portal decides what the certificate says.
pub fn signing_request(key: &str) -> Result<String, PkiError> {
    let failed = |error: rcgen::Error| PkiError::Key(error.to_string());
    let pair = KeyPair::from_pem(key).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(&pair).and_then(|request| request.pem()).map_err(failed)
}

//! A host or an instance of ours, read from the certificate that it shows.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::ca::{DAY_MS, hex};
use super::instance::INSTANCE_URI;
use super::sign::HOST_URI;

/// For how long after its end a certificate is still taken, marked as expired, milliseconds. Such a host may renew, no more.
pub const GRACE_MS: i64 = 30 * DAY_MS;

/// Who is at the other end of a connection of the agents' listener. It is in the extensions of each of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The certificate, DER.
    pub der: Arc<[u8]>,
    /// For whom it was signed.
    pub named: Named,
    /// Its serial number, 32 hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo), hexadecimal.
    pub key_hash: String,
    /// Is its time over (by [`GRACE_MS`] at most)?
    pub expired: bool,
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A host, by its id.
    Host(String),
    /// An instance of a service, by its uid.
    Instance(String),
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It is no certificate.
    #[error("client certificate: it cannot be read")]
    Unreadable,
    /// It is not one of a host or an instance.
    #[error("client certificate: it has to name one host, zms://host/<id>, or one instance, zms://instance/<uid>")]
    Nobody,
    /// Its time is over for too long.
    #[error("client certificate: it expired more than 30 days ago; the host has to join again")]
    TooOld,
}

impl PeerCertificate {
    /// Reads a certificate whose signature was verified. `now_ms`: milliseconds since 1970.
    pub fn read(der: Arc<[u8]>, now_ms: i64) -> Result<Self, PeerError> {
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| PeerError::Unreadable)?;
        let names = certificate.subject_alternative_name().map_err(|_| PeerError::Unreadable)?.ok_or(PeerError::Nobody)?;
        let named = named(&names.value.general_names).ok_or(PeerError::Nobody)?;
        let until_ms = until_ms(&certificate);
        // An instance's is put in its place by its host long before; there is nothing to renew with it.
        let grace = if matches!(named, Named::Host(_)) { GRACE_MS } else { 0 };
        if now_ms > until_ms.saturating_add(grace) {
            return Err(PeerError::TooOld);
        }
        let (serial, key_hash) = (hex(certificate.raw_serial()), hex(&Sha256::digest(certificate.public_key().raw)));
        Ok(Self { named, serial, key_hash, expired: now_ms > until_ms, der })
    }
}

/// A host has that one name; an instance has those of its addresses too.
fn named(names: &[GeneralName<'_>]) -> Option<Named> {
    if let [GeneralName::URI(uri)] = names
        && let Some(id) = uri.strip_prefix(HOST_URI)
    {
        return (!id.is_empty()).then(|| Named::Host(id.to_owned()));
    }
    let mut uris = names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let (uri, None) = (uris.next()?, uris.next()) else { return None };
    let uid = uri.strip_prefix(INSTANCE_URI).filter(|uid| !uid.is_empty())?;
    Some(Named::Instance(uid.to_owned()))
}

/// Its end, milliseconds since 1970.
pub(super) fn until_ms(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp().saturating_mul(1000)
}

//! A host, read from the certificate that it shows.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::ca::{DAY_MS, hex};
use super::sign::HOST_URI;

/// For how long after its end a certificate is still taken, marked as expired, milliseconds. Such a host may renew, no more.
pub const GRACE_MS: i64 = 30 * DAY_MS;

/// Who is at the other end of a connection of the agents' listener. It is in the extensions of each of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The certificate, DER.
    pub der: Arc<[u8]>,
    /// Id of the host that it was signed for.
    pub host_id: String,
    /// Its serial number, 32 hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo), hexadecimal.
    pub key_hash: String,
    /// Is its time over (by [`GRACE_MS`] at most)?
    pub expired: bool,
}

/// Why a certificate names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It is no certificate.
    #[error("client certificate: it cannot be read")]
    Unreadable,
    /// It is not one of a host.
    #[error("client certificate: it has to name one host, zms://host/<id>")]
    NoHost,
    /// Its time is over for too long.
    #[error("client certificate: it expired more than 30 days ago; the host has to join again")]
    TooOld,
}

impl PeerCertificate {
    /// Reads a certificate whose signature was verified. `now_ms`: milliseconds since 1970.
    pub fn read(der: Arc<[u8]>, now_ms: i64) -> Result<Self, PeerError> {
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| PeerError::Unreadable)?;
        let names = certificate.subject_alternative_name().map_err(|_| PeerError::Unreadable)?.ok_or(PeerError::NoHost)?;
        let [GeneralName::URI(uri)] = names.value.general_names[..] else { return Err(PeerError::NoHost) };
        let host_id = uri.strip_prefix(HOST_URI).filter(|id| !id.is_empty()).ok_or(PeerError::NoHost)?.to_owned();
        let until_ms = until_ms(&certificate);
        if now_ms > until_ms.saturating_add(GRACE_MS) {
            return Err(PeerError::TooOld);
        }
        let (serial, key_hash) = (hex(certificate.raw_serial()), hex(&Sha256::digest(certificate.public_key().raw)));
        Ok(Self { host_id, serial, key_hash, expired: now_ms > until_ms, der })
    }
}

/// Its end, milliseconds since 1970.
pub(super) fn until_ms(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp().saturating_mul(1000)
}

//! Certificates of hosts. A request proves that the host has a key; who it is, the portal says.

use rcgen::{
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::ca::{Ca, DAY_MS, Serial, date, hex, params};

/// How long a host's certificate is good for.
const LIFE_MS: i64 = 7 * DAY_MS;
/// How far a host's clock may be behind ours.
const SKEW_MS: i64 = 5 * 60 * 1000;
/// Longest request, in bytes. One for P-256 has about 400.
const LIMIT: usize = 16 << 10;
/// A host's id in its certificate: `zms://host/<id>`.
pub(super) const HOST_URI: &str = "zms://host/";

/// A certificate as it was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The certificate.
    pub pem: String,
    /// Its serial number, 32 hexadecimal digits.
    pub serial: String,
    /// Until when it is good, milliseconds since 1970.
    pub until_ms: i64,
    /// SHA-256 of the public key (SubjectPublicKeyInfo), hexadecimal.
    pub key_hash: String,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It is no request.
    #[error("certificate signing request: it has to be one PKCS #10 request in PEM of at most 16 KiB")]
    Unreadable,
    /// Whoever sent it may not have the key.
    #[error("certificate signing request: its signature is not by its own key")]
    Signature,
    /// We sign P-256 only.
    #[error("certificate signing request: its key has to be ECDSA on P-256")]
    Key,
    /// A fault of ours.
    #[error("signing the certificate of host {host}: {why}")]
    Fault {
        /// Its id.
        host: String,
        /// What went wrong.
        why: String,
    },
}

/// See [`super::Authority::sign_host`].
pub(super) fn host(ca: &Ca, csr_pem: &str, host_id: &str, now_ms: i64) -> Result<Signed, SignError> {
    let key = proven_key(csr_pem)?;
    let fault = |why: String| SignError::Fault { host: host_id.to_owned(), why };
    let serial = Serial::random().map_err(|error| fault(error.to_string()))?;
    let uri = format!("{HOST_URI}{host_id}");
    let mut params = params(host_id, &serial);
    params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(|error: rcgen::Error| fault(error.to_string()))?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date(now_ms - SKEW_MS), date(now_ms + LIFE_MS));
    let certificate = ca.issue(&params, &key).map_err(|error| fault(error.to_string()))?;
    Ok(Signed {
        pem: certificate.pem(),
        serial: serial.hex(),
        until_ms: params.not_after.unix_timestamp() * 1000,
        key_hash: hex(&Sha256::digest(key.subject_public_key_info())),
    })
}

/// The key of a request that is signed with it.
fn proven_key(csr_pem: &str) -> Result<SubjectPublicKeyInfo, SignError> {
    if csr_pem.len() > LIMIT {
        return Err(SignError::Unreadable);
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes()).map_err(|_| SignError::Unreadable)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| SignError::Unreadable)?;
    if !rest.is_empty() {
        return Err(SignError::Unreadable);
    }
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw).map_err(|_| SignError::Key)?;
    if *key.algorithm() != PKCS_ECDSA_P256_SHA256 {
        return Err(SignError::Key);
    }
    request.verify_signature().map_err(|_| SignError::Signature)?;
    Ok(key)
}

//! Who gets in at the agents' listener: certificates of our authority, those that expired lately too.
//!
//! A host that was off for a fortnight comes back by itself: it renews with the key that the portal knows it by. What an
//! expired certificate is still good for is decided by whoever handles the request ([`super::PeerCertificate::expired`]).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::ca::Ca;
use super::peer::{GRACE_MS, until_ms};
use super::provider;

/// Requires a certificate of `ca`.
pub(super) fn hosts_of(ca: &Ca) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone()).context("the certificate of our authority")?;
    let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .context("verifying client certificates")?;
    Ok(Arc::new(Lenient(strict)))
}

/// Takes what the strict one takes, and what it took at the end of the certificate's time if that was not long ago.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = self.0.verify_client_cert(end_entity, intermediates, now);
        let Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) = &verdict else {
            return verdict;
        };
        match lately(end_entity, now) {
            // Everything but the time is checked again, as it was at the certificate's end.
            Some(end) => self.0.verify_client_cert(end_entity, intermediates, end),
            None => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }
}

/// The end of a certificate's time, if it was at most [`GRACE_MS`] ago.
fn lately(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<UnixTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let end_ms = u64::try_from(until_ms(&certificate)).ok()?;
    let since_ms = now.as_secs().saturating_mul(1000).checked_sub(end_ms)?;
    (since_ms <= GRACE_MS.unsigned_abs()).then(|| UnixTime::since_unix_epoch(Duration::from_millis(end_ms)))
}

//! Whom we trust.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use zms_core::tls::Handshake;

use super::RemotingError;

fn wrong(why: String) -> RemotingError {
    RemotingError::Options(format!("certificates of trusted authorities (PEM): {why}"))
}

/// These authorities.
pub(super) fn given(pem: &str) -> Result<rustls::RootCertStore, RemotingError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("there is none in it".to_owned())) } else { Ok(roots) }
}

/// Those that the system's administrator trusts; one that cannot be read is left out, as every program does.
pub(super) fn of_this_host() -> Result<rustls::RootCertStore, RemotingError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let none = || RemotingError::Options("this host has no list of trusted authorities (package ca-certificates)".to_owned());
    if roots.is_empty() { Err(none()) } else { Ok(roots) }
}

/// Trusts these authorities and no others.
pub(super) fn connector(roots: rustls::RootCertStore) -> Result<TlsConnector, RemotingError> {
    // Said here because a program may have a second provider in its tree, and rustls refuses to guess then.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What became of a handshake.
pub(super) fn failed(address: &str, error: &std::io::Error) -> RemotingError {
    let address = address.to_owned();
    match zms_core::tls::failed(error) {
        Handshake::Denied(why) => RemotingError::Denied { address, why },
        Handshake::Passing(why) => RemotingError::Connect { address, why },
    }
}

/// Host and port of `host:port`; a host in brackets is an IPv6 address.
pub(super) fn split(address: &str) -> Result<(&str, u16), RemotingError> {
    let wrong = || RemotingError::Options(format!("address {address:?}: host:port, like name-server-1:9876"));
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    if host.is_empty() { Err(wrong()) } else { Ok((host, port)) }
}

/// The name that a certificate must have.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, RemotingError> {
    let wrong = |error| RemotingError::Options(format!("host {host:?} can have no certificate: {error}"));
    ServerName::try_from(host.to_owned()).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        assert_eq!(split("a:9876"), Ok(("a", 9876)));
        assert_eq!(split("[::1]:1"), Ok(("::1", 1)));
        for wrong in ["", "a", ":1", "a:", "a:0", "a:70000"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
        assert!(given("nothing").is_err());
    }
}

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;
use zms_core::networks::Networks;

use crate::WireError;
use crate::connection::{Counters, Resolver};

/// Where a cluster is and how to speak to it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `host:port` of some brokers.
    pub addresses: Vec<String>,
    /// TLS: certificates (PEM) of the authorities that are trusted. `None`: plain text.
    pub authority_pem: Option<String>,
    /// TLS with the authorities that this host trusts, where `authority_pem` names none.
    pub system_roots: bool,
    /// Where brokers may be, also those that the cluster advertises. `None`: anywhere.
    pub networks: Option<Networks>,
    /// How names become addresses.
    pub resolver: Resolver,
    /// Who we are.
    pub sasl: Option<Sasl>,
    /// As brokers see us.
    pub client_id: String,
    /// To open a connection: TCP, TLS, versions and SASL together.
    pub connect_deadline: Duration,
    /// From the request to the whole answer.
    pub call_deadline: Duration,
    /// Largest answer in bytes that is accepted.
    pub max_frame: usize,
    /// A broker that failed is left alone for so long; doubled with each failure in a row up to `max_back_off`.
    pub back_off: Duration,
    /// See `back_off`.
    pub max_back_off: Duration,
    /// Between two looks while the cluster finds its state (a coordinator that is just being made).
    pub pause: Duration,
}

impl Options {
    /// Is there TLS at all?
    pub(crate) const fn speaks_tls(&self) -> bool {
        self.authority_pem.is_some() || self.system_roots
    }

    /// Plain text, without credentials.
    pub fn plain(addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            authority_pem: None,
            system_roots: false,
            networks: None,
            resolver: Resolver::default(),
            sasl: None,
            client_id: "zms".to_owned(),
            connect_deadline: Duration::from_secs(5),
            call_deadline: Duration::from_secs(15),
            max_frame: 100 << 20,
            back_off: Duration::from_millis(100),
            max_back_off: Duration::from_secs(5),
            pause: Duration::from_millis(100),
        }
    }
}

/// SASL.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How.
    pub mechanism: Mechanism,
    /// Who.
    pub user: String,
    /// Never shown.
    pub password: String,
}

/// SASL mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password travels: accepted over TLS only.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// As Kafka calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl std::fmt::Debug for Sasl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Options that were checked, with what is made from them once.
#[derive(Clone)]
pub(crate) struct Setup {
    pub options: Options,
    pub tls: Option<TlsConnector>,
    /// Of all connections that were opened with it.
    pub traffic: Arc<Counters>,
}

impl Setup {
    /// Reads certificates and looks whether everything fits together.
    pub fn new(options: Options) -> Result<Self, WireError> {
        if options.addresses.is_empty() {
            return Err(WireError::Options("addresses: at least one host:port".to_owned()));
        }
        for address in &options.addresses {
            split(address)?;
        }
        let plain = options.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain);
        if plain && !options.speaks_tls() {
            return Err(WireError::Options("SASL PLAIN sends the password as it is: use it with TLS, or use SCRAM".to_owned()));
        }
        let tls = match options.authority_pem.as_deref() {
            Some(pem) => Some(connector(given(pem)?)?),
            None if options.system_roots => Some(connector(of_this_host()?)?),
            None => None,
        };
        Ok(Self { options, tls, traffic: Arc::default() })
    }
}

/// Host and port of `host:port`; a host in brackets is an IPv6 address.
pub(crate) fn split(address: &str) -> Result<(&str, u16), WireError> {
    let wrong = || WireError::Options(format!("address {address:?}: host:port, like broker-1:9092"));
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    if host.is_empty() { Err(wrong()) } else { Ok((host, port)) }
}

fn wrong_authorities(why: String) -> WireError {
    WireError::Options(format!("certificates of trusted authorities (PEM): {why}"))
}

fn given(pem: &str) -> Result<rustls::RootCertStore, WireError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong_authorities(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong_authorities(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong_authorities("there is none in it".to_owned())) } else { Ok(roots) }
}

/// Those that the system's administrator trusts; one that cannot be read is left out, as every program does.
fn of_this_host() -> Result<rustls::RootCertStore, WireError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let none = || WireError::Options("this host has no list of trusted authorities (package ca-certificates)".to_owned());
    if roots.is_empty() { Err(none()) } else { Ok(roots) }
}

fn connector(roots: rustls::RootCertStore) -> Result<TlsConnector, WireError> {
    // Said here because a program may have a second provider in its tree, and rustls refuses to guess then.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong_authorities(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

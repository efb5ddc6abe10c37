//! Whom we trust, who we are, and whom we let in: one authority for all.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use zms_core::names::HostId;

/// A host's id in its certificate: `zms://host/<id>`.
const HOST_URI: &str = "zms://host/";

/// Key, certificates and authority of this collector.
pub struct Tls {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Who pushed a frame, as its certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The host.
    pub host: HostId,
    /// Serial number of the certificate, hexadecimal.
    pub serial: String,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// Which file is not what it should be.
    pub fn read(authority: &Path, identity: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(authority).with_context(|| format!("authority {}", authority.display()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.with_context(|| format!("authority {}", authority.display()))?)?;
        }
        anyhow::ensure!(!roots.is_empty(), "authority {}: there is no certificate in it", authority.display());
        let pem = std::fs::read(identity).with_context(|| format!("identity {}", identity.display()))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .with_context(|| format!("identity {}", identity.display()))?;
        anyhow::ensure!(!certificates.is_empty(), "identity {}: there is no certificate in it", identity.display());
        let key = PrivateKeyDer::from_pem_slice(&pem).with_context(|| format!("identity {}: its key", identity.display()))?;
        Ok(Self { roots, certificates, key })
    }

    /// To the portal.
    ///
    /// # Errors
    /// Key and certificate do not belong together.
    pub fn client(&self) -> anyhow::Result<ClientConfig> {
        let config = ClientConfig::builder().with_root_certificates(self.roots.clone());
        config.with_client_auth_cert(self.certificates.clone(), self.key.clone_key()).context("this collector's certificate")
    }

    /// For agents: only who shows a certificate of the authority gets further than the handshake.
    ///
    /// # Errors
    /// As [`Tls::client`].
    pub fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots.clone())).build().context("the authority")?;
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        let mut config =
            config.with_single_cert(self.certificates.clone(), self.key.clone_key()).context("this collector's certificate")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl Peer {
    /// Reads a certificate whose signature was verified; `None` if it is not one of a host.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let [GeneralName::URI(uri)] = names.value.general_names[..] else { return None };
        let host = HostId::new(uri.strip_prefix(HOST_URI)?).ok()?;
        let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { host, serial })
    }
}

//! Certificates: our own certificate authority, what it signs, and the two TLS listeners.
//!
//! Read [`ca`] (the authority's key and certificate) → [`sign`] (certificates of hosts) → [`instance`] (of
//! services' instances) → [`peer`] (a host read from the
//! certificate it shows) → [`verify`] (who gets in at the agents' listener) → [`server`] (the portal's own certificate) →
//! [`listen`] (connections). [`pasted()`]: the authorities of others.

mod ca;
mod instance;
mod listen;
mod pasted;
mod peer;
mod server;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;

pub use self::listen::serve_tls;
pub use self::pasted::pasted;
pub use self::peer::{GRACE_MS, Named, PeerCertificate, PeerError};
pub use self::sign::{SignError, Signed};

use self::ca::Ca;
use self::server::Server;
use crate::app::now_ms;
use crate::db::{Db, Tx};
use crate::secrets::Vault;

/// How often the portal looks whether its own certificate has to be renewed.
const LOOK: Duration = Duration::from_secs(3600);

/// Who is answered there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// People, programs and hosts that join; no client certificates.
    Ui,
    /// Hosts, each with a certificate of ours.
    Agents,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Authority(Arc<Parts>);

struct Parts {
    ca: Ca,
    server: Arc<Server>,
    db: Db,
    vault: Vault,
}

impl Authority {
    /// Loads the authority, or makes it in an empty database, and the portal's own certificate for `public_host` (a name or an
    /// address). The certificate is renewed for as long as this lives. `now_ms`: milliseconds since 1970.
    pub async fn open(db: &Db, vault: &Vault, public_host: &str, now_ms: i64) -> anyhow::Result<Self> {
        let ca = Ca::open(db, vault, now_ms).await.context("opening the certificate authority")?;
        let server = Server::open(db, vault, &ca, public_host, now_ms).await.context("opening the portal's own certificate")?;
        let parts = Arc::new(Parts { ca, server: Arc::new(server), db: db.clone(), vault: vault.clone() });
        tokio::spawn(keep(Arc::downgrade(&parts)));
        Ok(Self(parts))
    }

    /// The authority's certificate, PEM; hosts trust it and nothing else.
    pub fn ca_pem(&self) -> &str {
        self.0.ca.pem()
    }

    /// SHA-256 of the portal's own certificate, as browsers show it: `AA:BB:…`.
    pub fn fingerprint(&self) -> String {
        self.0.server.fingerprint()
    }

    /// Signs a certificate for a host: 7 days, for the key of `csr_pem` (PKCS #10, PEM). Nothing else of the request counts.
    pub fn sign_host(&self, csr_pem: &str, host_id: &str, now_ms: i64) -> Result<Signed, SignError> {
        sign::host(&self.0.ca, csr_pem, host_id, now_ms)
    }

    /// An instance has key and certificate in the vault, for these names and addresses.
    ///
    /// # Errors
    /// A name that cannot be in a certificate, or a fault of the vault.
    pub async fn ensure_instance(&self, tx: &mut Tx, uid: &str, names: &BTreeSet<String>, now_ms: i64) -> anyhow::Result<()> {
        instance::ensure(&self.0.ca, &self.0.vault, tx, uid, names, now_ms).await
    }

    /// How a listener does TLS.
    pub fn server_config(&self, listener: Listener) -> anyhow::Result<Arc<ServerConfig>> {
        let (everything, newest) = (rustls::ALL_VERSIONS, &[&rustls::version::TLS13][..]);
        let versions = if listener == Listener::Ui { everything } else { newest };
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).context("setting up TLS")?;
        let builder = match listener {
            Listener::Ui => builder.with_no_client_auth(),
            Listener::Agents => builder.with_client_cert_verifier(verify::hosts_of(&self.0.ca)?),
        };
        let mut config = builder.with_cert_resolver(self.0.server.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if listener == Listener::Agents {
            // A resumed session would skip the look at the certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }

    /// Renews the portal's own certificate when its time has come. New connections get it at once.
    async fn renew(&self, now_ms: i64) -> anyhow::Result<()> {
        let Parts { ca, server, db, vault } = &*self.0;
        server.renew(db, vault, ca, now_ms).await.context("renewing the portal's own certificate")
    }
}

/// The one provider of cryptography; named everywhere, so that none has to be installed for the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Renews until nobody holds the authority any more.
async fn keep(parts: Weak<Parts>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(parts) = parts.upgrade() else { return };
        if let Err(error) = Authority(parts).renew(now_ms()).await {
            tracing::warn!(error = format!("{error:#}"), "the portal's own certificate is not renewed yet; next try in an hour");
        }
    }
}

//! The portal's own certificate: 90 days, for its public name and the names of this machine. It is kept in the vault, so that
//! its fingerprint, which people compare, stays the same across restarts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::ca::{Ca, DAY_MS, Serial, cause, date, params, read};
use super::peer::until_ms;
use super::provider;
use crate::db::Db;
use crate::secrets::Vault;

/// How long it is good for.
const LIFE_MS: i64 = 90 * DAY_MS;
/// It is renewed when less than this is left.
const LEFT_MS: i64 = 30 * DAY_MS;

/// The certificate that is shown now; TLS asks it for each connection.
#[derive(Debug)]
pub(super) struct Server {
    names: BTreeSet<String>,
    /// Where certificate and key lie in the vault, PEM. Each machine has its own: portals that share a database differ in
    /// names, and would take turns in renewing a common one.
    reference: String,
    shown: watch::Sender<Arc<Shown>>,
}

#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    fingerprint: String,
    until_ms: i64,
}

impl Server {
    /// Loads it, or makes a new one when there is none, its names differ or little time is left.
    pub(super) async fn open(db: &Db, vault: &Vault, ca: &Ca, public_host: &str, now_ms: i64) -> anyhow::Result<Self> {
        let machine = machine();
        let names = names(public_host, machine.as_deref())?;
        let reference = format!("authority/server/{}", machine.as_deref().unwrap_or("localhost"));
        let shown = load_or_make(db, vault, ca, &names, &reference, now_ms).await?;
        Ok(Self { names, reference, shown: watch::Sender::new(Arc::new(shown)) })
    }

    /// SHA-256, `AA:BB:…`.
    pub(super) fn fingerprint(&self) -> String {
        self.shown.borrow().fingerprint.clone()
    }

    /// Shows a new one from now on, if little time is left.
    pub(super) async fn renew(&self, db: &Db, vault: &Vault, ca: &Ca, now_ms: i64) -> anyhow::Result<()> {
        if self.shown.borrow().until_ms - now_ms >= LEFT_MS {
            return Ok(());
        }
        let shown = load_or_make(db, vault, ca, &self.names, &self.reference, now_ms).await?;
        tracing::info!(certificate_sha256 = shown.fingerprint, "renewed the portal's own certificate");
        self.shown.send_replace(Arc::new(shown));
        Ok(())
    }
}

impl ResolvesServerCert for Server {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.borrow().key.clone())
    }
}

async fn load_or_make(
    db: &Db,
    vault: &Vault,
    ca: &Ca,
    names: &BTreeSet<String>,
    reference: &str,
    now_ms: i64,
) -> anyhow::Result<Shown> {
    if let Some(pem) = read(vault, reference).await?
        && fits(&pem, ca, names, now_ms)
    {
        return shown(&pem);
    }
    let pem = make(ca, names, now_ms)?;
    let shown = shown(&pem)?;
    let mut tx = db.begin().await.context("keeping it")?;
    vault.put(&mut tx, reference, pem.as_bytes(), now_ms).await.map_err(cause).context("keeping it")?;
    tx.commit().await.context("keeping it")?;
    Ok(shown)
}

/// Is it ours, for these names, and good for a while?
fn fits(pem: &str, ca: &Ca, names: &BTreeSet<String>, now_ms: i64) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let Ok((_, authority)) = X509Certificate::from_der(ca.certificate()) else { return false };
    certificate.verify_signature(Some(authority.public_key())).is_ok()
        && until_ms(&certificate) - now_ms >= LEFT_MS
        && certificate.validity().not_before.timestamp() <= now_ms / 1000
        && names_in(&certificate) == *names
}

pub(super) fn names_in(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return BTreeSet::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

fn make(ca: &Ca, names: &BTreeSet<String>, now_ms: i64) -> anyhow::Result<String> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making its key")?;
    let mut params = params("ZMS portal", &Serial::random()?);
    let names: Vec<String> = names.iter().cloned().collect();
    params.subject_alt_names = CertificateParams::new(names).context("its names")?.subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (date(now_ms - DAY_MS), date(now_ms + LIFE_MS));
    let certificate = ca.issue(&params, &key).context("signing it")?;
    Ok(certificate.pem() + &key.serialize_pem())
}

fn shown(pem: &str) -> anyhow::Result<Shown> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| anyhow!("reading it: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| anyhow!("reading its key: {error}"))?;
    let (_, certificate) = X509Certificate::from_der(&der).context("reading it")?;
    let until_ms = until_ms(&certificate);
    let fingerprint = Sha256::digest(&der).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let key = CertifiedKey::from_der(vec![der.clone()], key, &provider()).context("its key")?;
    Ok(Shown { key: Arc::new(key), fingerprint, until_ms })
}

/// The names that people and hosts may reach this portal by.
fn names(public_host: &str, machine: Option<&str>) -> anyhow::Result<BTreeSet<String>> {
    let public = match public_host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) if is_name(public_host) => public_host.to_ascii_lowercase(),
        Err(_) => {
            return Err(anyhow!(
                "public URL: its host {public_host:?} is neither an address nor a name of letters, digits, dots and -"
            ));
        }
    };
    let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    Ok(local.into_iter().chain([public]).chain(machine.map(str::to_owned)).collect())
}

fn is_name(text: &str) -> bool {
    text.is_ascii() && DnsName::try_from(text).is_ok()
}

/// The name of this machine, if it can stand in a certificate.
fn machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_ascii_lowercase();
    is_name(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_the_public_url_is_an_address_or_a_name() {
        let names_of = |host| names(host, Some("box")).map(|names| names.into_iter().collect::<Vec<_>>());
        for (host, shown) in
            [("ZMS.example.com", "zms.example.com"), ("192.0.2.7", "192.0.2.7"), ("2001:DB8::1", "2001:db8::1"), ("box", "box")]
        {
            let names = names_of(host).unwrap();
            for expected in [shown, "localhost", "127.0.0.1", "::1", "box"] {
                assert!(names.iter().any(|name| name == expected), "{host}: {expected} is not in {names:?}");
            }
        }
        for host in ["", "a b", "über.example", "-", "a..b"] {
            assert!(names_of(host).is_err(), "{host:?}");
        }
    }
}

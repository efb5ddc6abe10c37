//! Certificates of instances: key and certificate in one PEM in the vault, from where their hosts fetch them.

use std::collections::BTreeSet;

use anyhow::Context as _;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::ca::{Ca, DAY_MS, Serial, cause, date, params, read};
use super::peer::until_ms;
use crate::db::Tx;
use crate::secrets::Vault;

/// How long one is good for: servers read it at their start only, so it must outlive the time between two restarts by far.
const LIFE_MS: i64 = 5 * 365 * DAY_MS;
/// It is made anew at the next change of the instance when less than this is left.
const LEFT_MS: i64 = 365 * DAY_MS;
/// An instance's uid in its certificate: `zms://instance/<uid>`.
pub(super) const INSTANCE_URI: &str = "zms://instance/";

/// Puts key and certificate for these names and addresses into the vault, unless good ones are there.
pub(super) async fn ensure(
    ca: &Ca,
    vault: &Vault,
    tx: &mut Tx,
    uid: &str,
    names: &BTreeSet<String>,
    now_ms: i64,
) -> anyhow::Result<()> {
    let reference = zms_core::catalogue::Secret::tls_reference(uid);
    if let Some(pem) = read(vault, &reference).await?
        && fits(&pem, names, now_ms)
    {
        return Ok(());
    }
    let pem = make(ca, uid, names, now_ms)?;
    vault.put(tx, &reference, pem.as_bytes(), now_ms).await.map_err(cause).context("keeping an instance's certificate")
}

/// Is it good for long enough, and for all of these?
fn fits(pem: &str, names: &BTreeSet<String>, now_ms: i64) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    until_ms(&certificate) - now_ms >= LEFT_MS && names.is_subset(&super::server::names_in(&certificate))
}

fn make(ca: &Ca, uid: &str, names: &BTreeSet<String>, now_ms: i64) -> anyhow::Result<String> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making an instance's key")?;
    let mut params = params(uid, &Serial::random()?);
    let names: Vec<String> = names.iter().cloned().collect();
    params.subject_alt_names = CertificateParams::new(names).context("an instance's names")?.subject_alt_names;
    params.subject_alt_names.push(SanType::URI(format!("{INSTANCE_URI}{uid}").try_into().context("an instance's uid")?));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date(now_ms - DAY_MS), date(now_ms + LIFE_MS));
    let certificate = ca.issue(&params, &key).context("signing an instance's certificate")?;
    // The key first: PKCS#8, as rcgen writes it, is what Java reads.
    Ok(key.serialize_pem() + &certificate.pem())
}

//! The certificate authority: one P-256 key for ten years, sealed in the vault.

use anyhow::{Context as _, anyhow};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::OffsetDateTime;

use crate::db::Db;
use crate::error::Error;
use crate::secrets::Vault;

/// Where its key lies in the vault, PEM.
const KEY: &str = "authority/key";
/// Where its certificate lies in the vault, PEM.
const CERTIFICATE: &str = "authority/certificate";

/// A day, in milliseconds.
pub(super) const DAY_MS: i64 = 24 * 3600 * 1000;
/// How long it is good for.
const LIFE_MS: i64 = 10 * 365 * DAY_MS;

/// The authority's key and certificate.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Ca {
    /// Loads it, or makes it in an empty database.
    pub(super) async fn open(db: &Db, vault: &Vault, now_ms: i64) -> anyhow::Result<Self> {
        if let Some(ca) = Self::load(vault).await? {
            return Ok(ca);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making its key")?;
        let pem = certificate(&key, now_ms)?;
        let mut tx = db.begin().await.context("keeping it")?;
        let put = async {
            let first = vault.put_first(&mut tx, KEY, key.serialize_pem().as_bytes(), now_ms).await?;
            if first {
                vault.put(&mut tx, CERTIFICATE, pem.as_bytes(), now_ms).await?;
            }
            Ok(first)
        };
        let first = put.await.map_err(cause).context("keeping it")?;
        tx.commit().await.context("keeping it")?;
        if first {
            tracing::info!("made the certificate authority of this portal");
        }
        // When another portal was first, this is the other's.
        Self::load(vault).await?.ok_or_else(|| anyhow!("it was kept and is not there"))
    }

    async fn load(vault: &Vault) -> anyhow::Result<Option<Self>> {
        let Some(key) = read(vault, KEY).await? else { return Ok(None) };
        let pem = read(vault, CERTIFICATE)
            .await?
            .ok_or_else(|| anyhow!("there is a key and no certificate; put the database back from its backup"))?;
        let key = KeyPair::from_pem(&key).context("reading its key")?;
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| anyhow!("reading its certificate: {error}"))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).context("reading its certificate")?;
        Ok(Some(Self { issuer, certificate, pem }))
    }

    /// PEM.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// DER.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs.
    pub(super) fn issue(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<Certificate, rcgen::Error> {
        params.signed_by(key, &self.issuer)
    }
}

fn certificate(key: &KeyPair, now_ms: i64) -> anyhow::Result<String> {
    // The name differs from portal to portal, or a browser that trusts two would take one for the other.
    let serial = Serial::random()?;
    let mut params = params(&format!("ZMS authority {}", &serial.hex()[..8]), &serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Clocks of hosts may be behind ours.
    (params.not_before, params.not_after) = (date(now_ms - DAY_MS), date(now_ms + LIFE_MS));
    Ok(params.self_signed(key).context("signing its certificate")?.pem())
}

/// What all our certificates have in common.
pub(super) fn params(common_name: &str, serial: &Serial) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from_slice(&serial.0));
    params.use_authority_key_identifier_extension = true;
    params
}

/// A random serial number of 128 bits. Its top bits are `01`: positive, and never shorter than its text.
pub(super) struct Serial([u8; 16]);

impl Serial {
    pub(super) fn random() -> anyhow::Result<Self> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the system gives no random bytes"))?;
        bytes[0] = bytes[0] & 0x3f | 0x40;
        Ok(Self(bytes))
    }

    /// 32 lower-case digits.
    pub(super) fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// Lower-case, two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whole seconds: certificates know no fractions.
pub(super) fn date(ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Text in the vault; `None` when there is none.
pub(super) async fn read(vault: &Vault, reference: &str) -> anyhow::Result<Option<String>> {
    match vault.get(reference).await {
        Ok(value) => String::from_utf8(value).map(Some).with_context(|| format!("sealed value {reference:?}: it has to be PEM")),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(cause(error)),
    }
}

/// What is behind an error, for the log of a start.
pub(super) fn cause(error: Error) -> anyhow::Error {
    match error {
        Error::Internal(cause) => anyhow!("{cause:#}"),
        other => anyhow!("{other:?}"),
    }
}

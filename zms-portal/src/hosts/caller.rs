//! Who asks at the agents' listener: the certificate alone says it, and the row of that host says whether it is listened to.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::answer::Refused;
use super::store::{self, Standing};
use crate::access::Address;
use crate::app::App;
use crate::authority::{Named, PeerCertificate};

/// How long a certificate is good for, milliseconds (as the authority signs them).
const LIFE_MS: i64 = 7 * 24 * 3600 * 1000;
/// For so long after a newer one was signed the one before is still taken: requests on the old connection may be under way.
const OVERLAP_MS: i64 = 3600 * 1000;

/// A host with a certificate that holds.
pub(super) struct Caller {
    pub id: String,
    pub standing: Standing,
    pub peer: PeerCertificate,
    pub address: String,
}

/// A host that may renew: its certificate may have expired.
pub(super) struct Renewing(pub Caller);

/// What a certificate is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// It is the one we know.
    Known,
    /// It is newer than the one we know: shown for the first time.
    Newer,
    /// A newer one was shown since.
    Old,
    /// It has expired, and is of the key that we know: another one may be had for it.
    Expired,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let (caller, worth) = admit(parts, app).await?;
        match worth {
            Worth::Known | Worth::Newer => Ok(caller),
            Worth::Old => Err(Refused::forbidden("a newer certificate of this host is in use; this one is not good any more")),
            Worth::Expired => Err(Refused::forbidden("the certificate has expired; it is only good for renewing it")),
        }
    }
}

impl FromRequestParts<App> for Renewing {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let (caller, worth) = admit(parts, app).await?;
        match worth {
            Worth::Known | Worth::Newer | Worth::Expired => Ok(Self(caller)),
            Worth::Old => Err(Refused::forbidden("a newer certificate of this host is in use; this one is not good any more")),
        }
    }
}

async fn admit(parts: &mut Parts, app: &App) -> Result<(Caller, Worth), Refused> {
    let Address(address) = Address::from_request_parts(parts, app).await?;
    let peer = parts.extensions.get::<PeerCertificate>().cloned();
    let peer = peer.ok_or_else(|| Refused::forbidden("this listener answers hosts, each with a certificate of ours"))?;
    let Named::Host(id) = peer.named.clone() else {
        return Err(Refused::forbidden("this is asked by hosts; the certificate names an instance"));
    };
    let standing = store::standing(&app.db, &id).await?.filter(|standing| !standing.revoked);
    let Some(mut standing) = standing else {
        return Err(Refused::forbidden("this host is not one of this portal's, or was taken out of service"));
    };
    let until = until_ms(&peer.der).ok_or_else(|| Refused::forbidden("the certificate cannot be read"))?;
    let worth = worth(&standing, &peer, until, crate::app::now_ms());
    if worth == Worth::Newer {
        let mut tx = app.db.begin().await?;
        store::set_certificate(&mut tx, &id, &peer.serial, &peer.key_hash, until).await?;
        tx.commit().await?;
        (standing.serial, standing.key_hash, standing.certificate_until) = (peer.serial.clone(), peer.key_hash.clone(), until);
    }
    Ok((Caller { id, standing, peer, address }, worth))
}

/// A renewed certificate counts from when it is first shown, so that an answer that got lost loses nothing.
fn worth(standing: &Standing, peer: &PeerCertificate, until_ms: i64, now_ms: i64) -> Worth {
    if peer.serial == standing.serial || until_ms > standing.certificate_until {
        return match (peer.expired, peer.serial == standing.serial) {
            (true, _) if peer.key_hash != standing.key_hash => Worth::Old,
            (true, _) => Worth::Expired,
            (false, true) => Worth::Known,
            (false, false) => Worth::Newer,
        };
    }
    let newer_since = standing.certificate_until - LIFE_MS;
    if !peer.expired && now_ms < newer_since + OVERLAP_MS { Worth::Known } else { Worth::Old }
}

fn until_ms(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp().saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            environment_id: String::new(),
            name: String::new(),
            key_hash: "key".to_owned(),
            serial: "present".to_owned(),
            certificate_until: 10 * LIFE_MS,
            revoked: false,
            generation: 0,
            run: String::new(),
            seen_at: None,
        }
    }

    fn peer(serial: &str, key_hash: &str, expired: bool) -> PeerCertificate {
        PeerCertificate {
            der: [].into(),
            named: Named::Host(String::new()),
            serial: serial.to_owned(),
            key_hash: key_hash.to_owned(),
            expired,
        }
    }

    #[test]
    fn the_present_certificate_is_good_a_newer_one_takes_its_place_and_an_older_one_fades() {
        let until = 10 * LIFE_MS;
        let signed = until - LIFE_MS;
        for (serial, key, expired, its_until, now, expected) in [
            ("present", "key", false, until, signed, Worth::Known),
            ("present", "key", true, until, until + 1, Worth::Expired),
            ("newer", "other key", false, until + 1, signed + 1, Worth::Newer),
            ("older", "older key", false, until - 1, signed + OVERLAP_MS - 1, Worth::Known),
            ("older", "older key", false, until - 1, signed + OVERLAP_MS, Worth::Old),
            ("older", "older key", true, until - 1, until, Worth::Old),
            ("older", "key", true, until - 1, until, Worth::Old),
            ("newer", "other key", true, until + 1, until + 2, Worth::Old),
        ] {
            assert_eq!(worth(&standing(), &peer(serial, key, expired), its_until, now), expected, "{serial} of {key} at {now}");
        }
    }
}

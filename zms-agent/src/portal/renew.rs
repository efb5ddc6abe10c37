//! When a certificate is renewed. Pure; [`super::session`] does it.

use super::pki::Identity;

/// For how long after its end a certificate can still be exchanged for a new one, milliseconds (30 days).
pub const GRACE_MS: i64 = 30 * 24 * 3600 * 1000;

/// What is to be done about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Two thirds of its life are over: another one, with a new key.
    Renew,
    /// It has expired: another one, with the same key, which is what the portal knows the host by.
    Revive,
    /// It expired so long ago that only a join helps.
    Join,
}

/// Decides. `chance` (0 to 1, drawn once a certificate) spreads renewals over a tenth of its life, so that hosts that joined
/// together do not renew together.
pub fn due(identity: &Identity, chance: f64, now_ms: i64) -> Due {
    let life = identity.until_ms.saturating_sub(identity.from_ms).max(0) as f64;
    let renew_ms = identity.from_ms.saturating_add((life * (2.0 / 3.0 + chance / 10.0)) as i64);
    if now_ms > identity.until_ms.saturating_add(GRACE_MS) {
        Due::Join
    } else if now_ms > identity.until_ms {
        Due::Revive
    } else if now_ms >= renew_ms {
        Due::Renew
    } else {
        Due::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    #[test]
    fn a_certificate_of_a_week_is_renewed_in_time_revived_for_a_month_and_then_lost() {
        let identity = Identity { certificate: String::new(), key: String::new(), from_ms: 0, until_ms: 7 * DAY };
        for (chance, now, expected) in [
            (0.0, 0, Due::Nothing),
            (0.0, 4 * DAY, Due::Nothing),
            (0.0, 4 * DAY + DAY * 7 / 10, Due::Renew),
            (1.0, 4 * DAY + DAY * 7 / 10, Due::Nothing),
            (1.0, 5 * DAY + DAY / 2, Due::Renew),
            (0.5, 7 * DAY, Due::Renew),
            (0.5, 7 * DAY + 1, Due::Revive),
            (0.5, 37 * DAY, Due::Revive),
            (0.5, 37 * DAY + 1, Due::Join),
        ] {
            assert_eq!(due(&identity, chance, now), expected, "chance {chance}, day {}", now / DAY);
        }
    }
}

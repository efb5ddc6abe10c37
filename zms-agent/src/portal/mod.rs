//! The portal as seen from a host: the agent dials, nobody dials it.
//!
//! Read in this order:
//! 1. [`Membership`] here: which portal, under which name.
//! 2. [`pki`]: the host's key and certificate on disk, also between the two phases of a renewal.
//! 3. [`error`], [`connection`], [`link`]: the calls, their deadlines and bounds, and how they fail.
//! 4. [`join`]: how a host becomes the portal's.
//! 5. [`session`]: the loop that says what was found and takes what is wanted; [`request`] is what goes into a
//!    request, [`renew`] when a certificate is renewed.
//! 6. [`contact`]: what `zms-agent status` tells of all this.
//!
//! A portal that is away costs nothing: the host goes on with the desired state that it has on disk.

pub mod connection;
pub mod contact;
pub mod error;
pub mod join;
pub mod link;
pub mod pki;
pub mod renew;
pub mod request;
pub mod session;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use zms_core::names::HostId;

use crate::disk;
use crate::layout::Layout;

/// Which portal this host belongs to; `state/portal.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The host's id there.
    pub host: HostId,
    /// Where it syncs: `https://portal:8444`.
    pub agent_url: String,
    /// Where it joined: `https://portal:8443`.
    pub url: String,
}

impl Membership {
    /// Reads it; `None` on a host that has not joined.
    pub fn load(layout: &Layout) -> anyhow::Result<Option<Self>> {
        let path = layout.membership();
        let found = disk::read_bounded(&path, 64 << 10).with_context(|| format!("reading {}", path.display()))?;
        let Some(bytes) = found else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} does not say to which portal this host belongs", path.display()))
    }

    /// The same, where there must be one.
    pub fn required(layout: &Layout) -> anyhow::Result<Self> {
        Self::load(layout)?.with_context(|| {
            format!(
                "this host belongs to no portal ({} is not there): run the join line that the portal shows under Hosts, or give \
                 --desired and --packages for a host without a portal",
                layout.membership().display()
            )
        })
    }

    /// Keeps it.
    pub fn save(&self, layout: &Layout) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("a membership has only string keys");
        disk::write_whole(&layout.membership(), &text, 0o640)
    }
}

/// Waits of everything between host and portal; production values by default.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For an answer to a call that is not held, and on top of `hold`.
    pub answer: Duration,
    /// How long the portal holds a sync while nothing is new.
    pub hold: Duration,
    /// Longest silence within a transfer of an archive.
    pub silence: Duration,
    /// Between two requests: a report that changes often is sent this often.
    pub push: Duration,
    /// After the first failure; doubles up to `back_off_max`. The wait is drawn between nothing and this.
    pub back_off: Duration,
    /// See `back_off`.
    pub back_off_max: Duration,
    /// Between two looks at the facts of the host.
    pub facts: Duration,
    /// After a renewal that failed while the certificate still holds.
    pub renew_again: Duration,
    /// A join is given up after this time.
    pub join: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(15),
            hold: Duration::from_secs(25),
            silence: Duration::from_secs(30),
            push: Duration::from_secs(1),
            back_off: Duration::from_secs(1),
            back_off_max: Duration::from_secs(60),
            facts: Duration::from_secs(300),
            renew_again: Duration::from_secs(900),
            join: Duration::from_secs(120),
        }
    }
}

impl Waits {
    /// The wait after this many failures in a row: drawn evenly, so that the hosts of a portal that was away do not come back
    /// in one moment.
    pub fn after_failures(&self, failures: u32) -> Duration {
        let longest = self.back_off.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16)));
        longest.min(self.back_off_max).mul_f64(chance())
    }
}

/// A number from 0 to 1, evenly drawn.
pub(crate) fn chance() -> f64 {
    f64::from((Ulid::new().random() & u128::from(u32::MAX)) as u32) / f64::from(u32::MAX)
}

/// The clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// An instant in milliseconds since 1970 as people read it, in UTC.
pub(crate) fn shown(at_ms: i64) -> String {
    use time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1000));
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{at_ms} ms since 1970"))
}

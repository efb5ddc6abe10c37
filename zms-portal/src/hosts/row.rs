//! A host as the database has it, and what can be said of it now.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::Serialize;
use zms_core::host::{HostFacts, HostReport};

use crate::web::messages::Messages;

/// A host that was not heard of for this long is offline: an agent asks at least each 25 s. Milliseconds.
pub const SILENCE_MS: i64 = 45_000;

/// Since when this portal runs, milliseconds since 1970; 0 before it does.
static UP_SINCE: AtomicI64 = AtomicI64::new(0);

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRow {
    /// ULID, never reused.
    pub id: String,
    /// Unique within its environment; people may change it.
    pub name: String,
    /// The address that other hosts reach it by, as far as it is known.
    pub address: String,
    /// What it says of itself.
    pub facts: HostFacts,
    /// What its agent last found.
    pub report: Option<HostReport>,
    /// When it last asked, to 5 s; milliseconds since 1970.
    pub seen_at: Option<i64>,
    /// Taken out of service for ever.
    pub revoked: bool,
    /// Generation of its desired state; 0 for none.
    pub generation: i64,
}

/// What only the page of a host needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDetail {
    /// What every list needs.
    pub row: HostRow,
    /// Where it belongs.
    pub environment_id: String,
    /// Until when its certificate is good, milliseconds since 1970.
    pub certificate_until: i64,
    /// Its clock minus ours when it last asked, milliseconds.
    pub skew_ms: Option<i64>,
    /// When it joined, milliseconds since 1970.
    pub joined_at: i64,
}

/// Can it be worked with?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostStatus {
    /// It asks.
    Online,
    /// It joined and did not ask yet, or this portal has only just started and did not hear of it yet.
    Pending,
    /// It did not ask for [`SILENCE_MS`].
    Offline,
    /// Taken out of service: it is not listened to.
    Revoked,
}

impl HostRow {
    /// What can be said at `now_ms`.
    pub fn status(&self, now_ms: i64) -> HostStatus {
        judge(self.revoked, self.seen_at, UP_SINCE.load(Ordering::Relaxed), now_ms)
    }

    /// How many of its instances are as they should be, and how many it has.
    pub fn instances(&self) -> (usize, usize) {
        let all = self.report.as_ref().map(|report| report.instances.as_slice()).unwrap_or_default();
        (all.iter().filter(|instance| instance.done()).count(), all.len())
    }

    /// Version of its agent, empty before its first report.
    pub fn agent_version(&self) -> &str {
        self.report.as_ref().map_or("", |report| &report.agent_version)
    }
}

impl HostStatus {
    /// As API and style sheet write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Pending => "pending",
            Self::Offline => "offline",
            Self::Revoked => "revoked",
        }
    }

    /// For people.
    pub fn text(self, m: Messages) -> &'static str {
        match self {
            Self::Online => m.hosts_online(),
            Self::Pending => m.hosts_pending(),
            Self::Offline => m.hosts_offline(),
            Self::Revoked => m.hosts_revoked(),
        }
    }
}

impl fmt::Display for HostStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From now on silence is counted; called when the portal starts.
pub(super) fn up_since(now_ms: i64) {
    UP_SINCE.store(now_ms, Ordering::Relaxed);
}

/// A portal that was away does not call every host silent: it listens for a while first.
fn judge(revoked: bool, seen_at: Option<i64>, up_since_ms: i64, now_ms: i64) -> HostStatus {
    match seen_at {
        _ if revoked => HostStatus::Revoked,
        None => HostStatus::Pending,
        Some(seen) if now_ms - seen <= SILENCE_MS => HostStatus::Online,
        Some(_) if now_ms - up_since_ms <= SILENCE_MS => HostStatus::Pending,
        Some(_) => HostStatus::Offline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_word_and_not_before_the_portal_has_listened() {
        let now = 1_000_000;
        for (revoked, seen, up, expected) in [
            (false, None, 0, HostStatus::Pending),
            (false, Some(now), 0, HostStatus::Online),
            (false, Some(now + 5_000), 0, HostStatus::Online),
            (false, Some(now - SILENCE_MS), 0, HostStatus::Online),
            (false, Some(now - SILENCE_MS - 1), 0, HostStatus::Offline),
            (false, Some(now - SILENCE_MS - 1), now - SILENCE_MS, HostStatus::Pending),
            (false, Some(now - SILENCE_MS - 1), now - SILENCE_MS - 1, HostStatus::Offline),
            (true, Some(now), 0, HostStatus::Revoked),
            (true, None, 0, HostStatus::Revoked),
        ] {
            assert_eq!(judge(revoked, seen, up, now), expected, "revoked {revoked}, seen {seen:?}, up {up}");
        }
    }
}

//! How the last request to the portal ended, for `zms-agent status` and for the next join.

use std::fmt::Write as _;
use std::io;

use serde::{Deserialize, Serialize};

use super::pki::{Pki, PkiError};
use super::{Membership, now_ms, shown};
use crate::disk;
use crate::layout::Layout;

/// An unchanged state is written again after this time, so that its age can be told, in milliseconds.
const WRITE_AGAIN_MS: i64 = 5_000;
/// A clock that is off by more than this is worth a word, in milliseconds.
const SKEW_MS: i64 = 30_000;

/// `state/contact.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contact {
    /// When the portal last answered a sync, milliseconds since 1970; 0 for never.
    pub answered_ms: i64,
    /// What stands in the way, in a sentence; empty when nothing does.
    pub problem: String,
    /// The portal does not take this host's certificate.
    pub denied: bool,
    /// This host's clock minus the portal's, milliseconds.
    pub skew_ms: i64,
}

impl Contact {
    /// Reads it; a host that never synced has the default.
    pub fn load(layout: &Layout) -> Self {
        let bytes = disk::read_bounded(&layout.contact(), 64 << 10).ok().flatten();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Keeps it if it says something else than `written`, or if that is old.
    pub fn save(&self, layout: &Layout, written: &mut Option<Self>) -> io::Result<()> {
        let say = |contact: &Self| (contact.problem.clone(), contact.denied, contact.clock_is_off());
        let same = |before: &Self| say(before) == say(self);
        if written.as_ref().is_some_and(|before| same(before) && self.answered_ms - before.answered_ms < WRITE_AGAIN_MS) {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(self).expect("a contact has only string keys");
        disk::write_whole(&layout.contact(), &text, 0o640)?;
        *written = Some(self.clone());
        Ok(())
    }

    /// Forgets it: another certificate starts anew.
    pub fn forget(layout: &Layout) -> io::Result<()> {
        match std::fs::remove_file(layout.contact()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Is the host's clock far off?
    pub fn clock_is_off(&self) -> bool {
        self.skew_ms.abs() > SKEW_MS
    }
}

/// Which portal, whether it answers, until when the certificate holds: lines of `zms-agent status`. Nothing on a host without
/// a portal.
pub fn lines(layout: &Layout) -> String {
    let mut out = String::new();
    let membership = match Membership::load(layout) {
        Ok(None) => return out,
        Ok(Some(membership)) => membership,
        Err(error) => return format!("portal    UNKNOWN: {error:#}\n"),
    };
    let (contact, now) = (Contact::load(layout), now_ms());
    let last = match contact.answered_ms {
        0 => "it never answered a sync".to_owned(),
        at => format!("it last answered {} s ago", (now - at).max(0) / 1000),
    };
    let state = if contact.problem.is_empty() { String::new() } else { format!("; NOW {}", contact.problem) };
    let _ = writeln!(out, "portal    {} (this host is {}); {last}{state}", membership.agent_url, membership.host);
    let _ = writeln!(out, "certificate {}", certificate(layout, now));
    if contact.clock_is_off() {
        let _ = writeln!(out, "clock     {} s off the portal's; set it right", contact.skew_ms / 1000);
    }
    out
}

fn certificate(layout: &Layout, now: i64) -> String {
    match Pki::new(layout).look() {
        Ok(held) if held.best().until_ms < now => format!("EXPIRED since {}", shown(held.best().until_ms)),
        Ok(held) => format!("valid until {}", shown(held.best().until_ms)),
        Err(PkiError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => "not readable by you".to_owned(),
        Err(error) => format!("MISSING: {error}"),
    }
}

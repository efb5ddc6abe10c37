//! Answers to a portal's questions: what is looked at on this host and never changed. There is no "run this command", and nothing
//! is named by a path.
//!
//! [`checks`]: could these instances run here? [`log`]: a piece of a log, without what looks like a secret ([`redact`]).

pub mod checks;
pub mod log;
pub mod redact;

use zms_core::host::{Ask, DesiredState, Finding};

use crate::layout::Layout;

/// Looks; the error is a sentence. Blocks shortly. `current` is what runs here besides what is asked about.
pub fn answer(layout: &Layout, current: &DesiredState, ask: &Ask) -> Result<Finding, String> {
    match ask {
        Ask::Preflight { instances } => Ok(Finding::Preflight { checks: checks::all(layout, current, instances) }),
        Ask::Log { instance, from } => {
            log::piece(&layout.log_file(instance), *from).map_err(|error| format!("log of {instance}: {error}"))
        }
    }
}

//! Places where a test can kill the agent: before and after each step's work. Preflight is a part of the steps register and start. Built into debug builds only.
//!
//! `ZMS_FAULT_KILL_AT=<step>:<before|after>` with `ZMS_FAULT_MARK=<file>`: the agent kills itself with SIGKILL the first time
//! it gets there, and leaves the file as a proof that it got there.

use zms_core::host::Step;

/// Before or after the step's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Decided, nothing done.
    Before,
    /// Done, not reported.
    After,
}

/// Dies here if a test wants it.
#[cfg(debug_assertions)]
pub fn point(step: Step, moment: Moment) {
    let name = format!("{step:?}:{moment:?}").to_lowercase();
    if std::env::var("ZMS_FAULT_KILL_AT").is_ok_and(|wanted| wanted == name)
        && let Some(mark) = std::env::var_os("ZMS_FAULT_MARK")
        && std::fs::File::create_new(mark).is_ok()
    {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub fn point(_step: Step, _moment: Moment) {}

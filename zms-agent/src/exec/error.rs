//! How a start can fail, and the exit code that says so.

use std::io;

/// Exit codes of `zms-agent exec`, as in `sysexits.h` where that has one. Any other code is the process's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A preparation failed or took too long. Trying again may help.
    Preparation = 70,
    /// The system refused something (a full disk, a missing right). Trying again may help.
    System = 71,
    /// Another process holds the instance's lock. It is the instance; there is nothing to start.
    Busy = 75,
    /// `exec.json` is missing or wrong, the data folder is another instance's, or the program is not there. Trying
    /// again does not help.
    Config = 78,
}

/// Why an instance was not started, in a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExecError {
    exit: Exit,
    message: String,
}

impl ExecError {
    /// What to end with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The number to end with.
    pub fn code(&self) -> u8 {
        self.exit as u8
    }

    pub(super) fn busy(message: String) -> Self {
        Self { exit: Exit::Busy, message }
    }

    pub(super) fn config(message: String) -> Self {
        Self { exit: Exit::Config, message }
    }

    pub(super) fn preparation(message: String) -> Self {
        Self { exit: Exit::Preparation, message }
    }

    pub(super) fn system(attempt: String, error: io::Error) -> Self {
        Self { exit: Exit::System, message: format!("{attempt}: {error}") }
    }
}

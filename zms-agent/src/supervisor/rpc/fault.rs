//! Why a call did not do what it should.

use std::io;
use std::time::Duration;

/// A call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Nobody listens on the socket.
    #[error("supervisord does not accept a connection: {0}")]
    Connect(io::Error),
    /// No answer in time; whether it was done is not known.
    #[error("supervisord has not answered {method} within {} ms", .deadline.as_millis())]
    Deadline {
        /// The call.
        method: &'static str,
        /// How long it was given.
        deadline: Duration,
    },
    /// An answer that cannot be understood.
    #[error("supervisord's answer {0}")]
    Answer(String),
    /// It refused.
    #[error("supervisord refused: {0}")]
    Fault(Fault),
    /// A program was told to stop and has not ended yet; then it cannot be removed.
    #[error("program {name} is still being stopped")]
    StillRunning {
        /// Which one.
        name: String,
    },
}

/// A refusal of supervisord.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} (fault {})", .kind.code())]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// In supervisord's words.
    pub text: String,
}

macro_rules! fault_kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why supervisord refuses; the numbers are its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum FaultKind {
            $($(#[$doc])* $name,)*
            /// One that we have no use for.
            Other(i32),
        }

        impl FaultKind {
            /// supervisord's number.
            pub fn code(self) -> i32 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other(code) => code,
                }
            }
        }

        impl From<i32> for FaultKind {
            fn from(code: i32) -> Self {
                match code {
                    $($code => Self::$name,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

fault_kinds! {
    /// It is shutting down.
    Shutdown = 6,
    /// It knows no program of this name.
    BadName = 10,
    /// It knows no such signal.
    BadSignal = 11,
    /// The command does not exist.
    NoFile = 20,
    /// The command cannot be executed.
    NotExecutable = 21,
    /// Something went wrong.
    Failed = 30,
    /// It ended before it counted as started.
    AbnormalTermination = 40,
    /// It could not be started (also said while it is tried again).
    SpawnError = 50,
    /// It runs already.
    AlreadyStarted = 60,
    /// It does not run.
    NotRunning = 70,
    /// It has this program already.
    AlreadyAdded = 90,
    /// It must be stopped first.
    StillRunning = 91,
    /// A file cannot be read; no program file is read then.
    CantReread = 92,
}

impl From<dxr::Fault> for Fault {
    fn from(fault: dxr::Fault) -> Self {
        Self { kind: fault.code().into(), text: fault.string().to_owned() }
    }
}

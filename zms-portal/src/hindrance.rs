//! Why an effect on brokers or metadata is not done, sorted by who can do something about it.

use zms_drivers::broker::BrokerError;

use crate::engine::Outcome;
use crate::error::Error;
use crate::metadata::PublishError;

/// What passes by itself is looked at again after this, milliseconds.
const LOOK_AGAIN_MS: i64 = 2000;

/// See the module. Each holds a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hindrance {
    /// It may be later by itself.
    Later(String),
    /// A person has to look.
    Stuck(String),
    /// A fault of ours.
    Failed(String),
}

impl Hindrance {
    /// What the engine does about it: looks again soon, or tries again, later each time, while a person mends it.
    pub fn outcome<C>(self) -> Outcome<C> {
        match self {
            Self::Later(why) => Outcome::Again { after_ms: LOOK_AGAIN_MS, why },
            Self::Stuck(why) | Self::Failed(why) => Outcome::Failed(why),
        }
    }
}

impl From<BrokerError> for Hindrance {
    fn from(error: BrokerError) -> Self {
        if error.is_passing() { Self::Later(error.to_string()) } else { Self::Stuck(error.to_string()) }
    }
}

impl From<PublishError> for Hindrance {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Passing(why) => Self::Later(why),
            PublishError::Refused(why) => Self::Stuck(why),
        }
    }
}

impl From<sqlx::Error> for Hindrance {
    fn from(error: sqlx::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for Hindrance {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::Stuck("what should be made is not in the portal's database any more".to_owned()),
            other => Self::Failed(format!("{other:?}")),
        }
    }
}

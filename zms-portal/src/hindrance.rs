//! Why an effect on brokers or metadata is not done, sorted by who can do something about it.

use zms_drivers::broker::BrokerError;

use crate::error::Error;
use crate::metadata::PublishError;

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

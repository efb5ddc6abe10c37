use std::time::Duration;

/// Why InfluxDB did not do what it was asked; sorted once, where its answer is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The other points of the batch are written. Writing these again is wrong.
    #[error("{dropped} points were not written: {why}")]
    Partial {
        /// How many it says it did not write.
        dropped: u64,
        /// What it says.
        why: String,
    },
    /// It will never take this as it is.
    #[error("refused: {why}")]
    Refused {
        /// What it says, or what would be right.
        why: String,
    },
    /// More than it takes, or more than we read, in one call: ask or write less at once.
    #[error("too large for one call to InfluxDB")]
    TooLarge,
    /// Wrong user or password, or no right.
    #[error("{what}: denied: {why}")]
    Denied {
        /// What was asked.
        what: String,
        /// What it says.
        why: String,
    },
    /// The database, retention or user is not there.
    #[error("{what} is not there")]
    Missing {
        /// Which one.
        what: String,
    },
    /// Busy or ill: the same call may succeed later.
    #[error("not now: {why}")]
    Passing {
        /// What it says.
        why: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// Not reached, or no answer in time: whether something was done is open.
    #[error("InfluxDB is away: {why}")]
    Away {
        /// Where it ended.
        why: String,
    },
    /// What answered is no InfluxDB.
    #[error("no answer of an InfluxDB: {why}")]
    Answer {
        /// What was there instead.
        why: String,
    },
}

impl MetricError {
    /// The same call may succeed later without anybody changing anything.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Passing { .. } | Self::Away { .. })
    }

    /// The same without a secret that a server, or what stands before it, repeats.
    pub(super) fn without(mut self, secret: &str) -> Self {
        let said = match &mut self {
            Self::Partial { why, .. } | Self::Refused { why } | Self::Denied { why, .. } | Self::Passing { why, .. } => why,
            Self::Away { why } | Self::Answer { why } | Self::Missing { what: why } => why,
            Self::TooLarge => return self,
        };
        if !secret.is_empty() && said.contains(secret) {
            *said = said.replace(secret, "…");
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_secret_is_taken_out() {
        let error = MetricError::Refused { why: "no password 'geheim' here".to_owned() };
        assert_eq!(error.clone().without("geheim").to_string(), "refused: no password '…' here");
        assert_eq!(error.clone().without(""), error);
    }
}

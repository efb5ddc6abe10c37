use std::time::Duration;

/// How long the client waits for what. The defaults are for production; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// For ZooKeeper's first answer about a topic, before the copy on disk is used.
    pub first_answer: Duration,
    /// For knowing where a topic lives, when nothing is known yet, neither from ZooKeeper nor from disk.
    pub metadata: Duration,
    /// After this a message is given up.
    pub delivery: Duration,
    /// For connections and questions to brokers, and for a call to ZooKeeper.
    pub call: Duration,
    /// For a new client to be ready, before sends go there anyway.
    pub switch: Duration,
    /// For what is under way in a client that is no longer used.
    pub drain: Duration,
    /// Changes are followed after a random time up to this, so that thousands of processes do not ask at once.
    pub jitter: Duration,
    /// Between two looks at the nodes of clusters, which are not watched; half to one and a half of it, at random.
    pub reread: Duration,
    /// Before something that failed is tried again; doubled each time up to [`Self::retry_longest`].
    pub retry: Duration,
    /// See [`Self::retry`].
    pub retry_longest: Duration,
    /// Between two reports about what was sent and consumed.
    pub statistics: Duration,
    /// ZooKeeper's session.
    pub session: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            first_answer: Duration::from_secs(3),
            metadata: Duration::from_secs(15),
            delivery: Duration::from_secs(30),
            call: Duration::from_secs(10),
            switch: Duration::from_secs(15),
            drain: Duration::from_secs(35),
            jitter: Duration::from_secs(1),
            reread: Duration::from_secs(45),
            retry: Duration::from_millis(200),
            retry_longest: Duration::from_secs(30),
            statistics: Duration::from_secs(10),
            session: Duration::from_secs(20),
        }
    }
}

impl Waits {
    /// A random part of `longest`.
    pub(crate) fn some_of(longest: Duration) -> Duration {
        // The low bits of an identifier are random enough to spread processes.
        let random = ulid::Ulid::new().random();
        #[expect(clippy::cast_precision_loss, reason = "a share of a wait needs no precision")]
        longest.mul_f64((random % 1_000) as f64 / 1_000.0)
    }

    /// Half to one and a half of [`Self::reread`].
    pub(crate) fn next_reread(&self) -> Duration {
        self.reread / 2 + Self::some_of(self.reread)
    }

    /// Before the attempt after this one, counted from 1.
    pub(crate) fn back_off(&self, attempt: u32) -> Duration {
        self.retry.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.retry_longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_never_overflow() {
        let waits = Waits { retry: Duration::from_millis(100), retry_longest: Duration::from_secs(1), ..Waits::default() };
        let seen = [0, 1, 2, 3, 4, 5, u32::MAX].map(|attempt| waits.back_off(attempt).as_millis());
        assert_eq!(seen, [100, 100, 200, 400, 800, 1000, 1000]);
    }
}

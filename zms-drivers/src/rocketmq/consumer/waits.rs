//! How long a member waits for what.

use std::time::Duration;

/// Every wait of a member, so that tests need no sleeps.
#[derive(Debug, Clone)]
pub struct Waits {
    /// Between two heartbeats; brokers forget a member that is silent for two minutes.
    pub heartbeat: Duration,
    /// Between two looks at what is its own, when nobody says that something changed.
    pub rebalance: Duration,
    /// The first such looks come sooner.
    pub first_rounds: Vec<Duration>,
    /// Changes that come together are one.
    pub together: Duration,
    /// A route that is older is asked for again. Below `rebalance`: each look sees brokers that came or went.
    pub route_age: Duration,
    /// After another member may have had a queue, so that it can commit.
    pub settle: Duration,
    /// Between two commits of a queue.
    pub commit: Duration,
    /// After its first commit, before it is looked once more whether the broker has kept it.
    pub look_again: Duration,
    /// How long a broker holds back an empty answer.
    pub hold: Duration,
    /// After a queue moved, before it is looked whether the broker has overlooked the pull that it holds.
    pub overlooked: Duration,
    /// For every other answer.
    pub answer: Duration,
    /// For a broker's list of members: while one is silent, the others decide.
    pub members: Duration,
    /// The first wait after a failure; it is doubled each time.
    pub first_back_off: Duration,
    /// The longest one.
    pub longest_back_off: Duration,
    /// In order: before a message that failed is delivered again.
    pub failed_in_order: Duration,
    /// Before a lock is asked for again that another member has.
    pub lock_again: Duration,
    /// Between two renewals of a lock.
    pub lock_renewal: Duration,
    /// In order: so long a queue that goes to another member waits for the message that the application has of it.
    pub last_message: Duration,
    /// So long a lock counts as ours without a renewal; a broker keeps it for 60 s.
    pub lock_lasts: Duration,
    /// So far the clocks of this host and of a broker may differ.
    pub clocks: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            rebalance: Duration::from_secs(20),
            first_rounds: [1, 2, 4, 8].map(Duration::from_secs).into(),
            together: Duration::from_millis(20),
            route_age: Duration::from_secs(15),
            // Java's clients look at most once a second.
            settle: Duration::from_millis(1_200),
            commit: Duration::from_secs(1),
            look_again: Duration::from_millis(100),
            hold: Duration::from_secs(15),
            overlooked: Duration::from_secs(1),
            answer: Duration::from_secs(3),
            members: Duration::from_millis(1_500),
            first_back_off: Duration::from_millis(100),
            longest_back_off: Duration::from_secs(3),
            failed_in_order: Duration::from_secs(1),
            lock_again: Duration::from_secs(1),
            lock_renewal: Duration::from_secs(20),
            last_message: Duration::from_secs(60),
            lock_lasts: Duration::from_secs(40),
            clocks: Duration::from_secs(60),
        }
    }
}

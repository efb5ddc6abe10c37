use std::time::Duration;

/// Every wait and bound of the engine, with its production value as default.
#[derive(Debug, Clone)]
pub struct Settings {
    /// An effect is ours for this long and is renewed at a third of it; after the death of a portal another takes the effect when
    /// it is over. Longer than clocks of portals differ.
    pub lease: Duration,
    /// How often due effects and changes of other portals are looked for when nothing wakes us.
    pub poll: Duration,
    /// An effect that takes longer has failed.
    pub deadline: Duration,
    /// Wait after the first failure; doubles with each further one.
    pub back_off_first: Duration,
    /// The longest wait after a failure.
    pub back_off_most: Duration,
    /// Effects under way at one target, all portals together.
    pub per_target: usize,
    /// Effects under way in this portal. Beyond the number of dead targets times `per_target`, so that they cannot use it up: a
    /// target that failed gets one at a time.
    pub in_flight: usize,
    /// Effects under way may take this long at the end; then their leases are left to run out.
    pub last_words: Duration,
    /// Rows that tell other portals of a change are kept this long.
    pub keep_changes: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            poll: Duration::from_millis(500),
            deadline: Duration::from_secs(300),
            back_off_first: Duration::from_secs(1),
            back_off_most: Duration::from_secs(60),
            per_target: 4,
            in_flight: 512,
            last_words: Duration::from_secs(10),
            keep_changes: Duration::from_secs(3600),
        }
    }
}

impl Settings {
    /// Wait after `failures` (from 1) in a row: doubles, bounded, less up to a quarter by `dice` so that many do not come at once.
    pub(super) fn back_off(&self, failures: i64, dice: u64) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1).clamp(0, 20)).expect("clamped to 0..=20");
        let wait = self.back_off_first.saturating_mul(2_u32.pow(doublings)).min(self.back_off_most);
        let quarter = u64::try_from(wait.as_millis() / 4).unwrap_or(u64::MAX - 1);
        wait - Duration::from_millis(dice % (quarter + 1))
    }
}

/// A duration as the database counts it.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

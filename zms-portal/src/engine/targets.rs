//! Which targets are spared for a while because they failed. Pure; one worker's own knowledge, forgotten at its end.

use std::collections::HashMap;

use super::Settings;
use super::settings::milliseconds;

#[derive(Debug, Default)]
pub(super) struct Targets(HashMap<String, Trouble>);

/// A target that failed and has not done anything since.
#[derive(Debug)]
struct Trouble {
    failures: i64,
    closed_until: i64,
}

impl Targets {
    /// How many more effects may begin at `target`, of which `leased` are under way: none while it is spared, then one to see, all
    /// slots when that one went well.
    pub(super) fn room(&self, target: &str, leased: usize, settings: &Settings, now_ms: i64) -> usize {
        let slots = match self.0.get(target) {
            Some(trouble) if now_ms < trouble.closed_until => 0,
            Some(_) => 1,
            None => settings.per_target,
        };
        slots.saturating_sub(leased)
    }

    /// It answered.
    pub(super) fn went_well(&mut self, target: &str) {
        self.0.remove(target);
    }

    /// It failed. Failures of what was under way together count as one.
    pub(super) fn failed(&mut self, target: &str, settings: &Settings, now_ms: i64, dice: u64) {
        let trouble = self.0.entry(target.to_owned()).or_insert(Trouble { failures: 0, closed_until: 0 });
        if now_ms < trouble.closed_until {
            return;
        }
        trouble.failures += 1;
        trouble.closed_until = now_ms + milliseconds(settings.back_off(trouble.failures, dice));
    }

    /// Forgets targets that nobody has asked anything of for long after their wait: a host that was removed.
    pub(super) fn forget_before(&mut self, before_ms: i64) {
        self.0.retain(|_, trouble| trouble.closed_until >= before_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_jitter_takes_a_quarter_at_most() {
        let settings = Settings::default();
        for (failures, most) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (6, 32_000), (7, 60_000), (1_000_000, 60_000), (0, 1_000), (-3, 1_000)]
        {
            for dice in [0, 1, 17, u64::MAX, u64::MAX / 3] {
                let wait = milliseconds(settings.back_off(failures, dice));
                assert!(wait <= most && wait >= most - most / 4, "{failures} failures, dice {dice}: {wait} ms");
            }
            assert_eq!(milliseconds(settings.back_off(failures, 0)), most);
        }
    }

    #[test]
    fn a_target_that_failed_is_spared_then_tried_by_one_then_open() {
        let settings = Settings::default();
        let mut targets = Targets::default();
        assert_eq!(targets.room("a", 1, &settings, 0), 3);
        // Four that were under way together fail together: one failure.
        for _ in 0..4 {
            targets.failed("a", &settings, 0, 0);
        }
        assert_eq!(targets.room("a", 0, &settings, 999), 0);
        assert_eq!(targets.room("b", 0, &settings, 999), 4, "others are not delayed");
        assert_eq!(targets.room("a", 0, &settings, 1_000), 1);
        assert_eq!(targets.room("a", 1, &settings, 1_000), 0);
        targets.failed("a", &settings, 1_000, 0);
        assert_eq!(targets.room("a", 0, &settings, 2_999), 0);
        targets.went_well("a");
        assert_eq!(targets.room("a", 0, &settings, 2_999), 4);
    }

    #[test]
    fn a_target_that_is_gone_is_forgotten() {
        let settings = Settings::default();
        let mut targets = Targets::default();
        targets.failed("a", &settings, 0, 0);
        targets.forget_before(500);
        assert_eq!(targets.room("a", 0, &settings, 500), 0);
        targets.forget_before(1_001);
        assert_eq!(targets.0.len(), 0);
    }
}

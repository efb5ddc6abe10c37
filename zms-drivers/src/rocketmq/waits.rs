//! How long things are waited for.

use std::time::Duration;

/// Waits between tries: doubled each time, up to `most`.
pub(super) fn back_off(tries: u32, first: Duration, most: Duration) -> Duration {
    first.saturating_mul(1 << tries.min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let waits = [0, 1, 5, 6, 99].map(|tries| back_off(tries, first, most).as_millis());
        assert_eq!(waits, [100, 200, 3_200, 5_000, 5_000]);
    }
}

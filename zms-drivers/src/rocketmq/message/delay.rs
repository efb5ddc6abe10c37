//! "Not before": levels of every broker, and milliseconds from 5.0 on.

use std::time::Duration;

/// What brokers have unless their `messageDelayLevel` was changed, in seconds.
const LEVELS: [u64; 18] = [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200];
const NAMES: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

/// How a broker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    /// From 1.
    Level(u8),
    /// From now.
    Millis(u64),
}

/// How to tell a broker that a message is wanted so much later; `None` for at once. `any`: the broker takes any delay.
///
/// # Errors
/// What this broker could do instead.
pub(crate) fn delay(wanted: Duration, any: bool) -> Result<Option<Delay>, String> {
    if wanted.is_zero() {
        return Ok(None);
    }
    let level = LEVELS.iter().position(|seconds| Duration::from_secs(*seconds) == wanted);
    if let Some(level) = level.and_then(|index| u8::try_from(index + 1).ok()) {
        return Ok(Some(Delay::Level(level)));
    }
    if any {
        return Ok(Some(Delay::Millis(u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX).max(1))));
    }
    Err(format!("a delay of {} ms; brokers before 5.0 know these only: {NAMES}", wanted.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_used_where_there_is_one_and_only_new_brokers_take_anything_else() {
        let (old, new) = (false, true);
        for (millis, any, said) in [
            (0, old, Ok(None)),
            (1_000, old, Ok(Some(Delay::Level(1)))),
            (7_200_000, old, Ok(Some(Delay::Level(18)))),
            (30_000, new, Ok(Some(Delay::Level(4)))),
            (1_500, new, Ok(Some(Delay::Millis(1_500)))),
        ] {
            assert_eq!(delay(Duration::from_millis(millis), any), said, "{millis} ms, any: {any}");
        }
        let why = delay(Duration::from_secs(2), old).unwrap_err();
        assert!(why.contains("2000 ms") && why.contains("1s 5s 10s"), "{why}");
        assert_eq!(LEVELS.len(), NAMES.split(' ').count());
    }
}

//! Which version a broker has, and what it can do.

use std::str::FromStr;

/// Version of a broker, as `brokerVersionDesc` of its runtime information says it: `V5_5_0`, `V4_9_7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no version of a broker; one is V5_5_0")]
pub struct NoVersion(String);

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let wrong = || NoVersion(text.chars().take(40).collect());
        let numbers = text.strip_prefix('V').unwrap_or(text).split(['_', '.', '-']).map(str::parse);
        let numbers: Vec<u16> = numbers.map_while(Result::ok).take(3).collect();
        match numbers[..] {
            [major, minor, patch] => Ok(Self(major, minor, patch)),
            [major, minor] => Ok(Self(major, minor, 0)),
            _ => Err(wrong()),
        }
    }
}

impl Version {
    /// From the number in the header of each answer: `MQVersion` of both lines counts a snapshot and a release of each version from 4.0.0 on, in
    /// tens, whether they ever came or not. `None` before that.
    pub fn of_number(number: i32) -> Option<Self> {
        let place = u16::try_from(number.checked_sub(212)?).ok()? / 2;
        Some(Self(4 + place / 100, place / 10 % 10, place % 10))
    }

    /// It takes any delay, not only one of its levels.
    pub const fn takes_any_delay(self) -> bool {
        self.0 >= 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        for (text, version) in [("V5_5_0", Version(5, 5, 0)), ("V4_9_7", Version(4, 9, 7)), ("V5_3_3_SNAPSHOT", Version(5, 3, 3))]
        {
            assert_eq!(text.parse(), Ok(version));
        }
        for (number, version) in
            [(393, Version(4, 9, 0)), (407, Version(4, 9, 7)), (412, Version(5, 0, 0)), (413, Version(5, 0, 0))]
        {
            assert_eq!(Version::of_number(number), Some(version));
        }
        assert_eq!(
            [513, 611, 211, 0, -1].map(Version::of_number),
            [Some(Version(5, 5, 0)), Some(Version(5, 9, 9)), None, None, None]
        );
        assert!("HIGHER_VERSION".parse::<Version>().is_err() && "".parse::<Version>().is_err());
        assert!(Version(5, 0, 0).takes_any_delay() && !Version(4, 9, 7).takes_any_delay());
    }
}

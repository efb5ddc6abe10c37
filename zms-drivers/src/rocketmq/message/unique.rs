//! The id that a producer gives a message (`UNIQ_KEY`): 16 bytes in hexadecimal, built as Java clients build it, so that consoles find
//! messages by it and read the sender's address and the time out of it.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: u64 = 86_400_000;

/// Makes ids: address (4 bytes), process (2), a number of this maker (4), milliseconds of the month (4), counter (2).
#[derive(Debug)]
pub(crate) struct UniqueIds {
    prefix: String,
    counter: AtomicU16,
}

impl UniqueIds {
    /// `maker` must differ between makers of one process.
    pub fn new(address: Ipv4Addr, process: u32, maker: u32) -> Self {
        // The lower half, as there is no room for more.
        let prefix = format!("{:08X}{:04X}{maker:08X}", address.to_bits(), process & 0xffff);
        Self { prefix, counter: AtomicU16::new(0) }
    }

    /// Another one with each call, as long as there are no more than 65 536 in a millisecond.
    pub fn next(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.at(u64::try_from(now).unwrap_or(u64::MAX))
    }

    fn at(&self, now_ms: u64) -> String {
        let mut id = String::with_capacity(32);
        id.push_str(&self.prefix);
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        write!(id, "{:08X}{count:04X}", since_month_began(now_ms)).expect("a string takes everything");
        id
    }
}

/// Milliseconds since the first of this month, 0:00 UTC. Fits into 32 bits: 31 days are 2 678 400 000.
fn since_month_began(now_ms: u64) -> u32 {
    // Days of an era of 400 years that begins on the 1st of March: a month's first day follows from a line through 153 / 5 days.
    let day_of_era = (now_ms / DAY_MS + 719_468) % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    u32::try_from(day_of_month * DAY_MS + now_ms % DAY_MS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_id_tells_who_and_when() {
        let ids = UniqueIds::new(Ipv4Addr::new(127, 0, 0, 1), 0x1_2345, 0xabcd);
        // 2026-11-28T00:00:01Z: 27 days and a second since the month began.
        assert_eq!(ids.at(1_795_824_001_000), "7F00000123450000ABCD8B0BB7E80000");
        assert_eq!(0x8B0B_B7E8_u64, 27 * DAY_MS + 1_000);
        assert_eq!(ids.next().len(), 32);
    }

    #[test]
    fn a_month_begins_at_its_first_day() {
        for (what, now_ms) in [
            ("1970-01-01", 0),
            ("1972-02-29", 789 * DAY_MS),
            ("2000-02-29", 11_016 * DAY_MS),
            ("2000-03-01", 11_017 * DAY_MS),
            ("2024-12-31", 20_088 * DAY_MS),
        ] {
            let day: u64 = what[8..].parse().unwrap();
            assert_eq!(u64::from(since_month_began(now_ms)), (day - 1) * DAY_MS, "{what}");
        }
    }

    #[test]
    fn ids_of_one_maker_differ() {
        let ids = UniqueIds::new(Ipv4Addr::LOCALHOST, 1, 1);
        assert_eq!((0..1_000).map(|_| ids.next()).collect::<BTreeSet<_>>().len(), 1_000);
    }
}

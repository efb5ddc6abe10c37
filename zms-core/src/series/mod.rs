//! Figures over time: which measurements there are, with their tags, fields and units, and what a point of one looks like.
//!
//! The time of a point is that of the tick it was made in, so writing it twice makes one point. A figure that could not be had is an
//! absent field, never 0. Tags make series: what has many values (addresses, client ids, texts) is a field, but for the client id in
//! the measurements that are kept for three days.

mod point;
mod table;

pub use point::{Number, Point};
pub use table::*;

/// For how long points are kept; each is a retention of the environment's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retention {
    /// As they came, 7 days.
    Raw,
    /// Of single clients and partitions, 3 days.
    Detail,
    /// One point each 5 minutes, 90 days.
    M5,
    /// One point an hour, 2 years.
    H1,
}

impl Retention {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Detail, Self::M5, Self::H1];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Detail => "detail",
            Self::M5 => "m5",
            Self::H1 => "h1",
        }
    }

    /// How long a point is kept, hours.
    pub const fn hours(self) -> u32 {
        match self {
            Self::Raw => 7 * 24,
            Self::Detail => 3 * 24,
            Self::M5 => 90 * 24,
            Self::H1 => 2 * 365 * 24,
        }
    }

    /// What one file of the database covers, hours: what is too old goes file by file.
    pub const fn shard_hours(self) -> u32 {
        match self {
            Self::Raw | Self::Detail => 24,
            Self::M5 => 7 * 24,
            Self::H1 => 30 * 24,
        }
    }

    /// Time between two points of a roll-up, milliseconds; `None` where points are as they came.
    pub const fn step_ms(self) -> Option<i64> {
        match self {
            Self::Raw | Self::Detail => None,
            Self::M5 => Some(5 * 60_000),
            Self::H1 => Some(3_600_000),
        }
    }
}

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How many there are now.
    Count,
    /// How many there were since something started; only its growth says something.
    Total,
    /// Messages or events a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Between 0 and 100.
    Percent,
    /// Between 0 and 1.
    Share,
    /// A position in a log.
    Offset,
    /// One of a few whole numbers, each with a meaning of its own.
    State,
}

/// A field of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
}

/// A measurement: a kind of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// What makes a series of it, in this order. A tag without a value is left out.
    pub tags: &'static [&'static str],
    /// What a point may hold.
    pub fields: &'static [Field],
    /// For how long its points are kept.
    pub retention: Retention,
    /// Time between two points of one series, seconds.
    pub every_s: u32,
}

impl Measurement {
    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_need_no_escaping() {
        let plain =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let mut seen = BTreeSet::new();
        for found in MEASUREMENTS {
            assert!(seen.insert(found.name) && plain(found.name), "{}", found.name);
            let names: Vec<&str> = found.tags.iter().copied().chain(found.fields.iter().map(|field| field.name)).collect();
            // Databases take `time` for themselves.
            assert!(names.iter().all(|name| plain(name) && *name != "time"), "{}", found.name);
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{}: a name twice", found.name);
            assert_eq!(measurement(found.name), Some(*found));
        }
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let point = Point::new(&TOPIC, &["main", "orders"], 1)
            .with("rate_in", None)
            .with("rate_in", Some(f64::NAN))
            .with("nobody", Some(1.0))
            .with_whole("end", Some(7_u64));
        assert_eq!(point.fields, [("end", Number::Whole(7))]);
    }
}

use std::fmt::Write;

use zms_core::series::{Number, Point};

/// What InfluxDB can hold as nanoseconds, in milliseconds.
const LATEST_MS: i64 = i64::MAX / 1_000_000 - 1;

/// Longest name of a series: InfluxDB counts it in 16 bits together with that of a field.
const LONGEST_KEY: usize = 65_000;

/// A batch of points as InfluxDB reads it, one a line, with times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    text: String,
    count: usize,
}

impl Lines {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a point. `false`: it has no field, or a time or a name that InfluxDB cannot hold, and is left out.
    pub fn push(&mut self, point: &Point) -> bool {
        let start = self.text.len();
        self.key(point);
        let written = self.text.len() - start <= LONGEST_KEY && self.fields(point) && self.time(point);
        if written {
            self.count += 1;
        } else {
            self.text.truncate(start);
        }
        written
    }

    /// How many points.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// How long it is as text.
    pub const fn bytes(&self) -> usize {
        self.text.len()
    }

    /// There is no point in it.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Two batches with the same points; the first has one more if their number is odd.
    pub fn halves(&self) -> (Self, Self) {
        let first = self.count.div_ceil(2);
        let end = self.text.match_indices('\n').nth(first.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
        let (head, tail) = self.text.split_at(end);
        (Self { text: head.to_owned(), count: first }, Self { text: tail.to_owned(), count: self.count - first })
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn key(&mut self, point: &Point) {
        self.text.push_str(point.measurement.name);
        for (name, value) in point.measurement.tags.iter().zip(&point.tags) {
            if !value.is_empty() {
                self.text.push(',');
                self.text.push_str(name);
                self.text.push('=');
                self.tag(value);
            }
        }
    }

    /// A line end would begin another point, and a backslash at the end takes the next separator away; nothing escapes either.
    fn tag(&mut self, value: &str) {
        let (value, last) = value.strip_suffix('\\').map_or((value, ""), |rest| (rest, "_"));
        for char in value.chars() {
            match char {
                ',' | '=' | ' ' => self.text.extend(['\\', char]),
                '\n' | '\r' => self.text.push('_'),
                _ => self.text.push(char),
            }
        }
        self.text.push_str(last);
    }

    fn fields(&mut self, point: &Point) -> bool {
        let mut separator = ' ';
        for (name, number) in &point.fields {
            let start = self.text.len();
            self.text.push(separator);
            let written = match number {
                Number::Whole(whole) => write!(self.text, "{name}={whole}i").is_ok(),
                Number::Broken(broken) => broken.is_finite() && write!(self.text, "{name}={broken}").is_ok(),
            };
            if written {
                separator = ',';
            } else {
                self.text.truncate(start);
            }
        }
        separator == ','
    }

    fn time(&mut self, point: &Point) -> bool {
        (-LATEST_MS..=LATEST_MS).contains(&point.at_ms) && writeln!(self.text, " {}", point.at_ms).is_ok()
    }
}

#[cfg(test)]
#[path = "line/tests.rs"]
mod tests;

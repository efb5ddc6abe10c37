//! Points of a longer window made of those that came: what is kept for months. Pure.
//!
//! Rates and amounts become their mean, times of calls the longest, positions and totals the last. A window that began before this
//! collector did is not made, as half of it is missing; a window is made when no point of it can come any more.

use std::collections::HashMap;

use zms_core::series::{Number, Point, Unit};

/// A point may be so late, milliseconds: frames that waited in an agent come later, and are in the finer points only.
const LATE_MS: i64 = 60_000;

/// Windows of one length.
#[derive(Debug)]
pub struct Rollup {
    step_ms: i64,
    born_ms: i64,
    open: HashMap<(&'static str, Vec<String>), Window>,
    /// When it was last looked for windows that are over.
    looked_ms: i64,
}

#[derive(Debug)]
struct Window {
    at_ms: i64,
    point: Point,
    sums: Vec<Sum>,
}

#[derive(Debug, Clone, Copy)]
struct Sum {
    field: &'static str,
    unit: Unit,
    whole: bool,
    count: f64,
    sum: f64,
    most: f64,
    last: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a figure on a chart needs no more than 52 bits")]
const fn float(number: Number) -> (f64, bool) {
    match number {
        Number::Whole(number) => (number as f64, true),
        Number::Broken(number) => (number, false),
    }
}

impl Rollup {
    /// Windows of `step_ms`, from now on.
    pub fn new(step_ms: i64, now_ms: i64) -> Self {
        Self { step_ms, born_ms: now_ms, open: HashMap::new(), looked_ms: now_ms }
    }

    /// Adds a point; the window before, if this one begins another.
    pub fn add(&mut self, point: &Point) -> Option<Point> {
        let at_ms = point.at_ms.div_euclid(self.step_ms) * self.step_ms;
        let key = (point.measurement.name, point.tags.clone());
        let born_ms = self.born_ms;
        let fresh = || Window { at_ms, point: Point { fields: Vec::new(), at_ms, ..point.clone() }, sums: Vec::new() };
        let window = self.open.entry(key).or_insert_with(fresh);
        if at_ms < window.at_ms {
            return None;
        }
        let over = (at_ms > window.at_ms).then(|| std::mem::replace(window, fresh()));
        window.add(point);
        over.and_then(|over| over.point(born_ms))
    }

    /// Windows that are over although nothing came after them.
    pub fn close(&mut self, now_ms: i64) -> Vec<Point> {
        // All series are looked at, so not at each tick.
        if now_ms - self.looked_ms < LATE_MS {
            return Vec::new();
        }
        self.looked_ms = now_ms;
        let (step_ms, born_ms) = (self.step_ms, self.born_ms);
        let over = self.open.extract_if(|_, window| window.at_ms + step_ms + LATE_MS <= now_ms);
        over.filter_map(|(_, window)| window.point(born_ms)).collect()
    }
}

impl Window {
    fn add(&mut self, point: &Point) {
        for (field, number) in &point.fields {
            let Some(unit) = point.measurement.field(field).map(|field| field.unit) else { continue };
            let (value, whole) = float(*number);
            match self.sums.iter_mut().find(|sum| sum.field == *field) {
                Some(sum) => {
                    (sum.count, sum.sum, sum.last) = (sum.count + 1.0, sum.sum + value, value);
                    sum.most = sum.most.max(value);
                }
                None => self.sums.push(Sum { field, unit, whole, count: 1.0, sum: value, most: value, last: value }),
            }
        }
    }

    fn point(self, born_ms: i64) -> Option<Point> {
        if self.at_ms < born_ms {
            return None;
        }
        let mut point = self.point;
        for sum in self.sums {
            let value = match sum.unit {
                Unit::Milliseconds => sum.most,
                Unit::Total | Unit::Offset | Unit::State | Unit::Seconds => sum.last,
                Unit::Count | Unit::PerSecond | Unit::Bytes | Unit::BytesPerSecond | Unit::Percent | Unit::Share => {
                    sum.sum / sum.count
                }
            };
            // The kind of a field stays what it is in the finer points.
            #[expect(clippy::cast_possible_truncation, reason = "means of whole numbers that fitted, rounded")]
            let number = if sum.whole { Number::Whole(value.round() as i64) } else { Number::Broken(value) };
            point.fields.push((sum.field, number));
        }
        Some(point)
    }
}

#[cfg(test)]
mod tests {
    use zms_core::series::{TOPIC, ZMS_PRODUCER_SUM};

    use super::*;

    const STEP: i64 = 300_000;

    fn topic(at_ms: i64, rate: f64, end: i64) -> Point {
        Point::new(&TOPIC, &["c", "t"], at_ms).with("rate_in", Some(rate)).with_whole("end", Some(end))
    }

    #[test]
    fn a_window_is_made_when_the_next_begins_each_field_by_its_unit() {
        let mut rollup = Rollup::new(STEP, 0);
        assert_eq!(rollup.add(&topic(STEP, 1.0, 10)), None);
        assert_eq!(rollup.add(&topic(STEP + 10_000, 3.0, 20)), None);
        let made = rollup.add(&topic(2 * STEP, 9.0, 30)).unwrap();
        assert_eq!(made.fields, [("rate_in", Number::Broken(2.0)), ("end", Number::Whole(20))]);
        assert_eq!((made.at_ms, made.tags), (STEP, vec!["c".to_owned(), "t".to_owned()]));
        let call = |at_ms, p99| Point::new(&ZMS_PRODUCER_SUM, &["c", "t", "a", "rust"], at_ms).with("p99_ms", Some(p99));
        rollup.add(&call(STEP, 7.0));
        rollup.add(&call(STEP + 1, 2.0));
        assert_eq!(rollup.add(&call(2 * STEP, 1.0)).unwrap().fields, [("p99_ms", Number::Broken(7.0))], "the longest");
    }

    #[test]
    fn half_a_window_is_not_made_and_a_late_point_changes_none() {
        let mut rollup = Rollup::new(STEP, STEP + 1);
        rollup.add(&topic(STEP + 10_000, 1.0, 1));
        assert_eq!(rollup.add(&topic(2 * STEP, 1.0, 1)), None, "it began before the collector");
        assert_eq!(rollup.add(&topic(STEP + 20_000, 100.0, 1)), None);
        assert_eq!(rollup.add(&topic(3 * STEP, 1.0, 1)).unwrap().fields[0], ("rate_in", Number::Broken(1.0)));
    }

    #[test]
    fn a_series_that_ended_is_closed_and_forgotten() {
        let mut rollup = Rollup::new(STEP, 0);
        rollup.add(&topic(STEP, 1.0, 1));
        assert!(rollup.close(2 * STEP + LATE_MS - 1).is_empty());
        assert_eq!(rollup.close(3 * STEP).len(), 1);
        assert!(rollup.close(9 * STEP).is_empty() && rollup.open.is_empty());
    }
}

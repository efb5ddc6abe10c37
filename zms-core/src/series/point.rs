use super::Measurement;

/// A value of a field. The kind of a field never changes: a database refuses a whole number where a broken one was first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// Any number.
    Broken(f64),
}

/// Figures of one thing at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Which kind of points it is one of.
    pub measurement: &'static Measurement,
    /// A value for each tag of the measurement, in its order; an empty one is left out when it is written.
    pub tags: Vec<String>,
    /// What is known.
    pub fields: Vec<(&'static str, Number)>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

impl Point {
    /// A point without fields. `tags`: a value for each of the measurement's, in its order.
    ///
    /// # Panics
    /// If there are more or fewer values than tags: a fault of the program that tests find.
    pub fn new(measurement: &'static Measurement, tags: &[&str], at_ms: i64) -> Self {
        assert_eq!(tags.len(), measurement.tags.len(), "{} has the tags {:?}", measurement.name, measurement.tags);
        Self { measurement, tags: tags.iter().map(|&tag| tag.to_owned()).collect(), fields: Vec::new(), at_ms }
    }

    /// With a number, if there is one. Fields that the measurement does not have are left out, as are numbers that are none.
    #[must_use]
    pub fn with(mut self, field: &str, value: Option<f64>) -> Self {
        if let (Some(field), Some(value)) = (self.measurement.field(field), value.filter(|value| value.is_finite())) {
            self.fields.push((field.name, Number::Broken(value)));
        }
        self
    }

    /// With a whole number, if there is one.
    #[must_use]
    pub fn with_whole(mut self, field: &str, value: Option<impl TryInto<i64>>) -> Self {
        if let (Some(field), Some(value)) = (self.measurement.field(field), value) {
            self.fields.push((field.name, Number::Whole(value.try_into().unwrap_or(i64::MAX))));
        }
        self
    }
}

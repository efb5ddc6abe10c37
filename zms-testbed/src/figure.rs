//! What a benchmark found. One JSON line each on stdout, from which `scripts/bench` makes its table.

/// A figure, and what it is held against.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Name of the benchmark.
    pub bench: &'static str,
    /// What was measured.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it is held against.
    pub against: Against,
}

/// What a figure is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Against {
    /// Nothing: it is only said.
    Nothing,
    /// A bound that it should not exceed.
    AtMost(f64),
    /// What another program did in the same run; `at_least`: the part of it that is good enough.
    Peer {
        /// How much the other one did.
        value: f64,
        /// From 0 to 1.
        at_least: f64,
    },
}

impl Figure {
    /// Prints it.
    pub fn print(&self) {
        println!("{}", self.line());
    }

    fn line(&self) -> serde_json::Value {
        let (ratio, holds, text) = match self.against {
            Against::Nothing => (None, None, String::new()),
            Against::AtMost(bound) => (Some(self.value / bound), Some(self.value <= bound), format!("at most {}", round(bound))),
            Against::Peer { value, at_least } => {
                let ratio = self.value / value;
                (Some(ratio), Some(ratio >= at_least), format!("at least {at_least} of {}", round(value)))
            }
        };
        serde_json::json!({
            "bench": self.bench,
            "what": self.what,
            "value": round(self.value),
            "unit": self.unit,
            "ratio": ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0),
            "against": text,
            "holds": holds,
        })
    }
}

/// Four digits are more than a benchmark knows.
fn round(value: f64) -> f64 {
    let places = if value.abs() >= 1000.0 { 1.0 } else { 100.0 };
    (value * places).round() / places
}

/// The smallest of the values that `percent` of them do not exceed; 0 of none.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!([0, 50, 95, 100].map(|percent| percentile(&values, percent)), [1.0, 10.0, 19.0, 20.0]);
        assert_eq!((percentile(&[3.0], 95), percentile(&[], 50)), (3.0, 0.0));
    }

    #[test]
    fn a_figure_says_whether_its_bound_holds() {
        let holds = |value, against| {
            let line = Figure { bench: "b", what: "w".to_owned(), value, unit: "ms", against }.line();
            (line["ratio"].as_f64(), line["holds"].as_bool())
        };
        assert_eq!(holds(50.0, Against::AtMost(100.0)), (Some(0.5), Some(true)));
        assert_eq!(holds(101.0, Against::AtMost(100.0)), (Some(1.01), Some(false)));
        assert_eq!(holds(94.0, Against::Peer { value: 100.0, at_least: 0.95 }), (Some(0.94), Some(false)));
        assert_eq!(holds(95.0, Against::Peer { value: 100.0, at_least: 0.95 }), (Some(0.95), Some(true)));
        assert_eq!(holds(1.0, Against::Nothing), (None, None));
    }
}

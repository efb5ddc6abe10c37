use zms_core::series::{Measurement, Point};
use zms_core::statistics::Histogram;
use zms_core::statistics::java::Times;

/// Windows added up. What nobody said is absent.
#[derive(Debug, Default)]
pub(super) struct Sum {
    clients: u32,
    rate: Option<f64>,
    failed: Option<f64>,
    bytes: Option<f64>,
    times: Histogram,
    /// Of those that say no histogram.
    at_most: Times,
}

impl Sum {
    /// One more client.
    pub(super) fn add(&mut self, rate: Option<f64>, failed: Option<f64>, bytes: Option<f64>) {
        self.clients += 1;
        for (sum, value) in [(&mut self.rate, rate), (&mut self.failed, failed), (&mut self.bytes, bytes)] {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or_default() + value);
            }
        }
    }

    /// How long calls of that client took.
    pub(super) fn took(&mut self, times: &Histogram) {
        self.times.merge(times);
    }

    /// The same, where only shares of them are known.
    pub(super) fn took_at_most(&mut self, times: Times) {
        self.at_most = self.at_most.at_most(times);
    }

    pub(super) fn point(&self, measurement: &'static Measurement, tags: &[&str], at_ms: i64) -> Point {
        let point = Point::new(measurement, tags, at_ms)
            .with("rate", self.rate)
            .with("failed", self.failed)
            .with("bytes_rate", self.bytes);
        with_times(point, times_of(&self.times).at_most(self.at_most)).with_whole("clients", Some(self.clients))
    }
}

/// Shares of a histogram of microseconds.
pub(super) fn times_of(times: &Histogram) -> Times {
    Times {
        p50_ms: quantile_ms(times, 0.5),
        p95_ms: quantile_ms(times, 0.95),
        p99_ms: quantile_ms(times, 0.99),
        max_ms: quantile_ms(times, 1.0),
    }
}

/// A point with these times.
pub(super) fn with_times(point: Point, times: Times) -> Point {
    point.with("p50_ms", times.p50_ms).with("p95_ms", times.p95_ms).with("p99_ms", times.p99_ms).with("max_ms", times.max_ms)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a call are far below 2^52")]
pub(super) fn quantile_ms(times: &Histogram, share: f64) -> Option<f64> {
    times.quantile(share).map(|us| us as f64 / 1000.0)
}

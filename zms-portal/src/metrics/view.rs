//! Charts on a page.

use askama::Template;
use serde::Deserialize;

use super::api::RANGES;
use super::chart::Chart;
use crate::web::form::encode;
use crate::web::messages::Messages;

/// The range of a page's charts, from its address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RangeQuery {
    /// One of the ranges by name.
    pub range: String,
}

/// Some charts side by side with a choice of their range, which stands in the page's address. A page shows it as `{{ charts|safe }}`.
#[derive(Template)]
#[template(path = "metrics/charts.html")]
pub struct ChartView {
    m: Messages,
    /// Path of the page, which keeps its other parameters out of the address.
    path: String,
    range: &'static str,
    charts: Vec<(&'static str, &'static str, String)>,
}

impl ChartView {
    /// Charts of a subject. `range`: as the address has it; what is none of ours is an hour.
    pub fn new(m: Messages, (env, path): (&str, &str), range: &str, charts: &[Chart], subject: &[(&str, &str)]) -> Self {
        let range = RANGES.iter().find(|(known, _)| *known == range).map_or(RANGES[1].0, |(known, _)| known);
        let subject: String = subject.iter().map(|(name, value)| format!("&{name}={}", encode(value))).collect();
        let chart = |chart: &Chart| {
            let url = format!("/api/v1/environments/{}/charts/{}?range={range}{subject}", encode(env), chart.name());
            (chart.name(), chart.title(m), url)
        };
        Self { m, path: path.to_owned(), range, charts: charts.iter().map(chart).collect() }
    }

    fn ranges(&self) -> impl Iterator<Item = &'static str> {
        RANGES.iter().map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_an_address_and_every_subject_is_one_that_charts_know() {
        let view = ChartView::new(
            Messages::ENGLISH,
            ("dev", "/e/dev/topics/x/overview"),
            "9y",
            &[Chart::TopicRate],
            &[("cluster", "a&b=c"), ("topic", "x")],
        );
        assert_eq!(view.charts[0].2, "/api/v1/environments/dev/charts/topic-rate?range=1h&cluster=a%26b%3Dc&topic=x");
    }
}

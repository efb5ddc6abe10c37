//! A chart with its numbers: asked of the metric store, put on one axis of time, and with a reason for every gap.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use serde::Serialize;
use utoipa::ToSchema;
use zms_drivers::influx::{MetricError, Series};

use super::TICK_S;
use super::chart::{Chart, Part, SERIES, Subject, UnitName, Windows};
use crate::app::App;
use crate::environments::Environment;
use crate::error::{Error, Result, Text};
use crate::web::messages::Messages;

/// A figure is here so long after the end of its window at the latest, milliseconds; before that its absence means nothing.
const LATE_MS: i64 = TICK_S as i64 * 1_500;

/// A chart with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Drawn {
    /// For people.
    pub title: String,
    /// Of all values.
    pub unit: UnitName,
    /// Length of a window, milliseconds. Its value stands at its start.
    pub step_ms: i64,
    /// Starts of the windows, milliseconds since 1970.
    pub t: Vec<i64>,
    /// At most 20.
    pub series: Vec<DrawnSeries>,
    /// Where no series has a value between others that have one.
    pub gaps: Vec<Gap>,
    /// Why there is nothing at all, or nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DrawnSeries {
    /// For people.
    pub name: String,
    /// One for each window; null: it is not known, which is not 0.
    pub values: Vec<Option<f64>>,
}

/// Windows without values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Gap {
    /// Start of the first.
    pub from_ms: i64,
    /// End of the last.
    pub to_ms: i64,
    /// Why, as far as it is known.
    pub why: String,
}

/// Asks for everything that the chart shows.
pub(super) async fn draw(
    app: &App,
    environment: &Environment,
    (chart, subject): (Chart, &Subject),
    windows: Windows,
    (now_ms, m): (i64, Messages),
) -> Result<Drawn> {
    let store = app.metrics.stores.reader(app, &environment.id).await?;
    let parts = chart.parts();
    let asked = parts.iter().map(|part| {
        let (store, question) = (store.clone(), part.question(subject, windows));
        async move { store.ask(&question).await }
    });
    let found = match try_join_all(asked).await {
        Ok(found) => found,
        Err(error) => {
            if matches!(error, MetricError::Denied { .. } | MetricError::Missing { .. }) {
                app.metrics.stores.doubt(&environment.id).await;
            }
            let why = error.to_string();
            return Err(Error::Unavailable(Text::new(move |m| m.metrics_store_away(&why))));
        }
    };
    let (t, series) = lay_out(&parts, found, windows, now_ms, m);
    let silences = app.metrics.snapshots.silences(&environment.id, now_ms);
    let problem = app.metrics.snapshots.last(&environment.id).and_then(|told| told.snapshot.sink.problem.clone());
    let why = |from_ms, to_ms| {
        let silent = silences.iter().any(|(from, to)| *from < to_ms && from_ms < *to);
        match &problem {
            _ if silent => m.metrics_gap_silent().to_owned(),
            Some(problem) => m.metrics_gap_not_written(problem),
            None => m.metrics_gap_unknown().to_owned(),
        }
    };
    let gaps: Vec<Gap> = gaps(&t, &series, windows.step_ms)
        .into_iter()
        .map(|(from_ms, to_ms)| Gap { from_ms, to_ms, why: why(from_ms, to_ms) })
        .collect();
    let empty = series.iter().all(|series| series.values.iter().all(Option::is_none));
    let ends_now = gaps.last().is_some_and(|gap| t.last().is_some_and(|last| gap.to_ms == last + windows.step_ms));
    let note = if empty || ends_now { Some(note(app, environment, empty, (now_ms, m)).await?) } else { None };
    Ok(Drawn { title: chart.title(m).to_owned(), unit: chart.unit().into(), step_ms: windows.step_ms, t, series, gaps, note })
}

/// One axis for all: every window whose figures could be here, and later ones that are here already.
fn lay_out(parts: &[Part], found: Vec<Vec<Series>>, windows: Windows, now_ms: i64, m: Messages) -> (Vec<i64>, Vec<DrawnSeries>) {
    let seen: BTreeSet<i64> = found.iter().flatten().flat_map(|series| &series.points).map(|(at, _)| *at).collect();
    let newest = seen.last().copied().unwrap_or(i64::MIN);
    let due = |at: i64| at + windows.step_ms + LATE_MS <= now_ms;
    let t: Vec<i64> = windows.starts().take_while(|at| due(*at) || *at <= newest).collect();
    let mut series = Vec::new();
    for (part, found) in parts.iter().zip(found) {
        for one in found {
            let name = match part.by.map(|tag| one.tags.get(tag).map_or("", String::as_str)) {
                None => (part.name)(m).to_owned(),
                // Several parts by one tag: both are said.
                Some(value) if parts.len() > 1 => m.metrics_of((part.name)(m), value),
                Some(value) => value.to_owned(),
            };
            let values: BTreeMap<i64, f64> =
                one.points.into_iter().filter_map(|(at, values)| Some((at, values.first().copied().flatten()?))).collect();
            series.push(DrawnSeries { name, values: t.iter().map(|at| values.get(at).copied()).collect() });
        }
    }
    series.truncate(SERIES);
    (t, series)
}

/// Where no series has a value, after the first one that any has: from when to when.
fn gaps(t: &[i64], series: &[DrawnSeries], step_ms: i64) -> Vec<(i64, i64)> {
    let has = |n: usize| series.iter().any(|series| series.values.get(n).is_some_and(Option::is_some));
    let mut gaps: Vec<(i64, i64)> = Vec::new();
    let Some(first) = (0..t.len()).find(|n| has(*n)) else { return gaps };
    for (n, at) in t.iter().enumerate().skip(first) {
        if has(n) {
            continue;
        }
        match gaps.last_mut() {
            Some(last) if last.1 == *at => last.1 = at + step_ms,
            Some(_) | None => gaps.push((*at, at + step_ms)),
        }
    }
    gaps
}

/// Why there are no figures now; `empty`: nor were there any before.
async fn note(app: &App, environment: &Environment, empty: bool, (now_ms, m): (i64, Messages)) -> Result<String> {
    Ok(match app.metrics.snapshots.last(&environment.id) {
        Some(told) if told.is_silent(now_ms) => m.metrics_silent_since((now_ms - told.at_ms) / 1000),
        Some(told) => match &told.snapshot.sink.problem {
            Some(problem) => m.metrics_gap_not_written(problem),
            None if empty => m.metrics_nothing_yet().to_owned(),
            None => m.metrics_gap_unknown().to_owned(),
        },
        None if crate::services::has_kind(&app.db, &environment.id, "collector").await? => m.metrics_not_heard().to_owned(),
        None => m.metrics_no_collector().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 10_000;

    fn series(points: &[(i64, f64)]) -> Series {
        Series { tags: BTreeMap::new(), points: points.iter().map(|(at, value)| (*at, vec![Some(*value)])).collect() }
    }

    fn laid_out(points: &[(i64, f64)], now_ms: i64) -> (Vec<i64>, Vec<Option<f64>>) {
        let parts = Chart::HostMemory.parts();
        let windows = Windows { from_ms: 0, to_ms: 100_000, step_ms: STEP, retention: zms_core::series::Retention::Raw };
        let (t, series) = lay_out(&parts, vec![vec![series(points)]], windows, now_ms, Messages::ENGLISH);
        (t, series[0].values.clone())
    }

    #[test]
    fn a_window_counts_as_empty_only_when_its_figure_could_be_here() {
        let (t, values) = laid_out(&[(0, 1.0), (20_000, 3.0)], 46_000);
        assert_eq!((t, values), (vec![0, 10_000, 20_000], vec![Some(1.0), None, Some(3.0)]));
        let (t, values) = laid_out(&[(0, 1.0)], 46_000);
        assert_eq!((t, values), (vec![0, 10_000, 20_000], vec![Some(1.0), None, None]));
        let (t, _) = laid_out(&[(0, 1.0), (30_000, 2.0)], 31_000);
        assert_eq!(t, [0, 10_000, 20_000, 30_000], "what is here already is shown");
    }

    #[test]
    fn gaps_begin_after_the_first_value_and_hold_windows_that_no_series_has() {
        let drawn = |values: &[Option<f64>]| DrawnSeries { name: String::new(), values: values.to_vec() };
        let t = [0, 10_000, 20_000, 30_000, 40_000, 50_000];
        let one = drawn(&[None, Some(1.0), None, None, Some(1.0), None]);
        assert_eq!(gaps(&t, std::slice::from_ref(&one), STEP), [(20_000, 40_000), (50_000, 60_000)]);
        let other = drawn(&[None, None, Some(0.0), None, None, None]);
        assert_eq!(gaps(&t, &[one, other], STEP), [(30_000, 40_000), (50_000, 60_000)]);
        assert_eq!(gaps(&t, &[drawn(&[None; 6])], STEP), []);
    }
}

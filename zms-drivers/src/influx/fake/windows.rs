use std::collections::BTreeMap;

use zms_core::series::Number;

use super::state::Database;
use super::{Question, Series};
use crate::influx::Aggregate;

/// Windows by their start, and in each the points that fall into it.
type Windows<'a> = BTreeMap<i64, Vec<(i64, &'a BTreeMap<String, Number>)>>;

/// As `select … group by time(…), … fill(none)` does.
pub(super) fn answer(database: &Database, question: &Question) -> Vec<Series> {
    let mut groups: BTreeMap<BTreeMap<String, String>, Windows<'_>> = BTreeMap::new();
    for ((retention, measurement, tags), values) in &database.series {
        let value = |tag: &str| tags.get(tag).map_or("", String::as_str);
        let is_asked_for = retention == question.retention.name()
            && measurement == question.measurement.name
            && question.tags.iter().all(|(tag, wanted)| wanted.iter().any(|wanted| wanted == value(tag)));
        if is_asked_for {
            let by = question.by.iter().map(|tag| ((*tag).to_owned(), value(tag).to_owned())).collect();
            let windows = groups.entry(by).or_default();
            for (at_ms, fields) in values.range(question.from_ms..question.to_ms) {
                windows.entry(at_ms - at_ms.rem_euclid(question.step_ms)).or_default().push((*at_ms, fields));
            }
        }
    }
    let series = groups.into_iter().map(|(tags, windows)| Series { tags, points: points(&windows, question) });
    series.filter(|series| !series.points.is_empty()).take(question.limit_series).collect()
}

fn points(windows: &Windows<'_>, question: &Question) -> Vec<(i64, Vec<Option<f64>>)> {
    let columns = |points: &Vec<(i64, &BTreeMap<String, Number>)>| {
        let columns = question.columns.iter().map(|column| {
            let values = points.iter().filter_map(|(at, fields)| Some((*at, number(fields.get(column.field)?))));
            aggregate(column.aggregate, values.collect())
        });
        columns.collect::<Vec<_>>()
    };
    let points = windows.iter().map(|(start, points)| (*start, columns(points)));
    points.filter(|(_, columns)| columns.iter().any(Option::is_some)).collect()
}

fn number(number: &Number) -> f64 {
    match number {
        Number::Whole(whole) => *whole as f64,
        Number::Broken(broken) => *broken,
    }
}

fn aggregate(aggregate: Aggregate, values: Vec<(i64, f64)>) -> Option<f64> {
    let latest = values.iter().map(|(at, _)| *at).max()?;
    let numbers = values.iter().map(|(_, value)| *value);
    Some(match aggregate {
        Aggregate::Mean => numbers.sum::<f64>() / values.len() as f64,
        Aggregate::Max => numbers.fold(f64::NEG_INFINITY, f64::max),
        Aggregate::Min => numbers.fold(f64::INFINITY, f64::min),
        Aggregate::Last => {
            values.iter().filter(|(at, _)| *at == latest).map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max)
        }
        Aggregate::Sum => numbers.sum(),
    })
}

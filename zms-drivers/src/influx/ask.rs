use std::fmt::Write as _;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::answer::Row;
use super::http::Client;
use super::{Aggregate, MetricError, MetricStore, Question, Series, Store, answer};

/// A server counts series that have no point in the time asked for as well, so it is allowed more than we give.
const SERIES_HEADROOM: usize = 8;

pub(super) struct Asker {
    client: Client,
    database: String,
}

impl Asker {
    pub(super) fn new(store: &Store) -> Result<Self, MetricError> {
        let client = Client::new(&store.url, &store.user, &store.password, store.deadline)?;
        Ok(Self { client, database: store.database.clone() })
    }
}

#[async_trait]
impl MetricStore for Asker {
    async fn ask(&self, question: &Question) -> Result<Vec<Series>, MetricError> {
        question.check()?;
        if question.is_of_nothing() {
            return Ok(Vec::new());
        }
        let (statement, values) = statement(question);
        let values = Value::Object(values).to_string();
        let pairs = [("db", self.database.as_str()), ("epoch", "ms"), ("q", &statement), ("params", &values)];
        let reply = self.client.query(&pairs).await?;
        let what = format!("ask database {:?} for {}", self.database, question.measurement.name);
        let rows = answer::asked(&what, &reply).map_err(|error| self.client.hide(error))?;
        let all: Option<Vec<Series>> = rows.iter().map(|row| series(row, question)).collect();
        let mut all = all.ok_or_else(|| MetricError::Answer { why: format!("{what}: other columns than those asked for") })?;
        all.retain(|series| !series.points.is_empty());
        all.sort_by(|a, b| a.tags.cmp(&b.tags));
        all.truncate(question.limit_series);
        Ok(all)
    }
}

impl Aggregate {
    const fn function(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Max => "max",
            Self::Min => "min",
            Self::Last => "last",
            Self::Sum => "sum",
        }
    }
}

impl Question {
    /// Faults of the program that asks.
    pub(super) fn check(&self) -> Result<(), MetricError> {
        let (measurement, refused) = (self.measurement, |why: String| Err(MetricError::Refused { why }));
        if self.step_ms <= 0 {
            return refused(format!("{}: a window of {} ms", measurement.name, self.step_ms));
        }
        if self.columns.is_empty() {
            return refused(format!("{}: no column was asked for", measurement.name));
        }
        if let Some(column) = self.columns.iter().find(|column| measurement.field(column.field).is_none()) {
            return refused(format!("{} has no field {}", measurement.name, column.field));
        }
        let mut tags = self.tags.iter().map(|(tag, _)| tag).chain(&self.by);
        match tags.find(|tag| !measurement.tags.contains(tag)) {
            Some(tag) => refused(format!("{} has no tag {tag}", measurement.name)),
            None => Ok(()),
        }
    }

    /// Nothing can be in the answer: no time, no series, or a tag with none of no values.
    pub(super) fn is_of_nothing(&self) -> bool {
        self.from_ms >= self.to_ms || self.limit_series == 0 || self.tags.iter().any(|(_, values)| values.is_empty())
    }
}

/// The statement and what is bound in it. Only names of the tables in `zms_core::series` stand in its text.
fn statement(question: &Question) -> (String, Map<String, Value>) {
    let mut values = Map::new();
    let mut bind = |name: String, value: Value| {
        let bound = format!("${name}");
        values.insert(name, value);
        bound
    };
    let columns = question.columns.iter().enumerate();
    let columns: Vec<String> =
        columns.map(|(at, column)| format!("{}(\"{}\") as \"c{at}\"", column.aggregate.function(), column.field)).collect();
    let mut text = format!(
        "select {} from \"{}\".\"{}\" where time >= {} and time < {}",
        columns.join(", "),
        question.retention.name(),
        question.measurement.name,
        bind("from".to_owned(), nanoseconds(question.from_ms).into()),
        bind("to".to_owned(), nanoseconds(question.to_ms).into()),
    );
    for (at, (tag, wanted)) in question.tags.iter().enumerate() {
        let one_of = wanted.iter().enumerate();
        let one_of: Vec<String> =
            one_of.map(|(nth, value)| format!("\"{tag}\" = {}", bind(format!("t{at}_{nth}"), json!(value)))).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, " and ({})", one_of.join(" or "));
    }
    let step = bind("step".to_owned(), json!({ "duration": format!("{}ms", question.step_ms) }));
    let _ = write!(text, " group by time({step})");
    for tag in &question.by {
        let _ = write!(text, ", \"{tag}\"");
    }
    let _ = write!(text, " fill(none) slimit {}", question.limit_series.saturating_mul(SERIES_HEADROOM).min(1 << 20));
    (text, values)
}

/// Within what InfluxDB takes for a time.
fn nanoseconds(ms: i64) -> i64 {
    ms.saturating_mul(1_000_000).clamp(i64::MIN + 2, i64::MAX - 1)
}

/// `None`: other columns than those asked for.
fn series(row: &Row, question: &Question) -> Option<Series> {
    let point = |values: &Vec<Value>| {
        let (time, columns) = values.split_first()?;
        let columns = columns.iter().map(|value| if value.is_null() { Some(None) } else { value.as_f64().map(Some) });
        let columns: Vec<Option<f64>> = columns.collect::<Option<_>>()?;
        (columns.len() == question.columns.len()).then_some((time.as_i64()?, columns))
    };
    let mut points = row.values.iter().map(point).collect::<Option<Vec<_>>>()?;
    points.retain(|(_, columns)| columns.iter().any(Option::is_some));
    points.sort_by_key(|(time, _)| *time);
    Some(Series { tags: row.tags.clone(), points })
}

#[cfg(test)]
mod tests {
    use zms_core::series::{Retention, TOPIC};

    use super::*;
    use crate::influx::Column;

    fn question() -> Question {
        let column = |field, aggregate| Column { field, aggregate };
        Question {
            retention: Retention::Raw,
            measurement: &TOPIC,
            columns: vec![column("rate_in", Aggregate::Mean), column("end", Aggregate::Last)],
            tags: vec![("cluster", vec!["main".to_owned()]), ("topic", vec!["a' or 1=1 --".to_owned(), "b".to_owned()])],
            by: vec!["topic"],
            from_ms: 1_000,
            to_ms: 2_000,
            step_ms: 100,
            limit_series: 2,
        }
    }

    #[test]
    fn values_are_bound_and_never_part_of_the_statement() {
        let (text, values) = statement(&question());
        assert_eq!(
            text,
            "select mean(\"rate_in\") as \"c0\", last(\"end\") as \"c1\" from \"raw\".\"topic\" where time >= $from and time < \
             $to and (\"cluster\" = $t0_0) and (\"topic\" = $t1_0 or \"topic\" = $t1_1) group by time($step), \"topic\" fill(none) \
             slimit 16"
        );
        let expected = json!({"from": 1_000_000_000, "to": 2_000_000_000, "step": {"duration": "100ms"}, "t0_0": "main",
            "t1_0": "a' or 1=1 --", "t1_1": "b"});
        assert_eq!(Value::Object(values), expected);
    }

    #[test]
    fn a_question_that_makes_no_sense_is_refused_here() {
        let change = |change: fn(&mut Question)| {
            let mut question = question();
            change(&mut question);
            question.check()
        };
        let wrong: [fn(&mut Question); 5] = [
            |question| question.step_ms = 0,
            |question| question.columns.clear(),
            |question| question.columns[0].field = "nobody",
            |question| question.by = vec!["nobody"],
            |question| question.tags[0].0 = "nobody",
        ];
        for wrong in wrong {
            assert!(matches!(change(wrong), Err(MetricError::Refused { .. })), "{:?}", change(wrong));
        }
        assert_eq!(change(|_| {}), Ok(()));
    }

    #[test]
    fn other_columns_than_those_asked_for_are_no_answer() {
        let row = |values: Value| Row { values: serde_json::from_value(values).unwrap(), ..Row::default() };
        let read = |values: Value| series(&row(values), &question()).map(|series| series.points);
        assert_eq!(
            read(json!([[2, 1.5, null], [1, null, 7], [3, null, null]])).unwrap(),
            [(1, vec![None, Some(7.0)]), (2, vec![Some(1.5), None])]
        );
        for wrong in [json!([[1, 1.5]]), json!([["1970-01-01T00:00:00Z", 1, 1]]), json!([[1, "a", 1]]), json!([[]])] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }
}

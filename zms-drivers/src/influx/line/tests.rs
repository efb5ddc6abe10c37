use std::collections::BTreeMap;

use proptest::prelude::*;
use zms_core::series::{GROUP, Measurement, TOPIC};

use super::*;
use crate::influx::fake::parse;

fn point(topic: &str) -> Point {
    Point::new(&TOPIC, &["main", topic], 1_700_000_000_000)
}

fn lines(points: &[Point]) -> Lines {
    let mut lines = Lines::new();
    for point in points {
        assert!(lines.push(point), "{point:?}");
    }
    lines
}

#[test]
fn a_point_is_a_line() {
    let table = [
        (point("a").with("rate_in", Some(1.5)), "topic,cluster=main,topic=a rate_in=1.5 1700000000000\n"),
        (
            point("a").with("rate_in", Some(2.0)).with_whole("end", Some(-7)),
            "topic,cluster=main,topic=a rate_in=2,end=-7i 1700000000000\n",
        ),
        (point("").with("rate_in", Some(0.0)), "topic,cluster=main rate_in=0 1700000000000\n"),
        (point("a b,c=d").with("rate_in", Some(0.0)), "topic,cluster=main,topic=a\\ b\\,c\\=d rate_in=0 1700000000000\n"),
        (point("a\nb\rc").with("rate_in", Some(0.0)), "topic,cluster=main,topic=a_b_c rate_in=0 1700000000000\n"),
        (point("a\\b\\").with("rate_in", Some(0.0)), "topic,cluster=main,topic=a\\b_ rate_in=0 1700000000000\n"),
        (point("\\\\").with("rate_in", Some(0.0)), "topic,cluster=main,topic=\\_ rate_in=0 1700000000000\n"),
        (point("#主\"'").with("rate_in", Some(1e-7)), "topic,cluster=main,topic=#主\"' rate_in=0.0000001 1700000000000\n"),
        (point("a").with_whole("end", Some(u64::MAX)), "topic,cluster=main,topic=a end=9223372036854775807i 1700000000000\n"),
    ];
    for (point, expected) in table {
        assert_eq!(lines(&[point]).as_str(), expected);
    }
}

#[test]
fn what_cannot_be_written_is_left_out() {
    let mut broken = point("a").with("rate_in", Some(1.0));
    broken.fields[0].1 = Number::Broken(f64::NAN);
    let at = |at_ms| Point { at_ms, ..point("a").with("rate_in", Some(1.0)) };
    let long = point(&"a".repeat(70_000)).with("rate_in", Some(1.0));
    let mut batch = lines(&[point("b").with("rate_in", Some(1.0))]);
    let before = batch.clone();
    for none in [point("a"), broken.clone(), at(i64::MAX), at(i64::MIN), at(9_223_372_036_855), long] {
        assert!(!batch.push(&none), "{}", none.at_ms);
        assert_eq!(batch, before);
    }
    // The others of its fields are written.
    broken.fields.push(("end", Number::Whole(7)));
    assert_eq!(lines(&[broken]).as_str(), "topic,cluster=main,topic=a end=7i 1700000000000\n");
}

#[test]
fn halves_are_whole_lines() {
    for count in 0..6 {
        let points: Vec<Point> = (0..count).map(|end| point("a").with_whole("end", Some(end))).collect();
        let all = lines(&points);
        let (first, second) = all.halves();
        assert_eq!(format!("{}{}", first.as_str(), second.as_str()), all.as_str());
        for half in [&first, &second] {
            assert_eq!((half.len(), half.bytes()), (half.as_str().lines().count(), half.as_str().len()));
            assert_eq!(half.is_empty(), half.as_str().is_empty());
        }
        assert_eq!((first.len(), second.len()), (points.len().div_ceil(2), points.len() / 2));
    }
}

/// What may stand in a name at worst.
fn tag() -> impl Strategy<Value = String> {
    let nasty = prop::collection::vec(
        prop::sample::select(vec![',', '=', ' ', '"', '\\', '\'', '主', '#', '\t', '\n', '\r', 'a', '\0']),
        0..8,
    );
    prop_oneof![nasty.prop_map(|chars| chars.into_iter().collect()), any::<String>()]
}

fn number() -> impl Strategy<Value = Number> {
    let floats = any::<f64>().prop_filter("a number", |number| number.is_finite());
    prop_oneof![any::<i64>().prop_map(Number::Whole), floats.prop_map(Number::Broken)]
}

fn any_point() -> impl Strategy<Value = Point> {
    let kinds = prop::sample::select(vec![&TOPIC, &GROUP]);
    let time = -LATEST_MS..=LATEST_MS;
    (kinds, tag(), tag(), prop::collection::vec((0..6_usize, number()), 1..4), time).prop_map(
        |(kind, one, two, numbers, at_ms)| {
            let kind: &'static Measurement = kind;
            let mut point = Point::new(kind, &[&one, &two], at_ms);
            point.fields = numbers.into_iter().map(|(at, number)| (kind.fields[at].name, number)).collect();
            point
        },
    )
}

/// What a tag becomes: nothing but line ends and a backslash at the end is lost.
fn kept(tag: &str) -> String {
    let tag = tag.replace(['\n', '\r'], "_");
    tag.strip_suffix('\\').map_or(tag.clone(), |rest| format!("{rest}_"))
}

proptest! {
    #[test]
    fn what_is_written_is_read(points in prop::collection::vec(any_point(), 1..4)) {
        let batch = lines(&points);
        prop_assert_eq!(batch.as_str().split_terminator('\n').count(), points.len());
        for (line, point) in batch.as_str().split_terminator('\n').zip(&points) {
            let read = parse(line).map_err(|why| TestCaseError::fail(format!("{why}: {line:?}")))?;
            let tags = point.measurement.tags.iter().zip(&point.tags).filter(|(_, value)| !value.is_empty());
            let tags: BTreeMap<String, String> = tags.map(|(name, value)| ((*name).to_owned(), kept(value))).collect();
            prop_assert_eq!((read.measurement.as_str(), read.at_ms), (point.measurement.name, point.at_ms));
            prop_assert_eq!(read.tags, tags);
            let fields: BTreeMap<String, Number> = point.fields.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect();
            prop_assert_eq!(read.fields, fields);
        }
    }
}

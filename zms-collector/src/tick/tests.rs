use std::time::Duration;

use proptest::prelude::*;
use zms_core::series::Number;
use zms_drivers::broker::{Broker, ClusterView, Cost, GroupState, GroupSummary, Partition, Range, ScrapedGroup};

use super::*;

fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

fn cluster() -> ClusterName {
    ClusterName::new("main").unwrap()
}

/// A topic whose partitions end there; `None`: its leader said nothing.
fn topic(text: &str, ends: &[Option<i64>]) -> (Topic, Ends) {
    let partition = |id| Partition { id, leader: Some(1.into()), replicas: vec![1.into()], isr: vec![1.into()] };
    let ends: Ends = (0_i32..).zip(ends).map(|(id, end)| (id.into(), end.map(|end| Range { start: 0, end }))).collect();
    (Topic { name: name(text), internal: false, partitions: ends.keys().map(|id| partition(id.clone())).collect() }, ends)
}

fn group(text: &str, on: &str, offsets: &[(i32, i64)]) -> ScrapedGroup {
    let summary = GroupSummary { name: name(text), state: GroupState::Stable, protocol: "classic".to_owned() };
    let committed = if offsets.is_empty() {
        BTreeMap::new()
    } else {
        BTreeMap::from([(name(on), offsets.iter().map(|(id, offset)| ((*id).into(), *offset)).collect())])
    };
    ScrapedGroup { summary, members: Some(1), committed: Ok(committed) }
}

fn scrape(topics: Vec<(Topic, Ends)>, groups: Vec<ScrapedGroup>) -> Scrape {
    let broker = Broker { id: 1.into(), host: "b".to_owned(), port: 1, rack: None };
    let view = ClusterView { id: "c".to_owned(), controller: Some(1.into()), brokers: vec![broker] };
    let cost = Cost { took: Duration::from_millis(3), requests: 2, round_trips: 2, rare_requests: 1, bytes: 9 };
    Scrape { view, topics, groups, counters: Vec::new(), silent: Vec::new(), cost }
}

fn rate_in(ticks: &[&[Option<i64>]]) -> Option<f64> {
    let (mut before, mut rate) = (None, None);
    for (at, ends) in (1..).zip(ticks) {
        let topics = if ends.is_empty() { Vec::new() } else { vec![topic("orders", ends)] };
        rate = tick(&cluster(), BrokerKind::Kafka, at * 10_000, Ok(scrape(topics, Vec::new())), &mut before)
            .topics
            .first()
            .and_then(|topic| topic.rate_in);
    }
    rate
}

#[test]
fn a_rate_is_what_came_between_two_ticks_and_absent_where_that_is_not_known() {
    for (ticks, expected, why) in [
        (&[&[Some(5)][..]][..], None, "the first tick"),
        (&[&[Some(5)], &[Some(25)]], Some(2.0), "20 messages in 10 s"),
        (&[&[Some(5), Some(5)], &[Some(25), Some(15)]], Some(3.0), "over all partitions"),
        (&[&[Some(5)], &[None]], None, "the leader is silent"),
        (&[&[None], &[Some(5)]], None, "it was silent then: when they came is not known"),
        (&[&[Some(50)], &[Some(5)]], None, "made again"),
        (&[&[], &[Some(30)]], Some(3.0), "it was not there then"),
        (&[&[Some(5)], &[Some(5), Some(20)]], Some(2.0), "a partition more"),
        (&[&[Some(5)], &[Some(5)]], Some(0.0), "nothing came, which is known"),
    ] {
        assert_eq!(rate_in(ticks), expected, "{why}");
    }
}

#[test]
fn lag_is_end_minus_committed_and_what_is_not_committed_is_unknown() {
    for (offsets, lag, lag_max, unknown, lines) in [
        (&[(0, 4), (1, 9)][..], Some(7), Some(6), 1, 1),
        (&[], None, None, 0, 0),
        (&[(2, 1)], None, None, 2, 1),
        (&[(0, 12), (1, 10)], Some(-2), Some(0), 1, 1),
    ] {
        let said = scrape(vec![topic("orders", &[Some(10), Some(10), None])], vec![group("billing", "orders", offsets)]);
        let outcome = tick(&cluster(), BrokerKind::Kafka, 1, Ok(said), &mut None);
        assert_eq!(outcome.groups.len(), lines, "{offsets:?}");
        assert_eq!(outcome.cluster.quiet.len(), 1 - lines, "{offsets:?}: a group without a line is named all the same");
        if let Some(line) = outcome.groups.first() {
            assert_eq!((line.lag, line.lag_max, line.unknown), (lag, lag_max, unknown), "{offsets:?}");
        }
        let whole = outcome.points.iter().find(|point| point.measurement.name == "consumer_group").unwrap();
        let field = |name| whole.fields.iter().find(|(field, _)| *field == name).map(|(_, number)| *number);
        assert_eq!(field("lag"), lag.map(Number::Whole), "{offsets:?}: what is not known is no field");
    }
}

#[test]
fn a_group_that_goes_back_has_no_rate_for_that_tick() {
    let mut before = None;
    let rates: Vec<Option<f64>> = [10, 40, 20, 30]
        .iter()
        .zip(1..)
        .map(|(offset, at)| {
            let said = scrape(vec![topic("orders", &[Some(50)])], vec![group("billing", "orders", &[(0, *offset)])]);
            tick(&cluster(), BrokerKind::Kafka, at * 10_000, Ok(said), &mut before).groups[0].rate_out
        })
        .collect();
    assert_eq!(rates, [None, Some(3.0), None, Some(1.0)]);
}

#[test]
fn a_cluster_that_is_away_has_no_figures_but_that_and_the_rate_after_it_covers_the_gap() {
    let mut before = None;
    let said = |end| scrape(vec![topic("orders", &[Some(end)])], Vec::new());
    tick(&cluster(), BrokerKind::Kafka, 10_000, Ok(said(0)), &mut before);
    let error = BrokerError::Unreachable { cluster: "main".to_owned(), why: "refused".to_owned() };
    let outcome = tick(&cluster(), BrokerKind::Kafka, 20_000, Err(error), &mut before);
    assert!(matches!(outcome.cluster.reach, Reach::Away(_)) && outcome.cluster.rate_in.is_none() && outcome.topics.is_empty());
    assert_eq!(outcome.points[0].fields, [("reach", Number::Whole(0))]);
    let outcome = tick(&cluster(), BrokerKind::Kafka, 30_000, Ok(said(40)), &mut before);
    assert_eq!(outcome.topics[0].rate_in, Some(2.0));
}

#[test]
fn a_silent_broker_is_named() {
    let mut said = scrape(vec![topic("orders", &[None])], Vec::new());
    said.silent.push((2.into(), "no answer within 10 s".to_owned()));
    let outcome = tick(&cluster(), BrokerKind::Kafka, 1, Ok(said), &mut None);
    assert_eq!(outcome.cluster.reach, Reach::Partly("broker 2: no answer within 10 s".to_owned()));
    assert_eq!((outcome.topics[0].end, outcome.topics[0].kept), (None, None));
}

proptest! {
    /// However ticks fall, no message is counted twice or not at all.
    #[test]
    fn rates_integrate_to_the_number_of_messages(steps in proptest::collection::vec((0_i64..5_000, 1_i64..60), 1..40)) {
        let (mut before, mut at, mut end, mut sum) = (None, 0, 0, 0.0);
        tick(&cluster(), BrokerKind::Kafka, at, Ok(scrape(vec![topic("orders", &[Some(0)])], Vec::new())), &mut before);
        for (new, seconds) in &steps {
            (at, end) = (at + seconds * 1000, end + new);
            let said = scrape(vec![topic("orders", &[Some(end)])], Vec::new());
            let rate = tick(&cluster(), BrokerKind::Kafka, at, Ok(said), &mut before).topics[0].rate_in.unwrap();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            { sum += rate * *seconds as f64; }
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        { prop_assert!((sum - end as f64).abs() < 1e-6 * (end as f64 + 1.0)); }
    }
}

#[test]
fn what_a_master_of_rocketmq_counts_becomes_rates_unless_it_began_anew() {
    let id: BrokerId = "broker-a:0".parse().unwrap();
    let mut before = None;
    for (at, stored, put_rate) in [(1, 100, None), (2, 300, Some(20.0)), (3, 5, None), (4, 25, Some(2.0))] {
        let counters = Counters { stored: Some(stored), log_disk: Some(0.5), sends_waiting: Some(7), ..Counters::default() };
        let said = Scrape { counters: vec![(id.clone(), counters)], ..scrape(Vec::new(), Vec::new()) };
        let outcome = tick(&cluster(), BrokerKind::RocketMq, at * 10_000, Ok(said), &mut before);
        assert_eq!(outcome.cluster.kind, BrokerKind::RocketMq);
        let point = outcome.points.iter().find(|point| point.measurement.name == "rocketmq_broker").unwrap();
        let figure = |name: &str| point.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value);
        assert_eq!(figure("put_rate"), put_rate.map(Number::Broken), "tick {at}");
        assert_eq!(figure("commit_log_disk"), Some(Number::Broken(0.5)));
        assert_eq!((figure("send_queue"), figure("get_rate")), (Some(Number::Whole(7)), None), "what it does not tell is absent");
    }
}

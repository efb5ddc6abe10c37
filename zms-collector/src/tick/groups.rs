//! Lag and rates of groups.

use std::collections::BTreeMap;

use zms_core::collect::{GroupFigures, QuietGroup};
use zms_core::names::{ClusterName, PhysicalName};
use zms_core::series::{GROUP, GROUP_TOPIC, Point};
use zms_drivers::broker::{Ends, GroupState, PartitionId, Scrape, ScrapedGroup};

use super::{count, messages};

type Committed = BTreeMap<PhysicalName, BTreeMap<PartitionId, i64>>;

/// A line for each topic of each group, by group and topic.
pub(super) fn figures(
    cluster: &ClusterName,
    scrape: &Scrape,
    before: Option<&BTreeMap<PhysicalName, Committed>>,
    seconds: Option<f64>,
) -> Vec<GroupFigures> {
    let ends: BTreeMap<&PhysicalName, &Ends> = scrape.topics.iter().map(|(topic, ends)| (&topic.name, ends)).collect();
    let mut lines = Vec::new();
    for group in &scrape.groups {
        let Ok(committed) = &group.committed else { continue };
        let before = before.and_then(|before| before.get(&group.summary.name));
        for (topic, offsets) in committed {
            // A topic that is gone leaves its commits behind until they expire.
            let Some(ends) = ends.get(topic) else { continue };
            let earlier = before.and_then(|before| before.get(topic));
            let rate_out = earlier.and_then(|earlier| grown(earlier, offsets)).zip(seconds).map(|(new, seconds)| new / seconds);
            lines.push(line(cluster, group, topic, offsets, ends, rate_out));
        }
    }
    lines
}

/// Groups without a line. Both are sorted by name.
pub(super) fn quiet(scrape: &Scrape, lines: &[GroupFigures]) -> Vec<QuietGroup> {
    let is_quiet = |group: &&ScrapedGroup| lines.binary_search_by(|line| line.group.cmp(&group.summary.name)).is_err();
    let quiet = |group: &ScrapedGroup| QuietGroup {
        group: group.summary.name.clone(),
        state: group.summary.state.as_str().to_owned(),
        members: group.members,
        why: group.committed.as_ref().err().map(ToString::to_string),
    };
    scrape.groups.iter().filter(is_quiet).map(quiet).collect()
}

fn line(
    cluster: &ClusterName,
    group: &ScrapedGroup,
    topic: &PhysicalName,
    offsets: &BTreeMap<PartitionId, i64>,
    ends: &Ends,
    rate_out: Option<f64>,
) -> GroupFigures {
    let lag_of = |(id, committed): (&PartitionId, &i64)| Some(ends.get(id)?.as_ref()?.end - committed);
    let lags: Option<Vec<i64>> = offsets.iter().filter(|(id, _)| ends.contains_key(id)).map(lag_of).collect();
    let lags = lags.filter(|lags| !lags.is_empty());
    GroupFigures {
        cluster: cluster.clone(),
        group: group.summary.name.clone(),
        topic: topic.clone(),
        state: group.summary.state.as_str().to_owned(),
        members: group.members,
        protocol: group.summary.protocol.clone(),
        lag: lags.as_ref().map(|lags| lags.iter().sum()),
        lag_max: lags.and_then(|lags| lags.into_iter().max()),
        unknown: count(ends.keys().filter(|id| !offsets.contains_key(id)).count()),
        rate_out,
    }
}

/// Messages committed since the tick before, over partitions with a commit both times; `None` if a commit went back or there was none.
fn grown(before: &BTreeMap<PartitionId, i64>, now: &BTreeMap<PartitionId, i64>) -> Option<f64> {
    let both = now.iter().filter_map(|(id, offset)| Some(offset - before.get(id)?));
    let grown: Option<Vec<i64>> = both.map(|new| (new >= 0).then_some(new)).collect();
    grown.filter(|grown| !grown.is_empty()).map(|grown| messages(grown.into_iter().sum()))
}

const fn state_number(state: GroupState) -> i64 {
    match state {
        GroupState::Dead => 0,
        GroupState::Empty => 1,
        GroupState::Rebalancing => 2,
        GroupState::Stable => 3,
        GroupState::Unknown => 9,
    }
}

/// A point for each group, and one for each of its topics.
pub(super) fn points(cluster: &ClusterName, scrape: &Scrape, lines: &[GroupFigures], at_ms: i64) -> Vec<Point> {
    let mut points = Vec::new();
    for line in lines {
        points.push(
            Point::new(&GROUP_TOPIC, &[cluster.as_str(), line.group.as_str(), line.topic.as_str()], at_ms)
                .with_whole("lag", line.lag)
                .with_whole("lag_max", line.lag_max)
                .with_whole("unknown", Some(line.unknown))
                .with("rate_out", line.rate_out),
        );
    }
    for group in &scrape.groups {
        let name = &group.summary.name;
        let own = &lines[lines.partition_point(|line| line.group < *name)..lines.partition_point(|line| line.group <= *name)];
        // One topic whose lag is not known makes the sum unknown.
        let lag: Option<i64> = own.iter().map(|line| line.lag).sum();
        let rates: Vec<f64> = own.iter().filter_map(|line| line.rate_out).collect();
        points.push(
            Point::new(&GROUP, &[cluster.as_str(), name.as_str()], at_ms)
                .with_whole("lag", lag.filter(|_| !own.is_empty()))
                .with_whole("lag_max", own.iter().filter_map(|line| line.lag_max).max())
                .with_whole("unknown", Some(own.iter().map(|line| line.unknown).sum::<u32>()))
                .with_whole("members", group.members)
                .with_whole("topics", group.committed.is_ok().then_some(own.len()))
                .with("rate_out", (!rates.is_empty()).then(|| rates.iter().sum()))
                .with_whole("state", Some(state_number(group.summary.state))),
        );
    }
    points
}

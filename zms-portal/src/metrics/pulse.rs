//! An environment's messaging at a glance: what an operator looks at first, out of the last snapshot.

use std::collections::BTreeMap;

use zms_core::collect::{GroupFigures, Reach, Sink, Snapshot};

/// Groups that are shown as furthest behind.
const WORST: usize = 5;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulse {
    /// Messages a second into all clusters; `None` where one of them is not known.
    pub rate_in: Option<f64>,
    /// Clusters that the collector asks.
    pub clusters: usize,
    /// Those of which some or all brokers did not answer: name, whether none did, what was said.
    pub silent: Vec<(String, bool, String)>,
    /// Partitions with fewer in-sync replicas than replicas; of the clusters that answered.
    pub under_replicated: u32,
    /// Partitions without a leader; of the clusters that answered.
    pub offline: u32,
    /// Groups with lag on one topic, the furthest behind first.
    pub worst: Vec<Behind>,
    /// What the collector could not write or read since it started.
    pub sink: Sink,
}

/// A group that has not consumed everything of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Behind {
    /// Where.
    pub cluster: String,
    /// Who.
    pub group: String,
    /// On what.
    pub topic: String,
    /// Messages.
    pub lag: i64,
    /// Messages a second that it consumes.
    pub rate_out: Option<f64>,
    /// Where it leads to.
    pub trend: Trend,
}

/// Where a lag leads to, at the rates of the last tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trend {
    /// Consumed in so many seconds.
    Shrinks(f64),
    /// More comes than is consumed: so many messages a second.
    Grows(f64),
    /// As much comes as is consumed, within a hundredth.
    Stays,
    /// A rate is not known.
    Unknown,
}

impl Pulse {
    /// Of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let silent = snapshot.clusters.iter().filter_map(|cluster| match &cluster.reach {
            Reach::Whole => None,
            Reach::Partly(why) => Some((cluster.cluster.to_string(), false, why.clone())),
            Reach::Away(why) => Some((cluster.cluster.to_string(), true, why.clone())),
        });
        let rates: BTreeMap<(&str, &str), f64> = snapshot
            .topics
            .iter()
            .filter_map(|topic| Some(((topic.cluster.as_str(), topic.topic.as_str()), topic.rate_in?)))
            .collect();
        let mut behind: Vec<(i64, &GroupFigures)> =
            snapshot.groups.iter().filter_map(|group| Some((group.lag.filter(|lag| *lag > 0)?, group))).collect();
        behind.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.group.cmp(&other.group)));
        let worst = behind.into_iter().take(WORST).map(|(lag, group)| Behind {
            cluster: group.cluster.to_string(),
            group: group.group.to_string(),
            topic: group.topic.to_string(),
            lag,
            rate_out: group.rate_out,
            trend: Trend::of(lag, rates.get(&(group.cluster.as_str(), group.topic.as_str())).copied(), group.rate_out),
        });
        Self {
            rate_in: snapshot.clusters.iter().map(|cluster| cluster.rate_in).sum(),
            clusters: snapshot.clusters.len(),
            silent: silent.collect(),
            under_replicated: snapshot.clusters.iter().filter_map(|cluster| cluster.under_replicated).sum(),
            offline: snapshot.clusters.iter().filter_map(|cluster| cluster.offline).sum(),
            worst: worst.collect(),
            sink: snapshot.sink.clone(),
        }
    }

    /// Reports that were too many; a dash where the collector does not count them.
    pub fn over(&self) -> String {
        counted(self.sink.over)
    }

    /// Reports that were not sent; a dash where the collector does not count them.
    pub fn lost(&self) -> String {
        counted(self.sink.lost)
    }

    /// Clusters of which every broker answered.
    pub fn whole(&self) -> usize {
        self.clusters - self.silent.len()
    }
}

/// What is not known is not 0.
fn counted(count: Option<u64>) -> String {
    count.map_or_else(|| "–".to_owned(), |count| count.to_string())
}

impl Trend {
    #[expect(clippy::cast_precision_loss, reason = "a lag of 2^52 messages is not counted to the message")]
    fn of(lag: i64, rate_in: Option<f64>, rate_out: Option<f64>) -> Self {
        let Some((rate_in, rate_out)) = rate_in.zip(rate_out) else { return Self::Unknown };
        let gain = rate_out - rate_in;
        if gain.abs() <= rate_in.max(rate_out) / 100.0 {
            Self::Stays
        } else if gain > 0.0 {
            Self::Shrinks(lag as f64 / gain)
        } else {
            Self::Grows(-gain)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(clusters: &serde_json::Value, topics: &serde_json::Value, groups: &serde_json::Value) -> Snapshot {
        serde_json::from_value(json!({ "fence": 1, "at_ms": 1, "clusters": clusters, "topics": topics, "groups": groups }))
            .unwrap()
    }

    fn cluster(name: &str, reach: &serde_json::Value, rate_in: Option<f64>) -> serde_json::Value {
        json!({ "cluster": name, "kind": "kafka", "reach": reach, "attempt": { "took_ms": 1, "requests": 1, "bytes": 1 },
            "under_replicated": rate_in.map(|_| 2), "offline": rate_in.map(|_| 1), "rate_in": rate_in })
    }

    #[test]
    fn what_is_not_known_of_one_cluster_makes_no_sum_and_its_reason_is_kept() {
        let whole = cluster("a", &json!("whole"), Some(3.0));
        let pulse = Pulse::of(&snapshot(&json!([whole, cluster("b", &json!("whole"), Some(4.5))]), &json!([]), &json!([])));
        assert_eq!((pulse.rate_in, pulse.whole(), pulse.under_replicated, pulse.offline), (Some(7.5), 2, 4, 2));
        let away = cluster("b", &json!({ "away": "refused" }), None);
        let pulse = Pulse::of(&snapshot(&json!([whole, away]), &json!([]), &json!([])));
        assert_eq!((pulse.rate_in, pulse.whole(), pulse.under_replicated), (None, 1, 2));
        assert_eq!(pulse.silent, [("b".to_owned(), true, "refused".to_owned())]);
    }

    #[test]
    fn those_furthest_behind_come_first_and_those_without_lag_or_with_an_unknown_one_not_at_all() {
        let group = |name: &str, lag: Option<i64>| json!({ "cluster": "a", "group": name, "topic": "orders", "state": "stable", "lag": lag, "unknown": 0, "rate_out": 5.0 });
        let lags = [Some(7), None, Some(0), Some(-3), Some(90), Some(7), Some(8), Some(9)];
        let groups: Vec<_> = lags.iter().zip('a'..).map(|(lag, name)| group(&name.to_string(), *lag)).collect();
        let topics = json!([{ "cluster": "a", "topic": "orders", "partitions": 1, "replicas": 1, "under_replicated": 0, "offline": 0,
            "rate_in": 2.0 }]);
        let pulse = Pulse::of(&snapshot(&json!([]), &topics, &json!(groups)));
        let said: Vec<(&str, i64)> = pulse.worst.iter().map(|behind| (behind.group.as_str(), behind.lag)).collect();
        assert_eq!(said, [("e", 90), ("h", 9), ("g", 8), ("a", 7), ("f", 7)]);
        assert_eq!(pulse.worst[0].trend, Trend::Shrinks(30.0));
    }

    #[test]
    fn what_an_older_collector_does_not_count_is_a_dash_and_not_0() {
        let said = |sink: serde_json::Value| {
            let pulse = Pulse::of(&serde_json::from_value(json!({ "fence": 1, "at_ms": 1, "sink": sink })).unwrap());
            (pulse.over(), pulse.lost(), pulse.sink.dropped)
        };
        assert_eq!(said(json!({ "dropped": 4 })), ("–".to_owned(), "–".to_owned(), 4));
        assert_eq!(said(json!({ "over": 0, "lost": 7 })), ("0".to_owned(), "7".to_owned(), 0));
    }

    #[test]
    fn a_trend_needs_both_rates() {
        for (rate_in, rate_out, expected) in [
            (Some(2.0), Some(12.0), Trend::Shrinks(10.0)),
            (Some(12.0), Some(2.0), Trend::Grows(10.0)),
            (Some(100.0), Some(100.5), Trend::Stays),
            (Some(0.0), Some(0.0), Trend::Stays),
            (None, Some(2.0), Trend::Unknown),
            (Some(2.0), None, Trend::Unknown),
        ] {
            assert_eq!(Trend::of(100, rate_in, rate_out), expected, "{rate_in:?} {rate_out:?}");
        }
    }
}

//! Which charts there are: of which measurements, for which subject, in which unit. Pure.

use serde::{Deserialize, Serialize};
use zms_core::metadata::BrokerKind;
use zms_core::series::{
    CLUSTER, GROUP_TOPIC, HOST, KAFKA_BROKER, Measurement, ROCKETMQ_BROKER, Retention, TOPIC, Unit, ZMS_CONSUMER_SUM,
    ZMS_PRODUCER_SUM,
};
use zms_drivers::influx::{Aggregate, Column, Question};

use crate::web::messages::Messages;

/// Most series of a chart; the first by name are drawn.
pub(super) const SERIES: usize = 20;
/// Longest range, milliseconds: the coarsest points are kept for so long.
pub(super) const LONGEST_MS: i64 = kept_ms(Retention::H1);
/// Windows of a chart at most, about.
const WINDOWS: i64 = 360;
/// Lengths of a window, seconds. The shortest is a tick.
const STEPS_S: [i64; 12] = [10, 30, 60, 180, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 24 * 3600, 3 * 24 * 3600];

/// For how long points are kept, milliseconds.
const fn kept_ms(retention: Retention) -> i64 {
    retention.hours() as i64 * 3_600_000
}

/// A chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says what they show")]
pub enum Chart {
    TopicRate,
    TopicLag,
    TopicSends,
    TopicLatency,
    TopicHandling,
    GroupLag,
    GroupRate,
    ClusterRate,
    ClusterBytes,
    ClusterRequests,
    ClusterMessages,
    ClusterWaiting,
    ClusterDisk,
    HostCpu,
    HostMemory,
    HostDisk,
    HostNetwork,
}

/// What a chart is about: names from the address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Subject {
    pub cluster: String,
    pub topic: String,
    pub group: String,
    pub host: String,
}

/// Some series of a chart.
pub(super) struct Part {
    pub measurement: &'static Measurement,
    pub column: Column,
    /// A series for each value of this tag; its value is the name then, else the name is `name`.
    pub by: Option<&'static str>,
    pub name: fn(Messages) -> &'static str,
}

impl Chart {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::TopicRate,
        Self::TopicLag,
        Self::TopicSends,
        Self::TopicLatency,
        Self::TopicHandling,
        Self::GroupLag,
        Self::GroupRate,
        Self::ClusterRate,
        Self::ClusterBytes,
        Self::ClusterRequests,
        Self::ClusterMessages,
        Self::ClusterWaiting,
        Self::ClusterDisk,
        Self::HostCpu,
        Self::HostMemory,
        Self::HostDisk,
        Self::HostNetwork,
    ];

    /// In addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopicRate => "topic-rate",
            Self::TopicLag => "topic-lag",
            Self::TopicSends => "topic-sends",
            Self::TopicLatency => "topic-latency",
            Self::TopicHandling => "topic-handling",
            Self::GroupLag => "group-lag",
            Self::GroupRate => "group-rate",
            Self::ClusterRate => "cluster-rate",
            Self::ClusterBytes => "cluster-bytes",
            Self::ClusterRequests => "cluster-requests",
            Self::ClusterMessages => "cluster-messages",
            Self::ClusterWaiting => "cluster-waiting",
            Self::ClusterDisk => "cluster-disk",
            Self::HostCpu => "host-cpu",
            Self::HostMemory => "host-memory",
            Self::HostDisk => "host-disk",
            Self::HostNetwork => "host-network",
        }
    }

    /// For people.
    pub fn title(self, m: Messages) -> &'static str {
        match self {
            Self::TopicRate => m.metrics_topic_rate(),
            Self::TopicLag => m.metrics_topic_lag(),
            Self::TopicSends => m.metrics_topic_sends(),
            Self::TopicLatency => m.metrics_topic_latency(),
            Self::TopicHandling => m.metrics_topic_handling(),
            Self::GroupLag => m.metrics_group_lag(),
            Self::GroupRate => m.metrics_group_rate(),
            Self::ClusterRate => m.metrics_cluster_rate(),
            Self::ClusterBytes => m.metrics_cluster_bytes(),
            Self::ClusterRequests => m.metrics_cluster_requests(),
            Self::ClusterMessages => m.metrics_cluster_messages(),
            Self::ClusterWaiting => m.metrics_cluster_waiting(),
            Self::ClusterDisk => m.metrics_cluster_disk(),
            Self::HostCpu => m.metrics_host_cpu(),
            Self::HostMemory => m.metrics_host_memory(),
            Self::HostDisk => m.metrics_host_disk(),
            Self::HostNetwork => m.metrics_host_network(),
        }
    }

    /// Those of a cluster of this kind.
    pub const fn of_cluster(broker: BrokerKind) -> &'static [Self] {
        match broker {
            BrokerKind::Kafka => &[Self::ClusterRate, Self::ClusterBytes, Self::ClusterRequests],
            BrokerKind::RocketMq => &[Self::ClusterRate, Self::ClusterMessages, Self::ClusterWaiting, Self::ClusterDisk],
        }
    }

    /// The subjects that it needs; a chart without them would add up what does not belong together.
    pub const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::TopicRate | Self::TopicLag | Self::TopicSends | Self::TopicLatency | Self::TopicHandling => {
                &["cluster", "topic"]
            }
            Self::GroupLag | Self::GroupRate => &["cluster", "group"],
            Self::ClusterRate
            | Self::ClusterBytes
            | Self::ClusterRequests
            | Self::ClusterMessages
            | Self::ClusterWaiting
            | Self::ClusterDisk => &["cluster"],
            Self::HostCpu | Self::HostMemory | Self::HostDisk | Self::HostNetwork => &["host"],
        }
    }

    /// Its series.
    pub(super) fn parts(self) -> Vec<Part> {
        use Aggregate::{Max, Mean};
        let one = |measurement, field, aggregate, name| Part { measurement, column: Column { field, aggregate }, by: None, name };
        let by = |measurement, field, aggregate, tag, name| Part { by: Some(tag), ..one(measurement, field, aggregate, name) };
        match self {
            Self::TopicRate => vec![
                one(&TOPIC, "rate_in", Mean, |m| m.metrics_in()),
                by(&GROUP_TOPIC, "rate_out", Mean, "group", |m| m.metrics_out()),
            ],
            Self::TopicLag => vec![by(&GROUP_TOPIC, "lag", Max, "group", |m| m.metrics_lag())],
            Self::TopicSends => vec![by(&ZMS_PRODUCER_SUM, "rate", Mean, "application", |m| m.metrics_sends())],
            Self::TopicLatency => vec![by(&ZMS_PRODUCER_SUM, "p99_ms", Max, "application", |m| m.metrics_sends())],
            Self::TopicHandling => vec![by(&ZMS_CONSUMER_SUM, "p99_ms", Max, "application", |m| m.metrics_consumes())],
            Self::GroupLag => vec![by(&GROUP_TOPIC, "lag", Max, "topic", |m| m.metrics_lag())],
            Self::GroupRate => vec![by(&GROUP_TOPIC, "rate_out", Mean, "topic", |m| m.metrics_out())],
            Self::ClusterRate => {
                vec![one(&CLUSTER, "rate_in", Mean, |m| m.metrics_in()), one(&CLUSTER, "rate_out", Mean, |m| m.metrics_out())]
            }
            Self::ClusterBytes => vec![
                by(&KAFKA_BROKER, "bytes_in_rate", Mean, "broker", |m| m.metrics_in()),
                by(&KAFKA_BROKER, "bytes_out_rate", Mean, "broker", |m| m.metrics_out()),
            ],
            Self::ClusterRequests => vec![
                by(&KAFKA_BROKER, "produce_p99_ms", Max, "broker", |m| m.metrics_produce()),
                by(&KAFKA_BROKER, "fetch_p99_ms", Max, "broker", |m| m.metrics_fetch()),
            ],
            Self::ClusterMessages => vec![
                by(&ROCKETMQ_BROKER, "put_rate", Mean, "broker", |m| m.metrics_in()),
                by(&ROCKETMQ_BROKER, "get_rate", Mean, "broker", |m| m.metrics_out()),
            ],
            Self::ClusterWaiting => vec![
                by(&ROCKETMQ_BROKER, "send_queue", Max, "broker", |m| m.metrics_sends()),
                by(&ROCKETMQ_BROKER, "pull_queue", Max, "broker", |m| m.metrics_reads()),
            ],
            Self::ClusterDisk => vec![by(&ROCKETMQ_BROKER, "commit_log_disk", Max, "broker", |m| m.metrics_used())],
            Self::HostCpu => {
                vec![one(&HOST, "cpu", Mean, |m| m.metrics_busy()), one(&HOST, "cpu_wait", Mean, |m| m.metrics_waiting())]
            }
            Self::HostMemory => vec![one(&HOST, "memory", Max, |m| m.metrics_used())],
            Self::HostDisk => vec![one(&HOST, "disk", Max, |m| m.metrics_used())],
            Self::HostNetwork => {
                vec![one(&HOST, "net_in", Mean, |m| m.metrics_in()), one(&HOST, "net_out", Mean, |m| m.metrics_out())]
            }
        }
    }

    /// The unit of all its series.
    pub(super) fn unit(self) -> Unit {
        let parts = self.parts();
        let first = parts.first().and_then(|part| part.measurement.field(part.column.field));
        first.map_or(Unit::Count, |field| field.unit)
    }
}

impl Subject {
    /// The value of a name, if it was given.
    pub fn of(&self, name: &str) -> Option<&str> {
        let value = match name {
            "cluster" => &self.cluster,
            "topic" => &self.topic,
            "group" => &self.group,
            "host" => &self.host,
            _ => return None,
        };
        Some(value.as_str()).filter(|value| !value.is_empty())
    }
}

impl Part {
    /// What the metric store is asked for.
    pub fn question(&self, subject: &Subject, window: Windows) -> Question {
        // Only names that the measurement has tags for.
        let tags = self.measurement.tags.iter().filter_map(|tag| Some((*tag, vec![subject.of(tag)?.to_owned()])));
        Question {
            // Roll-ups are made of what is kept raw.
            retention: if self.measurement.retention == Retention::Raw { window.retention } else { self.measurement.retention },
            measurement: self.measurement,
            columns: vec![self.column],
            tags: tags.collect(),
            by: self.by.into_iter().collect(),
            from_ms: window.from_ms,
            to_ms: window.to_ms,
            step_ms: window.step_ms,
            limit_series: SERIES,
        }
    }
}

/// The windows of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    /// Start of the first.
    pub from_ms: i64,
    /// End of the last.
    pub to_ms: i64,
    /// Length of one.
    pub step_ms: i64,
    /// The finest points that reach so far back.
    pub retention: Retention,
}

impl Windows {
    /// Of a range that ends at `to_ms`, looked at `now_ms`.
    pub fn new(from_ms: i64, to_ms: i64, now_ms: i64) -> Self {
        let reaches = |retention: &Retention| now_ms - from_ms <= kept_ms(*retention);
        let retention = [Retention::Raw, Retention::M5].into_iter().find(reaches).unwrap_or(Retention::H1);
        let finest = retention.step_ms().unwrap_or(0) / 1000;
        let wanted = ((to_ms - from_ms) / 1000 / WINDOWS).max(finest);
        let step_s = STEPS_S.into_iter().find(|step| *step >= wanted).unwrap_or(STEPS_S[STEPS_S.len() - 1]);
        let step_ms = step_s * 1000;
        let down = |ms: i64| ms.div_euclid(step_ms) * step_ms;
        Self { from_ms: down(from_ms), to_ms: down(to_ms + step_ms - 1), step_ms, retention }
    }

    /// Their starts.
    pub fn starts(self) -> impl Iterator<Item = i64> {
        (0..).map(move |n| self.from_ms + n * self.step_ms).take_while(move |at| *at < self.to_ms)
    }
}

/// How a unit is called in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitName {
    Count,
    PerSecond,
    Bytes,
    BytesPerSecond,
    Milliseconds,
    Seconds,
    Percent,
    Share,
}

impl From<Unit> for UnitName {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Count | Unit::Total | Unit::Offset | Unit::State => Self::Count,
            Unit::PerSecond => Self::PerSecond,
            Unit::Bytes => Self::Bytes,
            Unit::BytesPerSecond => Self::BytesPerSecond,
            Unit::Milliseconds => Self::Milliseconds,
            Unit::Seconds => Self::Seconds,
            Unit::Percent => Self::Percent,
            Unit::Share => Self::Share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chart_asks_for_fields_and_tags_that_there_are_and_all_in_one_unit() {
        let subject = Subject { cluster: "c".into(), topic: "t".into(), group: "g".into(), host: "h".into() };
        for chart in Chart::ALL {
            assert!(!chart.parts().is_empty());
            for part in chart.parts() {
                let name = chart.name();
                let field = part.measurement.field(part.column.field).unwrap_or_else(|| panic!("{name}: {}", part.column.field));
                assert_eq!(UnitName::from(field.unit), chart.unit().into(), "{name}");
                assert!(part.by.is_none_or(|tag| part.measurement.tags.contains(&tag)), "{name}");
                let question = part.question(&subject, Windows::new(0, 60_000, 60_000));
                for need in chart.needs() {
                    assert!(question.tags.iter().any(|(tag, _)| tag == need), "{name} of all {need}s");
                }
            }
        }
    }

    #[test]
    fn windows_are_round_and_not_too_many() {
        let (now, day) = (1_000_007, 24 * 60);
        for (minutes, step_s, retention) in [
            (5, 10, Retention::Raw),
            (15, 10, Retention::Raw),
            (60, 10, Retention::Raw),
            (6 * 60, 60, Retention::Raw),
            (day, 300, Retention::Raw),
            (7 * day, 1800, Retention::Raw),
            (8 * day, 3600, Retention::M5),
            (90 * day, 6 * 3600, Retention::M5),
            (365 * day, 3 * day * 60, Retention::H1),
        ] {
            let windows = Windows::new(now - minutes * 60_000, now, now);
            assert_eq!((windows.step_ms, windows.retention), (step_s * 1000, retention), "{minutes} min");
            assert!(windows.starts().count() <= 365, "{minutes} min");
            assert!(windows.from_ms % windows.step_ms == 0 && windows.to_ms >= now);
        }
        // An hour of last month: there are no finer points than five minutes.
        let windows = Windows::new(now - 30 * day * 60_000, now - 30 * day * 60_000 + 3_600_000, now);
        assert_eq!((windows.step_ms, windows.retention), (300_000, Retention::M5));
    }
}

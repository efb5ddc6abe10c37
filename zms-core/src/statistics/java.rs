//! Reports of the first ZMS's Java clients: one JSON object a producer or consumer each 10 s, to a topic of its own for each of the two
//! kinds. They say neither cluster nor process nor version, and no application; members that are not known are ignored, those that
//! cannot be right count as absent.

use serde_json::Value;

use crate::names::{PhysicalName, RESERVED};

/// Where Java producers report to.
pub const PRODUCER_TOPIC: &str = "statistic_topic_producerinfo";
/// Where Java consumers report to.
pub const CONSUMER_TOPIC: &str = "statistic_topic_consumerinfo";
/// Longest report that is read, in bytes; theirs have less than a thousand.
pub const LONGEST: usize = 64 << 10;
/// Between two reports of one producer or consumer.
pub const EVERY_MS: i64 = 10_000;

/// Most list members that are looked at: a report has two of each.
const MOST: usize = 64;

/// Who reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It sends.
    Producer,
    /// It consumes.
    Consumer,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Producer, Self::Consumer];

    /// Where it reports to.
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Producer => PRODUCER_TOPIC,
            Self::Consumer => CONSUMER_TOPIC,
        }
    }

    /// Collectors read its reports with this group; not that of the first ZMS's collector, which may still run and needs every report too.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Producer => "zms_collector_producerinfo",
            Self::Consumer => "zms_collector_consumerinfo",
        }
    }

    /// Meter of what went well, meter of what failed, timer.
    const fn types(self) -> [&'static str; 3] {
        match self {
            Self::Producer => ["messageSuccessRate", "messageFailureRate", "sendCostRate"],
            Self::Consumer => ["consumeSuccessRate", "consumeFailureRate", "userCostTimeMs"],
        }
    }
}

/// One report.
#[derive(Debug, Clone, PartialEq)]
pub struct JavaReport {
    /// Who reports.
    pub side: Side,
    /// The topic of a producer, the group of a consumer.
    pub name: PhysicalName,
    /// Its address, as it says.
    pub ip: String,
    /// As the application calls this producer or consumer: `DEFAULT_PRODUCER` if it does not.
    pub instance: String,
    /// When it was made, milliseconds since 1970 by the client's clock.
    pub at_ms: Option<i64>,
    /// Messages that went well since the process started.
    pub done: Option<u64>,
    /// Messages that failed since the process started.
    pub failed: Option<u64>,
    /// Messages that arrived in this window; producers only.
    pub sent: Option<u64>,
    /// Messages that were tried in this window; producers only.
    pub tried: Option<u64>,
    /// How long calls took, of the last some thousand.
    pub times: Times,
}

/// How long calls took, milliseconds; what was not said is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// Half of them took no longer.
    pub p50_ms: Option<f64>,
    /// 95 of 100 took no longer.
    pub p95_ms: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

impl Times {
    /// Of two sets of calls together, at most: a share of all calls is never slower than that share of the slower set.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        let most = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        Self {
            p50_ms: most(self.p50_ms, other.p50_ms),
            p95_ms: most(self.p95_ms, other.p95_ms),
            p99_ms: most(self.p99_ms, other.p99_ms),
            max_ms: most(self.max_ms, other.max_ms),
        }
    }
}

impl JavaReport {
    /// Reads a message of the topic of `side`.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(side: Side, bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LONGEST {
            return Err(format!("{} bytes; a report of a Java client has at most {LONGEST}", bytes.len()));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("not a report of a Java client: {error}"))?;
        let client = &value["clientInfo"];
        let text = |key: &str, longest: usize| {
            let text = client[key].as_str().unwrap_or_default();
            let plain = text.chars().count() <= longest && !text.chars().any(char::is_control);
            if plain {
                Ok(text.to_owned())
            } else {
                Err(format!("`clientInfo.{key}` is no text of at most {longest} characters"))
            }
        };
        let name = client["clientName"].as_str().ok_or("`clientInfo.clientName` is missing: the topic or the group")?;
        let name = PhysicalName::new(name).map_err(|error| format!("`clientInfo.clientName`: {error}"))?;
        let [well, badly, timer] = side.types();
        let (meters, times) = (of_type(&value["meters"]), of_type(&value["timers"]));
        let spread = |name| of_type(&value["distributions"])(name).and_then(sum);
        let ms = |key: &str| times(timer)?[key].as_f64().filter(|ms| ms.is_finite() && *ms >= 0.0);
        Ok(Self {
            side,
            name,
            ip: text("ip", 64)?,
            instance: text("zmsName", 100)?,
            at_ms: value["timestamp"].as_i64().filter(|at| *at > 0),
            done: meters(well).and_then(|meter| meter["count"].as_u64()),
            failed: meters(badly).and_then(|meter| meter["count"].as_u64()),
            sent: spread("distribution"),
            tried: spread("msgBody"),
            times: Times { p50_ms: ms("median"), p95_ms: ms("percent95"), p99_ms: ms("percent99"), max_ms: ms("max") },
        })
    }

    /// Reports about the topics and groups of reports say nothing about applications.
    pub fn is_about_reports(&self) -> bool {
        RESERVED.contains(&self.name.as_str())
    }
}

/// The first member of a list whose `type` is this.
fn of_type<'a>(list: &'a Value) -> impl Fn(&str) -> Option<&'a Value> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    move |name| list.iter().take(MOST).find(|one| one["type"] == name)
}

/// All counts of a distribution.
fn sum(spread: &Value) -> Option<u64> {
    let counts = spread.as_object()?.iter().filter(|(key, _)| key.starts_with("lessThan") || key.starts_with("moreThan"));
    let mut counts = counts.take(MOST).filter_map(|(_, count)| count.as_u64()).peekable();
    counts.peek()?;
    Some(counts.fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn golden(side: Side, text: &str) -> JavaReport {
        JavaReport::parse(side, text.as_bytes()).unwrap()
    }

    #[test]
    fn what_java_producers_send_is_read() {
        let kafka = golden(Side::Producer, include_str!("../../tests/golden/java_statistics/producer-kafka.json"));
        let expected = JavaReport {
            side: Side::Producer,
            name: PhysicalName::new("ord_a").unwrap(),
            ip: "127.0.0.1".to_owned(),
            instance: "DEFAULT_PRODUCER".to_owned(),
            at_ms: Some(1_795_250_543_868),
            done: Some(1018),
            failed: Some(0),
            sent: Some(385),
            tried: Some(385),
            times: Times { p50_ms: Some(1.0), p95_ms: Some(2.0), p99_ms: Some(5.0), max_ms: Some(72.0) },
        };
        assert_eq!(kafka, expected);
        let rocketmq = golden(Side::Producer, include_str!("../../tests/golden/java_statistics/producer-rocketmq.json"));
        assert_eq!((rocketmq.name.as_str(), rocketmq.sent, rocketmq.done), ("rmq_a", Some(1005), Some(2024)));
    }

    #[test]
    fn what_java_consumers_send_is_read() {
        let kafka = golden(Side::Consumer, include_str!("../../tests/golden/java_statistics/consumer-kafka.json"));
        assert_eq!((kafka.name.as_str(), kafka.done, kafka.sent, kafka.times.max_ms), ("grp_a", Some(0), None, Some(22.0)));
        let rocketmq = golden(Side::Consumer, include_str!("../../tests/golden/java_statistics/consumer-rocketmq.json"));
        assert_eq!((rocketmq.done, rocketmq.failed, rocketmq.instance.as_str()), (Some(1983), Some(0), "DEFAULT_CONSUMER"));
    }

    #[test]
    fn what_is_missing_or_strange_is_absent_and_never_0() {
        let text = r#"{"clientInfo":{"clientName":"orders","new":[]},"timestamp":"soon","meters":{"type":"messageSuccessRate"},
            "timers":[7,{"type":"sendCostRate","max":-1,"median":null,"percent99":"3","percent95":4}],
            "distributions":[{"type":"distribution","lessThan1Ms":-5,"moreThan1000Ms":1.5},{"type":"other","lessThan1Ms":9}]}"#;
        let report = golden(Side::Producer, text);
        assert_eq!((report.at_ms, report.done, report.sent, report.tried), (None, None, None, None));
        assert_eq!(report.times, Times { p95_ms: Some(4.0), ..Times::default() });
        assert_eq!((report.ip.as_str(), report.instance.as_str()), ("", ""));
    }

    #[test]
    fn what_is_no_report_is_refused_with_a_sentence() {
        let deep = "[".repeat(2_000);
        let long = format!(r#"{{"clientInfo":{{"clientName":"{}"}}}}"#, "a".repeat(300));
        let address = format!(r#"{{"clientInfo":{{"clientName":"a","ip":"{}"}}}}"#, "1".repeat(65));
        for (text, says) in [
            ("", "not a report"),
            ("\u{1}", "not a report"),
            (deep.as_str(), "not a report"),
            ("{}", "clientName"),
            ("[]", "clientName"),
            (r#"{"clientInfo":{"clientName":7}}"#, "clientName"),
            (r#"{"clientInfo":{"clientName":"a/b"}}"#, "clientName"),
            (r#"{"clientInfo":{"clientName":"a","zmsName":"x\ny"}}"#, "zmsName"),
            (&long, "clientName"),
            (&address, "ip"),
        ] {
            let why = JavaReport::parse(Side::Producer, text.as_bytes()).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        assert!(JavaReport::parse(Side::Consumer, &vec![b' '; LONGEST + 1]).unwrap_err().contains("at most"));
    }

    #[test]
    fn statistics_of_statistics_are_known_by_their_name() {
        let of = |name: &str| golden(Side::Consumer, &format!(r#"{{"clientInfo":{{"clientName":"{name}"}}}}"#));
        assert!(of("statistic_topic_producerinfo_consumer").is_about_reports());
        assert!(!of("billing").is_about_reports());
    }

    #[test]
    fn times_together_are_the_slower_ones() {
        let one = Times { p50_ms: Some(1.0), p99_ms: Some(9.0), ..Times::default() };
        let both = one.at_most(Times { p50_ms: Some(3.0), p99_ms: Some(4.0), max_ms: Some(5.0), ..Times::default() });
        assert_eq!(both, Times { p50_ms: Some(3.0), p95_ms: None, p99_ms: Some(9.0), max_ms: Some(5.0) });
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = JavaReport::parse(Side::Consumer, &bytes);
        }

        #[test]
        fn counts_never_overflow(counts in proptest::collection::vec(any::<u64>(), 1..8)) {
            let members: Vec<String> = counts.iter().enumerate().map(|(n, count)| format!(r#""lessThan{n}Ms":{count}"#)).collect();
            let text = format!(r#"{{"clientInfo":{{"clientName":"a"}},"distributions":[{{"type":"msgBody",{}}}]}}"#, members.join(","));
            let sum = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
            prop_assert_eq!(golden(Side::Producer, &text).tried, Some(sum));
        }
    }
}

//! What applications say about their sending and consuming: one report a process each window, to topic [`TOPIC`], its key the client's
//! id ([`java`]: what clients of the first ZMS send instead). Reports are claims: they inform people, they never alone decide anything.

mod histogram;
pub mod java;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metadata::ClientId;

pub use histogram::Histogram;

/// Where reports go.
pub const TOPIC: &str = "zms_statistics";

/// Collectors read them with this group.
pub const GROUP: &str = "zms_collector";

/// Longest report that is read, in bytes.
pub const LONGEST: usize = 1 << 20;

/// One window of one process. Counts are of the window alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which process.
    pub client: ClientId,
    /// As the application calls itself.
    #[serde(default)]
    pub application: String,
    /// Where it runs.
    #[serde(default)]
    pub ip: String,
    /// Its process there.
    #[serde(default)]
    pub pid: u32,
    /// `rust`, `java`.
    #[serde(default)]
    pub language: String,
    /// Of the SDK.
    #[serde(default)]
    pub version: String,
    /// End of the window, milliseconds since 1970 by its clock.
    pub at_ms: i64,
    /// How long the window was.
    pub window_ms: u64,
    /// Reports that could not be sent since the last one that was.
    #[serde(default)]
    pub dropped: u64,
    /// One for each topic and cluster that was sent to.
    #[serde(default)]
    pub producers: Vec<Producing>,
    /// One for each group, topic and cluster that was consumed from.
    #[serde(default)]
    pub consumers: Vec<Consuming>,
}

/// What was sent to a topic on one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producing {
    /// The topic.
    pub topic: String,
    /// The cluster; empty when it was not known where to send.
    #[serde(default)]
    pub cluster: String,
    /// Messages that arrived.
    #[serde(default)]
    pub sent: u64,
    /// Messages that did not.
    #[serde(default)]
    pub failed: u64,
    /// Keys and values of those that arrived.
    #[serde(default)]
    pub bytes: u64,
    /// From the call to the cluster's answer, microseconds.
    #[serde(default)]
    pub latency_us: Histogram,
    /// Key and value of one message, bytes.
    #[serde(default)]
    pub size: Histogram,
    /// Why messages did not arrive: kind → how many.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
}

/// What a group consumed from a topic on one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consuming {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The cluster.
    #[serde(default)]
    pub cluster: String,
    /// Messages that came.
    #[serde(default)]
    pub received: u64,
    /// Messages that were handled.
    #[serde(default)]
    pub done: u64,
    /// Attempts that failed.
    #[serde(default)]
    pub failed: u64,
    /// Keys and values of those that came.
    #[serde(default)]
    pub bytes: u64,
    /// What a handler took for one message that it handled, microseconds.
    #[serde(default)]
    pub handle_us: Histogram,
}

impl Report {
    /// Reads a message of [`TOPIC`]. Fields of a newer SDK are ignored.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LONGEST {
            return Err(format!("{} bytes; a report has at most {LONGEST}", bytes.len()));
        }
        serde_json::from_slice(bytes).map_err(|error| format!("not a report: {error}"))
    }

    /// The message's value.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_a_newer_sdk_is_read() {
        let text = r#"{"client":"01JD8Z3V9Q4M5N6P7R8S9TAVWX","at_ms":1764050000000,"window_ms":10000,"new":{"a":1},
            "producers":[{"topic":"orders","sent":3,"latency_us":{"sum":30,"buckets":{"10":3}},"newer":true}]}"#;
        let report = Report::parse(text.as_bytes()).unwrap();
        assert_eq!((report.producers[0].sent, report.producers[0].latency_us.quantile(0.5)), (3, Some(10)));
        assert_eq!(Report::parse(&report.to_bytes()).unwrap(), report);
    }

    #[test]
    fn what_is_no_report_is_refused_with_a_sentence() {
        for bytes in [&b""[..], b"{}", b"\xff", b"[]", br#"{"client":"x","at_ms":1,"window_ms":1}"#] {
            assert!(Report::parse(bytes).unwrap_err().starts_with("not a report"));
        }
        assert!(Report::parse(&vec![b' '; LONGEST + 1]).unwrap_err().contains("at most"));
    }
}

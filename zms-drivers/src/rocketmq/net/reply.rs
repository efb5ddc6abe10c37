//! Answers, and what became of a request that has none.

use bytes::Bytes;
use serde_json::Value;

use super::Net;
use crate::broker::BrokerError;
use crate::rocketmq::json;
use crate::rocketmq::remoting::{self, RemotingError, classify};
use crate::rocketmq::version::Version;

/// An answer, whatever it says.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(super) answer: remoting::Answer,
    pub(super) address: String,
    /// Of the request.
    pub(super) code: i32,
}

impl Reply {
    pub fn code(&self) -> i32 {
        self.answer.code
    }

    pub fn remark(&self) -> &str {
        &self.answer.remark
    }

    pub fn body(&self) -> &Bytes {
        &self.answer.body
    }

    pub fn number(&self, field: &str) -> Option<i64> {
        self.answer.number(field)
    }

    /// Of the broker.
    pub fn version(&self) -> Option<Version> {
        Version::of_number(self.answer.version)
    }

    pub fn json(&self, net: &Net, what: &str) -> Result<Value, BrokerError> {
        json::loose(&self.answer.body).map_err(|error| net.garbled(what.to_owned(), error.to_string()))
    }

    /// What an answer that says no means.
    pub fn error(&self, net: &Net, what: &str) -> BrokerError {
        // Java says which class it was, and sometimes where; the first line is for people.
        let remark = self.answer.remark.lines().next().unwrap_or_default().chars().take(300).collect();
        let error = RemotingError::Answer { address: self.address.clone(), code: self.code, answer: self.answer.code, remark };
        match classify(net.cluster(), what, error) {
            BrokerError::Missing { what } => BrokerError::Missing { what: topic_in(what) },
            other => other,
        }
    }
}

/// `send to topic x` is what was asked; what is missing is the topic.
fn topic_in(what: String) -> String {
    match what.find("topic ") {
        Some(at) => what[at..].to_owned(),
        None => what,
    }
}

/// No answer.
#[derive(Debug)]
pub(crate) struct Lost {
    pub error: BrokerError,
    /// The request may have been carried out.
    pub doubt: bool,
}

impl Lost {
    pub(super) fn of(cluster: &str, what: &str, error: RemotingError) -> Self {
        let doubt = matches!(error, RemotingError::Lost { .. } | RemotingError::Silent { .. });
        Self { error: classify(cluster, what, error), doubt }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_was_not_sent_is_without_doubt() {
        let address = || "127.0.0.1:10911".to_owned();
        for (error, doubt) in [
            (RemotingError::Connect { address: address(), why: "refused".to_owned() }, false),
            (RemotingError::Lost { address: address(), code: 310, why: "closed".to_owned() }, true),
            (RemotingError::Silent { address: address(), code: 310, deadline: Duration::from_secs(3) }, true),
        ] {
            let lost = Lost::of("orders", "send to topic orders", error);
            assert_eq!((lost.doubt, lost.error.is_passing()), (doubt, true), "{}", lost.error);
        }
        assert_eq!(topic_in("send to topic orders".to_owned()), "topic orders");
    }
}

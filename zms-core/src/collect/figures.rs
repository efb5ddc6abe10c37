//! Which figures a host reads, and where it sends them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::InstanceId;

/// Part of a host's desired state: no change of it restarts anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FigureWish {
    /// Collectors of the environment, `https://host:port`; every one gets every frame.
    pub collectors: Vec<String>,
    /// Instances that answer Jolokia's protocol on 127.0.0.1.
    pub jolokia: BTreeMap<InstanceId, Jolokia>,
}

/// What is asked of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jolokia {
    /// TCP port on 127.0.0.1.
    pub port: u16,
    /// All asked in one request.
    pub reads: Vec<Read>,
}

/// One number of an MBean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// What it is called in a frame.
    pub name: String,
    /// Object name, without patterns.
    pub mbean: String,
    /// Attribute.
    pub attribute: String,
    /// Key within the attribute, for example `used` of `HeapMemoryUsage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Jolokia {
    /// The body of the one bulk request (`POST /jolokia/`, protocol 8).
    pub fn request(&self) -> serde_json::Value {
        let read = |read: &Read| {
            let mut one = serde_json::json!({ "type": "read", "mbean": read.mbean, "attribute": read.attribute });
            if let Some(key) = &read.key {
                one["path"] = serde_json::Value::from(key.as_str());
            }
            one
        };
        self.reads.iter().map(read).collect()
    }

    /// The numbers of its answer. An MBean that the server does not have is absent: not every role has every one.
    ///
    /// # Errors
    /// A sentence, when it is no answer to [`request`](Self::request).
    pub fn numbers(&self, answer: &[u8]) -> Result<BTreeMap<String, f64>, String> {
        #[derive(Deserialize)]
        struct One {
            status: u16,
            #[serde(default)]
            value: serde_json::Value,
        }
        let answers: Vec<One> =
            serde_json::from_slice(answer).map_err(|error| format!("its answer is no list of Jolokia's: {error}"))?;
        if answers.len() != self.reads.len() {
            return Err(format!("{} reads were asked for and {} answered", self.reads.len(), answers.len()));
        }
        let number = |(read, one): (&Read, One)| {
            let value = one.value.as_f64().filter(|value| one.status == 200 && value.is_finite())?;
            Some((read.name.clone(), value))
        };
        Ok(self.reads.iter().zip(answers).filter_map(number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jolokia() -> Jolokia {
        let read = |name: &str, attribute: &str, key: Option<&str>| Read {
            name: name.into(),
            mbean: format!("m:name={name}"),
            attribute: attribute.into(),
            key: key.map(Into::into),
        };
        Jolokia {
            port: 1,
            reads: vec![read("in", "Count", None), read("heap", "HeapMemoryUsage", Some("used")), read("gone", "Value", None)],
        }
    }

    #[test]
    fn one_request_asks_for_everything() {
        let request = jolokia().request();
        assert_eq!(request[0], serde_json::json!({ "type": "read", "mbean": "m:name=in", "attribute": "Count" }));
        assert_eq!(request[1]["path"], "used");
        assert_eq!(request.as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn what_a_server_does_not_have_is_absent_and_not_zero() {
        let answer = br#"[{"status":200,"value":7,"timestamp":1},{"status":200,"value":1.5},{"status":404,"error_type":"x","value":null}]"#;
        let numbers = jolokia().numbers(answer).unwrap();
        assert_eq!(numbers, BTreeMap::from([("heap".to_owned(), 1.5), ("in".to_owned(), 7.0)]));
    }

    #[test]
    fn half_an_answer_is_an_error() {
        for answer in [&b"[{\"status\":200"[..], b"{}", b"[]", b""] {
            assert!(jolokia().numbers(answer).is_err());
        }
    }
}

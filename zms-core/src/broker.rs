//! How brokers and partitions are called, whichever kind their cluster is.
//!
//! Kafka numbers both through a whole cluster. RocketMQ numbers the queues of each broker from 0, and a master with its slaves has one
//! name: counting its queues through would change their numbers when a broker comes, and with them the offsets of every group. So an
//! identity has the broker's name where the cluster has it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A partition of a topic. Text: `3` on Kafka, `broker-a/3` on RocketMQ (a queue).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// Name of the broker whose number it is; `None` where numbers go through the cluster.
    pub broker: Option<Arc<str>>,
    /// From 0.
    pub number: i32,
}

/// A broker of a cluster. Text: `1` on Kafka, `broker-a:0` on RocketMQ, where 0 is the master and others are its slaves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId {
    /// Name that a master has together with its slaves; `None` where brokers have numbers alone.
    pub name: Option<Arc<str>>,
    /// Kafka: node id. RocketMQ: broker id.
    pub number: i64,
}

/// A text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no {1}; write for example {2}")]
pub struct NoIdentity(String, &'static str, &'static str);

impl PartitionId {
    /// A queue of a RocketMQ broker.
    pub fn queue(broker: impl Into<Arc<str>>, number: i32) -> Self {
        Self { broker: Some(broker.into()), number }
    }

    /// Its number if numbers go through the whole cluster, as on Kafka.
    pub const fn plain(&self) -> Option<i32> {
        if self.broker.is_none() { Some(self.number) } else { None }
    }
}

impl BrokerId {
    /// A RocketMQ broker; 0 is the master.
    pub fn named(name: impl Into<Arc<str>>, number: i64) -> Self {
        Self { name: Some(name.into()), number }
    }

    /// Its number if brokers have numbers alone, as on Kafka.
    pub fn plain(&self) -> Option<i32> {
        if self.name.is_none() { i32::try_from(self.number).ok() } else { None }
    }
}

impl From<i32> for PartitionId {
    fn from(number: i32) -> Self {
        Self { broker: None, number }
    }
}

impl From<i32> for BrokerId {
    fn from(number: i32) -> Self {
        Self { name: None, number: number.into() }
    }
}

/// A number alone equals an identity without a name.
impl PartialEq<i32> for PartitionId {
    fn eq(&self, number: &i32) -> bool {
        self.plain() == Some(*number)
    }
}

/// A number alone equals an identity without a name.
impl PartialEq<i32> for BrokerId {
    fn eq(&self, number: &i32) -> bool {
        self.plain() == Some(*number)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.broker {
            Some(broker) => write!(f, "{broker}/{}", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}:{}", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

/// Name and number; the name may hold the sign between them, the number cannot.
fn parts<N: FromStr>(text: &str, between: char) -> Option<(Option<Arc<str>>, N)> {
    let (name, number) = match text.rsplit_once(between) {
        Some(("", _)) => return None,
        Some((name, number)) => (Some(name.into()), number),
        None => (None, text),
    };
    Some((name, number.parse().ok()?))
}

impl FromStr for PartitionId {
    type Err = NoIdentity;

    fn from_str(text: &str) -> Result<Self, NoIdentity> {
        let (broker, number) = parts(text, '/').ok_or_else(|| NoIdentity(text.to_owned(), "partition", "3 or broker-a/3"))?;
        Ok(Self { broker, number })
    }
}

impl FromStr for BrokerId {
    type Err = NoIdentity;

    fn from_str(text: &str) -> Result<Self, NoIdentity> {
        let (name, number) = parts(text, ':').ok_or_else(|| NoIdentity(text.to_owned(), "broker", "1 or broker-a:0"))?;
        Ok(Self { name, number })
    }
}

macro_rules! as_text {
    ($($identity:ty),*) => {$(
        impl Serialize for $identity {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $identity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(PartitionId, BrokerId);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn identities_are_the_text_they_show() {
        for (text, id) in [
            ("3", PartitionId::from(3)),
            ("broker-a/3", PartitionId::queue("broker-a", 3)),
            ("odd/name/0", PartitionId::queue("odd/name", 0)),
        ] {
            assert_eq!((text.parse(), id.to_string()), (Ok(id.clone()), text.to_owned()));
            let offsets = BTreeMap::from([(id, 7_i64)]);
            let json = serde_json::to_string(&offsets).unwrap();
            assert_eq!(json, format!("{{\"{text}\":7}}"));
            assert_eq!(serde_json::from_str::<BTreeMap<PartitionId, i64>>(&json).unwrap(), offsets);
        }
        for (text, id) in [("1", BrokerId::from(1)), ("broker-a:0", BrokerId::named("broker-a", 0))] {
            assert_eq!((text.parse(), id.to_string()), (Ok(id.clone()), text.to_owned()));
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        }
        for wrong in ["", "x", "/3", "a/", "a/b", "99999999999"] {
            assert!(wrong.parse::<PartitionId>().is_err(), "{wrong}");
        }
        assert_eq!(":0".parse::<BrokerId>().unwrap_err().to_string(), "\":0\" is no broker; write for example 1 or broker-a:0");
    }

    #[test]
    fn queues_are_in_order_by_broker_and_number() {
        let mut ids: Vec<PartitionId> = ["b/0", "a/10", "a/2"].into_iter().map(|text| text.parse().unwrap()).collect();
        ids.sort();
        assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a/2", "a/10", "b/0"]);
        let three: PartitionId = 3.into();
        assert!(three == 3 && PartitionId::queue("a", 3) != 3 && BrokerId::named("a", 1) != 1);
    }
}

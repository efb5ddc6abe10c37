//! Identifiers, checked once at the border and carried as types from then on.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not a name; the message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} \"{}\": {rule}", shown(.text))]
pub struct NameError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

/// Long or unprintable input is shortened and escaped before it reaches a log line or a page.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    if text.chars().count() > 64 {
        short.push('…');
    }
    short
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(String);

        impl $name {
            /// Checks `text`; the error names the rule that it breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text))
                } else {
                    Err(NameError { what: $what, text, rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Lower-case letters, digits and `-`, beginning with a letter or digit: safe as a file name, in a URL, in a
/// supervisord section and as an argument.
fn is_slug(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= longest
        && bytes[0] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// The file-name part of a version: letters, digits, `.`, `_`, `~`, `+`, `-`, not beginning with `.` or `-`.
fn is_version(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 64
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._~+-".contains(b))
}

name!(
    /// One process of a service on one host, for example `kafka-1`. It names folders, lock and supervisord program.
    InstanceId,
    "instance",
    "an instance id has 1 to 48 lower-case letters, digits and -, and begins with a letter or digit",
    |text| is_slug(text, 48)
);

name!(
    /// A service within an environment, for example `orders-kafka`; for brokers also the cluster's name.
    ServiceName,
    "service",
    "a service name has 1 to 40 lower-case letters, digits and -, and begins with a letter or digit",
    |text| is_slug(text, 40)
);

name!(
    /// A kind of service, for example `kafka`: the name of its file in the catalogue.
    KindName,
    "kind",
    "a kind has 1 to 32 lower-case letters, digits and -, and begins with a letter or digit",
    |text| is_slug(text, 32)
);

name!(
    /// What a package is called, for example `kafka` or `jre`.
    PackageName,
    "package",
    "a package name has 1 to 48 lower-case letters, digits and -, and begins with a letter or digit",
    |text| is_slug(text, 48)
);

name!(
    /// A package's version as its publisher writes it, for example `4.3.1` or `1.6.7~rc0`.
    Version,
    "version",
    "a version has 1 to 64 letters, digits and . _ ~ + -, and begins with a letter or digit",
    is_version
);

name!(
    /// A SHA-512 in 128 lower-case hexadecimal digits.
    Sha512,
    "sha512",
    "a SHA-512 has 128 lower-case hexadecimal digits",
    |text| text.len() == 128 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

name!(
    /// A host as the portal knows it: a ULID, never reused.
    HostId,
    "host",
    "a host id has 26 digits and upper-case letters (a ULID)",
    |text| text.len() == 26 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
);

/// Topics and groups that belong to ZMS itself or to the clients of the first ZMS: nobody can ask for them.
pub const RESERVED: [&str; 20] = [
    "statistic_topic_producerinfo",
    "statistic_topic_consumerinfo",
    "statistic_topic_producerinfo_consumer",
    "statistic_topic_consumerinfo_consumer",
    "statistic_topic_kafka_producerinfo",
    "statistic_topic_kafka_consumerinfo",
    "statistic_ping_topic",
    "statistic_ping_consumer",
    "statistic_consumer_producerInfo",
    "statistic_consumer_consumerInfo",
    "statistic_consumer_kafka_producerInfo",
    "statistic_consumer_kafka_consumerInfo",
    "checkstatus_topic",
    "ZMS_ALERT_RULE",
    "ZMS_ALERT_RULE_REFRESH",
    "zms_statistics",
    "zms_collector",
    "zms_collector_producerinfo",
    "zms_collector_consumerinfo",
    "__consumer_offsets",
];

/// What people may ask for: valid on Kafka and on RocketMQ, in a path and in a znode's name.
fn is_wish(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=100).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-')
        && !text.starts_with("__")
        && !RESERVED.contains(&text)
}

name!(
    /// A topic that people may ask for.
    TopicName,
    "topic",
    "a topic name has 1 to 100 letters, digits, _ and -, does not begin with __ and is not one of ZMS's own",
    is_wish
);

name!(
    /// A consumer group that people may ask for.
    GroupName,
    "group",
    "a group name has 1 to 100 letters, digits, _ and -, does not begin with __ and is not one of ZMS's own",
    is_wish
);

name!(
    /// A topic or group as a broker or another ZMS may have it: dots, `%RETRY%…`, `__…`. One segment of a znode's path.
    PhysicalName,
    "name",
    "a topic or group on a broker has 1 to 249 letters, digits and . _ - % |, and is not . or ..",
    |text| {
        let bytes = text.as_bytes();
        (1..=249).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-%|".contains(b))
            && text != "."
            && text != ".."
    }
);

impl From<TopicName> for PhysicalName {
    fn from(name: TopicName) -> Self {
        Self(name.0)
    }
}

impl From<GroupName> for PhysicalName {
    fn from(name: GroupName) -> Self {
        Self(name.0)
    }
}

name!(
    /// A cluster as it stands in the metadata: a service's name, or what another ZMS called it.
    ClusterName,
    "cluster",
    "a cluster name has 1 to 100 letters, digits and . _ -, and is not . or ..",
    |text| {
        let bytes = text.as_bytes();
        (1..=100).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
            && text != "."
            && text != ".."
    }
);

impl From<ServiceName> for ClusterName {
    fn from(name: ServiceName) -> Self {
        Self(name.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_instance_id_is_safe_in_every_place_it_goes_to() {
        for good in ["kafka-1", "0", "a", &"x".repeat(48)] {
            assert!(InstanceId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "a/b", "..", "a%b", "ä", "a\n", &"x".repeat(49)] {
            assert!(InstanceId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_error_says_what_would_be_right_and_shows_no_raw_control_characters() {
        let error = InstanceId::new("a\u{1b}[31m\n").unwrap_err().to_string();
        assert!(error.contains("1 to 48 lower-case letters"), "{error}");
        assert!(!error.contains('\u{1b}') && !error.contains('\n'), "{error:?}");
        let long = InstanceId::new("Z".repeat(10_000)).unwrap_err().to_string();
        assert!(long.len() < 300, "{}", long.len());
    }

    #[test]
    fn a_wish_fits_both_brokers_and_is_not_taken_by_us() {
        for good in ["orders", "order_created", "A-1", &"x".repeat(100)] {
            assert!(TopicName::new(good).is_ok() && GroupName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a.b", "订单", "a b", "%RETRY%g", "__x", "zms_statistics", "statistic_ping_topic", &"x".repeat(101)] {
            assert!(TopicName::new(bad).is_err() && GroupName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_physical_name_is_one_segment_of_a_path() {
        for good in ["%RETRY%group", "__consumer_offsets", "a.b.c", &"x".repeat(249)] {
            assert!(PhysicalName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\n", &"x".repeat(250)] {
            assert!(PhysicalName::new(bad).is_err(), "{bad:?}");
        }
        assert!(ClusterName::new("mq.A_1").is_ok() && ClusterName::new("a/b").is_err());
    }

    #[test]
    fn a_bad_name_does_not_deserialize() {
        assert!(serde_json::from_str::<InstanceId>("\"kafka-1\"").is_ok());
        assert!(serde_json::from_str::<InstanceId>("\"../etc\"").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_inside_its_folder(text in ".{0,60}") {
            if let Ok(id) = InstanceId::new(text.clone()) {
                prop_assert!(!id.as_str().contains(['/', '%', ' ', '\n', '\0']));
                prop_assert!(!id.as_str().starts_with(['.', '-']));
            }
            if let Ok(version) = Version::new(text) {
                prop_assert!(!version.as_str().contains('/') && !version.as_str().starts_with('.'));
            }
        }
    }
}

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// One process of an application, made by our SDK when it starts: a ULID. Its last byte chooses the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ClientId(String);

impl ClientId {
    /// Takes a ULID.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if text.len() == 26 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
            Ok(Self(text))
        } else {
            Err("a client id has 26 digits and upper-case letters (a ULID)".to_owned())
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of the 256 buckets it stands in. FNV-1a, folded: spread over them, and the same for every language.
    pub fn bucket(&self) -> u8 {
        let hash = self.0.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let [a, b, c, d] = hash.to_be_bytes();
        a ^ b ^ c ^ d
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The value of `/zms/client/<hh>/<id>`: a claim of the application, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// As the application calls itself.
    pub application: String,
    /// Where it runs.
    #[serde(default)]
    pub ip: String,
    /// Its process there.
    #[serde(default)]
    pub pid: u32,
    /// `rust` for ours.
    #[serde(default)]
    pub language: String,
    /// Version of the SDK.
    #[serde(default)]
    pub version: String,
    /// When it started, milliseconds since 1970 by its clock.
    #[serde(default)]
    pub started_ms: i64,
    /// Topics that it sends to → the epoch that it applied.
    #[serde(default)]
    pub topics: BTreeMap<String, u64>,
    /// Groups that it consumes with → the epoch that it applied.
    #[serde(default)]
    pub groups: BTreeMap<String, u64>,
}

/// Longest value that is read, in bytes.
pub const LONGEST_PRESENCE: usize = 32 << 10;

impl Presence {
    /// Reads a node's value.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LONGEST_PRESENCE {
            return Err(format!("{} bytes; a client says at most {LONGEST_PRESENCE} about itself", bytes.len()));
        }
        serde_json::from_slice(bytes).map_err(|error| format!("not what a client says about itself: {error}"))
    }
}

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::InstanceId;

/// What an agent sends: the newest frame last, after those that found no collector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Frames {
    /// Frames that were given up since the agent started, because no collector took them for too long.
    #[serde(default)]
    pub dropped: u64,
    /// Oldest first.
    pub frames: Vec<Frame>,
}

/// A host's figures at one moment. Counters are cumulative; who reads them makes rates. What could not be read is absent, never 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Milliseconds since 1970 by the host's clock.
    pub at_ms: i64,
    /// Of the host as a whole.
    pub host: HostFigures,
    /// Of the instances that run on it.
    #[serde(default)]
    pub instances: BTreeMap<InstanceId, InstanceFigures>,
}

/// A host as `/proc` and its file systems show it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFigures {
    /// Time in which processors worked since boot, summed over them, milliseconds.
    pub cpu_busy_ms: Option<u64>,
    /// Time in which they waited for disks, milliseconds.
    pub cpu_wait_ms: Option<u64>,
    /// Number of processors.
    pub cpus: Option<u32>,
    /// Load average over a minute.
    pub load1: Option<f64>,
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Memory that could be had without swapping, bytes.
    pub memory_available_bytes: Option<u64>,
    /// Swap in use, bytes.
    pub swap_used_bytes: Option<u64>,
    /// Size of the file system that holds the services' data, bytes.
    pub disk_bytes: Option<u64>,
    /// Free space there, bytes.
    pub disk_free_bytes: Option<u64>,
    /// Read from disks since boot, bytes.
    pub disk_read_bytes: Option<u64>,
    /// Written to disks since boot, bytes.
    pub disk_written_bytes: Option<u64>,
    /// Received over all interfaces but loopback since boot, bytes.
    pub net_in_bytes: Option<u64>,
    /// Sent over them, bytes.
    pub net_out_bytes: Option<u64>,
}

/// An instance as `/proc` shows its process, and as it speaks of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceFigures {
    /// Processor time since it started, milliseconds.
    pub cpu_ms: Option<u64>,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u32>,
    /// Open files.
    pub open_files: Option<u32>,
    /// Since its process started, milliseconds.
    pub uptime_ms: Option<u64>,
    /// What it says of itself, by the names of the catalogue's metrics. A name that it does not know is absent.
    pub said: BTreeMap<String, f64>,
    /// Why it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<String>,
}

//! What the scrape examples do to a cluster, and what they tell of it.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zms_core::metadata::BrokerKind;
use zms_drivers::broker::Scrape;
use zms_drivers::open::{self, Endpoint};

/// What one tick saw and what it cost; one JSON line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tick {
    /// Groups that were seen.
    pub groups: usize,
    /// Partitions of all topics.
    pub partitions: usize,
    /// Brokers that lead one of them.
    pub leaders: usize,
    /// Partitions whose log end is known.
    pub ends: usize,
    /// Offsets that are known, of all groups.
    pub committed: usize,
    /// Brokers that did not answer.
    pub silent: usize,
    /// Wall clock, milliseconds.
    pub took_ms: f64,
    /// Requests of the steady round trips.
    pub requests: u64,
    /// Round trips one after the other for them.
    pub round_trips: u32,
    /// All other requests.
    pub rare_requests: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Memory of this process.
    pub rss_bytes: u64,
}

/// Scrapes the cluster at `bootstrap` and prints a line for each tick.
pub async fn ticks(bootstrap: &str, count: u64, every: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = Endpoint::plain("bench", bootstrap.split(','));
    let mut scraper = open::scraper(BrokerKind::Kafka, &endpoint)?;
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for _ in 0..count {
        ticks.tick().await;
        // Measured while the scrape is still there, as a collector that works on it holds it.
        let scrape = scraper.scrape().await?;
        println!("{}", serde_json::to_string(&tick(&scrape, rss_bytes()?))?);
    }
    Ok(())
}

fn tick(scrape: &Scrape, rss_bytes: u64) -> Tick {
    let ends = scrape.topics.iter().flat_map(|(_, ends)| ends.values());
    let offsets = scrape.groups.iter().filter_map(|group| group.committed.as_ref().ok());
    let partitions = || scrape.topics.iter().flat_map(|(topic, _)| &topic.partitions);
    let leaders: std::collections::BTreeSet<_> = partitions().filter_map(|partition| partition.leader.as_ref()).collect();
    Tick {
        groups: scrape.groups.len(),
        partitions: partitions().count(),
        leaders: leaders.len(),
        ends: ends.flatten().count(),
        committed: offsets.flat_map(|topics| topics.values()).map(std::collections::BTreeMap::len).sum(),
        silent: scrape.silent.len(),
        took_ms: scrape.cost.took.as_secs_f64() * 1000.0,
        requests: scrape.cost.requests,
        round_trips: scrape.cost.round_trips,
        rare_requests: scrape.cost.rare_requests,
        bytes: scrape.cost.bytes,
        rss_bytes,
    }
}

/// Memory of this process, as the kernel counts it.
fn rss_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("/proc/self/status: no line like \"VmRSS: 1 kB\""))
}

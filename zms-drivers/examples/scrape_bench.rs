//! Scrapes a Kafka cluster and prints one JSON line for each tick: what it saw and what it cost. Starts nothing itself; `scrape_fill`
//! fills a cluster for it.
//!
//! ```text
//! cargo run --release -p zms-drivers --example scrape_bench -- --bootstrap 127.0.0.1:9092 --ticks 20
//! ```

use std::io;
use std::time::Duration;

use clap::Parser;
use zms_core::metadata::BrokerKind;
use zms_drivers::broker::Scrape;
use zms_drivers::open::{self, Endpoint};

#[derive(Parser)]
struct Arguments {
    /// `host:port` of some brokers, separated by commas.
    #[arg(long)]
    bootstrap: String,
    /// How many times to scrape.
    #[arg(long)]
    ticks: u64,
    /// From the beginning of one tick to that of the next, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    every_ms: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let endpoint = Endpoint::plain("bench", arguments.bootstrap.split(','));
    let mut scraper = open::scraper(BrokerKind::Kafka, &endpoint)?;
    let mut ticks = tokio::time::interval(Duration::from_millis(arguments.every_ms.max(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for _ in 0..arguments.ticks {
        ticks.tick().await;
        // Measured while the scrape is still there, as a collector that works on it holds it.
        let scrape = scraper.scrape().await?;
        println!("{}", line(&scrape, rss_bytes()?));
    }
    Ok(())
}

fn line(scrape: &Scrape, rss_bytes: u64) -> serde_json::Value {
    let ends = scrape.topics.iter().flat_map(|(_, ends)| ends.values());
    let offsets = scrape.groups.iter().filter_map(|group| group.committed.as_ref().ok());
    serde_json::json!({
        "groups": scrape.groups.len(),
        "partitions": scrape.topics.iter().map(|(topic, _)| topic.partitions.len()).sum::<usize>(),
        "ends": ends.flatten().count(),
        "committed": offsets.flat_map(|topics| topics.values()).map(std::collections::BTreeMap::len).sum::<usize>(),
        "silent": scrape.silent.len(),
        "took_ms": scrape.cost.took.as_secs_f64() * 1000.0,
        "requests": scrape.cost.requests,
        "round_trips": scrape.cost.round_trips,
        "rare_requests": scrape.cost.rare_requests,
        "bytes": scrape.cost.bytes,
        "rss_bytes": rss_bytes,
    })
}

/// Memory of this process, as the kernel counts it.
fn rss_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("/proc/self/status: no line like \"VmRSS: 1 kB\""))
}

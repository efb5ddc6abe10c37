//! Scrapes a Kafka cluster and prints one JSON line for each tick: what it saw and what it cost. Starts nothing itself; `scrape_fill`
//! fills a cluster for it.
//!
//! ```text
//! cargo run --release -p zms-drivers --example scrape_bench -- --bootstrap 127.0.0.1:9092 --ticks 20
//! ```

#[path = "scrape/tick.rs"]
mod tick;

use std::time::Duration;

use clap::Parser;

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
    tick::ticks(&arguments.bootstrap, arguments.ticks, Duration::from_millis(arguments.every_ms)).await
}

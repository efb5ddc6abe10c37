//! Fills a Kafka cluster for `scrape_bench`: one topic, a few messages, and many groups with an offset on each of its partitions. May be
//! run again.
//!
//! ```text
//! cargo run --release -p zms-drivers --example scrape_fill -- --bootstrap 127.0.0.1:9092 --groups 3000 --partitions 100
//! ```

#[path = "scrape/fill.rs"]
mod fill;

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// `host:port` of some brokers, separated by commas.
    #[arg(long)]
    bootstrap: String,
    #[command(flatten)]
    filling: fill::Filling,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { bootstrap, filling } = Arguments::parse();
    fill::fill(&bootstrap, &filling).await
}

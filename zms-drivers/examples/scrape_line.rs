//! What a tick of a collector costs on a full cluster. Starts Kafka, fills it, and scrapes it from a process of its own, so that its memory
//! holds nothing of the filling. Prints one JSON line for each figure.
//!
//! ```text
//! cargo run --release -p zms-drivers --example scrape_line
//! ```
//!
//! `scripts/packages` must have been run.

#[path = "scrape/fill.rs"]
mod fill;
#[path = "scrape/tick.rs"]
mod tick;

use std::process::Stdio;
use std::time::Duration;

use clap::Parser;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::spawn_blocking;
use zms_testbed::{Against, Figure, Kafka, KafkaWish, percentile};

use tick::Tick;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Groups that one request asks for at most.
const GROUPS_A_REQUEST: usize = 100;
/// Requests beyond those that cannot be spared: coordinators and leaders are several brokers.
const SPARE: f64 = 1.1;
/// A scrape gives way to other work of a collector.
const RSS_MB: f64 = 150.0;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    filling: fill::Filling,
    /// Ticks that are measured. One before them finds the cluster and is told apart.
    #[arg(long, default_value_t = 20)]
    ticks: u64,
    /// From the beginning of one tick to that of the next, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    every_ms: u64,
    /// Scrapes this cluster and does nothing else: what this program asks of its second process.
    #[arg(long, hide = true)]
    scrape: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tokio::select! {
        done = run(&arguments) => done,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    if let Some(bootstrap) = &arguments.scrape {
        return tick::ticks(bootstrap, arguments.ticks, Duration::from_millis(arguments.every_ms)).await;
    }
    eprintln!("scrape: starting one Kafka broker");
    let kafka = spawn_blocking(|| Kafka::start(KafkaWish::default())).await?;
    fill::fill(&kafka.plain(), &arguments.filling).await?;
    eprintln!("scrape: {} ticks", arguments.ticks + 1);
    let ticks = scrape(&kafka.plain(), arguments).await?;
    let (first, steady) = ticks.split_first().ok_or("no tick was printed")?;
    let expected = arguments.filling.groups as usize * usize::try_from(arguments.filling.partitions)?;
    if let Some(poor) = ticks.iter().find(|tick| tick.committed < expected || tick.silent > 0) {
        return Err(format!("a tick saw less than {expected} offsets: {poor:?}").into());
    }
    eprintln!(
        "scrape: the first tick took {:.0} ms, {} requests and {} others, {} bytes",
        first.took_ms, first.requests, first.rare_requests, first.bytes
    );
    figures(first, steady);
    Ok(())
}

/// Ticks of a second process of this program.
async fn scrape(bootstrap: &str, arguments: &Arguments) -> Result<Vec<Tick>> {
    #[allow(clippy::disallowed_methods, reason = "this very program, not a service")]
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(["--scrape", bootstrap, "--ticks", &(arguments.ticks + 1).to_string()]);
    command.args(["--every-ms", &arguments.every_ms.to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut ticks = Vec::new();
    while let Some(line) = lines.next_line().await? {
        ticks.push(serde_json::from_str(&line)?);
    }
    let status = child.wait().await?;
    if status.success() { Ok(ticks) } else { Err(format!("the process that scrapes ended with {status}").into()) }
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes are below 2^52")]
fn figures(first: &Tick, steady: &[Tick]) {
    let print =
        |what: &str, value: f64, unit, against| Figure { bench: "scrape", what: what.to_owned(), value, unit, against }.print();
    let all = |value: fn(&Tick) -> f64| steady.iter().map(value).collect::<Vec<f64>>();
    let most = |value| percentile(&all(value), 100);
    let least = (first.groups.div_ceil(GROUPS_A_REQUEST) + first.leaders) as f64;
    let size = format!("{} groups, {} offsets", first.groups, first.committed);
    print(
        &format!("round trips one after the other, {size}"),
        most(|tick| f64::from(tick.round_trips)),
        "",
        Against::AtMost(2.0),
    );
    print("requests a tick", most(|tick| tick.requests as f64), "", Against::AtMost(SPARE * least));
    print(
        "other requests a tick, mean",
        all(|tick| tick.rare_requests as f64).iter().sum::<f64>() / steady.len() as f64,
        "",
        Against::Nothing,
    );
    print("a tick, median", percentile(&all(|tick| tick.took_ms), 50), "ms", Against::Nothing);
    print("a tick, p95", percentile(&all(|tick| tick.took_ms), 95), "ms", Against::Nothing);
    print("received a tick", most(|tick| tick.bytes as f64 / 1e6), "MB", Against::Nothing);
    print("RSS of the process that scrapes, most", most(|tick| tick.rss_bytes as f64 / 1e6), "MB", Against::AtMost(RSS_MB));
}

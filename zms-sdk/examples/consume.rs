//! Consumes with a group by its name, and says each second how it goes.
//!
//! ```text
//! cargo run --release -p zms-sdk --example consume -- --client-file zms.toml --group billing
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep};
use zms_sdk::{Consumed, Zms};

/// Consumes with a group by its name.
#[derive(Parser)]
struct Arguments {
    /// File that the portal made: environment → Connect an application.
    #[arg(long)]
    client_file: PathBuf,
    /// Group to consume with; the portal knows its topic.
    #[arg(long, default_value = "billing")]
    group: String,
    /// Messages a second that it handles at most, in all partitions together; without it as fast as they come.
    #[arg(long)]
    rate: Option<u32>,
    /// Ends after so many messages; without it at SIGTERM or Ctrl-C.
    #[arg(long)]
    count: Option<u64>,
    /// Prints each message.
    #[arg(long)]
    show: bool,
    /// Where the copy of metadata is kept; without it below the home folder.
    #[arg(long)]
    cache: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let mut builder = Zms::builder().application("example-consume").client_file(&arguments.client_file);
    if let Some(folder) = &arguments.cache {
        builder = builder.cache(folder);
    }
    let zms = builder.connect()?;
    let (done, show) = (Arc::new(AtomicU64::new(0)), arguments.show);
    let pause = arguments.rate.map(|rate| Duration::from_secs(1) / rate.max(1));
    // One at a time when the rate is bounded: partitions are handled side by side.
    let turn = Arc::new(tokio::sync::Mutex::new(()));
    let counted = Arc::clone(&done);
    let handler = move |message: zms_sdk::Received| {
        let (counted, turn) = (Arc::clone(&counted), Arc::clone(&turn));
        async move {
            if let Some(pause) = pause {
                let _turn = turn.lock().await;
                sleep(pause).await;
            }
            if show {
                println!(
                    "{} {}/{}: {}",
                    message.topic,
                    message.partition,
                    message.offset,
                    String::from_utf8_lossy(message.bytes())
                );
            }
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<(), std::convert::Infallible>(())
        }
    };
    let consuming = zms.consumer(&arguments.group)?.handle(handler).await?;
    println!("consuming with {}; client {}", arguments.group, zms.id());

    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = second.tick() => summary(&arguments.group, consuming.figures()),
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
        if arguments.count.is_some_and(|count| done.load(Ordering::Relaxed) >= count) {
            break;
        }
    }
    summary(&arguments.group, consuming.close(Duration::from_secs(10)).await);
    zms.close(Duration::from_secs(5)).await;
    println!("closed");
    Ok(())
}

fn summary(group: &str, figures: Consumed) {
    let Consumed { received, done, failed, skipped, problems } = figures;
    println!("{group}: received {received}, done {done}, failed {failed}, skipped {skipped}, problems {problems}");
}

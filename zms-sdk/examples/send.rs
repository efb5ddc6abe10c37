//! Sends to a topic by its name, at a steady rate, and says each second how it goes.
//!
//! ```text
//! cargo run --release -p zms-sdk --example send -- --client-file zms.toml --topic orders --rate 100
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};
use zms_sdk::{Message, Zms};

/// Sends to a topic by its name.
#[derive(Parser)]
struct Arguments {
    /// File that the portal made: environment → Connect an application.
    #[arg(long)]
    client_file: PathBuf,
    /// Topic to send to.
    #[arg(long, default_value = "orders")]
    topic: String,
    /// Messages a second.
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// Ends after so many messages; without it at SIGTERM or Ctrl-C.
    #[arg(long)]
    count: Option<u64>,
    /// Bytes of a message.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Where the copy of metadata is kept; without it below the home folder.
    #[arg(long)]
    cache: Option<PathBuf>,
}

#[derive(Default)]
struct Figures {
    sent: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let mut builder = Zms::builder().application("example-send").client_file(&arguments.client_file);
    if let Some(folder) = &arguments.cache {
        builder = builder.cache(folder);
    }
    let zms = builder.connect()?;
    zms.prepare(&arguments.topic).await?;
    println!("sending to {}, {} a second; client {}", arguments.topic, arguments.rate, zms.id());

    let figures = Arc::new(Figures::default());
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut pace = interval(Duration::from_secs(1) / arguments.rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut second = interval(Duration::from_secs(1));
    let mut number = 0;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = second.tick() => { summary(&arguments.topic, &figures); continue; }
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
        if arguments.count.is_some_and(|count| number >= count) {
            break;
        }
        number += 1;
        let text = format!("{{\"order\":{number},\"filler\":\"{}\"}}", "x".repeat(arguments.size.saturating_sub(28)));
        let message = Message::new(text).with_key(format!("customer {}", number % 100)).with_header("source", "example");
        let (counted, started) = (Arc::clone(&figures), Instant::now());
        let begun = zms.send_async(&arguments.topic, message, move |outcome| match outcome {
            Ok(_) => {
                counted.sent.fetch_add(1, Ordering::Relaxed);
                counted.micros.fetch_add(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            Err(error) => {
                counted.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("{error}");
            }
        });
        if let Err(error) = begun {
            figures.failed.fetch_add(1, Ordering::Relaxed);
            eprintln!("{error}");
        }
    }
    let given_up = zms.close(Duration::from_secs(10)).await;
    summary(&arguments.topic, &figures);
    println!("closed, {given_up} given up");
    anyhow::ensure!(given_up == 0 && figures.failed.load(Ordering::Relaxed) == 0, "some messages were not sent");
    Ok(())
}

fn summary(topic: &str, figures: &Figures) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (sent, failed) = (read(&figures.sent), read(&figures.failed));
    let mean = read(&figures.micros) / sent.max(1);
    println!("{topic}: sent {sent}, failed {failed}, mean {mean} µs");
}

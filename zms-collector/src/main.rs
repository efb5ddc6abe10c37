//! `zms-collector`: see the library for how it works.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser};
use tokio::sync::watch;
use zms_collector::config::Config;

/// The collector of ZMS: figures of brokers, hosts and applications.
#[derive(Debug, Parser)]
#[command(name = "zms-collector", version)]
struct Arguments {
    /// TOML file with settings: each flag's name with _ for -.
    #[arg(long = "config", env = "ZMS_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nobody installed one before main");
    match arguments().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zms-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Flags over environment over file. The file is looked for first, as its values are what the other flags default to.
fn arguments() -> anyhow::Result<Arguments> {
    // Before the file is read the flags that it sets may be missing, so only this one is looked at.
    let first = Arguments::command().ignore_errors(true).get_matches();
    let file = first.get_one::<PathBuf>("file").cloned();
    let mut command = Arguments::command();
    if let Some(file) = file {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        command = zms_core::config::with_file(command, &text).with_context(|| file.display().to_string())?;
    }
    Ok(Arguments::from_arg_matches(&command.get_matches())?)
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (end, stop) = watch::channel(false);
        tokio::spawn(async move {
            if let Err(error) = signalled().await {
                tracing::error!(%error, "signals cannot be heard");
            }
            end.send_replace(true);
        });
        zms_collector::run::run(arguments.config, stop).await
    })
}

async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

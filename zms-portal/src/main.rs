//! `zms-portal`: see the library for how it works.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use zms_portal::config::Config;
use zms_portal::serve;

/// The portal of ZMS: web UI, REST API and agent API.
#[derive(Debug, Parser)]
#[command(name = "zms-portal", version)]
struct Arguments {
    /// TOML file with settings: each flag's name with _ for -.
    #[arg(long, env = "ZMS_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until it is ended.
    Run {
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Makes another set-up code for the first administrator; the one before is good for nothing then.
    SetupCode {
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Prints a link with which one more administrator comes in; for the day on which none can sign in any more.
    InviteAdministrator {
        /// What to sign in with; a name that nobody has yet.
        name: String,
        #[command(flatten)]
        config: Box<Config>,
    },
}

fn main() -> ExitCode {
    give_large_blocks_back();
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nobody installed one before main");
    match arguments().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zms-portal: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Each hash of a password takes 19 MiB for a moment. glibc learns from the first one that is freed and keeps the next ones in its
/// heap, for good; with a threshold of our own they go back to the system.
#[allow(unsafe_code, reason = "the C library has no other way to say it")]
fn give_large_blocks_back() {
    // Other C libraries do not learn.
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator, and no other thread runs yet. What it answers says only that the number is known.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1024 * 1024);
    }
}

/// Flags over environment over file.
fn arguments() -> anyhow::Result<Arguments> {
    let file =
        Arguments::try_parse().ok().and_then(|first| first.config).or_else(|| std::env::var_os("ZMS_CONFIG").map(PathBuf::from));
    let mut command = Arguments::command();
    if let Some(file) = file {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        command = zms_core::config::with_file(command, &text).with_context(|| file.display().to_string())?;
    }
    let matches = command.get_matches();
    zms_portal::config::refuse_secrets_in_argv(&matches)?;
    Ok(Arguments::from_arg_matches(&matches)?)
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sqlx=warn".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.command {
            Command::Run { config } => serve::run(*config).await,
            Command::SetupCode { config } => serve::setup_code(*config).await,
            Command::InviteAdministrator { name, config } => serve::invite_administrator(*config, &name).await,
        }
    })
}

//! Flags, environment and file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

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

/// What a collector must know to begin; everything else comes from the portal.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Where the portal listens for agents and collectors, `https://host:port`.
    #[arg(long, env = "ZMS_PORTAL")]
    pub portal: String,
    /// Certificate of the authority that portal, hosts and services have in common, PEM.
    #[arg(long, env = "ZMS_AUTHORITY")]
    pub authority: PathBuf,
    /// This collector's key and certificate in one file, PEM.
    #[arg(long, env = "ZMS_IDENTITY")]
    pub identity: PathBuf,
    /// Folder for what must survive a restart.
    #[arg(long, env = "ZMS_DATA_DIR", default_value = "/var/lib/zms-collector")]
    pub data_dir: PathBuf,
    /// Where agents push their frames (TLS with client certificates).
    #[arg(long, env = "ZMS_FRAMES_LISTEN", default_value = "127.0.0.1:8445")]
    pub frames_listen: SocketAddr,
    /// Where `/livez` and `/version` answer, in clear; on this machine only.
    #[arg(long, env = "ZMS_STATUS_LISTEN", default_value = "127.0.0.1:9090")]
    pub status_listen: SocketAddr,
    /// Points that wait for InfluxDB at most; when it is full the oldest go, those of single clients first, and are counted.
    #[arg(long, env = "ZMS_QUEUE_POINTS", default_value_t = 200_000)]
    pub queue_points: usize,
}

/// Flags over environment over file.
///
/// # Errors
/// The file cannot be read, or has a key that is none. A wrong flag ends the process with what would be right.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Config> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Before the file is read the flags that it sets may be missing, so only this one is looked at.
    let first = Arguments::command().ignore_errors(true).get_matches_from(&arguments);
    let file = first.get_one::<PathBuf>("file").cloned();
    let mut command = Arguments::command();
    if let Some(file) = file {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        command = zms_core::config::with_file(command, &text).with_context(|| file.display().to_string())?;
    }
    Ok(Arguments::from_arg_matches(&command.get_matches_from(arguments))?.config)
}

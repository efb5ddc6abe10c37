//! Flags, environment and file.

use std::net::SocketAddr;
use std::path::PathBuf;

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

//! Where the portal's settings come from: a TOML file, under the environment (`ZMS_<FLAG>`), under flags.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Web UI, REST API and agent API of ZMS.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Folder of the portal's own files: database, key, certificates.
    #[arg(long, env = "ZMS_DATA_DIR", default_value = "/var/lib/zms-portal")]
    pub data_dir: PathBuf,
    /// Database: sqlite:///path or postgres://…; by default portal.db in the data folder.
    #[arg(long, env = "ZMS_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// File with the database URL, for URLs that hold a password.
    #[arg(long, env = "ZMS_DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
    /// File with the key that seals secrets; made at the first start.
    #[arg(long, env = "ZMS_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Where UI, API and join listen (HTTPS).
    #[arg(long, env = "ZMS_UI_LISTEN", default_value = "0.0.0.0:8443")]
    pub ui_listen: SocketAddr,
    /// Where agents, collectors and backups are answered (HTTPS with client certificates only).
    #[arg(long, env = "ZMS_AGENT_LISTEN", default_value = "0.0.0.0:8444")]
    pub agent_listen: SocketAddr,
    /// Where our own metrics are served, in clear.
    #[arg(long, env = "ZMS_METRICS_LISTEN", default_value = "127.0.0.1:9088")]
    pub metrics_listen: SocketAddr,
    /// The address that people and hosts use, for example `https://zms.example.com:8443`.
    #[arg(long, env = "ZMS_PUBLIC_URL", default_value = "https://localhost:8443")]
    pub public_url: String,
    /// The address that agents use; by default the host of the public URL with the agent listener's port.
    #[arg(long, env = "ZMS_AGENT_URL")]
    pub agent_url: Option<String>,
    /// Folder of packages, as scripts/packages fills it.
    #[arg(long, env = "ZMS_PACKAGES", default_value = "/var/lib/zms-portal/packages")]
    pub packages: PathBuf,
    /// The agent's program that hosts fetch when they join; by default `zms-agent-<version>-<arch>` in the folder of packages.
    #[arg(long, env = "ZMS_AGENT_BINARY")]
    pub agent_binary: Option<PathBuf>,
    /// Folder of catalogue files to use instead of the built-in ones.
    #[arg(long, env = "ZMS_CATALOGUE")]
    pub catalogue: Option<PathBuf>,
    /// A session without requests ends after this, in minutes.
    #[arg(long, env = "ZMS_SESSION_IDLE_MINUTES", default_value_t = 30)]
    pub session_idle_minutes: u32,
    /// Every session ends after this, in hours.
    #[arg(long, env = "ZMS_SESSION_HOURS", default_value_t = 12)]
    pub session_hours: u32,
    /// A set-up code is good for this long, in minutes.
    #[arg(long, env = "ZMS_SETUP_CODE_MINUTES", default_value_t = 30)]
    pub setup_code_minutes: u32,
}

impl Config {
    /// The database to open.
    pub fn database_url(&self) -> anyhow::Result<String> {
        if let Some(file) = &self.database_url_file {
            let text = std::fs::read_to_string(file)
                .map_err(|error| anyhow::anyhow!("database URL file {}: {error}", file.display()))?;
            return Ok(text.trim().to_owned());
        }
        Ok(self
            .database_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}?mode=rwc", self.data_dir.join("portal.db").display())))
    }

    /// The file of the key that seals secrets.
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data_dir.join("key"))
    }

    /// Host name or address of the public URL.
    pub fn public_host(&self) -> anyhow::Result<String> {
        let uri: axum::http::Uri =
            self.public_url.parse().map_err(|error| anyhow::anyhow!("public URL {}: {error}", self.public_url))?;
        anyhow::ensure!(uri.scheme_str() == Some("https"), "public URL {}: begins with https://", self.public_url);
        let host = uri.host().ok_or_else(|| anyhow::anyhow!("public URL {}: has no host", self.public_url))?;
        Ok(host.trim_matches(['[', ']']).to_owned())
    }

    /// Where agents are told to sync.
    pub fn agent_url(&self) -> anyhow::Result<String> {
        match &self.agent_url {
            Some(url) => Ok(url.trim_end_matches('/').to_owned()),
            None => {
                let host = self.public_host()?;
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                Ok(format!("https://{host}:{}", self.agent_listen.port()))
            }
        }
    }
}

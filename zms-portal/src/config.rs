//! Where the portal's settings come from: a TOML file, under the environment (`ZMS_<FLAG>`), under flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

/// Web UI, REST API and agent API of ZMS.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Folder of the portal's own files: database, key, certificates.
    #[arg(long, env = "ZMS_DATA_DIR", default_value = "/var/lib/zms-portal")]
    pub data_dir: PathBuf,
    /// Database: sqlite:///path or postgres://user@host:port/database; by default portal.db in the data folder. A password in it belongs
    /// into the environment or a file, as every process of the machine can read arguments.
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

/// Refuses a database URL with a password among the arguments, which every process of the machine can read.
///
/// # Errors
/// Says where the URL belongs; never repeats it.
pub fn refuse_secrets_in_argv(matches: &ArgMatches) -> anyhow::Result<()> {
    let within = matches.subcommand().map_or(matches, |(_, within)| within);
    let from_argv =
        within.try_contains_id("database_url").is_ok() && within.value_source("database_url") == Some(ValueSource::CommandLine);
    let password = within.try_get_one::<String>("database_url").ok().flatten().is_some_and(|url| has_password(url));
    anyhow::ensure!(
        !(from_argv && password),
        "--database-url: the URL holds a password, and every process of the machine can read it among the arguments; \
         put the URL into a file for --database-url-file, or into ZMS_DATABASE_URL"
    );
    Ok(())
}

fn has_password(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let user = place.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || parameters.split('&').any(|parameter| parameter.starts_with("password="))
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

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn a_password_among_the_arguments_is_refused_and_not_repeated() {
        for (url, refused) in [
            ("postgres://zms:geheim@db/zms", true),
            ("postgres://zms@db/zms?password=geheim", true),
            ("postgres://zms:ge@heim@db/zms", true),
            ("postgres://zms@db:5432/zms?sslmode=require", false),
            ("sqlite:///var/lib/zms/portal.db", false),
        ] {
            let matches = Arguments::command().try_get_matches_from(["portal", "--database-url", url]).unwrap();
            let said = refuse_secrets_in_argv(&matches);
            assert_eq!(said.is_err(), refused, "{url}");
            assert!(said.err().is_none_or(|error| !format!("{error:#}").contains("heim")));
        }
        assert!(refuse_secrets_in_argv(&Arguments::command().try_get_matches_from(["portal"]).unwrap()).is_ok());
    }

    #[test]
    fn the_url_comes_from_its_file_without_the_end_of_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "postgres://zms:geheim@db/zms\n").unwrap();
        let arguments = ["portal", "--database-url-file", file.to_str().unwrap()];
        let config = Arguments::try_parse_from(arguments).unwrap().config;
        assert_eq!(config.database_url().unwrap(), "postgres://zms:geheim@db/zms");
    }
}

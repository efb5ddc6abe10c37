use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use zms_core::metadata::{ClientId, Presence};
use zms_core::networks::Networks;
use zms_drivers::meta::MetaStore;
use zms_drivers::meta::zookeeper::{self, ZooKeeper};

use crate::brokers::{Brokers, RealBrokers};
use crate::cache::Cache;
use crate::client_file::ClientFile;
use crate::presence::own_address;
use crate::zms::Parts;
use crate::{Error, Waits, Zms};

/// How an application connects. Made by [`Zms::builder`].
#[derive(Debug, Default)]
pub struct Builder {
    application: String,
    file: Option<PathBuf>,
    client: Option<ClientFile>,
    zookeeper: Option<String>,
    cache: Option<Option<PathBuf>>,
    waits: Waits,
    in_flight: Option<usize>,
    login: Option<(String, String)>,
    authority: Option<String>,
    networks: Option<Networks>,
    brokers: Option<Own>,
    without_statistics: bool,
}

/// Brokers that were brought along.
#[derive(Clone)]
struct Own(Arc<dyn Brokers>);

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Own")
    }
}

impl Builder {
    /// What the application is called: its team sees this name at the topics that it uses. 1 to 100 letters, digits and `. _ -`.
    #[must_use]
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = name.into();
        self
    }

    /// The file that the portal made for applications of an environment: [`ClientFile`].
    #[must_use]
    pub fn client_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// What a client file says, from elsewhere than a file.
    #[must_use]
    pub fn client(mut self, client: ClientFile) -> Self {
        self.client = Some(client);
        self
    }

    /// ZooKeeper without identity and TLS, `host:port,…`, instead of a client file.
    #[must_use]
    pub fn zookeeper(mut self, addresses: impl Into<String>) -> Self {
        self.zookeeper = Some(addresses.into());
        self
    }

    /// Where the copy of metadata is kept. Without this call: `$ZMS_CACHE`, else `$XDG_CACHE_HOME/zms`, else `~/.cache/zms`, and there in a folder with
    /// the application's name.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(Some(folder.into()));
        self
    }

    /// Keeps no copy on disk. Then a program that starts while ZooKeeper is away cannot send.
    #[must_use]
    pub fn without_cache(mut self) -> Self {
        self.cache = Some(None);
        self
    }

    /// Other waits than the defaults.
    #[must_use]
    pub fn waits(mut self, waits: Waits) -> Self {
        self.waits = waits;
        self
    }

    /// How many messages of [`Zms::send_async`] may be under way; 10 000 without this call.
    #[must_use]
    pub fn in_flight(mut self, messages: usize) -> Self {
        self.in_flight = Some(messages);
        self
    }

    /// Who the application is to brokers that ask for it (SASL).
    #[must_use]
    pub fn broker_login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    /// Authority that signed the certificates of brokers (PEM); without this call that of the client file.
    #[must_use]
    pub fn broker_authority(mut self, pem: impl Into<String>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// Where ZooKeeper's servers and brokers may be, also those that a cluster advertises: others are not dialled. For tools of operators,
    /// which run where more can be reached than whoever may write metadata should reach. Without this call: anywhere.
    #[must_use]
    pub fn networks(mut self, networks: Networks) -> Self {
        self.networks = Some(networks);
        self
    }

    /// Opens clients of clusters by itself: for tools of operators that know more of a cluster than its metadata says. Login, authority and
    /// networks of this builder then hold for none of them.
    #[must_use]
    pub fn brokers(mut self, brokers: Arc<dyn Brokers>) -> Self {
        self.brokers = Some(Own(brokers));
        self
    }

    /// Sends no figures to the environment. Its portal then does not know who sends how much.
    #[must_use]
    pub fn without_statistics(mut self) -> Self {
        self.without_statistics = true;
        self
    }

    /// Connects, in the background: this does not wait, and works while ZooKeeper is away. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Setting`] with what would be right.
    pub fn connect(self) -> Result<Zms, Error> {
        check_application(&self.application)?;
        let file = match (&self.file, &self.client, &self.zookeeper) {
            (Some(file), None, None) => ClientFile::read(file)?,
            (None, Some(client), None) => client.clone(),
            (None, None, Some(zookeeper)) => {
                let zookeeper = zookeeper.clone();
                ClientFile { environment: None, zookeeper, authority: None, user: None, password: None }
            }
            (None, None, None) => {
                return Err(Error::Setting("give the builder a client_file (from the portal) or zookeeper addresses".to_owned()));
            }
            _ => {
                return Err(Error::Setting(
                    "give the builder one of client_file, client and zookeeper addresses, not several".to_owned(),
                ));
            }
        };
        let identity = file.user.clone().zip(file.password.clone());
        let options = zookeeper::Options {
            addresses: file.zookeeper.clone(),
            tls: file.authority.clone().map(|authority_pem| zookeeper::Tls { authority_pem }),
            identity: identity.map(|(user, password)| zookeeper::Identity { user, password }),
            networks: self.networks.clone(),
            session_timeout: self.waits.session,
            deadline: self.waits.call,
            ..zookeeper::Options::default()
        };
        let meta = ZooKeeper::start(options);
        let id = new_id();
        let brokers = match self.brokers.clone() {
            Some(Own(brokers)) => brokers,
            None => Arc::new(RealBrokers {
                client_id: format!("{}-{id}", self.application),
                login: self.login.clone(),
                authority_pem: self.authority.clone().or(file.authority),
                networks: self.networks.clone(),
                waits: self.waits,
            }),
        };
        Ok(self.build(id, meta, brokers, file.environment, &file.zookeeper))
    }

    /// For tests of applications: with metadata and clusters in memory. `environment` as a client file would name it.
    ///
    /// # Errors
    /// [`Error::Setting`] with what would be right.
    pub fn connect_with(
        self,
        meta: Arc<dyn MetaStore>,
        brokers: Arc<dyn Brokers>,
        environment: Option<String>,
    ) -> Result<Zms, Error> {
        check_application(&self.application)?;
        Ok(self.build(new_id(), meta, brokers, environment, "127.0.0.1:2181"))
    }

    fn build(
        self,
        id: ClientId,
        meta: Arc<dyn MetaStore>,
        brokers: Arc<dyn Brokers>,
        environment: Option<String>,
        zookeeper: &str,
    ) -> Zms {
        let folder = self.cache.unwrap_or_else(|| default_folder(&self.application));
        if folder.is_none() {
            tracing::warn!("no copy of metadata is kept: a start while ZooKeeper is away will not be able to send");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let presence = Presence {
            application: self.application,
            ip: own_address(zookeeper),
            pid: std::process::id(),
            language: "rust".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: i64::try_from(now).unwrap_or(i64::MAX),
            ..Presence::default()
        };
        Zms::start(Parts {
            id,
            presence,
            meta,
            brokers,
            environment,
            cache: Cache::new(folder),
            waits: self.waits,
            in_flight: self.in_flight.unwrap_or(10_000),
            statistics: !self.without_statistics,
        })
    }
}

fn new_id() -> ClientId {
    ClientId::new(ulid::Ulid::new().to_string()).expect("a ULID is 26 digits and upper-case letters")
}

/// It becomes a folder and part of what brokers call their client.
fn check_application(name: &str) -> Result<(), Error> {
    let fine = (1..=100).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.starts_with('.');
    if fine {
        return Ok(());
    }
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    Err(Error::Setting(format!(
        "application \"{shown}\": a name has 1 to 100 letters, digits and . _ -, and does not begin with a dot"
    )))
}

fn default_folder(application: &str) -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || Some(of("HOME")?.join(".cache").join("zms"));
    let base = of("ZMS_CACHE").or_else(|| Some(of("XDG_CACHE_HOME")?.join("zms"))).or_else(home)?;
    Some(Path::new(&base).join(application))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_right_are_refused_with_what_would_be() {
        let base = || Zms::builder().application("shop");
        for (builder, why) in [
            (Zms::builder().zookeeper("a:1"), "1 to 100 letters"),
            (Zms::builder().application("../x").zookeeper("a:1"), "1 to 100 letters"),
            (base(), "client_file"),
            (base().zookeeper("a:1").client_file("/x"), "not several"),
            (base().client_file("/does/not/exist.toml"), "/does/not/exist.toml"),
        ] {
            let error = builder.connect().err().expect("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

use std::path::Path;

use serde::Deserialize;

use crate::Error;

/// What an application needs to connect: a TOML file made by the portal (environment → Connect an application). It holds a password;
/// the example's own is
///
/// ```toml
/// environment = "0190f5d6-6f9a-7c3e-9a51-3f1f5f1c2b7d"
/// zookeeper = "10.0.0.1:2281,10.0.0.2:2281"
/// authority = """-----BEGIN CERTIFICATE-----
/// …"""
/// user = "sdk"
/// password = "…"
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct ClientFile {
    /// Id of the environment; metadata of any other is refused.
    pub environment: Option<String>,
    /// `host:port,…`.
    pub zookeeper: String,
    /// TLS: certificate of the authority that ZooKeeper's are signed by, PEM.
    pub authority: Option<String>,
    /// Identity in ZooKeeper.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
}

impl ClientFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Setting`] with the file's name and what would be right.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::Setting(format!("client file {}: {error}: download it from the portal", path.display())))?;
        Self::parse(&text).map_err(|why| Error::Setting(format!("client file {}: {why}", path.display())))
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What would be right. Keys that are not known are ignored: a newer portal may write more.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The library's own message shows the line, and with it perhaps the password.
        let file: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if file.zookeeper.split(',').all(|address| address.trim().is_empty()) {
            return Err("`zookeeper` must be host:port,…".to_owned());
        }
        if file.user.is_some() != file.password.is_some() {
            return Err("`user` and `password` belong together".to_owned());
        }
        Ok(file)
    }
}

impl std::fmt::Debug for ClientFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { environment, zookeeper, user, .. } = self;
        f.debug_struct("ClientFile")
            .field("environment", environment)
            .field("zookeeper", zookeeper)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "environment = \"e\"\nzookeeper = \"a:1,b:2\"\nauthority = \"\"\"PEM\"\"\"\nuser = \"sdk\"\npassword = \"secret\"\nnew = 1\n";

    #[test]
    fn a_file_of_a_newer_portal_is_read_and_its_password_never_shown() {
        let file = ClientFile::parse(WHOLE).unwrap();
        assert_eq!(
            (file.zookeeper.as_str(), file.authority.as_deref(), file.user.as_deref()),
            ("a:1,b:2", Some("PEM"), Some("sdk"))
        );
        assert!(!format!("{file:?}").contains("secret"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, why) in [
            ("", "zookeeper"),
            ("zookeeper = \" , \"", "host:port"),
            ("zookeeper = \"a:1\"\nuser = \"u\"", "belong together"),
            ("zookeeper = \"a:1\"\npassword = \"secret", "string"),
        ] {
            let error = ClientFile::parse(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("secret"), "{text:?}: {error}");
        }
    }
}

//! The join script and the line that pins it.
//!
//! The line holds the script's hash; the script holds the portal's authority and the agent's hash. So whoever copies the line
//! from a page that they trust trusts everything that runs, whatever lies between host and portal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow, ensure};
use sha2::{Digest as _, Sha256, Sha512 as Hasher};
use zms_core::names::Sha512;

use crate::config::Config;

/// With its placeholders.
const TEMPLATE: &str = include_str!("../../join/join.sh");
/// What the script writes into a host's `bin`: the beginning of both helpers, and the rest of each.
const HELPERS: [(&str, &str); 3] = [
    ("@ZMS_HEAD@", include_str!("../../join/zms-head.sh")),
    ("@ZMS_UP@", include_str!("../../join/zms-up.sh")),
    ("@ZMS_DOWN@", include_str!("../../join/zms-down.sh")),
];
/// Architectures that an agent can be at hand for, as `uname -m` prints them.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];
/// Of portal and agent; they are built together.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An agent's program, as hosts fetch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentBinary {
    /// As `uname -m` prints it.
    pub arch: String,
    /// Names its folder on the host.
    pub version: String,
    /// Of the file.
    pub sha512: Sha512,
    /// In bytes.
    pub size: u64,
    /// Where it lies here.
    pub path: PathBuf,
}

impl AgentBinary {
    /// The file of the flag `--agent-binary` if that is set, else `zms-agent-<version>-<arch>` in the folder of packages; none
    /// when there is none. A file is hashed once, and again when it is another.
    pub async fn find(config: &Config) -> anyhow::Result<Vec<Self>> {
        let places = match &config.agent_binary {
            Some(path) => vec![(std::env::consts::ARCH, path.clone())],
            None => ARCHITECTURES.map(|arch| (arch, Self::place(&config.packages, arch))).into(),
        };
        let named = config.agent_binary.is_some();
        let look = move || places.into_iter().map(|(arch, path)| Self::look(arch, path)).collect::<anyhow::Result<Vec<_>>>();
        let found: Vec<Self> = tokio::task::spawn_blocking(look).await??.into_iter().flatten().collect();
        if let Some(path) = config.agent_binary.as_ref().filter(|_| named && found.is_empty()) {
            return Err(anyhow!("agent {}: it is not there; --agent-binary names the program that hosts fetch", path.display()));
        }
        Ok(found)
    }

    /// Where it is looked for without the flag.
    pub fn place(packages: &Path, arch: &str) -> PathBuf {
        packages.join(format!("zms-agent-{VERSION}-{arch}"))
    }

    fn look(arch: &str, path: PathBuf) -> anyhow::Result<Option<Self>> {
        let about = || format!("agent {}", path.display());
        let found = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            found => found.with_context(about)?,
        };
        let key = (path.clone(), found.modified().with_context(about)?, found.len());
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let sha512 = match known {
            Some(sha512) => sha512,
            None => {
                let mut hasher = Hasher::new();
                std::io::copy(&mut std::fs::File::open(&path).with_context(about)?, &mut hasher).with_context(about)?;
                let sha512 = Sha512::new(hex(&hasher.finalize())).expect("64 bytes are 128 digits");
                KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(key, sha512.clone());
                sha512
            }
        };
        Ok(Some(Self { arch: arch.to_owned(), version: VERSION.to_owned(), sha512, size: found.len(), path }))
    }
}

/// Hashes of files as they were: path, time of the last change, size.
static KNOWN: Mutex<BTreeMap<(PathBuf, SystemTime, u64), Sha512>> = Mutex::new(BTreeMap::new());

/// As whom the script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// As root: systemd, a user of its own.
    Root,
    /// As whoever runs it, in their own folder.
    Own,
}

/// The script that a host runs to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Exactly these bytes are pinned.
    pub text: String,
    /// Of `text`, hexadecimal; also its address.
    pub sha256: String,
}

impl Script {
    /// The script for the portal at `url` (`https://host:port`), its authority and these agents.
    pub fn render(url: &str, authority_pem: &str, agents: &[AgentBinary]) -> anyhow::Result<Self> {
        let url = checked(url)?;
        let born = born(authority_pem)?;
        let line = |agent: &AgentBinary| format!("{} {} {} {}", agent.arch, agent.version, agent.sha512, agent.size);
        let agents = agents.iter().map(line).collect::<Vec<_>>().join("\n");
        let mut text =
            HELPERS.iter().fold(TEMPLATE.to_owned(), |text, (placeholder, part)| text.replace(placeholder, part.trim_end()));
        for (placeholder, value) in
            [("@URL@", url), ("@BORN@", &born.to_string()), ("@AGENTS@", &agents), ("@AUTHORITY@", authority_pem.trim())]
        {
            text = text.replace(placeholder, value);
        }
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        Ok(Self { text, sha256 })
    }

    /// What a person pastes on a host. The script is fetched without a look at the portal's certificate and run only if it has
    /// the right hash; the token reaches it through a pipe, so that no list of processes and no log of sudo shows it. The
    /// variable `ZMS_JOIN_PREFIX` of the shell chooses another folder.
    pub fn line(&self, url: &str, token: &str, rights: Rights) -> anyhow::Result<String> {
        let (url, hash) = (checked(url)?, &self.sha256);
        ensure!(
            token.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
            "a token has letters, digits and . _ - only"
        );
        let (before, run) = match rights {
            Rights::Root => ("s=; [ \"$(id -u)\" = 0 ] || s=sudo; ", "$s sh \"$f\" --prefix \"${ZMS_JOIN_PREFIX:-/opt/zms}\""),
            Rights::Own => ("", "sh \"$f\" --user --prefix \"${ZMS_JOIN_PREFIX:-$HOME/.zms}\""),
        };
        Ok(format!(
            "(u='{url}/j'; h={hash}; {before}f=$(mktemp) && {{ curl -fsSkm 60 \"$u/$h\" -o \"$f\" || wget -qO \"$f\" \
             --no-check-certificate \"$u/$h\"; }} && echo \"$h  $f\" | sha256sum -c - >/dev/null && printf '%s\\n' '{token}' | {run}; \
             r=$?; rm -f \"$f\"; exit $r)"
        ))
    }
}

/// The address goes into a shell's text.
fn checked(url: &str) -> anyhow::Result<&str> {
    let url = url.trim_end_matches('/');
    let fits = url.starts_with("https://") && url.bytes().all(|b| b.is_ascii_alphanumeric() || b".:/_-[]".contains(&b));
    ensure!(fits, "public URL {url:?}: has to begin with https:// and to have letters, digits and . : / _ - [ ] only");
    Ok(url)
}

/// Since when an authority exists, in seconds since 1970.
fn born(pem: &str) -> anyhow::Result<i64> {
    let (_, pem) =
        x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| anyhow!("the portal's authority: {error}"))?;
    let certificate = pem.parse_x509().map_err(|error| anyhow!("the portal's authority: {error}"))?;
    Ok(certificate.validity().not_before.timestamp())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = time::OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    fn agent() -> AgentBinary {
        let sha512 = Sha512::new("ab".repeat(64)).unwrap();
        AgentBinary { arch: "x86_64".into(), version: "1.2.3".into(), sha512, size: 7, path: "/x".into() }
    }

    #[test]
    fn the_script_holds_address_authority_and_agents_and_no_placeholder() {
        let authority = authority();
        let script = Script::render("https://zms.example:8443/", &authority, &[agent()]).unwrap();
        for part in [
            "portal='https://zms.example:8443'",
            "born='1700000000'",
            &format!("'x86_64 1.2.3 {} 7'", "ab".repeat(64)),
            authority.trim(),
        ] {
            assert!(script.text.contains(part), "{part}");
        }
        assert!(!["@URL@", "@BORN@", "@AGENTS@", "@AUTHORITY@"].iter().any(|placeholder| script.text.contains(placeholder)));
        let other = Script::render("https://zms.example:8444", &authority, &[agent()]).unwrap();
        assert_ne!(script.sha256, other.sha256);
    }

    #[test]
    fn nothing_that_a_shell_would_obey_gets_into_script_or_line() {
        let authority = authority();
        for url in ["http://a", "https://a'$(id)'", "https://a b", "https://a\";id", "https://a\nid"] {
            assert!(Script::render(url, &authority, &[]).is_err(), "{url}");
        }
        let script = Script::render("https://[::1]:8443", &authority, &[]).unwrap();
        for token in ["a'b", "a b", "$(id)", "a\n"] {
            assert!(script.line("https://[::1]:8443", token, Rights::Own).is_err(), "{token:?}");
        }
    }

    #[test]
    fn the_line_is_one_line_and_the_token_is_no_argument_of_a_program() {
        let script = Script::render("https://zms.example:8443", &authority(), &[agent()]).unwrap();
        for (rights, run) in
            [(Rights::Root, "| $s sh \"$f\" --prefix \"${ZMS_JOIN_PREFIX:-/opt/zms}\""), (Rights::Own, "| sh \"$f\" --user")]
        {
            let line = script.line("https://zms.example:8443", "zmsj1.abcdefgh.x_-Y", rights).unwrap();
            assert!(!line.contains('\n') && line.contains(&script.sha256) && line.contains(run), "{line}");
            assert!(line.contains("printf '%s\\n' 'zmsj1.abcdefgh.x_-Y' |"), "{line}");
        }
    }

    #[tokio::test]
    async fn an_agent_is_found_where_it_should_be_and_hashed_anew_when_it_is_another() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            config: Config,
        }
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().to_str().unwrap();
        let config = Only::try_parse_from(["x", "--packages", packages]).unwrap().config;
        assert_eq!(AgentBinary::find(&config).await.unwrap(), []);

        let path = AgentBinary::place(folder.path(), "x86_64");
        std::fs::write(&path, b"one").unwrap();
        let first = AgentBinary::find(&config).await.unwrap();
        std::fs::write(&path, b"another").unwrap();
        let second = AgentBinary::find(&config).await.unwrap();
        assert_eq!((first[0].size, second[0].size, first.len()), (3, 7, 1));
        assert_ne!(first[0].sha512, second[0].sha512);

        let flag = folder.path().join("agent");
        let config =
            Only::try_parse_from(["x", "--packages", packages, "--agent-binary", flag.to_str().unwrap()]).unwrap().config;
        let error = AgentBinary::find(&config).await.unwrap_err().to_string();
        assert!(error.contains("it is not there"), "{error}");
        std::fs::write(&flag, b"flag").unwrap();
        assert_eq!(AgentBinary::find(&config).await.unwrap()[0].path, flag);
    }
}

//! `zms-agent run`: everything that runs in an agent, with a portal and without.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::sync::watch;
use zms_core::host::DesiredState;

use crate::fetch::Source;
use crate::figures::{self, Pace};
use crate::host;
use crate::instance::Timing;
use crate::layout::Layout;
use crate::lock::InstanceLock;
use crate::portal::session::{Ends, Session};
use crate::portal::{Membership, Waits};
use crate::supervisor::server;

/// Variables of the environment that lead to the portal through a proxy; the agent that supervisord starts needs them too.
const PROXY_VARIABLES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"];

/// Where desired state and archives come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// From the portal that this host joined.
    Portal,
    /// From this host itself.
    Alone {
        /// A desired-state file that is followed.
        desired: PathBuf,
        /// A folder of archives.
        packages: PathBuf,
    },
}

impl Mode {
    /// The arguments that start an agent in this mode. Paths are absolute: the agent that supervisord starts runs in another folder.
    fn arguments(&self) -> anyhow::Result<Vec<String>> {
        Ok(match self {
            Self::Portal => vec!["run".into()],
            Self::Alone { desired, packages } => {
                vec!["run".into(), "--desired".into(), text(desired)?, "--packages".into(), text(packages)?]
            }
        })
    }

    fn environment(&self) -> BTreeMap<String, String> {
        match self {
            Self::Portal => {
                PROXY_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
            }
            Self::Alone { .. } => BTreeMap::new(),
        }
    }
}

/// Works until the process is ended. A second agent waits for the first to end.
pub async fn run(layout: Layout, mode: Mode) -> anyhow::Result<()> {
    if mode == Mode::Portal {
        // Said now and not after a wait for the lock.
        Membership::required(&layout)?;
    }
    std::fs::create_dir_all(layout.prefix().join("run/locks")).context("making the lock folder")?;
    let waiting = layout.agent_lock();
    let _lock = tokio::task::spawn_blocking(move || InstanceLock::wait(&waiting)).await?.context("taking the agent's lock")?;
    tracing::info!(prefix = %layout.prefix().display(), version = env!("CARGO_PKG_VERSION"), ?mode, "acting for this host");
    server::write_agent(&layout, &mode.arguments()?, mode.environment()).context("making the agent a program of supervisord")?;

    let (current, desired) = watch::channel(remembered(&layout));
    let (told, reports) = watch::channel(None);
    let source = match mode {
        Mode::Portal => {
            tokio::spawn(figures::run(layout.clone(), desired.clone(), reports.clone(), Pace::default()));
            let session = Session::new(layout.clone(), Ends { current, reports }, Waits::default()).await?;
            let link = session.link();
            tokio::spawn(session.work());
            Source::Portal(link)
        }
        Mode::Alone { desired, packages } => {
            tokio::spawn(host::follow_file(layout.clone(), desired, current));
            Source::Folder(packages)
        }
    };
    host::run(layout, source, desired, told, Timing::default()).await
}

/// What this host was last told, so that it goes on without anybody.
fn remembered(layout: &Layout) -> DesiredState {
    let remembered = host::remembered(layout).unwrap_or_else(|error| {
        tracing::warn!(error = format!("{error:#}"), "cannot read the remembered desired state; waiting for a new one");
        None
    });
    remembered.unwrap_or_default()
}

fn text(path: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path)?;
    absolute.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{}: is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_that_supervisord_starts_gets_the_same_mode() {
        assert_eq!(Mode::Portal.arguments().unwrap(), ["run"]);
        let alone = Mode::Alone { desired: "/d.json".into(), packages: "/p".into() };
        assert_eq!(alone.arguments().unwrap(), ["run", "--desired", "/d.json", "--packages", "/p"]);
    }

    #[tokio::test]
    async fn a_host_that_has_not_joined_is_told_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        let error = run(layout, Mode::Portal).await.unwrap_err().to_string();
        assert!(error.contains("join line") && error.contains("--desired"), "{error}");
    }
}

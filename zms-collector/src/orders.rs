//! What is to be done: from the portal, and from disk while the portal is away.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::sleep;
use zms_core::collect::Orders;

use crate::news::News;
use crate::portal::Portal;

/// Between two looks at the portal.
pub const EVERY: Duration = Duration::from_secs(5);
/// Largest orders that are read: 5 000 hosts with 10 instances each have 8 MB.
pub const LARGEST: u64 = 32 << 20;

/// Those of today.
pub type Current = watch::Receiver<Option<Arc<Orders>>>;

/// The copy on disk; it holds passwords, so its mode is 0600.
#[derive(Debug, Clone)]
pub struct Kept(PathBuf);

impl Kept {
    /// In this folder.
    pub fn new(folder: &Path) -> Self {
        Self(folder.join("orders.json"))
    }

    /// What is there; `None` before the first orders. What cannot be read is said and counts as nothing: the portal has it.
    pub fn read(&self) -> Option<Orders> {
        let read = || -> anyhow::Result<Option<Orders>> {
            let file = match std::fs::File::open(&self.0) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            let mut text = Vec::new();
            file.take(LARGEST).read_to_end(&mut text)?;
            Ok(Some(serde_json::from_slice(&text)?))
        };
        read().unwrap_or_else(|error| {
            tracing::warn!(file = %self.0.display(), error = format!("{error:#}"), "the orders on disk cannot be read");
            None
        })
    }

    /// Written beside its place and renamed: a crash leaves the old or the new one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, orders: &Orders) -> anyhow::Result<()> {
        let new = self.0.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        // A file that was left behind keeps the mode that it had.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(&serde_json::to_vec(orders)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.0).with_context(|| format!("keeping orders in {}", self.0.display()))
    }
}

/// Asks the portal again and again. Ends when nobody reads the orders any more.
pub async fn follow(portal: Arc<Portal>, kept: Kept, orders: watch::Sender<Option<Arc<Orders>>>, every: Duration) {
    let mut news = News::default();
    loop {
        let known = orders.borrow().as_ref().map(|orders| orders.revision);
        let said = match portal.orders(known).await {
            Ok(None) => String::new(),
            Ok(Some(new)) if known.is_some_and(|known| new.revision < known) => {
                format!("the portal's orders have revision {}, older than {}", new.revision, known.unwrap_or_default())
            }
            Ok(Some(new)) => {
                tracing::info!(revision = new.revision, hosts = new.hosts.len(), "new orders");
                if let Err(error) = kept.write(&new) {
                    tracing::warn!(error = format!("{error:#}"), "orders are not kept: a restart will need the portal");
                }
                orders.send_replace(Some(Arc::new(new)));
                String::new()
            }
            Err(error) => error.to_string(),
        };
        match (news.is_new(&said), said.as_str()) {
            (false, _) => {}
            (true, "") => tracing::info!("the portal answers"),
            (true, why) => tracing::warn!(why, "no orders from the portal; the known ones hold"),
        }
        tokio::select! {
            () = sleep(every) => {}
            () = orders.closed() => return,
        }
    }
}

/// What tests begin with.
#[cfg(test)]
pub(crate) mod test_support {
    use super::Orders;

    /// Of an environment without anything.
    pub(crate) fn orders(revision: u64) -> Orders {
        Orders {
            revision,
            environment: "dev".to_owned(),
            metadata: None,
            metrics: None,
            hosts: Vec::new(),
            revoked: Vec::new(),
            adopted: Vec::new(),
            installed: std::collections::BTreeMap::new(),
            networks: zms_core::networks::Networks::default(),
            tick_s: 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test_support::orders;
    use super::*;

    #[test]
    fn orders_survive_a_restart_and_nobody_else_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path());
        assert_eq!(kept.read(), None);
        kept.write(&orders(1)).unwrap();
        kept.write(&orders(2)).unwrap();
        assert_eq!(kept.read(), Some(orders(2)));
        let mode = std::fs::metadata(folder.path().join("orders.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn half_a_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("orders.json"), "{\"revision\":").unwrap();
        assert_eq!(Kept::new(folder.path()).read(), None);
    }
}

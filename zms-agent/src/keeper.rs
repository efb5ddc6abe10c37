//! The only one on a host who speaks to supervisord: keeps it running, and keeps what it says for a moment so that fifty
//! instances do not ask fifty times (its single Python thread needs 39 ms to list fifty programs).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use zms_core::host::SupervisorReport;
use zms_core::names::InstanceId;
use zms_core::package::PackageRef;

use crate::fetch::{self, Source};
use crate::layout::Layout;
use crate::supervisor::rpc::{Client, Program, RpcError};
use crate::supervisor::server;
use crate::unpack;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(2);
/// Between two looks whether supervisord still answers.
const CHECK: Duration = Duration::from_secs(2);
/// How long a fresh supervisord may take to answer.
const START: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    layout: Layout,
    source: Source,
    client: Client,
    cache: Mutex<Option<(Instant, Vec<Program>)>>,
    report: watch::Sender<SupervisorReport>,
}

impl Keeper {
    /// A keeper that has not looked yet.
    pub fn new(layout: Layout, source: Source) -> Self {
        let client = Client::new(layout.supervisor_socket());
        Self { layout, source, client, cache: Mutex::new(None), report: watch::Sender::new(SupervisorReport::NotNeeded) }
    }

    /// What was last seen of supervisord.
    pub fn report(&self) -> watch::Receiver<SupervisorReport> {
        self.report.subscribe()
    }

    /// Keeps supervisord running for as long as `wanted` names its package.
    pub async fn keep(self: Arc<Self>, mut wanted: watch::Receiver<Option<PackageRef>>) {
        loop {
            let package = wanted.borrow_and_update().clone();
            let found = match &package {
                // One that runs for instances of before may still hold their programs.
                None => self.running().await.unwrap_or(SupervisorReport::NotNeeded),
                Some(package) => match self.ensure(package).await {
                    Ok(running) => running,
                    Err(reason) => {
                        tracing::warn!(%reason, "supervisord is down");
                        SupervisorReport::Down { reason }
                    }
                },
            };
            self.report.send_if_modified(|last| {
                let changed = *last != found;
                *last = found;
                changed
            });
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(CHECK) => {}
            }
        }
    }

    async fn ensure(&self, package: &PackageRef) -> Result<SupervisorReport, String> {
        if let Ok(running) = self.running().await {
            return Ok(running);
        }
        if !unpack::present(&self.layout, package) {
            if !fetch::present(&self.layout, package) {
                fetch::fetch(&self.layout, &self.source, package).await.map_err(|e| e.to_string())?;
            }
            let (layout, package) = (self.layout.clone(), package.clone());
            let unpacked = tokio::task::spawn_blocking(move || unpack::unpack(&layout, &package)).await;
            unpacked.map_err(|panic| panic.to_string())?.map_err(|e| e.to_string())?;
        }
        tracing::info!("starting supervisord");
        server::ensure(&self.layout, &self.layout.release(package), &self.client, START).await.map_err(|e| e.to_string())?;
        self.running().await
    }

    async fn running(&self) -> Result<SupervisorReport, String> {
        let version = self.client.version().await.map_err(|e| e.to_string())?;
        let pid = self.client.pid().await.map_err(|e| e.to_string())?;
        Ok(SupervisorReport::Running { pid, version })
    }

    /// All programs, at most two seconds old; the error says why supervisord does not answer.
    pub async fn programs(&self) -> Result<Vec<Program>, String> {
        let mut cache = self.cache.lock().await;
        if let Some((_, programs)) = cache.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(programs.clone());
        }
        *cache = None;
        let programs = self.client.all().await.map_err(|error| format!("supervisord does not answer: {error}"))?;
        *cache = Some((Instant::now(), programs.clone()));
        Ok(programs)
    }

    /// Does something that makes the last answer old.
    async fn change(&self, work: impl Future<Output = Result<(), RpcError>>) -> Result<(), String> {
        let done = work.await.map_err(|error| error.to_string());
        *self.cache.lock().await = None;
        done
    }

    /// Makes supervisord take the instance's program file as it is now; with it the program starts.
    pub async fn register(&self, id: &InstanceId) -> Result<(), String> {
        self.change(async {
            let changes = self.client.reload_config().await?;
            if changes.changed.iter().any(|name| name == id.as_str()) {
                self.client.ensure_removed(id.as_str()).await?;
            }
            self.client.ensure_added(id.as_str()).await
        })
        .await
    }

    /// Takes the program away: stopped, removed, its file deleted.
    pub async fn unregister(&self, id: &InstanceId) -> Result<(), String> {
        let file = self.layout.program_file(id);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("deleting {}: {error}", file.display()));
            }
            _ => {}
        }
        if self.programs().await.is_err() {
            // The next supervisord reads the folder anew and will not know the program.
            return Ok(());
        }
        self.change(async {
            self.client.ensure_removed(id.as_str()).await?;
            self.client.reload_config().await.map(drop)
        })
        .await
    }

    /// Asks for a start; returns at once.
    pub async fn start(&self, id: &InstanceId) -> Result<(), String> {
        self.change(self.client.ensure_started(id.as_str())).await
    }

    /// Asks for a stop; returns at once.
    pub async fn stop(&self, id: &InstanceId) -> Result<(), String> {
        self.change(self.client.ensure_stopped(id.as_str())).await
    }
}

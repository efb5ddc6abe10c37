//! The loop of a host: takes the desired state, gives each instance its task, gathers what they found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use zms_core::host::{DesiredState, HostReport, InstanceReport, InstanceSpec, Phase, SupervisorReport};
use zms_core::names::InstanceId;

use crate::fetch::Source;
use crate::instance::{self, Shared, Timing};
use crate::keeper::Keeper;
use crate::layout::Layout;
use crate::rotate::{Rotation, rotate};
use crate::supervisor::program;
use crate::{disk, preflight};

/// Largest desired state that is read, in bytes.
const DESIRED_LIMIT: u64 = 8 << 20;
/// Between two writes of an unchanged report, so that its age says whether the agent lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between two looks at the sizes of logs.
const ROTATE_EVERY: Duration = Duration::from_secs(30);

/// Runs the host until the process ends. `desired` is watched; what is found goes to `reports` and to the disk.
pub async fn run(
    layout: Layout,
    source: Source,
    desired: watch::Receiver<DesiredState>,
    reports: watch::Sender<Option<HostReport>>,
    timing: Timing,
) -> anyhow::Result<()> {
    let keeper = Arc::new(Keeper::new(layout.clone(), source.clone()));
    let (supervisor_wanted, supervisor_package) = watch::channel(None);
    let java = preflight::find_java();
    let shared = Arc::new(Shared { layout, source, keeper: keeper.clone(), timing, java, packages: Semaphore::new(1) });
    tokio::spawn(keeper.keep(supervisor_package));
    Host::new(shared, supervisor_wanted).work(desired, reports).await
}

struct Host {
    shared: Arc<Shared>,
    supervisor: watch::Sender<Option<zms_core::package::PackageRef>>,
    tasks: BTreeMap<InstanceId, (watch::Sender<InstanceSpec>, JoinHandle<()>)>,
    found: BTreeMap<InstanceId, InstanceReport>,
    reports: (mpsc::Sender<InstanceReport>, mpsc::Receiver<InstanceReport>),
}

impl Host {
    fn new(shared: Arc<Shared>, supervisor: watch::Sender<Option<zms_core::package::PackageRef>>) -> Self {
        Self { shared, supervisor, tasks: BTreeMap::new(), found: BTreeMap::new(), reports: mpsc::channel(64) }
    }

    async fn work(
        mut self,
        mut desired: watch::Receiver<DesiredState>,
        told: watch::Sender<Option<HostReport>>,
    ) -> anyhow::Result<()> {
        let mut supervisor = self.shared.keeper.report();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut rotation = tokio::time::interval(ROTATE_EVERY);
        let mut generation = desired.borrow_and_update().generation;
        self.apply(&desired.borrow().clone());
        loop {
            tokio::select! {
                changed = desired.changed() => {
                    changed.context("nobody gives a desired state any more")?;
                    let state = desired.borrow_and_update().clone();
                    generation = state.generation;
                    self.apply(&state);
                }
                Some(report) = self.reports.1.recv() => {
                    if self.found.get(&report.id) == Some(&report) || !self.tasks.contains_key(&report.id) {
                        continue;
                    }
                    tracing::info!(instance = %report.id, step = ?report.step, pid = report.pid, why = report.message, "instance");
                    self.found.insert(report.id.clone(), report);
                }
                changed = supervisor.changed() => changed.context("the keeper of supervisord ended")?,
                _ = heartbeat.tick() => {}
                _ = rotation.tick() => {
                    self.rotate_logs();
                    continue;
                }
            }
            let report = self.report(generation, supervisor.borrow().clone());
            if let Err(error) = write_report(&self.shared.layout, &report) {
                tracing::warn!(%error, "cannot write the report");
            }
            told.send_if_modified(|last| {
                let changed = last.as_ref() != Some(&report);
                if changed {
                    *last = Some(report);
                }
                changed
            });
        }
    }

    /// Gives each instance its spec; tasks of instances that are no longer named end.
    fn apply(&mut self, state: &DesiredState) {
        let needed = state.instances.iter().any(|i| i.phase == Phase::Running);
        self.supervisor.send_if_modified(|package| {
            // Once it runs it stays: it may hold programs that only an `absent` takes away.
            let next = if needed || package.is_some() { state.supervisor.clone() } else { None };
            let changed = *package != next;
            *package = next;
            changed
        });
        self.tasks.retain(|id, (_, task)| {
            let named = state.instances.iter().any(|i| i.id == *id);
            if !named {
                task.abort();
            }
            named
        });
        self.found.retain(|id, _| self.tasks.contains_key(id));
        for spec in &state.instances {
            match self.tasks.get(&spec.id) {
                Some((wanted, _)) => {
                    wanted.send_if_modified(|last| {
                        let changed = last != spec;
                        last.clone_from(spec);
                        changed
                    });
                }
                None => {
                    let (wanted, receiver) = watch::channel(spec.clone());
                    let task = tokio::spawn(instance::work(self.shared.clone(), receiver, self.reports.0.clone()));
                    self.tasks.insert(spec.id.clone(), (wanted, task));
                }
            }
        }
    }

    fn report(&self, generation: u64, supervisor: SupervisorReport) -> HostReport {
        HostReport {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            generation,
            supervisor,
            instances: self.found.values().cloned().collect(),
            strays: self.strays(),
        }
    }

    /// Program files that no spec of the desired state explains.
    fn strays(&self) -> Vec<InstanceId> {
        let Ok(entries) = std::fs::read_dir(self.shared.layout.programs_dir()) else { return Vec::new() };
        let names = entries.filter_map(|e| e.ok()?.file_name().to_str()?.strip_suffix(".conf")?.parse().ok());
        let mut strays: Vec<InstanceId> =
            names.filter(|id: &InstanceId| id.as_str() != program::AGENT && !self.tasks.contains_key(id)).collect();
        strays.sort();
        strays
    }

    fn rotate_logs(&self) {
        let own = [program::SUPERVISORD, program::AGENT].map(|name| InstanceId::new(name).expect("our own names are ids"));
        for id in self.tasks.keys().chain(&own) {
            match rotate(&self.shared.layout.log_file(id), Rotation::default()) {
                Ok(true) => tracing::info!(instance = %id, "rotated its log"),
                Ok(false) => {}
                Err(error) => tracing::warn!(instance = %id, %error, "cannot rotate its log"),
            }
        }
    }
}

fn write_report(layout: &Layout, report: &HostReport) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(report).map_err(std::io::Error::other)?;
    disk::write_whole(&layout.report(), &text, 0o640)
}

/// The desired state that was last taken, or none.
pub fn remembered(layout: &Layout) -> anyhow::Result<Option<DesiredState>> {
    read_desired(&layout.desired())
}

fn read_desired(path: &Path) -> anyhow::Result<Option<DesiredState>> {
    let Some(bytes) = disk::read_bounded(path, DESIRED_LIMIT)? else { return Ok(None) };
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no desired state", path.display())).map(Some)
}

/// Takes a state if it is newer than the one at hand: kept on disk first, then worked on.
pub fn take(layout: &Layout, current: &watch::Sender<DesiredState>, state: DesiredState) -> anyhow::Result<bool> {
    let have = current.borrow().generation;
    if state.generation < have {
        anyhow::bail!(
            "generation {} is older than {have}, which this host already has; give it a higher number",
            state.generation
        );
    }
    for (n, spec) in state.instances.iter().enumerate() {
        program::check_id(&spec.id)?;
        anyhow::ensure!(state.instances[..n].iter().all(|other| other.id != spec.id), "instance {} is there twice", spec.id);
    }
    if state.generation == have && *current.borrow() == state {
        return Ok(false);
    }
    if state.generation == have {
        anyhow::bail!("another state came under generation {have}; give it a higher number");
    }
    let text = serde_json::to_vec_pretty(&state)?;
    disk::write_whole(&layout.desired(), &text, 0o600).context("keeping the desired state")?;
    tracing::info!(generation = state.generation, instances = state.instances.len(), "took a desired state");
    current.send_replace(state);
    Ok(true)
}

/// Follows a desired-state file on this host, for hosts without a portal.
pub async fn follow_file(layout: Layout, path: PathBuf, current: watch::Sender<DesiredState>) {
    let mut last: Option<SystemTime> = None;
    loop {
        let modified = std::fs::metadata(&path).and_then(|m| m.modified()).ok();
        if modified.is_some() && modified != last {
            last = modified;
            let taken = read_desired(&path).and_then(|state| match state {
                Some(state) => take(&layout, &current, state),
                None => Ok(false),
            });
            if let Err(error) = taken {
                tracing::warn!(file = %path.display(), error = format!("{error:#}"), "refused the desired state; going on with the last one");
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::sleeper;

    fn state(generation: u64) -> DesiredState {
        DesiredState { generation, instances: vec![sleeper("s-1")], ..DesiredState::default() }
    }

    #[test]
    fn an_older_state_is_refused_and_the_newest_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        let (current, _keep) = watch::channel(DesiredState::default());
        assert!(take(&layout, &current, state(2)).unwrap());
        assert!(!take(&layout, &current, state(2)).unwrap());
        let error = take(&layout, &current, state(1)).unwrap_err().to_string();
        assert!(error.contains("older than 2"), "{error}");
        let mut other = state(2);
        other.instances.clear();
        assert!(take(&layout, &current, other).unwrap_err().to_string().contains("higher number"));
        assert_eq!(remembered(&layout).unwrap(), Some(state(2)));
    }

    #[test]
    fn half_a_state_file_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("desired.json");
        std::fs::write(&path, &serde_json::to_vec(&state(1)).unwrap()[..40]).unwrap();
        let error = format!("{:#}", read_desired(&path).unwrap_err());
        assert!(error.contains("desired.json"), "{error}");
    }
}

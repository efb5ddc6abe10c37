//! One task an instance: look, decide, do one step, say what was found, again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use zms_core::host::{InstanceReport, InstanceSpec, Step};

use crate::decide::{Act, Decision, Found, decide};
use crate::fault::{self, Moment};
use crate::fetch::Source;
use crate::keeper::Keeper;
use crate::layout::Layout;
use crate::observe::{Sight, observe};
use crate::process::Process;
use crate::render::{self, Rendered};
use crate::secrets::{Kept, Secrets};
use crate::supervisor::program;
use crate::{disk, fetch, preflight, process, status, unpack};

/// Waits of the loop; production values by default.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between two looks while something is to be done.
    pub busy: Duration,
    /// Between two looks when nothing is.
    pub idle: Duration,
    /// Longest wait for the answer to a probe.
    pub probe: Duration,
    /// After the third failed start in a row; doubles up to `hold_max`.
    pub hold: Duration,
    /// Longest wait between two starts.
    pub hold_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            busy: Duration::from_millis(500),
            idle: Duration::from_secs(5),
            probe: Duration::from_secs(3),
            hold: Duration::from_secs(15),
            hold_max: Duration::from_secs(900),
        }
    }
}

impl Timing {
    /// Between two looks after so many steps in a row that failed: what failed is not mended by asking at once, and a step may be long work.
    fn after_failures(&self, failed: u32) -> Duration {
        self.busy.saturating_mul(1 << failed.min(16)).min(self.idle)
    }
}

/// What all instances of a host share.
#[derive(Debug)]
pub struct Shared {
    /// Where everything lies.
    pub layout: Layout,
    /// Where archives come from.
    pub source: Source,
    /// The only one who speaks to supervisord.
    pub keeper: Arc<Keeper>,
    /// Waits.
    pub timing: Timing,
    /// The host's own Java, for specs without a package `jre`.
    pub java: Option<PathBuf>,
    /// One archive is fetched and unpacked at a time: instances often want the same one.
    pub packages: Semaphore,
}

/// Works on one instance until `wanted` is dropped.
pub async fn work(shared: Arc<Shared>, mut wanted: watch::Receiver<InstanceSpec>, reports: mpsc::Sender<InstanceReport>) {
    let mut memory = Memory::default();
    loop {
        let spec = wanted.borrow_and_update().clone();
        let report = once(&shared, &spec, &mut memory).await;
        let pause = if report.done() { shared.timing.idle } else { shared.timing.after_failures(memory.refused) };
        if reports.send(report).await.is_err() {
            return;
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What a task remembers of its instance. Nothing depends on it: it is empty after each start of the agent.
#[derive(Debug, Default)]
struct Memory {
    starts: Starts,
    /// Steps that failed in a row.
    refused: u32,
    secrets: Kept,
}

/// One look and one step.
async fn once(shared: &Shared, spec: &InstanceSpec, memory: &mut Memory) -> InstanceReport {
    let rendered = render::render(&shared.layout, spec, shared.java.as_deref(), &memory.secrets.of(spec));
    let sight = observe(&shared.layout, &shared.keeper, spec, rendered.as_ref().ok(), shared.timing.probe).await;
    let mut decision = decide(spec, &sight.seen);
    memory.starts.note(spec, &decision);
    let step = decision.step;
    fault::point(step, Moment::Before);
    match act(shared, spec, rendered, &sight.seen.process, &mut decision, memory).await {
        Ok(()) => memory.refused = 0,
        Err(problem) => {
            memory.refused = memory.refused.saturating_add(1);
            tracing::warn!(instance = %spec.id, step = ?decision.step, %problem, "step failed");
            decision.why = problem;
        }
    }
    fault::point(step, Moment::After);
    report(spec, &sight, decision, &memory.starts)
}

fn report(spec: &InstanceSpec, sight: &Sight, decision: Decision, starts: &Starts) -> InstanceReport {
    let (pid, running_hash) = match &sight.seen.process {
        Found::Nothing => (None, None),
        Found::Preparing(pid) => (Some(*pid), None),
        Found::Process { pid, hash } => (Some(*pid), Some(hash.clone())),
    };
    InstanceReport {
        id: spec.id.clone(),
        wanted: spec.phase,
        wanted_hash: spec.hash.clone(),
        running_hash,
        pid,
        supervised: sight.supervised,
        health: sight.seen.health.clone(),
        step: decision.step,
        message: decision.why,
        failures: starts.failed,
    }
}

async fn act(
    shared: &Shared,
    spec: &InstanceSpec,
    rendered: Result<Rendered, render::RenderError>,
    process: &Found,
    decision: &mut Decision,
    memory: &mut Memory,
) -> Result<(), String> {
    let layout = &shared.layout;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    match decision.act.clone() {
        Act::Wait | Act::Nothing => Ok(()),
        Act::Fetch(package) => {
            let _one = shared.packages.acquire().await.expect("the semaphore is never closed");
            if fetch::present(layout, &package) {
                Ok(())
            } else {
                fetch::fetch(layout, &shared.source, &package).await.map_err(|e| text(&e))
            }
        }
        Act::Unpack(package) => {
            let _one = shared.packages.acquire().await.expect("the semaphore is never closed");
            let layout = layout.clone();
            blocking(move || {
                if unpack::present(&layout, &package) {
                    Ok(())
                } else {
                    unpack::unpack(&layout, &package).map_err(|e| e.to_string())
                }
            })
            .await
        }
        Act::Render => {
            let mut rendered = rendered.map_err(|e| text(&e))?;
            if !rendered.complete() {
                let secrets = Secrets::fetch(&shared.source, spec).await?;
                rendered = render::render(layout, spec, shared.java.as_deref(), &secrets).map_err(|e| text(&e))?;
                memory.secrets.keep(spec, secrets);
            }
            let (layout, spec) = (layout.clone(), spec.clone());
            blocking(move || render::write(&layout, &spec, &rendered).map_err(|e| e.to_string())).await
        }
        Act::Register => {
            // A registered program is started by supervisord at once, so what must hold before a start must hold here.
            if *process == Found::Nothing && !fit(shared, spec, decision).await {
                return Ok(());
            }
            let content = program::text(layout, &spec.id, &spec.body.exec);
            disk::write_whole(&layout.program_file(&spec.id), content.as_bytes(), 0o640)
                .map_err(|e| format!("writing its program file: {e}"))?;
            shared.keeper.register(&spec.id).await
        }
        Act::Start => start(shared, spec, decision, &mut memory.starts).await,
        Act::StopProgram => shared.keeper.stop(&spec.id).await,
        Act::StopOrphan(pid) => stop_orphan(spec, pid).await,
        Act::Unregister => shared.keeper.unregister(&spec.id).await,
        Act::Discard => {
            let (layout, spec) = (layout.clone(), spec.clone());
            blocking(move || discard(&layout, &spec).map_err(|e| format!("moving its data to the trash: {e}"))).await
        }
    }
}

/// Work that blocks, off the loop.
async fn blocking(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(format!("the step ended with a panic: {panic}")))
}

/// Does nothing stand against a start? What does is put into the decision.
async fn fit(shared: &Shared, spec: &InstanceSpec, decision: &mut Decision) -> bool {
    fault::point(Step::Preflight, Moment::Before);
    let (layout, checked) = (shared.layout.clone(), spec.clone());
    let checks = tokio::task::spawn_blocking(move || preflight::check(&layout, &checked));
    let problems = checks.await.unwrap_or_else(|panic| vec![panic.to_string()]);
    if !problems.is_empty() {
        decision.step = Step::Preflight;
        decision.why = problems.join("; ");
    }
    fault::point(Step::Preflight, Moment::After);
    problems.is_empty()
}

async fn start(shared: &Shared, spec: &InstanceSpec, decision: &mut Decision, starts: &mut Starts) -> Result<(), String> {
    if !fit(shared, spec, decision).await {
        return Ok(());
    }
    if let Some(left) = starts.hold_left(Instant::now()) {
        let last = status::last_lines(&shared.layout.log_file(&spec.id), 1).unwrap_or_default().join(" ");
        decision.why =
            format!("{} starts failed; the next is in {} s. Last line of its log: {last}", starts.failed, left.as_secs() + 1);
        return Ok(());
    }
    starts.started(Instant::now(), shared.timing);
    tracing::info!(instance = %spec.id, hash = %spec.hash, "starting");
    shared.keeper.start(&spec.id).await
}

async fn stop_orphan(spec: &InstanceSpec, pid: u32) -> Result<(), String> {
    let Some(process) = Process::of(pid) else { return Ok(()) };
    tracing::info!(instance = %spec.id, pid, "ending a process that supervisord does not know");
    let wait = Duration::from_secs(spec.body.exec.stop_wait_s.into());
    process::terminate(process, spec.body.exec.stop_signal, wait).await.map(drop).map_err(|e| e.to_string())
}

/// Data of a deleted instance is never deleted by an agent: it moves to `trash/<id>-<uid>`.
fn discard(layout: &Layout, spec: &InstanceSpec) -> std::io::Result<()> {
    let target = layout.trash().join(format!("{}-{}", spec.id, spec.uid));
    std::fs::create_dir_all(&target)?;
    for (from, name) in [(layout.data_dir(&spec.id), "data"), (layout.confs(&spec.id), "conf")] {
        if from.exists() {
            let mut to = target.join(name);
            let mut n = 1;
            while to.exists() {
                n += 1;
                to = target.join(format!("{name}.{n}"));
            }
            std::fs::rename(from, to)?;
        }
    }
    match std::fs::remove_dir_all(layout.tmp_dir(&spec.id)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Starts of one spec that did not lead to a healthy process.
#[derive(Debug, Default)]
struct Starts {
    hash: String,
    failed: u32,
    next: Option<Instant>,
}

impl Starts {
    /// A new spec or a healthy process ends the count.
    fn note(&mut self, spec: &InstanceSpec, decision: &Decision) {
        if self.hash != spec.hash.as_str() || decision.step == Step::Done {
            *self = Self { hash: spec.hash.to_string(), failed: 0, next: None };
        }
    }

    fn started(&mut self, now: Instant, timing: Timing) {
        self.failed += 1;
        let doublings = self.failed.saturating_sub(3).min(16);
        let hold = if self.failed < 3 { Duration::from_secs(2) } else { timing.hold * 2_u32.pow(doublings) };
        self.next = Some(now + hold.min(timing.hold_max));
    }

    fn hold_left(&self, now: Instant) -> Option<Duration> {
        self.next.and_then(|next| next.checked_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use zms_core::host::{Exec, Phase, SpecBody, StopSignal};
    use zms_core::probe::Probe;

    use super::*;

    /// An instance of a package that nobody has to have.
    pub(crate) fn sleeper(id: &str) -> InstanceSpec {
        let package = zms_core::package::PackageRef {
            name: "sleeper".parse().unwrap(),
            version: "1".parse().unwrap(),
            sha512: "a".repeat(128).parse().unwrap(),
            size: 1,
        };
        let body = SpecBody {
            restart: 0,
            packages: vec![package],
            files: vec![],
            prepare: vec![],
            exec: Exec {
                argv: vec!["{package:sleeper}/run".into()],
                env: Default::default(),
                nofile: 1024,
                stop_signal: StopSignal::Term,
                stop_wait_s: 10,
                start_secs: 1,
            },
            ports: vec![],
            probe: Probe::Zookeeper { host: "127.0.0.1".into(), port: 1 },
            min_free_mib: 0,
            disk_full_at: None,
        };
        InstanceSpec::new(id.parse().unwrap(), "u1".into(), "sleeper".parse().unwrap(), Phase::Running, body)
    }

    #[test]
    fn after_steps_that_failed_it_looks_less_often() {
        let timing = Timing::default();
        let pauses = [0, 1, 2, 3, 4, 100].map(|failed| timing.after_failures(failed).as_millis());
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn failed_starts_come_further_and_further_apart_up_to_a_limit() {
        let timing = Timing::default();
        let mut starts = Starts::default();
        let now = Instant::now();
        let mut holds = Vec::new();
        for _ in 0..12 {
            starts.started(now, timing);
            holds.push(starts.hold_left(now).unwrap().as_secs());
        }
        assert_eq!(holds, [2, 2, 15, 30, 60, 120, 240, 480, 900, 900, 900, 900]);
        assert_eq!(starts.hold_left(now + Duration::from_secs(900)), None);
    }

    #[test]
    fn a_new_spec_or_a_healthy_process_ends_the_count() {
        let mut starts = Starts::default();
        let spec = sleeper("s-1");
        starts.note(&spec, &Decision { step: Step::Start, act: Act::Start, why: String::new() });
        starts.started(Instant::now(), Timing::default());
        starts.note(&spec, &Decision { step: Step::Health, act: Act::Wait, why: String::new() });
        assert_eq!(starts.failed, 1);
        starts.note(&spec, &Decision { step: Step::Done, act: Act::Nothing, why: String::new() });
        assert_eq!(starts.failed, 0);
    }

    #[test]
    fn data_of_a_deleted_instance_is_kept_also_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        let spec = sleeper("s-1");
        for round in 0..2 {
            std::fs::create_dir_all(layout.data_dir(&spec.id)).unwrap();
            std::fs::write(layout.data_dir(&spec.id).join("precious"), format!("{round}")).unwrap();
            discard(&layout, &spec).unwrap();
            assert!(!layout.data_dir(&spec.id).exists());
        }
        let trash = layout.trash().join("s-1-u1");
        assert_eq!(std::fs::read_to_string(trash.join("data/precious")).unwrap(), "0");
        assert_eq!(std::fs::read_to_string(trash.join("data.2/precious")).unwrap(), "1");
    }
}

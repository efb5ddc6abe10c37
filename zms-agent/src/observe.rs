//! Looks at everything [`decide`](crate::decide) wants to know of one instance.

use std::time::Duration;

use zms_core::host::{Health, InstanceSpec, Phase};

use crate::decide::{Found, Observed, ProgramFile, ProgramState};
use crate::keeper::Keeper;
use crate::layout::Layout;
use crate::lock::{self, Holder};
use crate::render::Rendered;
use crate::supervisor::program;
use crate::supervisor::rpc::{Program, State};
use crate::{fetch, probe, render, unpack};

/// What was found, and facts for the report that decide nothing.
#[derive(Debug)]
pub struct Sight {
    /// For the decision.
    pub seen: Observed,
    /// The process is a child of supervisord.
    pub supervised: bool,
}

/// Looks. `rendered` is absent when the spec cannot be rendered.
pub async fn observe(
    layout: &Layout,
    keeper: &Keeper,
    spec: &InstanceSpec,
    rendered: Option<&Rendered>,
    deadline: Duration,
) -> Sight {
    let process = find_process(layout, spec);
    let programs = keeper.programs().await;
    let known = programs.map(|all| all.into_iter().find(|p| p.name == spec.id.as_str()));
    let child = known.as_ref().ok().and_then(|p| p.as_ref()).and_then(|p| p.pid);
    let supervised = matches!(process, Found::Process { pid, .. } if child == Some(pid));
    let health = match &process {
        Found::Process { hash, .. } if *hash == spec.hash && spec.phase == Phase::Running => {
            probe::probe(&spec.body.probe, deadline).await
        }
        _ => Health::Unknown,
    };
    let unpackable: Vec<_> = spec.body.packages.iter().filter(|p| !unpack::present(layout, p)).cloned().collect();
    let seen = Observed {
        unfetched: unpackable.iter().filter(|p| !fetch::present(layout, p)).cloned().collect(),
        unpackable,
        rendered: rendered.is_some_and(|r| render::present(layout, spec, r)),
        supervisor: known.map(|p| p.map(|p| program_state(&p))),
        program_file: program_file(layout, spec),
        process,
        health,
        folders: layout.confs(&spec.id).exists() || layout.data_dir(&spec.id).exists(),
    };
    Sight { seen, supervised }
}

/// Who holds the instance's lock. A holder that has not said with which spec is still in `zms-agent exec`.
fn find_process(layout: &Layout, spec: &InstanceSpec) -> Found {
    let path = layout.lock(&spec.id);
    match lock::holder(&path) {
        Ok(Holder::Held { pid: Some(pid) }) => match lock::started_with(&path, pid) {
            Some(hash) => Found::Process { pid, hash },
            None => Found::Preparing(pid),
        },
        Ok(Holder::Held { pid: None }) => Found::Preparing(0),
        Ok(Holder::Free) => Found::Nothing,
        Err(error) => {
            // Nothing is started on a guess: an unreadable lock counts as held until it can be read.
            tracing::warn!(instance = %spec.id, %error, "cannot read the lock");
            Found::Preparing(0)
        }
    }
}

/// A program that supervisord cannot judge is not touched until it can.
fn program_state(program: &Program) -> ProgramState {
    match program.state {
        State::Starting | State::Running => ProgramState::Active(program.pid),
        State::Backoff | State::Unknown => ProgramState::Active(None),
        State::Stopping => ProgramState::Stopping,
        State::Stopped | State::Exited | State::Fatal => ProgramState::Idle,
    }
}

fn program_file(layout: &Layout, spec: &InstanceSpec) -> ProgramFile {
    match std::fs::read_to_string(layout.program_file(&spec.id)) {
        Ok(found) if found == program::text(layout, &spec.id, &spec.body.exec) => ProgramFile::Right,
        Ok(_) => ProgramFile::Other,
        Err(_) => ProgramFile::Missing,
    }
}

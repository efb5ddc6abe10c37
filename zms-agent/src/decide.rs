//! From what is wanted and what was found to the next step. Pure: every rule is a row of a table.
//!
//! No step is trusted because it was done before: each is derived from what is there, so a process killed anywhere
//! goes on as if nothing had happened.

use zms_core::host::{Health, InstanceSpec, Phase, SpecHash, Step};
use zms_core::package::PackageRef;

/// What was found of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Packages whose archive is missing (and which are not unpacked).
    pub unfetched: Vec<PackageRef>,
    /// Packages that are not unpacked.
    pub unpackable: Vec<PackageRef>,
    /// Is the wanted configuration folder whole, unchanged, and the current one?
    pub rendered: bool,
    /// What supervisord says, or why it says nothing.
    pub supervisor: Result<Option<ProgramState>, String>,
    /// Is the program file the one we would write?
    pub program_file: ProgramFile,
    /// Who holds the instance's lock.
    pub process: Found,
    /// What the probe says, asked only while a process of the wanted hash runs.
    pub health: Health,
    /// Configuration or data folders are still in place.
    pub folders: bool,
}

/// supervisord's file for the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramFile {
    /// There is none.
    Missing,
    /// Other bytes than we would write.
    Other,
    /// As it should be.
    Right,
}

/// supervisord's view of a program, without what nobody acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramState {
    /// Nothing runs and nothing will (stopped, exited or given up).
    Idle,
    /// A process runs or is about to; the number is its process, if it has one.
    Active(Option<u32>),
    /// It is being stopped.
    Stopping,
}

/// Who holds the lock of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nobody.
    Nothing,
    /// `zms-agent exec` prepares the start.
    Preparing(u32),
    /// The instance.
    Process {
        /// Its process.
        pid: u32,
        /// What it was started with.
        hash: SpecHash,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Bring an archive.
    Fetch(PackageRef),
    /// Unpack it.
    Unpack(PackageRef),
    /// Write the configuration folder and make it the current one.
    Render,
    /// Write the program file and make supervisord read it.
    Register,
    /// Ask supervisord to start the program, after preflight.
    Start,
    /// Ask supervisord to stop the program.
    StopProgram,
    /// End a process that supervisord does not know: signal, wait, kill.
    StopOrphan(u32),
    /// Take the program away from supervisord.
    Unregister,
    /// Move configuration and data to the trash.
    Discard,
    /// Look again a little later.
    Wait,
    /// Nothing to do.
    Nothing,
}

/// The next step, what to do for it, and why it is not done yet (empty when it is).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Where the instance is.
    pub step: Step,
    /// What to do.
    pub act: Act,
    /// A sentence for people.
    pub why: String,
}

fn decision(step: Step, act: Act, why: impl Into<String>) -> Decision {
    Decision { step, act, why: why.into() }
}

/// Decides for one instance.
pub fn decide(spec: &InstanceSpec, seen: &Observed) -> Decision {
    match spec.phase {
        Phase::Running => towards_running(spec, seen),
        // A registered program would be started by the next supervisord, so a stopped instance is not registered.
        Phase::Stopped => prepare(seen).or_else(|| stop(seen)).or_else(|| unregister(seen)).unwrap_or_else(done),
        Phase::Absent => stop(seen).or_else(|| unregister(seen)).or_else(|| discard(seen)).unwrap_or_else(done),
    }
}

fn done() -> Decision {
    decision(Step::Done, Act::Nothing, "")
}

/// Packages and files: the same for an instance that runs and one that is stopped.
fn prepare(seen: &Observed) -> Option<Decision> {
    if let Some(package) = seen.unfetched.first() {
        let why = format!("fetching {} {}", package.name, package.version);
        return Some(decision(Step::Fetch, Act::Fetch(package.clone()), why));
    }
    if let Some(package) = seen.unpackable.first() {
        let why = format!("unpacking {} {}", package.name, package.version);
        return Some(decision(Step::Unpack, Act::Unpack(package.clone()), why));
    }
    (!seen.rendered).then(|| decision(Step::Render, Act::Render, "writing its files"))
}

fn towards_running(spec: &InstanceSpec, seen: &Observed) -> Decision {
    if let Some(first) = prepare(seen) {
        return first;
    }
    let program = match &seen.supervisor {
        Ok(program) => *program,
        Err(why) => return without_supervisor(spec, seen, why),
    };
    match &seen.process {
        Found::Process { pid, hash } if *hash != spec.hash => end(seen, program, *pid, "it runs with an earlier configuration"),
        Found::Process { .. } if !registered(seen, program) => {
            decision(Step::Register, Act::Register, "telling supervisord about it")
        }
        Found::Process { .. } => match &seen.health {
            Health::Healthy => done(),
            Health::NotYet { why } => decision(Step::Health, Act::Wait, why.clone()),
            Health::Unknown => decision(Step::Health, Act::Wait, "not asked yet"),
        },
        Found::Preparing(pid) => decision(Step::Start, Act::Wait, format!("process {pid} prepares the start")),
        Found::Nothing if !registered(seen, program) => decision(Step::Register, Act::Register, "telling supervisord about it"),
        Found::Nothing => match program {
            Some(ProgramState::Active(_)) => decision(Step::Start, Act::Wait, "supervisord starts it"),
            Some(ProgramState::Stopping) => decision(Step::Stop, Act::Wait, "supervisord stops it"),
            Some(ProgramState::Idle) | None => decision(Step::Start, Act::Start, "starting it"),
        },
    }
}

/// A running instance needs no supervisord to go on serving; everything else waits for it.
fn without_supervisor(spec: &InstanceSpec, seen: &Observed, why: &str) -> Decision {
    let serves = matches!(&seen.process, Found::Process { hash, .. } if *hash == spec.hash) && seen.health == Health::Healthy;
    let why = if serves { format!("it serves without supervisord: {why}") } else { why.to_owned() };
    decision(Step::Supervisor, Act::Wait, why)
}

fn registered(seen: &Observed, program: Option<ProgramState>) -> bool {
    program.is_some() && seen.program_file == ProgramFile::Right
}

/// The step that ends a process; `None` when nothing runs and nothing will.
fn stop(seen: &Observed) -> Option<Decision> {
    let program = match &seen.supervisor {
        Ok(program) => *program,
        // Without supervisord nothing of ours would be restarted under our hands, so an orphan can be ended at once.
        Err(_) => None,
    };
    match &seen.process {
        Found::Process { pid, .. } | Found::Preparing(pid) => Some(end(seen, program, *pid, "it should not run")),
        Found::Nothing => match program {
            Some(ProgramState::Active(_)) => Some(decision(Step::Stop, Act::StopProgram, "supervisord would start it")),
            Some(ProgramState::Stopping) => Some(decision(Step::Stop, Act::Wait, "supervisord stops it")),
            Some(ProgramState::Idle) | None => None,
        },
    }
}

/// Ends the process `pid`: through supervisord if it is its child, else by signals.
fn end(seen: &Observed, program: Option<ProgramState>, pid: u32, why: &str) -> Decision {
    let act = match program {
        Some(ProgramState::Active(Some(child))) if child == pid => Act::StopProgram,
        // supervisord tries to start a second one and is turned away by the lock: that has to end first.
        Some(ProgramState::Active(_)) => Act::StopProgram,
        Some(ProgramState::Stopping) => Act::Wait,
        Some(ProgramState::Idle) | None => Act::StopOrphan(pid),
    };
    let supervised = if seen.supervisor.is_ok() { "" } else { ", and supervisord does not answer" };
    decision(Step::Stop, act, format!("stopping process {pid}: {why}{supervised}"))
}

fn unregister(seen: &Observed) -> Option<Decision> {
    let known = seen.program_file != ProgramFile::Missing || matches!(seen.supervisor, Ok(Some(_)));
    known.then(|| decision(Step::Remove, Act::Unregister, "taking it away from supervisord"))
}

fn discard(seen: &Observed) -> Option<Decision> {
    seen.folders.then(|| decision(Step::Remove, Act::Discard, "moving its data to the trash"))
}

#[cfg(test)]
mod tests {
    use zms_core::host::{Exec, SpecBody, StopSignal};
    use zms_core::probe::Probe;

    use super::*;

    fn package(name: &str) -> PackageRef {
        PackageRef {
            name: name.parse().unwrap(),
            version: "1".parse().unwrap(),
            sha512: "a".repeat(128).parse().unwrap(),
            size: 1,
        }
    }

    fn spec(phase: Phase) -> InstanceSpec {
        let exec = Exec {
            argv: vec!["{package:thing}/run".into()],
            env: Default::default(),
            nofile: 1024,
            stop_signal: StopSignal::Term,
            stop_wait_s: 10,
            start_secs: 1,
        };
        let body = SpecBody {
            restart: 0,
            packages: vec![package("thing")],
            files: vec![],
            prepare: vec![],
            exec,
            ports: vec![],
            probe: Probe::Zookeeper { host: "127.0.0.1".into(), port: 1 },
            min_free_mib: 0,
            disk_full_at: None,
        };
        InstanceSpec::new("thing-1".parse().unwrap(), "u1".into(), "thing".parse().unwrap(), phase, body)
    }

    fn other_hash() -> SpecHash {
        SpecHash::parse(&"0".repeat(32)).unwrap()
    }

    /// A host on which the instance runs and is healthy.
    fn healthy() -> Observed {
        Observed {
            unfetched: vec![],
            unpackable: vec![],
            rendered: true,
            supervisor: Ok(Some(ProgramState::Active(Some(7)))),
            program_file: ProgramFile::Right,
            process: Found::Process { pid: 7, hash: spec(Phase::Running).hash },
            health: Health::Healthy,
            folders: true,
        }
    }

    fn acts(phase: Phase, change: impl FnOnce(&mut Observed)) -> Act {
        let mut seen = healthy();
        change(&mut seen);
        decide(&spec(phase), &seen).act
    }

    #[test]
    fn steps_towards_running_come_in_their_order() {
        use Phase::Running;
        assert_eq!(acts(Running, |_| ()), Act::Nothing);
        assert_eq!(acts(Running, |s| s.unfetched = vec![package("a")]), Act::Fetch(package("a")));
        assert_eq!(acts(Running, |s| s.unpackable = vec![package("a")]), Act::Unpack(package("a")));
        assert_eq!(acts(Running, |s| s.rendered = false), Act::Render);
        assert_eq!(acts(Running, |s| s.supervisor = Ok(None)), Act::Register);
        assert_eq!(acts(Running, |s| s.program_file = ProgramFile::Other), Act::Register);
        let down = |s: &mut Observed| (s.process, s.health) = (Found::Nothing, Health::Unknown);
        assert_eq!(
            acts(Running, |s| {
                down(s);
                s.supervisor = Ok(Some(ProgramState::Idle))
            }),
            Act::Start
        );
        assert_eq!(
            acts(Running, |s| {
                down(s);
                s.supervisor = Ok(Some(ProgramState::Active(None)))
            }),
            Act::Wait
        );
        assert_eq!(
            acts(Running, |s| {
                down(s);
                s.supervisor = Ok(None)
            }),
            Act::Register
        );
        assert_eq!(acts(Running, |s| s.health = Health::NotYet { why: "x".into() }), Act::Wait);
        assert_eq!(acts(Running, |s| s.process = Found::Preparing(9)), Act::Wait);
    }

    #[test]
    fn an_earlier_configuration_is_stopped_by_whoever_runs_it() {
        let old = |s: &mut Observed| s.process = Found::Process { pid: 7, hash: other_hash() };
        assert_eq!(acts(Phase::Running, old), Act::StopProgram);
        assert_eq!(
            acts(Phase::Running, |s| {
                old(s);
                s.supervisor = Ok(Some(ProgramState::Idle))
            }),
            Act::StopOrphan(7)
        );
        assert_eq!(
            acts(Phase::Running, |s| {
                old(s);
                s.supervisor = Ok(Some(ProgramState::Active(Some(8))))
            }),
            Act::StopProgram
        );
        assert_eq!(
            acts(Phase::Running, |s| {
                old(s);
                s.supervisor = Ok(Some(ProgramState::Stopping))
            }),
            Act::Wait
        );
    }

    #[test]
    fn an_orphan_of_the_wanted_hash_is_adopted_and_left_alone() {
        assert_eq!(acts(Phase::Running, |s| s.supervisor = Ok(Some(ProgramState::Idle))), Act::Nothing);
    }

    #[test]
    fn without_supervisord_nothing_is_done_twice() {
        let gone = |s: &mut Observed| s.supervisor = Err("connection refused".into());
        assert_eq!(acts(Phase::Running, gone), Act::Wait);
        assert_eq!(
            acts(Phase::Running, |s| {
                gone(s);
                s.process = Found::Nothing
            }),
            Act::Wait
        );
        assert_eq!(acts(Phase::Stopped, gone), Act::StopOrphan(7));
    }

    #[test]
    fn a_stopped_instance_keeps_its_files_and_is_unknown_to_supervisord() {
        assert_eq!(acts(Phase::Stopped, |_| ()), Act::StopProgram);
        let idle = |s: &mut Observed| (s.process, s.supervisor) = (Found::Nothing, Ok(Some(ProgramState::Idle)));
        assert_eq!(acts(Phase::Stopped, idle), Act::Unregister);
        let down =
            |s: &mut Observed| (s.process, s.supervisor, s.program_file) = (Found::Nothing, Ok(None), ProgramFile::Missing);
        assert_eq!(acts(Phase::Stopped, down), Act::Nothing);
        assert_eq!(
            acts(Phase::Stopped, |s| {
                down(s);
                s.rendered = false
            }),
            Act::Render
        );
    }

    #[test]
    fn an_absent_instance_is_stopped_unregistered_and_its_data_kept() {
        assert_eq!(acts(Phase::Absent, |_| ()), Act::StopProgram);
        let idle = |s: &mut Observed| (s.process, s.supervisor) = (Found::Nothing, Ok(Some(ProgramState::Idle)));
        assert_eq!(acts(Phase::Absent, idle), Act::Unregister);
        let gone =
            |s: &mut Observed| (s.process, s.supervisor, s.program_file) = (Found::Nothing, Ok(None), ProgramFile::Missing);
        assert_eq!(acts(Phase::Absent, gone), Act::Discard);
        assert_eq!(
            acts(Phase::Absent, |s| {
                gone(s);
                s.folders = false
            }),
            Act::Nothing
        );
        assert_eq!(
            acts(Phase::Absent, |s| {
                gone(s);
                s.folders = false;
                s.unfetched = vec![package("a")]
            }),
            Act::Nothing
        );
    }

    proptest::proptest! {
        /// Whatever was found, a decision never starts a second process beside one that holds the lock.
        #[test]
        fn nothing_starts_while_somebody_holds_the_lock(
            phase in 0..3_usize, rendered: bool, program in 0..5_usize, file in 0..3_usize, process in 0..3_usize, folders: bool,
        ) {
            let phase = [Phase::Running, Phase::Stopped, Phase::Absent][phase];
            let wanted = spec(phase);
            let programs: [Result<Option<ProgramState>, String>; 5] =
                [Ok(None), Ok(Some(ProgramState::Idle)), Ok(Some(ProgramState::Active(None))), Ok(Some(ProgramState::Stopping)), Err("x".into())];
            let seen = Observed {
                unfetched: vec![],
                unpackable: vec![],
                rendered,
                supervisor: programs[program].clone(),
                program_file: [ProgramFile::Missing, ProgramFile::Other, ProgramFile::Right][file],
                process: [Found::Preparing(7), Found::Process { pid: 7, hash: wanted.hash.clone() }, Found::Process { pid: 7, hash: other_hash() }][process].clone(),
                health: Health::Unknown,
                folders,
            };
            let act = decide(&wanted, &seen).act;
            proptest::prop_assert!(act != Act::Start && act != Act::Discard, "{:?}", act);
        }
    }
}

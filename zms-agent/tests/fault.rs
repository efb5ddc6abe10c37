//! kill -9 everywhere. Run by `scripts/fault agent`; seeded, so that a failure can be run again.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Host, example, free_port, kill_9, real};
use zms_core::host::{InstanceSpec, Phase, Step};

const SOON: Duration = Duration::from_secs(60);

/// Every step of the loop, in the order in which [`one_life`] comes to them.
const STEPS: [Step; 11] = [
    Step::Fetch,
    Step::Unpack,
    Step::Render,
    Step::Supervisor,
    Step::Preflight,
    Step::Register,
    Step::Health,
    Step::Done,
    Step::Stop,
    Step::Start,
    Step::Remove,
];

/// Where an agent can die: before and after the work of each step.
fn points(steps: &[Step]) -> Vec<String> {
    steps.iter().flat_map(|step| ["before", "after"].map(|moment| format!("{step:?}:{moment}").to_lowercase())).collect()
}

fn version(spec: &InstanceSpec, greeting: &str, phase: Phase) -> InstanceSpec {
    let mut body = spec.body.clone();
    body.files[0].body = greeting.into();
    InstanceSpec::new(spec.id.clone(), spec.uid.clone(), spec.kind.clone(), phase, body)
}

/// Waits for the wanted state; whoever should act and is dead is started again, as systemd or a person would.
fn settle(host: &mut Host, what: &str) {
    settle_within(host, what, SOON);
}

fn settle_within(host: &mut Host, what: &str, within: Duration) {
    if host.agent_pid().is_none() {
        host.start_agent();
    }
    let gone = |h: &Host| h.agent_pid().is_none().then_some(false);
    let done = |h: &Host| h.settled().then_some(true);
    while !host.until(what, within, |h| done(h).or_else(|| gone(h))) {
        host.start_agent();
    }
}

/// The archive of supervisord, kept away from a host.
struct Withheld(Vec<(PathBuf, PathBuf)>);

impl Withheld {
    fn new(packages: &Path) -> Self {
        let entries = std::fs::read_dir(packages).unwrap().map(|entry| entry.unwrap().path());
        let ours = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("supervisor-"));
        let away: Vec<_> = ours.map(|path| (path.clone(), packages.join("away").join(path.file_name().unwrap()))).collect();
        assert!(!away.is_empty(), "{}: there is no supervisord", packages.display());
        for (path, place) in &away {
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::rename(path, place).unwrap();
        }
        Self(away)
    }

    fn give(self) {
        for (path, place) in &self.0 {
            std::fs::rename(place, path).unwrap();
        }
    }
}

fn one_life(step: Step, point: &str) {
    let (keep, packages) = example::folder();
    let package = example::stock(&packages);
    // Steps that a quick host may pass between two looks are held open until the agent died there.
    let withheld = (step == Step::Supervisor).then(|| Withheld::new(&packages));
    let gate = keep.path().join("may-listen");
    let mut host = Host::with_packages(packages);
    let mut first = example::instance("fault-1", &package, free_port(), "one\n");
    first.body.exec.argv.push(gate.display().to_string());
    let first = version(&first, "one\n", Phase::Running);
    if step != Step::Health {
        std::fs::write(&gate, "").unwrap();
    }
    let mark = keep.path().join("reached");
    host.want(vec![first.clone()]);
    host.start_agent_with(&[("ZMS_FAULT_KILL_AT", point), ("ZMS_FAULT_MARK", mark.to_str().unwrap())]);
    host.until("the agent acts, or did", SOON, |h| (h.agent_pid().is_some() || mark.exists()).then_some(()));
    if let Some(withheld) = withheld {
        host.until("the agent died without supervisord", SOON, |_| mark.exists().then_some(()));
        withheld.give();
    }
    if step == Step::Health {
        host.until("the agent died before the instance listened", SOON, |_| mark.exists().then_some(()));
        std::fs::write(&gate, "").unwrap();
    }
    settle(&mut host, "it runs");
    assert_eq!(host.copies("fault-1").len(), 1, "{point}: one copy of the first version");

    let second = version(&first, "two\n", Phase::Running);
    host.want(vec![second.clone()]);
    settle(&mut host, "it runs with another configuration");
    assert_eq!(host.copies("fault-1").len(), 1, "{point}: one copy of the second version");
    assert_eq!(host.instance("fault-1").unwrap().running_hash, Some(second.hash.clone()), "{point}");

    host.want(vec![version(&first, "two\n", Phase::Absent)]);
    settle(&mut host, "it is gone");
    assert_eq!(host.copies("fault-1").len(), 0, "{point}");
    assert!(mark.exists(), "{point}: the agent never got there, so nothing was tested");
}

#[test]
fn an_agent_killed_at_any_step_leaves_what_was_wanted_and_one_copy() {
    for step in STEPS {
        for point in points(&[step]) {
            let begun = std::time::Instant::now();
            one_life(step, &point);
            println!("killed at {point}: as wanted after {:.1} s", begun.elapsed().as_secs_f32());
        }
    }
}

/// Starts an agent that dies at `point` and makes it the one that acts. Where another one does (supervisord keeps one ready), that goes.
fn start_doomed(host: &mut Host, point: &str, mark: &Path) {
    let pid = host.start_agent_with(&[("ZMS_FAULT_KILL_AT", point), ("ZMS_FAULT_MARK", mark.to_str().unwrap())]);
    host.until("the agent that is to die acts, or died", SOON, |h| {
        let acts = h.agent_pid();
        if let Some(other) = acts.filter(|other| *other != pid) {
            // It may have ended by itself since.
            let _ = kill(Pid::from_raw(other as i32), Signal::SIGKILL);
        }
        (acts == Some(pid) || mark.exists()).then_some(())
    });
}

/// The same with real servers. Until supervisord runs, each agent dies at the next step of the installation; afterwards supervisord's own
/// agent would take the next step, so each has something new to do when it acts: a change of Kafka, at last the removal of both.
#[test]
fn zookeeper_and_kafka_come_up_though_the_agent_died_at_every_step() {
    let long = Duration::from_secs(180);
    let mut host = Host::new();
    let withheld = Withheld::new(&host.packages);
    let [zookeeper, kafka] = [("zookeeper", "64"), ("kafka", "256")].map(|(name, heap)| {
        let kind = real::kind(name);
        real::instance(&kind, &real::service(&kind, "fault", &[("heap", heap)]))
    });
    host.want(vec![zookeeper.clone(), kafka.clone()]);
    let marks = tempfile::tempdir().unwrap();
    let mut died = 0;
    let (installing, later) = STEPS.split_at(4);
    for point in points(installing) {
        let mark = marks.path().join(&point);
        start_doomed(&mut host, &point, &mark);
        host.until(&format!("an agent died at {point}"), long, |_| mark.exists().then_some(()));
        died += 1;
    }
    withheld.give();
    settle_within(&mut host, "ZooKeeper and Kafka are healthy", long);

    let mut changes = 0;
    let mut changed = |step: Step| {
        changes += 1;
        let mut body = kafka.body.clone();
        if matches!(step, Step::Preflight | Step::Register) {
            // This is in its program file, the other in its own.
            body.exec.stop_wait_s += changes;
        } else {
            let file = body.files.iter_mut().find(|file| file.name == "server.properties").unwrap();
            file.body.push_str(&format!("\n# change {changes}\n"));
        }
        InstanceSpec::new(kafka.id.clone(), kafka.uid.clone(), kafka.kind.clone(), Phase::Running, body)
    };
    let gone = |spec: &InstanceSpec| InstanceSpec { phase: Phase::Absent, ..spec.clone() };
    for step in later {
        for point in points(&[*step]) {
            let mark = marks.path().join(&point);
            start_doomed(&mut host, &point, &mark);
            if !mark.exists() {
                host.want(match (step, point.ends_with("before")) {
                    (Step::Remove, true) => vec![zookeeper.clone(), gone(&kafka)],
                    (Step::Remove, false) => vec![gone(&zookeeper), gone(&kafka)],
                    _ => vec![zookeeper.clone(), changed(*step)],
                });
            }
            host.until(&format!("an agent died at {point}"), long, |_| mark.exists().then_some(()));
            died += 1;
            settle_within(&mut host, "all is as wanted", long);
            let copies = [&zookeeper, &kafka].map(|spec| host.copies(spec.id.as_str()).len());
            let expected = match (step, point.ends_with("before")) {
                (Step::Remove, before) => [usize::from(before), 0],
                _ => [1, 1],
            };
            assert_eq!(copies, expected, "{point}: copies of ZooKeeper and Kafka");
        }
    }
    assert_eq!(died, points(&STEPS).len());
    println!("with ZooKeeper and Kafka: an agent died at each of {died} points on the way");
}

/// A small generator with a seed: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn anything_killed_at_random_moments_leaves_what_was_wanted_and_one_copy() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, rounds) = (number("ZMS_FAULT_SEED", 1), number("ZMS_FAULT_ROUNDS", 15));
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random(seed);
    let (_keep, packages) = example::folder();
    let package = example::stock(&packages);
    let mut host = Host::with_packages(packages);
    let spec = example::instance("fault-2", &package, free_port(), "start\n");
    host.want(vec![spec.clone()]);
    host.start_agent();
    for round in 0..rounds {
        host.want(vec![version(&spec, &format!("round {round}\n"), Phase::Running)]);
        for _ in 0..=random.below(3) {
            std::thread::park_timeout(Duration::from_millis(random.below(2500)));
            let victim = match random.below(3) {
                0 => host.agent_pid(),
                1 => host.supervisor_pid().filter(|pid| zms_agent::process::alive(*pid)),
                _ => host.copies("fault-2").first().copied(),
            };
            if let Some(pid) = victim.filter(|pid| zms_agent::process::alive(*pid)) {
                kill_9(pid);
            }
            assert!(host.copies("fault-2").len() <= 1, "round {round}: two copies");
        }
        settle(&mut host, "it runs with this round's configuration");
        // The report may be from before the last kill; the process that it names is the proof.
        host.until("the reported process is the one that runs", SOON, |h| {
            let copies = h.copies("fault-2");
            assert!(copies.len() <= 1, "round {round}: two copies");
            let found = h.instance("fault-2")?;
            (h.settled() && copies.first().copied() == found.pid && found.pid.is_some()).then_some(())
        });
    }
}

/// The checker must see the disaster: with the lock taken away, a killed supervisord leads to a second copy.
#[test]
fn without_the_lock_the_checker_sees_two_copies() {
    let (_keep, packages) = example::folder();
    let package = example::stock(&packages);
    let mut host = Host::with_packages(packages);
    let mut spec = example::instance("fault-3", &package, free_port(), "hello\n");
    // Port 0 is another one for each process, so that the second copy is not stopped by its port.
    spec.body.exec.argv[1] = "0".into();
    let spec = InstanceSpec::new(spec.id, spec.uid, spec.kind, spec.phase, spec.body);
    host.want(vec![spec.clone()]);
    host.start_agent();
    host.until("it runs", SOON, |h| (h.copies("fault-3").len() == 1).then_some(()));
    let supervisor = host.until("supervisord is known", SOON, |h| h.supervisor_pid());
    std::fs::remove_file(host.layout.lock(&spec.id)).unwrap();
    kill_9(supervisor);
    host.until("a second copy is seen", SOON, |h| (h.copies("fault-3").len() == 2).then_some(()));
}

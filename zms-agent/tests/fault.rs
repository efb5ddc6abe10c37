//! kill -9 everywhere. Run by `scripts/fault agent`; seeded, so that a failure can be run again.

mod support;

use std::time::Duration;

use support::{Host, example, free_port, kill_9, real};
use zms_core::host::{InstanceSpec, Phase};

const SOON: Duration = Duration::from_secs(60);

/// Every place where an agent can die, in the life that [`one_life`] leads.
const POINTS: [&str; 14] = [
    "fetch:before",
    "fetch:after",
    "unpack:before",
    "unpack:after",
    "render:before",
    "render:after",
    "register:before",
    "register:after",
    "stop:before",
    "stop:after",
    "start:before",
    "start:after",
    "remove:before",
    "remove:after",
];

fn version(spec: &InstanceSpec, greeting: &str, phase: Phase) -> InstanceSpec {
    let mut body = spec.body.clone();
    body.files[0].body = greeting.into();
    InstanceSpec::new(spec.id.clone(), spec.uid.clone(), spec.kind.clone(), phase, body)
}

/// Waits for the wanted state; whoever should act and is dead is started again, as systemd or a person would.
fn settle(host: &mut Host, what: &str) {
    if host.agent_pid().is_none() {
        host.start_agent();
    }
    let gone = |h: &Host| h.agent_pid().is_none().then_some(false);
    let done = |h: &Host| h.settled().then_some(true);
    while !host.until(what, SOON, |h| done(h).or_else(|| gone(h))) {
        host.start_agent();
    }
}

fn one_life(point: &str) {
    let (keep, packages) = example::folder();
    let package = example::stock(&packages);
    let mut host = Host::with_packages(packages);
    let first = example::instance("fault-1", &package, free_port(), "one\n");
    let mark = keep.path().join("reached");
    host.want(vec![first.clone()]);
    host.start_agent_with(&[("ZMS_FAULT_KILL_AT", point), ("ZMS_FAULT_MARK", mark.to_str().unwrap())]);
    host.until("the agent acts, or did", SOON, |h| (h.agent_pid().is_some() || mark.exists()).then_some(()));
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
    for point in POINTS {
        let begun = std::time::Instant::now();
        one_life(point);
        println!("killed at {point}: as wanted after {:.1} s", begun.elapsed().as_secs_f32());
    }
}

/// The same with real servers: each agent dies at another step of the installation.
#[test]
fn zookeeper_and_kafka_come_up_though_the_agent_died_at_every_step() {
    let mut host = Host::new();
    let specs = [("zookeeper", "64"), ("kafka", "256")].map(|(name, heap)| {
        let kind = real::kind(name);
        real::instance(&kind, &real::service(&kind, "fault", &[("heap", heap)]))
    });
    host.want(specs.to_vec());
    let marks = tempfile::tempdir().unwrap();
    for point in POINTS.iter().take_while(|point| !point.starts_with("stop")) {
        let mark = marks.path().join(point);
        let before = host.agent_pid();
        host.start_agent_with(&[("ZMS_FAULT_KILL_AT", point), ("ZMS_FAULT_MARK", mark.to_str().unwrap())]);
        // Where another one acts (supervisord keeps one ready) it has to go first.
        before.into_iter().for_each(kill_9);
        host.until("the agent died there, or another acts, or all is done", SOON, |h| {
            (mark.exists() || h.settled() || h.agent_pid().is_some_and(|pid| Some(pid) != before)).then_some(())
        });
    }
    settle(&mut host, "ZooKeeper and Kafka are healthy");
    for spec in &specs {
        assert_eq!(host.copies(spec.id.as_str()).len(), 1, "{}", spec.id);
    }
    let died = std::fs::read_dir(marks.path()).unwrap().count();
    assert!(died >= 3, "only {died} agents died");
    println!("with ZooKeeper and Kafka: {died} agents died on the way");
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

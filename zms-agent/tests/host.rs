//! A host keeps its promise: from a desired-state file to healthy servers, with anything killed on the way.
//!
//! Real supervisord, ZooKeeper, Kafka, RocketMQ and InfluxDB, from the packages that `scripts/packages` built.

mod support;

use std::time::Duration;

use support::{Host, example, free_port, kill_9, real, signal_quit};
use zms_core::catalogue::{Member, Place, Service};
use zms_core::host::{Health, InstanceSpec, Phase, Step};

const SOON: Duration = Duration::from_secs(40);

/// A host with one running example instance.
fn example_host(id: &str) -> (tempfile::TempDir, Host, InstanceSpec) {
    let (folder, packages) = example::folder();
    let package = example::stock(&packages);
    let mut host = Host::with_packages(packages);
    let spec = example::instance(id, &package, free_port(), "hello\n");
    host.want(vec![spec.clone()]);
    host.start_agent();
    (folder, host, spec)
}

/// A spec with something else in its files.
fn changed(spec: &InstanceSpec, greeting: &str) -> InstanceSpec {
    let mut body = spec.body.clone();
    body.files[0].body = greeting.into();
    InstanceSpec::new(spec.id.clone(), spec.uid.clone(), spec.kind.clone(), spec.phase, body)
}

#[test]
fn an_instance_goes_through_its_whole_life() {
    let (_keep, mut host, spec) = example_host("life-1");
    host.settle(SOON);
    let first = host.instance("life-1").unwrap();
    assert!(first.supervised && first.health == Health::Healthy, "{first:?}");

    // Another configuration restarts it with that configuration.
    let spec = changed(&spec, "good day\n");
    host.want(vec![spec.clone()]);
    host.settle(SOON);
    let second = host.instance("life-1").unwrap();
    assert_ne!(second.pid, first.pid);
    assert_eq!(second.running_hash.as_ref(), Some(&spec.hash));
    let data = host.layout.data_dir(&spec.id);
    assert_eq!(std::fs::read_to_string(data.join("greeting.txt")).unwrap(), "good day\n");

    // Stopped: nothing runs, also not after supervisord was killed and came back.
    host.want(vec![InstanceSpec { phase: Phase::Stopped, ..spec.clone() }]);
    host.settle(SOON);
    assert_eq!(host.copies("life-1"), [0_u32; 0]);
    let before = host.supervisor_pid().unwrap();
    kill_9(before);
    host.until("another supervisord answers", SOON, |h| h.supervisor_pid().filter(|pid| *pid != before));
    host.settle(SOON);
    assert_eq!(host.copies("life-1"), [0_u32; 0]);

    // Started again, then taken away: its data waits in the trash.
    host.want(vec![spec.clone()]);
    host.settle(SOON);
    assert_eq!(host.copies("life-1").len(), 1);
    host.want(vec![InstanceSpec { phase: Phase::Absent, ..spec.clone() }]);
    host.settle(SOON);
    assert_eq!(host.copies("life-1"), [0_u32; 0]);
    assert!(!data.exists());
    let kept = host.layout.trash().join(format!("life-1-{}/data/greeting.txt", spec.uid));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "good day\n");
}

#[test]
fn whatever_is_killed_the_instance_runs_once_and_goes_on_logging() {
    let (_keep, mut host, _spec) = example_host("kill-1");
    host.settle(SOON);
    let pid = host.instance("kill-1").unwrap().pid.unwrap();

    // The agent: the one that supervisord keeps ready takes over; the instance is not touched.
    let agent = host.until("an agent acts", SOON, |h| h.agent_pid());
    kill_9(agent);
    host.until("another agent acts", SOON, |h| h.agent_pid().filter(|pid| *pid != agent));
    host.settle(SOON);
    assert_eq!(host.copies("kill-1"), [pid]);

    // supervisord: the instance is adopted, answers, and its log goes on.
    let supervisor = host.supervisor_pid().unwrap();
    kill_9(supervisor);
    host.until("another supervisord answers", SOON, |h| h.supervisor_pid().filter(|pid| *pid != supervisor));
    host.settle(SOON);
    assert_eq!(host.copies("kill-1"), [pid]);
    host.until("the orphan is shown as one", SOON, |h| h.instance("kill-1").filter(|i| !i.supervised));
    let before = host.log_of("kill-1").lines().count();
    host.until("the orphan's log grows", SOON, |h| (h.log_of("kill-1").lines().count() > before).then_some(()));

    // Both at once: whoever is started next finds the orphan.
    let (agent, supervisor) = (host.until("an agent acts", SOON, |h| h.agent_pid()), host.supervisor_pid().unwrap());
    kill_9(supervisor);
    kill_9(agent);
    host.start_agent();
    host.until("another agent acts", SOON, |h| h.agent_pid().filter(|pid| *pid != agent));
    host.until("another supervisord answers", SOON, |h| h.supervisor_pid().filter(|pid| *pid != supervisor));
    host.settle(SOON);
    assert_eq!(host.copies("kill-1"), [pid]);

    // The instance itself: it comes back, supervised.
    kill_9(pid);
    host.until("a new process runs", SOON, |h| h.instance("kill-1").filter(|i| i.pid.is_some_and(|p| p != pid)));
    host.settle(SOON);
    host.until("it is supervised again", SOON, |h| h.instance("kill-1").filter(|i| i.supervised));
    assert_eq!(host.copies("kill-1").len(), 1);
}

#[test]
fn a_listener_that_answers_garbage_is_never_healthy() {
    let (_keep, packages) = example::folder();
    let package = example::stock(&packages);
    let mut host = Host::with_packages(packages);
    let mut spec = example::instance("garbage-1", &package, free_port(), "hello\n");
    let port = spec.body.ports[0].port;
    spec.body.exec.argv = vec!["{package:example}/bin/garbage".into(), port.to_string()];
    spec.body.probe = zms_core::probe::Probe::Kafka { host: "127.0.0.1".into(), port, node_id: 1 };
    host.want(vec![InstanceSpec::new(spec.id, spec.uid, spec.kind, spec.phase, spec.body)]);
    host.start_agent();
    host.until("it answered six questions", SOON, |h| {
        let report = h.instance("garbage-1");
        assert!(report.is_none_or(|found| !found.done() && found.health != Health::Healthy), "{}", h.story());
        (h.log_of("garbage-1").matches("garbage").count() >= 6).then_some(())
    });
    let report = host.instance("garbage-1").unwrap();
    let Health::NotYet { why } = &report.health else { panic!("{report:?}") };
    assert!(report.step == Step::Health && report.pid.is_some() && !why.contains("refused"), "{report:?}");
}

#[test]
fn a_port_in_use_is_told_and_the_start_follows_when_it_is_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_keep, packages) = example::folder();
    let package = example::stock(&packages);
    let mut host = Host::with_packages(packages);
    host.want(vec![example::instance("port-1", &package, taken.local_addr().unwrap().port(), "hello\n")]);
    host.start_agent();
    let report = host.until("preflight says why", SOON, |h| h.instance("port-1").filter(|i| i.step == Step::Preflight));
    assert!(report.message.contains("in use"), "{}", report.message);
    drop(taken);
    host.settle(SOON);
}

#[test]
fn a_wrong_archive_and_a_full_disk_are_told_and_mended() {
    let (_keep, packages) = example::folder();
    let package = example::stock(&packages);
    let archive = packages.join("example.tar.zst");
    let good = std::fs::read(&archive).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    std::fs::write(&archive, bad).unwrap();
    let mut host = Host::with_packages(packages);
    let spec = example::instance("wrong-1", &package, free_port(), "hello\n");
    let mut body = spec.body.clone();
    body.min_free_mib = u64::MAX >> 24;
    let greedy = InstanceSpec::new(spec.id.clone(), spec.uid.clone(), spec.kind.clone(), spec.phase, body);
    host.want(vec![greedy]);
    host.start_agent();
    let report = host.until("the hash is refused", SOON, |h| h.instance("wrong-1").filter(|i| i.message.contains("SHA-512")));
    assert_eq!(report.step, Step::Fetch);
    std::fs::write(&archive, good).unwrap();
    let report = host.until("space is too short", SOON, |h| h.instance("wrong-1").filter(|i| i.step == Step::Preflight));
    assert!(report.message.contains("MiB free"), "{}", report.message);
    host.want(vec![spec]);
    host.settle(SOON);
}

#[test]
fn a_state_that_is_older_broken_or_wants_a_shell_changes_nothing() {
    let (_keep, mut host, spec) = example_host("refuse-1");
    host.settle(SOON);
    host.want(vec![spec.clone()]);
    host.settle(SOON);
    let pid = host.instance("refuse-1").unwrap().pid;
    let (generation, gone) = (host.generation(), InstanceSpec { phase: Phase::Absent, ..spec.clone() });
    assert!(generation > 1);
    let older = serde_json::to_vec(&host.state(generation - 1, vec![gone.clone()])).unwrap();
    let broken = &serde_json::to_vec(&host.state(generation + 1, vec![gone])).unwrap()[..60];
    for (bytes, sentence) in [(older.as_slice(), format!("is older than {generation}")), (broken, "is no desired state".into())] {
        host.write_desired(bytes);
        host.until("it is refused", SOON, |h| h.agent_log().contains(&sentence).then_some(()));
        assert!(host.settled() && host.copies("refuse-1") == pid.into_iter().collect::<Vec<_>>(), "{sentence}");
    }
    let mut body = spec.body.clone();
    body.exec.argv = vec!["/bin/sh".into(), "-c".into(), "touch /tmp/owned".into()];
    let evil = InstanceSpec::new(spec.id.clone(), spec.uid.clone(), spec.kind.clone(), spec.phase, body);
    host.want(vec![evil]);
    let report = host.until("the shell is refused", SOON, |h| {
        h.instance("refuse-1").filter(|i| i.message.contains("program lies in a package"))
    });
    assert_eq!((report.pid, report.step), (pid, Step::Render));
    host.want(vec![spec]);
    host.settle(SOON);
    assert_eq!(host.instance("refuse-1").unwrap().pid, pid);
}

#[test]
fn real_servers_come_up_and_survive_kill_9_of_supervisord_and_of_themselves() {
    let long = Duration::from_secs(180);
    let mut host = Host::new();
    let (zookeeper, kafka, influxdb) = (real::kind("zookeeper"), real::kind("kafka"), real::kind("influxdb"));
    let zookeeper_spec = real::instance(&zookeeper, &real::service(&zookeeper, "real", &[("heap", "64")]));
    let mut kafka_service = real::service(&kafka, "real", &[("heap", "256"), ("offsets.topic.num.partitions", "4")]);
    let kafka_spec = real::instance(&kafka, &kafka_service);
    let influxdb_spec = real::instance(&influxdb, &real::service(&influxdb, "real", &[]));
    let all = [zookeeper_spec, kafka_spec, influxdb_spec];
    host.want(all.to_vec());
    host.start_agent();
    host.settle(long);
    let before: Vec<_> = all.iter().map(|spec| host.copies(spec.id.as_str())).collect();
    assert!(before.iter().all(|copies| copies.len() == 1), "{before:?}");

    // Nothing is started twice, everything still answers and still writes its log.
    let supervisor = host.supervisor_pid().unwrap();
    kill_9(supervisor);
    host.until("another supervisord answers", SOON, |h| h.supervisor_pid().filter(|pid| *pid != supervisor));
    host.settle(SOON);
    let after: Vec<_> = all.iter().map(|spec| host.copies(spec.id.as_str())).collect();
    assert_eq!(before, after);
    for (spec, pid) in all.iter().zip(&before).filter(|(spec, _)| spec.kind.as_str() != "influxdb") {
        let dumps = |h: &Host| h.log_of(spec.id.as_str()).matches("Full thread dump").count();
        let had = dumps(&host);
        signal_quit(pid[0]);
        host.until("a thread dump is in the log of an orphan", SOON, |h| (dumps(h) > had).then_some(()));
    }

    // A broker that was killed comes back on its data; the configuration of another spec reaches it.
    kill_9(before[1][0]);
    host.until("Kafka has another process", SOON, |h| {
        h.instance("kafka-real").filter(|i| i.pid.is_some_and(|pid| pid != before[1][0]))
    });
    host.settle(long);
    kafka_service.settings.insert("log.retention.hours".into(), "3".into());
    let changed = real::instance(&kafka, &kafka_service);
    assert_ne!(changed.hash, all[1].hash);
    host.want(vec![all[0].clone(), changed, all[2].clone()]);
    host.settle(long);
    assert!(host.log_of("kafka-real").contains("log.retention.hours = 3"));
    assert_eq!(host.copies("kafka-real").len(), 1);
}

/// A service of two hosts: their first master, its slave and a name server, all on this host.
#[test]
fn rocketmq_comes_up_with_a_slave_and_comes_back_after_kills() {
    let long = Duration::from_secs(180);
    let kind = real::kind("rocketmq");
    let settings = [("slaves", "true"), ("heap", "160"), ("mappedFileSizeCommitLog", "16MiB"), ("nameserver_heap", "64")];
    let base = real::service(&kind, "real", &settings);
    let member = |place: Place| Member {
        instance: format!("mq-{}", place.number).parse().unwrap(),
        uid: format!("mq-{}", place.number),
        node_id: place.number,
        role: place.role,
        settings: kind.ports().iter().map(|port| (port.setting_key(), free_port().to_string())).collect(),
        ..base.members[0].clone()
    };
    let members = kind.places(2, &base.settings).into_iter().map(member).collect();
    let service = Service { members, ..base };
    let mut specs = kind.render(&service).unwrap();
    specs.retain(|spec| ["mq-1", "mq-101", "mq-201"].contains(&spec.id.as_str()));
    let mut host = Host::new();
    host.want(specs.clone());
    host.start_agent();
    host.settle(long);
    let name_server = specs[2].body.ports[0].socket();
    let listed = real::rocketmq_says(&name_server, 106);
    let addresses = [(0, &specs[0]), (1, &specs[1])].map(|(id, spec)| format!("{id}:\"{}\"", spec.body.ports[0].socket()));
    assert!(addresses.iter().all(|address| listed.contains(address.as_str())), "{listed}");
    assert_eq!(specs.iter().map(|spec| host.copies(spec.id.as_str()).len()).collect::<Vec<_>>(), [1, 1, 1]);

    // A broker unpacks a library once it has messages; what a killed one leaves of it is gone with the next start.
    let temporary = host.layout.tmp_dir(&specs[0].id);
    let broker = host.instance(specs[0].id.as_str()).unwrap().pid.unwrap();
    let command = std::fs::read_to_string(format!("/proc/{broker}/cmdline")).unwrap();
    assert!(command.contains(&format!("-Djava.io.tmpdir={}\0", temporary.display())), "{command}");
    let left = temporary.join("library.so");
    std::fs::write(&left, "x").unwrap();

    // Both at once: a name server that comes back knows nothing until the brokers have told it, within half a minute.
    let killed = [&specs[0], &specs[2]].map(|spec| (spec.id.clone(), host.instance(spec.id.as_str()).unwrap().pid.unwrap()));
    killed.iter().for_each(|(_, pid)| kill_9(*pid));
    for (id, before) in &killed {
        host.until("another process runs", long, |h| {
            h.instance(id.as_str()).filter(|found| found.pid.is_some_and(|pid| pid != *before))
        });
    }
    host.settle(long);
    assert!(temporary.exists() && !left.exists());

    // Stopped in order: nobody was killed, so nothing is left of the mark that a broker keeps while it runs.
    let abort = host.layout.data_dir(&specs[0].id).join("store/abort");
    assert!(abort.exists());
    specs.iter_mut().for_each(|spec| spec.phase = Phase::Stopped);
    host.want(specs);
    host.settle(long);
    assert!(!abort.exists());
}

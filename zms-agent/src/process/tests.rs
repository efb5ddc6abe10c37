use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::*;

const SPEC: &str = "0123456789abcdef0123456789abcdef";

/// An id that no other test uses, so that tests may run side by side.
fn id(test: &str) -> InstanceId {
    InstanceId::new(format!("{test}-{}", std::process::id())).unwrap()
}

/// A process of an instance as `zms-agent exec` would leave it, returned when it is the program that was asked for.
#[allow(clippy::disallowed_methods, reason = "stands for an instance")]
fn spawn(id: &InstanceId, script: &str) -> Child {
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("{script}; echo ready; while :; do read line; done")])
        .env(INSTANCE_VARIABLE, id.as_str())
        .env(SPEC_VARIABLE, SPEC)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn a_marker_is_read_only_where_both_parts_are_valid() {
    let environ = |parts: &[&str]| parts.join("\0").into_bytes();
    let spec = format!("ZMS_SPEC={SPEC}");
    let found = marker_in(&environ(&["A=1", "ZMS_INSTANCE=kafka-1", &spec, ""])).unwrap();
    assert_eq!((found.instance.as_str(), found.spec.as_str()), ("kafka-1", SPEC));
    for bad in [
        &["ZMS_INSTANCE=kafka-1"][..],
        &[&spec],
        &["ZMS_INSTANCE=", "ZMS_SPEC="],
        &["ZMS_INSTANCE=../x", &spec],
        &["XZMS_INSTANCE=kafka-1", &spec],
        &["ZMS_INSTANCE=kafka-1", "ZMS_SPEC=short"],
        &[],
    ] {
        assert_eq!(marker_in(&environ(bad)), None, "{bad:?}");
    }
}

#[test]
fn the_state_line_is_read_behind_a_name_with_parentheses() {
    let line = b"42 (a) R (b) Z 7 9 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 10 18446744073709551615";
    let stat = Stat::parse(line).unwrap();
    assert_eq!((stat.state, stat.parent, stat.group, stat.start_time), (b'Z', 7, 9, 98765));
    assert!(!stat.lives());
    assert!(Stat::parse(b"42 (a").is_none() && Stat::parse(b"").is_none());
}

#[test]
fn this_process_is_seen_and_one_that_cannot_be_is_not() {
    let me = std::process::id();
    assert!(alive(me) && Process::of(me).unwrap().alive());
    assert_eq!(start_time(me), Some(Process::of(me).unwrap().start_time));
    assert!(command(me).unwrap().contains("zms"), "{:?}", command(me));
    assert!(!Process { pid: me, start_time: 1 }.alive(), "the number alone is not the process");
    let none = 1 << 23;
    assert!(!alive(none) && marker(none).is_none() && command(none).is_none() && start_time(none).is_none());
}

#[test]
fn a_dead_child_that_nobody_has_waited_for_is_not_alive() {
    let mut child = spawn(&id("dead"), ":");
    let process = Process::of(child.id()).unwrap();
    child.kill().unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while process.alive() {
        assert!(std::time::Instant::now() < end, "a killed process is still seen as alive");
        std::thread::yield_now();
    }
    assert!(fs::metadata(format!("/proc/{}", child.id())).is_ok(), "a zombie is still listed");
    child.wait().unwrap();
}

#[test]
fn copies_of_an_instance_are_counted_and_their_children_are_not() {
    let id = id("copies");
    assert!(find_instances(&id).is_empty());
    let mut children = [spawn(&id, "sleep 60 & :"), spawn(&id, ":")];
    let mut wanted: Vec<u32> = children.iter().map(Child::id).collect();
    wanted.sort_unstable();
    let found = find_instances(&id);
    for child in &mut children {
        killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }
    assert_eq!(found, wanted);
}

/// Someone must wait for the child, as supervisord or init does.
fn reap(mut child: Child) -> std::thread::JoinHandle<std::process::ExitStatus> {
    std::thread::spawn(move || child.wait().unwrap())
}

#[tokio::test]
async fn a_process_that_obeys_is_stopped_and_a_deaf_one_is_killed() {
    for (script, ended) in [(":", Ended::Stopped), ("trap '' TERM", Ended::Killed)] {
        let child = spawn(&id("end"), script);
        let process = Process::of(child.id()).unwrap();
        let child = reap(child);
        let wait = if ended == Ended::Killed { Duration::from_millis(200) } else { Duration::from_secs(20) };
        assert_eq!(terminate(process, StopSignal::Term, wait).await.unwrap(), ended, "{script}");
        child.join().unwrap();
        assert_eq!(terminate(process, StopSignal::Term, wait).await.unwrap(), Ended::AlreadyGone);
    }
}

#[tokio::test]
async fn a_process_that_got_the_number_later_is_left_alone() {
    let mut child = spawn(&id("number"), ":");
    let before = Process { start_time: 1, ..Process::of(child.id()).unwrap() };
    let ended = terminate(before, StopSignal::Term, Duration::from_secs(1)).await.unwrap();
    assert_eq!(ended, Ended::AlreadyGone);
    assert!(alive(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
}

//! What the kinds of this repository render, as text. `ZMS_GOLDEN=write cargo test -p zms-core` writes it anew.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fmt::Write;
use std::path::Path;

use support::{kind, service, with_setting};
use zms_core::catalogue::Planned;
use zms_core::host::Prepare;

fn show(planned: &[Planned]) -> String {
    let mut out = String::new();
    for Planned { spec, role, memory_mib } in planned {
        let body = &spec.body;
        writeln!(out, "==== {} ({}, role {role:?}, memory {memory_mib} MiB, hash {})", spec.id, spec.kind, spec.hash).unwrap();
        writeln!(out, "packages {:?}", body.packages.iter().map(|package| package.folder()).collect::<Vec<_>>()).unwrap();
        for file in &body.files {
            writeln!(out, "---- {}\n{}", file.name, file.body).unwrap();
        }
        for prepare in &body.prepare {
            match prepare {
                Prepare::Copy { from, to } => writeln!(out, "---- copy {from} to {to}").unwrap(),
                Prepare::Run { unless, argv, timeout_s } => {
                    writeln!(out, "---- run within {timeout_s} s unless {unless}:\n{}", argv.join("\n")).unwrap();
                }
            }
        }
        let exec = &body.exec;
        writeln!(out, "---- exec\n{}", exec.argv.join("\n")).unwrap();
        writeln!(out, "env {:?}", exec.env).unwrap();
        let stop = exec.stop_signal.name();
        writeln!(out, "nofile {} stop {stop} within {} s start {} s", exec.nofile, exec.stop_wait_s, exec.start_secs).unwrap();
        for port in &body.ports {
            writeln!(out, "port {} {}:{}", port.name, port.address, port.port).unwrap();
        }
        writeln!(out, "probe {:?}\nfree {} MiB\n", body.probe, body.min_free_mib).unwrap();
    }
    out
}

fn compare(name: &str, planned: &[Planned]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    let got = show(planned);
    if std::env::var_os("ZMS_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, &got).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        wanted == got,
        "{} differs from what is rendered now; if that is right, run with ZMS_GOLDEN=write\n{got}",
        path.display()
    );
}

#[test]
fn one_and_three_members_of_each_kind_render_as_before() {
    for name in support::KINDS {
        let kind = kind(name);
        for (members, memory_mib) in [(1, 24 * 1024), (3, 2 * 1024)] {
            let planned =
                kind.plan(&service(&kind, members, memory_mib)).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
            compare(&format!("{name}-{members}"), &planned);
        }
    }
}

#[test]
fn a_rocketmq_with_slaves_renders_as_before() {
    let kind = kind("rocketmq");
    let planned = kind.plan(&support::service_with(&kind, 2, 2 * 1024, &[("slaves", "true")])).unwrap();
    compare("rocketmq-2-slaves", &planned);
}

#[test]
fn a_kafka_with_brokers_only_and_touched_settings_renders_as_before() {
    let kind = kind("kafka");
    let mut service = service(&kind, 4, 0);
    for (key, value) in [
        ("heap", "512m"),
        ("log.retention.hours", "unlimited"),
        ("extra_properties", "log.message.timestamp.type = LogAppendTime\ncompression.type=a\\b"),
        ("jvm_options", "-Xlog:gc*:stdout -XX:NativeMemoryTracking=summary"),
    ] {
        service = with_setting(service, key, value);
    }
    service.members[3].settings.insert("broker.rack".to_owned(), "room-b".to_owned());
    service.members[3].address = "fd00::4".to_owned();
    compare("kafka-4-touched", &kind.plan(&service).unwrap()[2..]);
}

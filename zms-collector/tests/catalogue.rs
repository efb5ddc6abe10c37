//! What the catalogue renders for a collector is what the program reads.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

use std::collections::BTreeMap;
use std::path::Path;

use zms_collector::config::read;
use zms_core::catalogue::{Kind, Member, Service};
use zms_core::host::Phase;
use zms_core::names::{InstanceId, ServiceName};
use zms_core::package::PackageRef;
use zms_core::probe::Probe;

fn kind() -> Kind {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../catalogue/collector.toml");
    Kind::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn service(settings: &[(&str, &str)]) -> Service {
    let package: PackageRef = serde_json::from_value(serde_json::json!({
        "name": "zms-collector", "version": env!("CARGO_PKG_VERSION"), "sha512": "0".repeat(128), "size": 1
    }))
    .unwrap();
    let member = Member {
        instance: InstanceId::new("collector-1").unwrap(),
        uid: "01JD8Z3V9Q4M5N6P7R8S9TAVWX".to_owned(),
        node_id: 1,
        address: "10.0.0.7".to_owned(),
        memory_mib: 4096,
        phase: Phase::Running,
        restart: 0,
        role: None,
        generated: BTreeMap::new(),
        settings: BTreeMap::new(),
    };
    Service {
        name: ServiceName::new("collector").unwrap(),
        packages: vec![package],
        settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        members: vec![member],
        generated: BTreeMap::new(),
    }
}

#[test]
fn every_setting_reaches_the_program() {
    let settings = [("frames_port", "18445"), ("status_port", "19090"), ("queue_points", "1234"), ("log_level", "debug")];
    let kind = kind();
    assert_eq!(kind.settings().len(), settings.len(), "a new setting belongs here");
    let spec = kind.render(&service(&settings)).unwrap().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let file = spec.body.files.iter().find(|file| file.name == "collector.toml").unwrap();
    // As the agent puts paths in.
    let body = file.body.replace("{portal}", "https://portal:8444").replace("{conf}", "/conf").replace("{data}", "/data");
    std::fs::write(folder.path().join("collector.toml"), body).unwrap();
    let path = folder.path().join("collector.toml");
    let config = read(["zms-collector".into(), "--config".into(), path.into_os_string()]).unwrap();
    assert_eq!(
        (config.frames_listen.to_string(), config.status_listen.to_string()),
        ("10.0.0.7:18445".to_owned(), "127.0.0.1:19090".to_owned())
    );
    assert_eq!((config.queue_points, config.portal.as_str()), (1234, "https://portal:8444"));
    assert_eq!(
        (config.identity.as_path(), config.authority.as_path()),
        (Path::new("/conf/identity.pem"), Path::new("/conf/authority.pem"))
    );
    assert_eq!(spec.body.exec.env["RUST_LOG"], "debug");
    assert!(matches!(&spec.body.probe, Probe::Http { host, port: 19090, path } if host == "127.0.0.1" && path == "/livez"));
}

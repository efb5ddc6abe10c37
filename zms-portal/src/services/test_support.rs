//! What the tests of this slice share.

use std::collections::BTreeMap;

use zms_core::catalogue::{Kind, Member, Needed, Per, Place, Service};
use zms_core::host::{Exec, Health, HostFacts, InstanceReport, InstanceSpec, Phase, Port, SpecBody, Step, StopSignal};
use zms_core::names::{InstanceId, KindName, ServiceName, Sha512, Version};
use zms_core::package::PackageRef;
use zms_core::probe::Probe;

use super::store::InstanceRow;
use crate::app::{App, now_ms};
use crate::config::Config;
use crate::db::TestDb;
use crate::environments::Environment;
use crate::hosts::HostRow;
use crate::serve;

/// A small spec that listens on 10.0.0.1.
pub fn spec(instance: &str, phase: Phase, port: u16) -> InstanceSpec {
    let body = SpecBody {
        restart: 0,
        packages: Vec::new(),
        files: Vec::new(),
        prepare: Vec::new(),
        exec: Exec {
            argv: vec!["{java}".to_owned()],
            env: BTreeMap::new(),
            nofile: 1024,
            stop_signal: StopSignal::Term,
            stop_wait_s: 10,
            start_secs: 1,
        },
        ports: vec![Port { name: "client".to_owned(), address: "10.0.0.1".to_owned(), port }],
        probe: Probe::Zookeeper { host: "10.0.0.1".to_owned(), port },
        min_free_mib: 0,
        disk_full_at: None,
    };
    InstanceSpec::new(
        InstanceId::new(instance).unwrap(),
        format!("uid-{instance}"),
        KindName::new("zookeeper").unwrap(),
        phase,
        body,
    )
}

/// A service of `kind` on so many hosts of `memory_mib`, and no setting touched.
pub fn service(kind: &Kind, hosts: usize, memory_mib: u64) -> Service {
    let name = kind.name().as_str();
    let make = |per: Per, seed: u8| -> BTreeMap<String, String> {
        let wanted = kind.generated().iter().filter(|generated| generated.per == per);
        wanted.map(|generated| (generated.name.clone(), generated.make([seed; 16]))).collect()
    };
    let member = |place: Place| Member {
        instance: InstanceId::new(format!("{name}-{}", place.number)).unwrap(),
        uid: format!("uid-{}", place.number),
        node_id: place.number,
        address: format!("10.0.0.{}", place.host + 1),
        memory_mib,
        phase: Phase::Running,
        restart: 0,
        role: place.role,
        generated: make(Per::Instance, u8::try_from(place.number).unwrap()),
        settings: BTreeMap::new(),
    };
    let package = |needed: &Needed| PackageRef {
        name: needed.name.clone(),
        version: Version::new(format!("{}1", needed.versions.first().map_or("", String::as_str))).unwrap(),
        sha512: Sha512::new("ab".repeat(64)).unwrap(),
        size: 1000,
    };
    Service {
        name: ServiceName::new(name).unwrap(),
        packages: kind.packages().iter().map(package).collect(),
        settings: BTreeMap::new(),
        members: kind.places(hosts, &BTreeMap::new()).into_iter().map(member).collect(),
        generated: make(Per::Service, 200),
    }
}

/// The row of an instance of `spec` on `host`.
pub(super) fn instance_row(host: &str, spec: InstanceSpec) -> InstanceRow {
    InstanceRow {
        id: format!("row-{}", spec.id),
        service_id: "service".to_owned(),
        host_id: host.to_owned(),
        node_id: 1,
        role: String::new(),
        address: "10.0.0.1".to_owned(),
        generated: BTreeMap::new(),
        settings: BTreeMap::new(),
        spec,
    }
}

/// What an agent reports of `spec` when it is as it should be, or still at work.
pub fn report(spec: &InstanceSpec, done: bool) -> InstanceReport {
    let running = spec.phase == Phase::Running;
    let health = match (running, done) {
        (true, true) => Health::Healthy,
        (true, false) => Health::NotYet { why: "no answer yet".to_owned() },
        (false, _) => Health::Unknown,
    };
    InstanceReport {
        id: spec.id.clone(),
        wanted: spec.phase,
        wanted_hash: spec.hash.clone(),
        running_hash: running.then(|| spec.hash.clone()),
        pid: running.then_some(4242),
        supervised: true,
        health,
        step: if done { Step::Done } else { Step::Health },
        message: if done { String::new() } else { "waits for its probe".to_owned() },
        failures: 0,
    }
}

/// Host `number` of a test, online at `now_ms`.
pub fn host_row(number: u8, now_ms: i64) -> HostRow {
    let facts = HostFacts {
        hostname: format!("host-{number}"),
        addresses: vec![format!("10.0.0.{number}"), format!("fd00::{number}")],
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        arch: "x86_64".to_owned(),
        cpus: 4,
        memory_mib: 4000,
        disk_free_mib: 20_000,
        ..HostFacts::default()
    };
    HostRow {
        id: format!("01JDG6Z3V0T7S4Q9X8K2M5N1P{number}"),
        name: format!("host-{number}"),
        address: format!("10.0.0.{number}"),
        facts,
        report: None,
        seen_at: Some(now_ms),
        revoked: false,
        generation: 0,
    }
}

/// An app of its own in a temporary folder, with an empty stock.
pub struct TestApp {
    /// As in production.
    pub app: App,
    _folder: TestDb,
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

impl TestApp {
    /// Opens it.
    pub async fn start() -> Self {
        Self::on(TestDb::new().await).await
    }

    /// Opens what another one left in a folder, on SQLite whatever the run is about: its database is a file there.
    pub async fn open(folder: tempfile::TempDir) -> Self {
        Self::on(TestDb::sqlite_in(folder)).await
    }

    async fn on(folder: TestDb) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let arguments =
            ["zms-portal".to_owned(), "--data-dir".to_owned(), path("data"), "--packages".to_owned(), path("packages")];
        let mut config = <Arguments as clap::Parser>::parse_from(arguments).config;
        config.database_url = Some(folder.url().to_owned());
        Self { app: serve::open(config).await.unwrap(), _folder: folder }
    }
}

/// Puts host `number` into an environment, online now; its id.
pub async fn insert_host(app: &App, environment: &Environment, number: u8) -> String {
    let host = host_row(number, now_ms());
    let mut tx = app.db.begin().await.unwrap();
    let text = "insert into hosts (id, environment_id, name, address, key_hash, serial, certificate_until, facts, seen_at, joined_at) \
                values ($1, $2, $3, $4, $5, $5, $6, $7, $6, $6)";
    sqlx::query(text)
        .bind(host.id.as_str())
        .bind(environment.id.as_str())
        .bind(host.name.as_str())
        .bind(host.address.as_str())
        .bind(format!("key-{number}"))
        .bind(now_ms())
        .bind(serde_json::to_string(&host.facts).unwrap())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    host.id
}

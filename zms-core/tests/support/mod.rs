//! What the tests of the catalogue share: the kinds of this repository, and services that are right.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zms_core::catalogue::{Kind, Member, Per, Place, Problem, Service};
use zms_core::host::Phase;
use zms_core::names::{InstanceId, PackageName, ServiceName, Sha512, Version};
use zms_core::package::PackageRef;

pub const KINDS: [&str; 5] = ["zookeeper", "kafka", "rocketmq", "influxdb", "collector"];

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn catalogue_text(name: &str) -> String {
    let path = repository().join("catalogue").join(format!("{name}.toml"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

pub fn kind(name: &str) -> Kind {
    Kind::parse(&catalogue_text(name)).unwrap_or_else(|error| panic!("catalogue/{name}.toml:\n{error}"))
}

pub fn package(name: &str, version: &str) -> PackageRef {
    PackageRef {
        name: PackageName::new(name).unwrap(),
        version: Version::new(version).unwrap(),
        sha512: Sha512::new("ab".repeat(64)).unwrap(),
        size: 1000,
    }
}

pub fn packages(kind: &str) -> Vec<PackageRef> {
    match kind {
        "zookeeper" => vec![package("zookeeper", "3.9.5"), package("jre", "17.0.15")],
        "kafka" => vec![package("kafka", "4.3.1"), package("jolokia", "2.6.0"), package("jre", "17.0.15")],
        "rocketmq" => vec![package("rocketmq", "5.5.0"), package("jre", "17.0.15")],
        "influxdb" => vec![package("influxdb", "1.6.7~rc0")],
        "collector" => vec![package("zms-collector", "0.1.0")],
        other => panic!("no packages for {other}"),
    }
}

/// A service on so many hosts of `memory_mib`, and no setting touched.
pub fn service(kind: &Kind, hosts: u8, memory_mib: u64) -> Service {
    service_with(kind, hosts, memory_mib, &[])
}

/// The same with these settings.
pub fn service_with(kind: &Kind, hosts: u8, memory_mib: u64, settings: &[(&str, &str)]) -> Service {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
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
        generated: make(Per::Instance, place.number as u8),
        settings: BTreeMap::new(),
    };
    Service {
        name: ServiceName::new(format!("orders-{name}")).unwrap(),
        packages: packages(name),
        members: kind.places(hosts.into(), &settings).into_iter().map(member).collect(),
        settings,
        generated: make(Per::Service, 200),
    }
}

pub fn with_setting(mut service: Service, key: &str, value: &str) -> Service {
    service.settings.insert(key.to_owned(), value.to_owned());
    service
}

/// `field: code` of each problem, sorted.
pub fn codes(problems: &[Problem]) -> Vec<String> {
    let mut codes: Vec<_> = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.code())).collect();
    codes.sort();
    codes
}

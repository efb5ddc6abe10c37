//! Prints the desired state of a host that runs one ZooKeeper and one Kafka at 127.0.0.1, for developers and for the
//! tests of the host.
//!
//! ```text
//! cargo run --example desired -- --packages DIR --catalogue DIR [--generation N] [--base-port N]
//! ```
//!
//! DIR of `--packages` holds manifests (`*.json`) as `scripts/packages` writes them. The ports are base-port + 0 to 2
//! and 6 for ZooKeeper and + 3 to 5 for Kafka. ZooKeeper wants its certificates, as files `secrets/instance/<uid>/tls` and
//! `secrets/authority/certificate` (PEM) beside the archives. Ids are the same in every run, so an agent that is given the next
//! generation keeps its data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zms_core::catalogue::{Kind, Member, Per, Service};
use zms_core::host::{DesiredState, Phase};
use zms_core::names::{InstanceId, ServiceName};
use zms_core::package::{Manifest, PackageRef};

type Failure = Box<dyn std::error::Error>;

struct Options {
    packages: PathBuf,
    catalogue: PathBuf,
    generation: u64,
    base_port: u16,
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let manifests = manifests(&options.packages)?;
    let port = |offset: u16| (options.base_port + offset).to_string();
    let zookeeper = [
        ("heap", "64".to_owned()),
        ("client_port", port(0)),
        ("quorum_port", port(1)),
        ("election_port", port(2)),
        ("secure_port", port(6)),
    ];
    let kafka = [
        ("heap", "256".to_owned()),
        ("client_port", port(3)),
        ("controller_port", port(4)),
        ("jolokia_port", port(5)),
        ("offsets.topic.num.partitions", "4".to_owned()),
    ];
    let mut instances = one_instance(&options.catalogue.join("zookeeper.toml"), &manifests, &zookeeper)?;
    instances.extend(one_instance(&options.catalogue.join("kafka.toml"), &manifests, &kafka)?);
    let supervisor = manifests.iter().find(|manifest| manifest.package.name.as_str() == "supervisor");
    let state = DesiredState {
        generation: options.generation,
        supervisor: supervisor.map(|manifest| manifest.package.clone()),
        instances,
        ..DesiredState::default()
    };
    println!("{}", serde_json::to_string_pretty(&state)?);
    Ok(())
}

fn one_instance(
    catalogue_file: &Path,
    manifests: &[Manifest],
    settings: &[(&str, String)],
) -> Result<Vec<zms_core::host::InstanceSpec>, Failure> {
    let place = catalogue_file.display();
    let text = std::fs::read_to_string(catalogue_file).map_err(|error| format!("reading {place}: {error}"))?;
    let kind = Kind::parse(&text).map_err(|error| format!("{place}: {error}"))?;
    let name = kind.name().as_str();
    let generated = |per: Per, seed: u8| -> BTreeMap<String, String> {
        let wanted = kind.generated().iter().filter(|generated| generated.per == per);
        wanted.map(|generated| (generated.name.clone(), generated.make([seed; 16]))).collect()
    };
    let service = Service {
        name: ServiceName::new(format!("example-{name}"))?,
        packages: packages_for(&kind, manifests),
        settings: settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        members: vec![Member {
            instance: InstanceId::new(format!("{name}-1"))?,
            uid: format!("example-{name}-1"),
            node_id: 1,
            address: "127.0.0.1".to_owned(),
            memory_mib: 0,
            phase: Phase::Running,
            restart: 0,
            role: None,
            generated: generated(Per::Instance, 1),
            settings: BTreeMap::new(),
        }],
        generated: generated(Per::Service, 2),
    };
    kind.render(&service).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        format!("{place}: {}", lines.join("; ")).into()
    })
}

/// Of each package that the kind needs, the last build whose version fits.
fn packages_for(kind: &Kind, manifests: &[Manifest]) -> Vec<PackageRef> {
    let newest = |needed: &zms_core::catalogue::Needed| {
        let fits =
            |version: &str| needed.versions.is_empty() || needed.versions.iter().any(|fit| version.starts_with(fit.as_str()));
        let builds = manifests.iter().map(|manifest| &manifest.package).filter(|package| package.name == needed.name);
        builds.filter(|package| fits(package.version.as_str())).max_by_key(|package| package.version.clone()).cloned()
    };
    kind.packages().iter().filter_map(newest).collect()
}

fn manifests(folder: &Path) -> Result<Vec<Manifest>, Failure> {
    let place = folder.display();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| format!("listing {place}: {error}"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
            found.push(serde_json::from_str(&text).map_err(|error| format!("{} is no manifest: {error}", path.display()))?);
        }
    }
    if found.is_empty() {
        return Err(format!("{place} holds no manifests (*.json); build them with scripts/packages").into());
    }
    Ok(found)
}

fn options() -> Result<Options, Failure> {
    let (mut packages, mut catalogue, mut generation, mut base_port) = (None, None, 1, 22_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        let wrong = |error| format!("{option} {value}: {error}");
        match option.as_str() {
            "--packages" => packages = Some(PathBuf::from(value)),
            "--catalogue" => catalogue = Some(PathBuf::from(value)),
            "--generation" => generation = value.parse().map_err(wrong)?,
            "--base-port" => base_port = value.parse().map_err(wrong)?,
            other => {
                return Err(format!("unknown option {other}; known are --packages --catalogue --generation --base-port").into());
            }
        }
    }
    if !(1024..=65_530).contains(&base_port) {
        return Err(format!("--base-port {base_port}: must be 1024 to 65530, six ports are taken from there").into());
    }
    Ok(Options {
        packages: packages.ok_or("--packages DIR is missing")?,
        catalogue: catalogue.ok_or("--catalogue DIR is missing")?,
        generation,
        base_port,
    })
}

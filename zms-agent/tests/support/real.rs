//! ZooKeeper, Kafka, RocketMQ and InfluxDB as the catalogue renders them for a host of 127.0.0.1.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use zms_core::catalogue::{Kind, Member, Per, Service};
use zms_core::host::{InstanceSpec, Phase};
use zms_core::names::{InstanceId, ServiceName};

use super::{free_port, package, package_folder};

/// The project's catalogue.
pub fn kind(name: &str) -> Kind {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../catalogue").join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    Kind::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// A service with one instance, `<kind>-<suffix>`, on free ports.
pub fn service(kind: &Kind, suffix: &str, settings: &[(&str, &str)]) -> Service {
    let name = kind.name().as_str();
    let made = |per: Per, seed: u8| -> BTreeMap<String, String> {
        kind.generated().iter().filter(|g| g.per == per).map(|g| (g.name.clone(), g.make([seed; 16]))).collect()
    };
    let mut typed: BTreeMap<String, String> =
        kind.ports().iter().map(|port| (port.setting_key(), free_port().to_string())).collect();
    typed.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Service {
        name: ServiceName::new(format!("test-{name}")).unwrap(),
        packages: kind
            .packages()
            .iter()
            .map(|needed| package(&package_folder(), needed.name.as_str(), &needed.versions))
            .collect(),
        settings: typed,
        members: vec![Member {
            instance: InstanceId::new(format!("{name}-{suffix}")).unwrap(),
            uid: format!("{name}-{suffix}"),
            node_id: 1,
            address: "127.0.0.1".to_owned(),
            memory_mib: 0,
            phase: Phase::Running,
            restart: 0,
            role: None,
            generated: made(Per::Instance, 1),
            settings: BTreeMap::new(),
        }],
        generated: made(Per::Service, 2),
    }
}

/// Its one instance.
pub fn instance(kind: &Kind, service: &Service) -> InstanceSpec {
    let mut instances = kind.render(service).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(instances.len(), 1);
    instances.remove(0)
}

/// The body of a RocketMQ server's answer to a question without arguments.
pub fn rocketmq_says(address: &str, code: u32) -> String {
    let header = format!(r#"{{"code":{code},"flag":0,"language":"OTHER","opaque":1,"version":399}}"#);
    let length = header.len() as u32;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&[&(length + 4).to_be_bytes(), &length.to_be_bytes(), header.as_bytes()].concat()).unwrap();
    let mut word = || {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).map(|()| u32::from_be_bytes(bytes) as usize)
    };
    let (whole, header) = (word().unwrap(), word().unwrap());
    let mut rest = vec![0; whole - 4];
    stream.read_exact(&mut rest).unwrap();
    String::from_utf8_lossy(&rest[header..]).into_owned()
}

use super::*;
use crate::packages::test_support::put;
use crate::services::test_support::host_row;

struct Fixture {
    _folder: tempfile::TempDir,
    catalogue: Catalogue,
    stock: Stock,
    hosts: Vec<HostRow>,
}

const NOW: i64 = 1_795_608_000_000;

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    for (name, version) in [("zookeeper", "3.9.5"), ("kafka", "4.3.1"), ("jolokia", "2.6.0"), ("rocketmq", "5.5.0")] {
        put(folder.path(), name, version, "any", name.as_bytes());
    }
    put(folder.path(), "jre", "17.0.15", "x86_64", b"jre");
    let stock = Stock::open(folder.path().to_owned()).await.unwrap();
    let hosts = (1..=5).map(|number| host_row(number, NOW)).collect();
    Fixture { _folder: folder, catalogue: Catalogue::load(None).unwrap(), stock, hosts }
}

impl Fixture {
    fn decide(&self, wish: &Wish) -> Result<Decided, Vec<Problem>> {
        let mut wish = wish.clone();
        if let Some(kind) = self.catalogue.find(&wish.kind) {
            wish.generate(kind);
        }
        let taken = ["taken".to_owned()];
        decide(&Known { catalogue: &self.catalogue, stock: &self.stock, hosts: &self.hosts, taken: &taken, now_ms: NOW }, &wish)
    }

    fn problems(&self, wish: &Wish) -> Vec<String> {
        let problems = self.decide(wish).map(drop).unwrap_err();
        problems.iter().map(|problem| format!("{}: {:?}", problem.field, problem.text)).collect()
    }

    /// A right wish for so many hosts.
    fn wish(&self, kind: &str, hosts: usize) -> Wish {
        let wished = |host: &HostRow| WishedHost { host: host.id.clone(), address: String::new() };
        Wish {
            name: "orders".to_owned(),
            kind: kind.to_owned(),
            hosts: self.hosts.iter().take(hosts).map(wished).collect(),
            ..Wish::default()
        }
    }
}

#[tokio::test]
async fn one_zookeeper_and_one_kafka_are_planned_in_full() {
    let fixture = fixture().await;
    for (kind, packages, port, needle) in [
        ("zookeeper", vec!["zookeeper", "jre"], 2181, "clientPortAddress=127.0.0.1"),
        ("kafka", vec!["kafka", "jolokia", "jre"], 9092, "node.id=1"),
    ] {
        let mut wish = fixture.wish(kind, 1);
        wish.hosts[0].address = "127.0.0.1".to_owned();
        let decided = fixture.decide(&wish).unwrap();
        let spec = &decided.planned[0].spec;
        assert_eq!(spec.id.as_str(), "orders-1");
        assert_eq!(spec.body.packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), packages);
        assert_eq!((spec.body.ports[0].address.as_str(), spec.body.ports[0].port), ("127.0.0.1", port));
        assert!(spec.body.files.iter().any(|file| file.body.contains(needle)), "{:#?}", spec.body.files);
        assert!(decided.planned[0].memory_mib > 0);
    }
}

#[tokio::test]
async fn a_host_of_rocketmq_has_an_instance_for_each_of_its_roles() {
    let fixture = fixture().await;
    let mut wish = fixture.wish("rocketmq", 2);
    wish.settings.insert("slaves".to_owned(), "true".to_owned());
    let decided = fixture.decide(&wish).unwrap();
    let placed = decided.planned.iter().zip(&decided.hosts).zip(&decided.service.members).map(|((planned, host), member)| {
        (planned.spec.id.as_str(), planned.role.as_deref().unwrap(), host.name.as_str(), member.address.as_str())
    });
    assert_eq!(
        placed.collect::<Vec<_>>(),
        [
            ("orders-1", "master", "host-1", "10.0.0.1"),
            ("orders-2", "master", "host-2", "10.0.0.2"),
            ("orders-101", "slave", "host-2", "10.0.0.2"),
            ("orders-102", "slave", "host-1", "10.0.0.1"),
            ("orders-201", "nameserver", "host-1", "10.0.0.1"),
            ("orders-202", "nameserver", "host-2", "10.0.0.2"),
        ]
    );
}

#[tokio::test]
async fn members_are_numbered_from_one_in_the_order_of_the_hosts_and_reached_at_their_first_address() {
    let fixture = fixture().await;
    let decided = fixture.decide(&fixture.wish("zookeeper", 3)).unwrap();
    let members =
        decided.service.members.iter().map(|member| (member.instance.as_str(), member.node_id, member.address.as_str()));
    assert_eq!(
        members.collect::<Vec<_>>(),
        [("orders-1", 1, "10.0.0.1"), ("orders-2", 2, "10.0.0.2"), ("orders-3", 3, "10.0.0.3")]
    );
}

#[tokio::test]
async fn what_is_wrong_is_said_at_its_field() {
    let mut fixture = fixture().await;
    let offline = fixture.hosts[3].id.clone();
    fixture.hosts[3].seen_at = Some(NOW - 3_600_000);
    type Spoil = fn(&mut Wish);
    let cases: [(&str, usize, Spoil, &[&str]); 11] = [
        ("no such kind", 1, |wish| wish.kind = "mongo".to_owned(), &["kind: "]),
        ("two servers", 2, |_| {}, &["hosts: ", "1, 3, 5, 7"]),
        ("no host", 0, |_| {}, &["hosts: "]),
        ("a host of nowhere", 1, |wish| wish.hosts[0].host = "nowhere".to_owned(), &["hosts: ", "nowhere"]),
        ("a host twice", 3, |wish| wish.hosts[2] = wish.hosts[0].clone(), &["hosts: ", "twice"]),
        (
            "a setting out of range",
            1,
            |wish| drop(wish.settings.insert("client_port".into(), "80".into())),
            &["settings.client_port: ", "1024"],
        ),
        (
            "a setting of another kind",
            1,
            |wish| drop(wish.settings.insert("num.partitions".into(), "1".into())),
            &["settings.num.partitions: "],
        ),
        (
            "a heap beyond the host",
            1,
            |wish| drop(wish.settings.insert("heap".into(), "31GiB".into())),
            &["settings.heap: ", "memory_mib"],
        ),
        ("loopback of three", 3, |wish| wish.hosts[1].address = "127.0.0.1".to_owned(), &["address.", "loopback"]),
        ("no address", 1, |wish| wish.hosts[0].address = "0.0.0.0".to_owned(), &["address.", "0.0.0.0"]),
        (
            "a version that is not there",
            1,
            |wish| wish.version = "3.9.9".to_owned(),
            &["version: ", "scripts/packages zookeeper"],
        ),
    ];
    for (what, hosts, spoil, expected) in cases {
        let mut wish = fixture.wish("zookeeper", hosts);
        spoil(&mut wish);
        let problems = fixture.problems(&wish);
        let fits = problems.iter().any(|problem| expected.iter().all(|part| problem.contains(part)));
        assert!(fits, "{what}: {problems:?}");
    }
    for (name, part) in [("Taken", "lower-case"), ("taken", "already"), ("", "lower-case"), ("-x", "lower-case")] {
        let problems = fixture.problems(&Wish { name: name.to_owned(), ..fixture.wish("zookeeper", 1) });
        assert!(problems.len() == 1 && problems[0].starts_with("name: ") && problems[0].contains(part), "{name}: {problems:?}");
    }
    let mut wish = fixture.wish("zookeeper", 1);
    wish.hosts[0].host = offline;
    assert!(fixture.problems(&wish).iter().any(|problem| problem.contains("host-4 is not online")));
}

#[tokio::test]
async fn everything_wrong_is_said_at_once() {
    let fixture = fixture().await;
    let mut wish = fixture.wish("kafka", 1);
    wish.name = "NO".to_owned();
    wish.hosts[0].address = "0.0.0.0".to_owned();
    wish.settings.insert("num.partitions".to_owned(), "many".to_owned());
    let problems = fixture.problems(&wish);
    for field in ["name: ", "address.", "settings.num.partitions: "] {
        assert!(problems.iter().any(|problem| problem.starts_with(field)), "{field}: {problems:?}");
    }
}

#[tokio::test]
async fn a_runtime_for_another_architecture_is_left_to_the_host() {
    let mut fixture = fixture().await;
    fixture.hosts[0].facts.arch = "aarch64".to_owned();
    let decided = fixture.decide(&fixture.wish("zookeeper", 1)).unwrap();
    assert_eq!(decided.service.packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["zookeeper"]);
}

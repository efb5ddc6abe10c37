//! A collector on a real ZooKeeper, Kafka and InfluxDB, with a portal of paper: figures arrive, another one takes over, and neither the
//! loss of InfluxDB nor that of the portal loses any.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "line/stage.rs"]
mod stage;

use std::time::Duration;

use stage::{HOST, Paper, Stage, make_environment, until};
use zms_collector::now_ms;
use zms_core::collect::{
    Adopted, BrokerLogin, BrokerTls, ClusterFigures, Frame, Frames, HostFigures, Login, Mechanism, MetadataStore, Orders, Reach,
};
use zms_core::metadata::{BrokerKind, ClusterNode, Security};
use zms_core::names::ClusterName;
use zms_core::series::{HOST as HOST_FIGURES, TOPIC, ZMS_CONSUMER_SUM, ZMS_PRODUCER_SUM};
use zms_drivers::influx::Aggregate;
use zms_testbed::{Kafka, KafkaWish, ZooKeeper, ZooWish};

#[tokio::test(flavor = "multi_thread")]
async fn figures_arrive_through_the_loss_of_everything_around() {
    let stage = Stage::set().await;
    let first = stage.collector("first").await;
    let shop = stage.application().await;

    // From brokers and applications to the portal.
    let snapshot = stage.told("a topic with its messages, and who sends them", |snapshot| {
        let orders = snapshot.topics.iter().find(|topic| topic.topic.as_str() == "orders");
        orders.is_some_and(|topic| topic.end >= Some(20) && topic.rate_in.is_some()) && !snapshot.producers.is_empty()
    });
    let snapshot = snapshot.await;
    assert_eq!((snapshot.fence, &snapshot.clusters[0].reach), (1, &Reach::Whole));
    assert_eq!((snapshot.clusters[0].brokers, snapshot.producers[0].application.as_str()), (Some(1), "shop"));
    assert!(snapshot.topics.iter().any(|topic| topic.topic.as_str() == "orders" && topic.partitions == 3));

    // Clients of the first ZMS beside them.
    stage.java_clients(&shop).await;
    let snapshot = stage.told("a Java producer and a Java consumer", |snapshot| {
        let java = |language: &str| language == "java";
        snapshot.producers.iter().any(|one| java(&one.language)) && snapshot.consumers.iter().any(|one| java(&one.language))
    });
    let snapshot = snapshot.await;
    let java = snapshot.producers.iter().find(|one| one.language == "java").unwrap();
    assert_eq!((java.topic.as_str(), java.application.as_str(), java.rate), ("orders", "DEFAULT_PRODUCER", Some(38.5)));
    let java = snapshot.consumers.iter().find(|one| one.language == "java").unwrap();
    assert_eq!((java.group.as_str(), java.topic.as_str(), java.rate), ("grp_a", "orders", None));
    assert!(snapshot.producers.iter().any(|one| one.language == "rust"));
    stage.told("garbage is counted", |snapshot| snapshot.sink.unreadable == 1).await;

    // From hosts, each as its certificate says.
    let frame = |at_ms, busy| Frames {
        dropped: 0,
        frames: vec![Frame {
            at_ms,
            host: HostFigures { cpu_busy_ms: Some(busy), cpus: Some(1), ..HostFigures::default() },
            ..Frame::default()
        }],
    };
    let now = now_ms();
    assert_eq!(stage.push(&first, HOST, &frame(now - 2_000, 0)).await, 204);
    assert_eq!(stage.push(&first, HOST, &frame(now, 500)).await, 204);
    assert_eq!(stage.push(&first, "01JD8Z3V9Q4M5N6P7R8S9TAVWZ", &frame(now, 500)).await, 403);
    assert!(stage.push_as_a_stranger(&first, &frame(now, 500)).await.is_err(), "a certificate of another authority");

    // And all of it to InfluxDB.
    let cpu =
        until("the host's figures are there", async || stage.figure(&HOST_FIGURES, "cpu", Aggregate::Max, now - 60_000).await);
    assert!((cpu.await - 25.0).abs() < 0.1, "500 ms of 2 s");
    let sums = || stage.figure(&ZMS_PRODUCER_SUM, "rate", Aggregate::Max, now - 60_000);
    assert!(until("applications are there", async || sums().await).await > 0.0);
    let handling = || stage.figure(&ZMS_CONSUMER_SUM, "max_ms", Aggregate::Max, now - 60_000);
    assert_eq!(until("a Java consumer is there", async || handling().await).await, 22.0);

    // Another one waits, and leads when the first is ended.
    let second = stage.collector("second").await;
    first.end().await;
    let snapshot = stage.told("the second leads", |snapshot| snapshot.fence == 2 && !snapshot.topics.is_empty()).await;
    assert!(snapshot.groups.iter().any(|group| group.group.as_str() == "zms_collector"), "{:?}", snapshot.groups);

    // InfluxDB is lost for some ticks; what was seen meanwhile arrives when it is back.
    stage.influx().kill();
    let lost = now_ms();
    let problem =
        stage.told("the portal hears of it", |snapshot| snapshot.sink.problem.is_some() && snapshot.at_ms > lost + 2_000).await;
    assert_eq!(problem.sink.dropped, 0, "{:?}", problem.sink);
    stage.influx().restart();
    let back = now_ms();
    stage
        .told("nothing waits any more", |snapshot| {
            snapshot.sink.problem.is_none() && snapshot.sink.written > 0 && snapshot.at_ms > back
        })
        .await;
    let windows = stage.windows(&TOPIC, "end", lost, back).await;
    // A tick falls in each whole second; that of the second in which it was killed may have been written before.
    let seconds = usize::try_from((back - lost) / 1000).unwrap();
    assert!(windows >= seconds && seconds >= 2, "{windows} ticks of an outage of {seconds} s are there");

    // Without a portal it starts anew from the orders on its disk.
    stage.portal_is_away(true);
    second.end().await;
    let again = stage.collector("second").await;
    let since = now_ms();
    let written =
        until("figures are written without a portal", async || stage.figure(&TOPIC, "end", Aggregate::Last, since).await);
    assert!(written.await >= 20.0);
    stage.portal_is_away(false);
    stage.told("the portal hears of it again", |snapshot| snapshot.fence == 3).await;
    again.end().await;
    shop.close(Duration::from_secs(5)).await;
}

/// Also over a metadata store that was changed: the portal knows higher fences than the new one begins with.
#[tokio::test(flavor = "multi_thread")]
async fn reports_come_from_an_adopted_cluster_with_tls_and_scram_and_its_fence_goes_on_above_the_portals() {
    let wish = KafkaWish { secure: true, ..KafkaWish::default() };
    let servers = move || (ZooKeeper::start(ZooWish::default()), Kafka::start(wish));
    let (zookeeper, kafka) = tokio::task::spawn_blocking(servers).await.unwrap();
    let (addresses, authority, user, password) = kafka.tls_scram();
    let mut node = ClusterNode::new(BrokerKind::Kafka, addresses.as_str(), addresses.as_str());
    node.security = Security { tls: true, sasl: Some("SCRAM-SHA-512".to_owned()) };
    make_environment(&zookeeper, &kafka, &node).await;
    let adopted = |password: &str| Adopted {
        cluster: ClusterName::new("main").unwrap(),
        kind: BrokerKind::Kafka,
        addresses: addresses.split(',').map(str::to_owned).collect(),
        tls: BrokerTls::Authority(authority.to_owned()),
        login: Some(BrokerLogin { mechanism: Mechanism::ScramSha512, user: user.to_owned(), password: password.to_owned() }),
        networks: "127.0.0.0/8".parse().unwrap(),
    };
    let login = Login { user: String::new(), password: String::new() };
    let networks = Some("127.0.0.0/8".parse().unwrap());
    let metadata = MetadataStore { addresses: zookeeper.plain(), authority: String::new(), login, networks };
    let wrong = Orders { metadata: Some(metadata), adopted: vec![adopted("wrong")], ..nothing() };
    let paper = Paper::set(wrong.clone()).await;
    paper.portal_knows(40);
    let collector = paper.collector("one").await;
    let shop = paper.shop(&zookeeper, |builder| builder.broker_login(user, password).broker_authority(authority)).await;
    let denied = paper
        .told("the brokers refuse", |snapshot| matches!(snapshot.clusters[..], [ClusterFigures { reach: Reach::Away(_), .. }]));
    assert!(denied.await.producers.is_empty(), "nobody reads there without the password");
    // The password that somebody put right counts for reports too, at once.
    paper.give(Orders { revision: 2, adopted: vec![adopted(password)], ..wrong });
    let snapshot = paper.told("who sends, from brokers that ask who reads", |snapshot| !snapshot.producers.is_empty()).await;
    assert_eq!((snapshot.producers[0].application.as_str(), &snapshot.clusters[0].reach), ("shop", &Reach::Whole));
    assert_eq!((snapshot.fence, paper.refused()), (41, 1), "told once, it goes on above");
    collector.end().await;
    shop.close(Duration::from_secs(5)).await;
}

/// An environment in which there is nothing.
fn nothing() -> Orders {
    Orders {
        revision: 1,
        environment: "dev".to_owned(),
        metadata: None,
        metrics: None,
        hosts: Vec::new(),
        revoked: Vec::new(),
        adopted: Vec::new(),
        installed: Default::default(),
        networks: Default::default(),
        tick_s: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_an_environment_without_anything_works_and_ends_at_once() {
    let collector = Paper::set(nothing()).await.collector("alone").await;
    let begun = std::time::Instant::now();
    collector.end().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

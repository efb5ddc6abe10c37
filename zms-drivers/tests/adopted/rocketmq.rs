//! RocketMQ with TLS on every port and accounts (ACL of 4.9, ACL 2.0 of 5) on its brokers: everything that this crate does to it, and what is said to
//! who has the wrong password, the wrong authority or no right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use zms_core::collect::{Adopted, BrokerLogin, BrokerTls, Mechanism};
use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::{ClusterName, PhysicalName};
use zms_core::networks::Networks;
use zms_drivers::broker::{
    BrokerError, ClusterAdmin, Consumer, Ensured, FoundMessage, GroupWish, Lookup, OffsetWish, Outgoing, Subscription, TopicWish,
};
use zms_drivers::open::{self, Endpoint};
use zms_drivers::rocketmq::remoting::{Options, Remoting, Request, RequestCode};
use zms_testbed::{Certificates, RocketLine, RocketMq, RocketWish};

use super::endpoint;

/// What is refused is told long before a message would be given up.
const DELIVERY: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

fn login((user, password): (&str, &str)) -> Option<BrokerLogin> {
    Some(BrokerLogin { mechanism: Mechanism::Plain, user: user.to_owned(), password: password.to_owned() })
}

async fn send(endpoint: &Endpoint, topic: &str, numbers: std::ops::Range<u32>) -> Result<(), BrokerError> {
    let producer = open::producer(BrokerKind::RocketMq, endpoint, DELIVERY)?;
    let mut sent = Ok(());
    for number in numbers {
        // The first one has no key: it may go to any queue.
        let key = (number > 0).then(|| format!("key-{number}").into());
        let message = Outgoing { key, ..Outgoing::new(name(topic), number.to_string()) };
        sent = tokio::time::timeout(SOON, producer.send(message)).await.expect("sent or refused, not tried for ever").map(drop);
        if sent.is_err() {
            break;
        }
    }
    producer.close(Duration::from_secs(5)).await;
    sent
}

fn member(endpoint: &Endpoint, group: &str, topic: &str) -> Result<Arc<dyn Consumer>, BrokerError> {
    let subscription = Subscription::new(name(group), name(topic), ConsumeFrom::Earliest);
    open::consumer(BrokerKind::RocketMq, endpoint, &subscription)
}

/// Receives these and says done.
async fn consume(endpoint: &Endpoint, group: &str, topic: &str, numbers: std::ops::Range<u32>) -> Result<(), BrokerError> {
    let consumer = member(endpoint, group, topic)?;
    let mut missing: BTreeSet<String> = numbers.map(|number| number.to_string()).collect();
    while !missing.is_empty() {
        let next = tokio::time::timeout(SOON, consumer.receive()).await;
        let message = next.unwrap_or_else(|_| panic!("neither received nor refused within {SOON:?}: {missing:?}"))?;
        missing.remove(&*String::from_utf8_lossy(message.value.as_deref().unwrap()));
        consumer.done(&message)?;
    }
    consumer.close(Duration::from_secs(10)).await
}

async fn topics(endpoint: &Endpoint) -> Result<usize, BrokerError> {
    Ok(open::admin(BrokerKind::RocketMq, endpoint)?.topics().await?.len())
}

async fn found(admin: &dyn ClusterAdmin, topic: &PhysicalName, by: &Lookup) -> Vec<FoundMessage> {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..100 {
        looks.tick().await;
        let found = admin.find_messages(topic, by).await.unwrap();
        if !found.is_empty() {
            return found;
        }
    }
    panic!("{by:?}: nothing within 10 s");
}

/// An account that may do everything: makes topics and a group, sends, consumes, finds, moves, scrapes.
async fn everything_works(endpoint: &Endpoint) {
    let admin = open::admin(BrokerKind::RocketMq, endpoint).unwrap();
    assert_eq!(admin.describe().await.unwrap().brokers.len(), 1);
    let allowed = name("allowed");
    for topic in ["allowed", "forbidden"] {
        let wish = TopicWish { name: name(topic), partitions: 2, replicas: 1, config: BTreeMap::new() };
        assert_eq!(admin.ensure_topic(&wish).await, Ok(Ensured::Made));
    }
    let group = GroupWish { name: name("billing"), broadcast: false, consume_from: ConsumeFrom::Earliest };
    assert_eq!(admin.ensure_group(&group).await, Ok(Ensured::Made));
    send(endpoint, "allowed", 0..10).await.unwrap();
    consume(endpoint, "billing", "allowed", 0..10).await.unwrap();
    let committed = admin.committed(std::slice::from_ref(&group.name)).await.unwrap().remove(0).unwrap();
    assert_eq!(committed[&allowed].values().sum::<i64>(), 10, "{committed:?}");
    admin.ensure_offsets(&group.name, &allowed, &OffsetWish::Earliest).await.unwrap();
    assert!(admin.groups().await.unwrap().iter().any(|listed| listed.name == group.name));
    let by_key = found(&*admin, &allowed, &Lookup::Key("key-7".to_owned())).await;
    let by_id = found(&*admin, &allowed, &Lookup::Id(by_key[0].id.clone().unwrap())).await;
    assert_eq!(by_id[0].message.value.as_deref(), Some(&b"7"[..]));
    let mut scraper = open::scraper(BrokerKind::RocketMq, endpoint).unwrap();
    let scrape = scraper.scrape().await.unwrap();
    assert!(scrape.view.brokers.len() == 1 && scrape.silent.is_empty(), "{:?}", scrape.silent);
    let (_, ends) = scrape.topics.iter().find(|(topic, _)| topic.name == allowed).unwrap();
    assert_eq!(ends.values().map(|range| range.unwrap().end).sum::<i64>(), 10);
}

/// On 5 accounts are made by an operator; this one gets what an application needs, and no more.
async fn make_application(server: &RocketMq, endpoint: &Endpoint) {
    let (user, password) = server.application();
    let (broker, subject) = (server.address("broker-a", 0), format!("User:{user}"));
    let remoting = Remoting::new(Options::of(endpoint), None).unwrap();
    let account = json!({"username": user, "password": password, "userType": "Normal"});
    let request = Request::new(RequestCode::AuthCreateUser).with("username", user).with_body(account.to_string());
    remoting.ask(&broker, request).await.unwrap();
    let rights = json!({"subject": subject, "policies": [{"policyType": "Custom", "entries": [
        {"resource": "Topic:allowed", "actions": ["Pub", "Sub"], "decision": "Allow"},
        {"resource": "Group:allowed", "actions": ["Sub"], "decision": "Allow"},
    ]}]});
    let request = Request::new(RequestCode::AuthCreateAcl).with("subject", subject).with_body(rights.to_string());
    remoting.ask(&broker, request).await.unwrap();
}

/// Refused at once, whoever asks, with these words.
async fn refused_everywhere(what: &str, endpoint: &Endpoint, words: &str) {
    let mut scraper = open::scraper(BrokerKind::RocketMq, endpoint).unwrap();
    let password = endpoint.credentials.as_ref().map(|credentials| credentials.password.clone());
    for (who, said) in [
        ("operator", topics(endpoint).await.map(drop)),
        ("collector", scraper.scrape().await.map(drop)),
        ("producer", send(endpoint, "allowed", 0..1).await),
        ("producer of keyed messages", send(endpoint, "allowed", 1..2).await),
        ("consumer", consume(endpoint, "billing", "allowed", 0..1).await),
    ] {
        let error = said.expect_err(what);
        println!("{what}, {who}: {error}");
        assert!(matches!(error, BrokerError::Denied { .. }), "{what}, {who}: {error:?}");
        assert!(error.to_string().contains(words), "{what}, {who}: {error}");
        assert!(password.as_ref().is_none_or(|password| !error.to_string().contains(password)), "{what}, {who}");
    }
}

async fn an_account_does_what_it_may_and_nothing_else(endpoint: &Endpoint) {
    send(endpoint, "allowed", 10..14).await.unwrap();
    consume(endpoint, "allowed", "allowed", 0..14).await.unwrap();
    let admin = open::admin(BrokerKind::RocketMq, endpoint).unwrap();
    let wish = TopicWish { name: name("mine"), partitions: 1, replicas: 1, config: BTreeMap::new() };
    let begun = Instant::now();
    for (what, said, words) in [
        ("send to a topic", send(endpoint, "forbidden", 0..1).await, "forbidden"),
        ("consume a topic", consume(endpoint, "allowed", "forbidden", 0..1).await, "forbidden"),
        ("consume as a group", consume(endpoint, "billing", "allowed", 0..1).await, "billing"),
        ("make a topic", admin.ensure_topic(&wish).await.map(drop), "application"),
    ] {
        let error = said.expect_err(what);
        println!("{what}: {error}");
        assert!(matches!(error, BrokerError::Denied { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains(words), "{what}: {error}");
    }
    assert!(begun.elapsed() < DELIVERY / 2, "refused, not tried for {:?}", begun.elapsed());
}

/// A broker shows a certificate for another name than the one it registered with.
async fn another_name_is_denied(server: &RocketMq, right: &Adopted) {
    let other = Certificates::for_names(["broker-a.example"]);
    server.certify("broker-a", 0, &other);
    let both = BrokerTls::Authority(format!("{}{}", server.authority(), other.authority_pem));
    let endpoint = endpoint(&Adopted { tls: both, ..right.clone() });
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    let end = Instant::now() + SOON;
    while topics(&endpoint).await.is_ok() {
        assert!(Instant::now() < end, "the broker shows its old certificate after {SOON:?}");
        looks.tick().await;
    }
    refused_everywhere(
        "another name",
        &Endpoint { deadline: Duration::from_secs(6), ..endpoint },
        "for other names than the one",
    )
    .await;
}

async fn all(line: RocketLine) {
    let wish = RocketWish { secure: true, ..RocketWish::one(line) };
    let server = tokio::task::spawn_blocking(move || RocketMq::start(&wish)).await.unwrap();
    let right = Adopted {
        cluster: ClusterName::new("old-rocketmq").unwrap(),
        kind: BrokerKind::RocketMq,
        addresses: server.name_servers(),
        tls: BrokerTls::Authority(server.authority().to_owned()),
        login: login(server.operator()),
        networks: Networks::default(),
    };
    println!("RocketMQ {line:?}");
    everything_works(&endpoint(&right)).await;
    if line == RocketLine::V5 {
        make_application(&server, &endpoint(&right)).await;
    }
    an_account_does_what_it_may_and_nothing_else(&endpoint(&Adopted { login: login(server.application()), ..right.clone() }))
        .await;

    let (user, _) = server.operator();
    let of = |wrong: Adopted| endpoint(&wrong);
    let wrong = of(Adopted { login: login((user, "wrong-secret")), ..right.clone() });
    refused_everywhere("password", &wrong, "ignature failed").await;
    let wrong = of(Adopted { login: login(("nobody", "wrong-secret")), ..right.clone() });
    refused_everywhere("account", &wrong, "nobody").await;
    let wrong = of(Adopted { login: None, ..right.clone() });
    refused_everywhere("no sign-in", &wrong, if line == RocketLine::V5 { "username" } else { "accessKey" }).await;
    let none = "none of the trusted authorities made the certificate";
    let wrong = of(Adopted { tls: BrokerTls::Authority(Certificates::new().authority_pem), ..right.clone() });
    refused_everywhere("authority", &wrong, none).await;
    assert!(
        topics(&of(Adopted { tls: BrokerTls::System, ..right.clone() }))
            .await
            .is_err_and(|error| error.to_string().contains(none))
    );

    let plain = topics(&of(Adopted { tls: BrokerTls::Off, ..right.clone() })).await.unwrap_err();
    println!("plain: {plain}");
    assert!(plain.is_passing() && plain.to_string().contains("as one that wants TLS does"), "{plain:?}");
    let outside = topics(&of(Adopted { networks: "10.0.0.0/8".parse().unwrap(), ..right.clone() })).await.unwrap_err();
    assert!(matches!(&outside, BrokerError::Refused { why, .. } if why.contains("outside the networks")), "{outside:?}");
    another_name_is_denied(&server, &right).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmq_5_answers_over_tls_who_may_and_tells_the_others_why_not() {
    all(RocketLine::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmq_4_answers_over_tls_who_may_and_tells_the_others_why_not() {
    all(RocketLine::V4).await;
}

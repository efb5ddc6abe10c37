//! Clusters that are dialled as adopted ones: TLS and sign-in, an authority that was pasted, networks in which brokers may be, and what is said
//! when one of these is wrong. Here Kafka; RocketMQ is in `adopted/rocketmq.rs`.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "adopted/rocketmq.rs"]
mod rocketmq;

use std::collections::BTreeMap;
use std::time::Duration;

use zms_core::collect::{Adopted, BrokerLogin, BrokerTls, Mechanism};
use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::{ClusterName, PhysicalName};
use zms_core::networks::Networks;
use zms_drivers::broker::{BrokerError, Outgoing, Subscription, TopicWish};
use zms_drivers::open::{self, Endpoint};
use zms_kafka_wire::{Connection, Options, Resolver, WireError};
use zms_testbed::{Certificates, Kafka, KafkaWish};

/// As the portal and the collectors dial it.
fn endpoint(cluster: &Adopted) -> Endpoint {
    Endpoint { deadline: Duration::from_secs(15), ..Endpoint::adopted(cluster) }
}

async fn said(cluster: &Adopted) -> Result<usize, BrokerError> {
    let admin = open::admin(cluster.kind, &endpoint(cluster))?;
    Ok(admin.describe().await?.brokers.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_kafka_answers_and_each_wrong_setting_says_what_would_be_right() {
    let kafka = tokio::task::spawn_blocking(|| Kafka::start(KafkaWish { brokers: 1, secure: true, ..KafkaWish::default() }))
        .await
        .unwrap();
    let (secure, authority, user, password) = kafka.tls_scram();
    let login = BrokerLogin { mechanism: Mechanism::ScramSha512, user: user.to_owned(), password: password.to_owned() };
    let right = Adopted {
        cluster: ClusterName::new("old-kafka").unwrap(),
        kind: BrokerKind::Kafka,
        addresses: secure.split(',').map(str::to_owned).collect(),
        tls: BrokerTls::Authority(authority.to_owned()),
        login: Some(login.clone()),
        networks: Networks::default(),
    };
    assert_eq!(said(&right).await, Ok(1));
    let mut scraper = open::scraper(right.kind, &endpoint(&right)).unwrap();
    assert_eq!(scraper.scrape().await.unwrap().view.brokers.len(), 1);

    let with = |change: &dyn Fn(&mut Adopted)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong
    };
    let plain: Vec<String> = kafka.plain().split(',').map(str::to_owned).collect();
    let wrong_word = BrokerLogin { password: "wrong".to_owned(), ..login.clone() };
    for (name, wrong, words) in [
        ("password", with(&|c| c.login = Some(wrong_word.clone())), "denied"),
        (
            "mechanism",
            with(&|c| c.login = Some(BrokerLogin { mechanism: Mechanism::ScramSha256, ..login.clone() })),
            "the broker offers",
        ),
        ("authority", with(&|c| c.tls = BrokerTls::Authority(Certificates::new().authority_pem)), "TLS"),
        (
            "authorities of this host",
            with(&|c| c.tls = BrokerTls::System),
            "none of the trusted authorities made the certificate",
        ),
        ("TLS to a plain port", with(&|c| c.addresses = plain.clone()), "as a port without TLS does"),
        ("plain to a TLS port", with(&|c| (c.tls, c.login) = (BrokerTls::Off, None)), ""),
        (
            "networks",
            with(&|c| c.networks = "10.0.0.0/8".parse().unwrap()),
            "outside the networks in which brokers may be (10.0.0.0/8)",
        ),
    ] {
        let error = said(&wrong).await.expect_err(name);
        println!("{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(!error.to_string().contains(password) && !format!("{:?}", endpoint(&wrong)).contains(password), "{name}");
        assert_eq!(matches!(error, BrokerError::Refused { .. }), name == "networks", "{name}: {error:?}");
    }

    // The certificate is for 127.0.0.1 and localhost.
    let port = right.addresses[0].rsplit_once(':').unwrap().1;
    let resolver = Resolver::new(|_, port| async move { Ok(vec![([127, 0, 0, 1], port).into()]) });
    let options =
        Options { authority_pem: Some(authority.to_owned()), resolver, ..Options::plain([format!("kafka-1.example:{port}")]) };
    let error = Connection::open(&options.addresses[0].clone(), &options).await.unwrap_err();
    assert!(matches!(&error, WireError::Denied { why, .. } if why.contains("for other names than the one")), "{error}");

    // Applications' clients, which dial by themselves, keep to the same networks.
    let topic = PhysicalName::new("orders").unwrap();
    let wish = TopicWish { name: topic.clone(), partitions: 1, replicas: 1, config: BTreeMap::new() };
    open::admin(right.kind, &endpoint(&right)).unwrap().ensure_topic(&wish).await.unwrap();
    let there = open::producer(right.kind, &endpoint(&right), Duration::from_secs(15)).unwrap();
    there.send(Outgoing::new(topic.clone(), "an order")).await.unwrap();
    let group = Subscription::new(PhysicalName::new("billing").unwrap(), topic.clone(), ConsumeFrom::Earliest);
    let member = open::consumer(right.kind, &endpoint(&right), &group).unwrap();
    let came = tokio::time::timeout(Duration::from_secs(30), member.receive()).await.expect("it comes").unwrap();
    assert_eq!(came.value.as_deref(), Some(&b"an order"[..]));
    member.close(Duration::from_secs(5)).await.unwrap();
    let elsewhere = with(&|c| c.networks = "10.0.0.0/8".parse().unwrap());
    let nowhere = open::producer(right.kind, &endpoint(&elsewhere), Duration::from_secs(3)).unwrap();
    let error = nowhere.send(Outgoing::new(topic, "an order")).await.unwrap_err();
    assert!(error.to_string().contains("outside the networks in which brokers may be (10.0.0.0/8)"), "{error}");
}

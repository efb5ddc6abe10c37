//! Where brokers may be holds for every kind, also for what a name server of RocketMQ advertises. What a broker of Kafka advertises is tested where it
//! is dialled, in `zms-kafka-wire`.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::PhysicalName;
use zms_core::networks::Networks;
use zms_drivers::broker::{BrokerError, Outgoing, Subscription};
use zms_drivers::open::{self, Endpoint};
use zms_drivers::rocketmq::remoting::{Answer, Frame, LARGEST_FRAME, decode, encode};
use zms_kafka_wire::messages::api_versions_response::ApiVersion;
use zms_kafka_wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use zms_kafka_wire::messages::{ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, TopicName};
use zms_kafka_wire::{Encodable as _, StrBytes};
use zms_testbed::Counted;

#[tokio::test]
async fn no_kind_dials_outside_the_networks_and_each_names_broker_address_and_networks() {
    for kind in [BrokerKind::Kafka, BrokerKind::RocketMq] {
        // Nobody listens at the port: who dialled would be told so.
        let endpoint = |networks: Option<&str>| Endpoint {
            networks: networks.map(|text| text.parse().unwrap()),
            deadline: Duration::from_secs(6),
            ..Endpoint::plain("old", ["127.0.0.1:1"])
        };
        let said = async |networks| open::admin(kind, &endpoint(networks)).unwrap().describe().await.unwrap_err();
        let error = said(Some("10.0.0.0/8")).await;
        assert!(matches!(error, BrokerError::Refused { .. }), "{kind}: {error:?}");
        for word in ["127.0.0.1:1", "outside the networks", "10.0.0.0/8"] {
            assert!(error.to_string().contains(word), "{kind}: {error}");
        }
        for networks in [None, Some("127.0.0.0/8")] {
            let error = said(networks).await;
            assert!(matches!(error, BrokerError::Unreachable { .. }), "{kind} {networks:?}: {error:?}");
        }
    }
}

/// A broker of Kafka that says of topic `orders` that another broker leads it, which listens at `leader`.
async fn kafka_that_advertises(leader: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, leader));
        }
    });
    own
}

async fn serve(mut stream: TcpStream, leader: SocketAddr) {
    while let Ok(length) = stream.read_i32().await {
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        let (key, version) = (number(0), number(2));
        let mut body = BytesMut::new();
        match ApiKey::try_from(key).unwrap() {
            ApiKey::ApiVersions => {
                let known =
                    [(ApiKey::ListOffsets, 1), (ApiKey::Metadata, 1), (ApiKey::FindCoordinator, 1), (ApiKey::ApiVersions, 3)];
                let known = known.map(|(key, most)| ApiVersion::default().with_api_key(key as i16).with_max_version(most));
                ApiVersionsResponse::default().with_api_keys(known.to_vec()).encode(&mut body, version).unwrap();
            }
            ApiKey::Metadata => {
                let (id, host) = (BrokerId(2), StrBytes::from_string(leader.ip().to_string()));
                let broker = MetadataResponseBroker::default().with_node_id(id).with_host(host).with_port(leader.port().into());
                let partition =
                    MetadataResponsePartition::default().with_leader_id(id).with_replica_nodes(vec![id]).with_isr_nodes(vec![id]);
                let name = TopicName(StrBytes::from_static_str("orders"));
                let topic = MetadataResponseTopic::default().with_name(Some(name)).with_partitions(vec![partition]);
                let answer = MetadataResponse::default().with_brokers(vec![broker]).with_controller_id(id);
                answer.with_topics(vec![topic]).encode(&mut body, version).unwrap();
            }
            _ => continue,
        }
        let length = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
        if stream.write_all(&[&length[..], &frame[4..8], &body].concat()).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kafka_advertises_is_not_dialled_outside_the_networks_by_clients_of_applications() {
    let second = Counted::listen("127.0.0.2");
    let at = second.address();
    let topic = || PhysicalName::new("orders").unwrap();
    let warmed = async |leader, networks: Option<&str>| {
        let endpoint = Endpoint {
            networks: networks.map(|text| text.parse().unwrap()),
            deadline: Duration::from_secs(3),
            ..Endpoint::plain("old", [kafka_that_advertises(leader).await.to_string()])
        };
        let producer = open::producer(BrokerKind::Kafka, &endpoint, Duration::from_secs(3)).unwrap();
        let error = producer.warm(&topic()).await.unwrap_err();
        producer.close(Duration::from_secs(1)).await;
        (error, second.came() > 0)
    };
    for (networks, there) in [(None, true), (Some("127.0.0.0/8"), true), (Some("127.0.0.1/32"), false)] {
        let (error, dialled) = warmed(at, networks).await;
        assert_eq!(dialled, there, "{networks:?}: {error}");
        assert_eq!(error.to_string().contains("outside the networks"), !there, "{networks:?}: {error}");
    }
    let (error, _) = warmed(([169, 254, 169, 254], 80).into(), Some("0.0.0.0/0")).await;
    for word in ["169.254.169.254:80", "outside the networks", "0.0.0.0/0"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    // A member of a group learns of it too; the first broker is outside already.
    let endpoint = Endpoint { networks: Some("10.0.0.0/8".parse().unwrap()), ..Endpoint::plain("old", [at.to_string()]) };
    let group = Subscription::new(PhysicalName::new("billing").unwrap(), topic(), ConsumeFrom::Earliest);
    let member = open::consumer(BrokerKind::Kafka, &endpoint, &group).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(20), member.receive()).await.expect("it is said").unwrap_err();
    assert!(error.to_string().contains("outside the networks in which brokers may be (10.0.0.0/8)"), "{error}");
    assert_eq!(second.came(), 0);
}

/// A name server that lists one broker, at this address, which has every topic. Returns its own address.
async fn name_server_that_advertises(broker: &str) -> String {
    let addresses = json!({"0": broker});
    let route = json!({
        "brokerDatas": [{"brokerName": "broker-a", "cluster": "c", "brokerAddrs": addresses}],
        "queueDatas": [{"brokerName": "broker-a", "perm": 6, "readQueueNums": 1, "writeQueueNums": 1}],
    });
    let brokers = json!({"brokerAddrTable": {"broker-a": {"cluster": "c", "brokerName": "broker-a", "brokerAddrs": addresses}}});
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, route.clone(), brokers.clone()));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, route: Value, brokers: Value) {
    let mut read = BytesMut::new();
    loop {
        while let Some(frame) = decode(&mut read, LARGEST_FRAME).unwrap() {
            let Frame::Request { opaque, request, .. } = frame else { panic!("nobody was asked: {frame:?}") };
            let answer = match request.code {
                105 => Answer { body: route.to_string().into(), ..Answer::default() },
                106 => Answer { body: brokers.to_string().into(), ..Answer::default() },
                _ => Answer { code: 3, remark: "a name server knows no such request".to_owned(), ..Answer::default() },
            };
            stream.write_all(&encode(Frame::Answer { opaque, answer }).unwrap()).await.unwrap();
        }
        // The client goes when its test is over.
        let Ok(1..) = stream.read_buf(&mut read).await else { return };
    }
}

/// What operators, producers and consumers are told of a cluster whose only broker is elsewhere.
async fn said_of(name_server: &str, networks: &Networks) -> [(&'static str, BrokerError); 3] {
    let topic = PhysicalName::new("orders").unwrap();
    let endpoint = Endpoint {
        networks: Some(networks.clone()),
        deadline: Duration::from_secs(6),
        ..Endpoint::plain("elsewhere", [name_server])
    };
    let admin = open::admin(BrokerKind::RocketMq, &endpoint).unwrap();
    let producer = open::producer(BrokerKind::RocketMq, &endpoint, Duration::from_millis(500)).unwrap();
    let subscription = Subscription::new(topic.clone(), topic.clone(), ConsumeFrom::Earliest);
    let consumer = open::consumer(BrokerKind::RocketMq, &endpoint, &subscription).unwrap();
    let sent = producer.send(Outgoing::new(topic, "m")).await.unwrap_err();
    let listed = admin.topics().await.unwrap_err();
    let received =
        tokio::time::timeout(Duration::from_secs(20), consumer.receive()).await.expect("it is told, and does not hang");
    producer.close(Duration::from_secs(1)).await;
    consumer.close(Duration::from_secs(5)).await.unwrap();
    [("send", sent), ("topics", listed), ("receive", received.unwrap_err())]
}

fn is_outside(what: &str, error: &BrokerError, broker: &str, networks: &Networks) {
    assert!(matches!(error, BrokerError::Refused { .. }), "{what}: {error:?}");
    for word in [broker, "outside the networks", &networks.to_string()] {
        assert!(error.to_string().contains(word), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_broker_that_a_name_server_advertises_is_not_dialled_outside_the_networks() {
    let broker = Counted::listen("127.0.0.2");
    let address = broker.address().to_string();
    let name_server = name_server_that_advertises(&address).await;
    let networks: Networks = "127.0.0.1/32".parse().unwrap();
    for (what, error) in said_of(&name_server, &networks).await {
        is_outside(what, &error, &address, &networks);
    }
    assert_eq!(broker.came(), 0);
    // The same broker within the networks: it would have been seen.
    let within = Endpoint { networks: Some("127.0.0.0/8".parse().unwrap()), ..Endpoint::plain("within", [&name_server]) };
    let error = open::admin(BrokerKind::RocketMq, &within).unwrap().topics().await.unwrap_err();
    assert!(error.is_passing() && broker.came() > 0, "{error:?}");
}

#[tokio::test]
async fn where_a_cloud_keeps_credentials_no_broker_is_looked_for() {
    let name_server = name_server_that_advertises("169.254.169.254:80").await;
    for networks in [Networks::default(), "0.0.0.0/0".parse().unwrap()] {
        for (what, error) in said_of(&name_server, &networks).await {
            is_outside(what, &error, "169.254.169.254:80", &networks);
        }
    }
}

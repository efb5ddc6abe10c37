//! Brokers that are where no broker may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use zms_core::networks::Networks;

use super::fake_broker;
use crate::{Cluster, Options, Resolver, WireError};

const KNOWN: &[(ApiKey, i16)] = &[(ApiKey::Metadata, 8), (ApiKey::ListGroups, 2)];

/// A broker on loopback that lists a second one, which listens at `host`.
async fn one_that_advertises(host: &'static str) -> String {
    let second = MetadataResponseBroker::default().with_node_id(m::BrokerId(2)).with_host(host.into()).with_port(80);
    let answer = m::MetadataResponse::default().with_brokers(vec![second]);
    fake_broker::start(KNOWN, move |asked| asked.answer(&answer)).await
}

fn within(networks: &str, address: &str) -> Options {
    Options { networks: Some(networks.parse().unwrap()), ..Options::plain([address]) }
}

#[tokio::test]
async fn what_a_cluster_advertises_is_not_dialled_outside_the_networks() {
    let address = one_that_advertises("169.254.169.254").await;
    for networks in [Networks::default().to_string(), "0.0.0.0/0".to_owned()] {
        let cluster = Cluster::new(within(&networks, &address)).unwrap();
        let error = cluster.groups_at(2, Duration::from_secs(5)).await.unwrap_err();
        let WireError::Outside { address, found, networks: said } = &error else { panic!("{error}") };
        assert_eq!((address.as_str(), found.as_str(), said), ("169.254.169.254:80", "169.254.169.254", &networks), "{error}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_only_what_lies_within_is_dialled() {
    let address = one_that_advertises("broker-2").await;
    let port = address.rsplit_once(':').unwrap().1.to_owned();
    let looked_up = Arc::new(AtomicUsize::new(0));
    let count = looked_up.clone();
    // The second answer is the trap: who resolves again after the check would fall into it.
    let resolver = Resolver::new(move |_, port| {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let texts: &[&str] = if turn == 0 { &["203.0.113.9", "127.0.0.1"] } else { &["169.254.169.254"] };
            Ok(texts.iter().map(|text| (text.parse::<std::net::IpAddr>().unwrap(), port).into()).collect())
        }
    });
    let options = Options { resolver, ..within("127.0.0.0/8", &format!("broker-1:{port}")) };
    let cluster = Cluster::new(options).unwrap();
    cluster.metadata(None).await.expect("one of the two addresses is within");
    assert_eq!(looked_up.load(Ordering::SeqCst), 1);
    let error = cluster.groups_at(2, Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(&error, WireError::Outside { address, .. } if address == "broker-2:80"), "{error}");
}

#[tokio::test]
async fn without_networks_the_same_brokers_are_dialled() {
    let address = one_that_advertises("127.0.0.2").await;
    for (options, outside) in [(Options::plain([&address]), false), (within("127.0.0.1/32", &address), true)] {
        let cluster = Cluster::new(options).unwrap();
        let error = cluster.groups_at(2, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(matches!(error, WireError::Outside { .. }), outside, "{error}");
        assert_eq!(matches!(error, WireError::Connect { .. }), !outside, "{error}");
    }
}

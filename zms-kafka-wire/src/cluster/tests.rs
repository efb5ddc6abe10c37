//! What a cluster does when its brokers are away.

mod fake_broker;
mod networks;
mod scrape;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use tokio::net::TcpListener;

use crate::{Cluster, Code, Options, WireError};

async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn all_addresses_are_tried_and_all_are_named() {
    let (one, two) = (nobody().await, nobody().await);
    let cluster = Cluster::new(Options::plain([&one, &two])).unwrap();
    let error = cluster.metadata(None).await.unwrap_err();
    let WireError::Connect { address, why } = error else { panic!("{error}") };
    assert!(address.contains(&one) && address.contains(&two) && why.contains(&one) && why.contains(&two), "{address}: {why}");
}

#[tokio::test]
async fn a_broker_that_failed_is_left_alone_for_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let options =
        Options { back_off: Duration::from_secs(60), max_back_off: Duration::from_secs(60), ..Options::plain([&address]) };
    let cluster = Cluster::new(options).unwrap();
    let (asked, accepted) = tokio::join!(cluster.any(), async {
        let accepted = listener.accept().await.unwrap();
        drop(accepted);
    });
    assert!(asked.is_err());
    let () = accepted;
    assert!(cluster.any().await.is_err());
    let again = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(again.is_err(), "it was asked again at once");
}

#[test]
fn options_that_cannot_be_right_are_refused_before_anything_is_asked() {
    let sasl = crate::Sasl { mechanism: crate::Mechanism::Plain, user: "zms".to_owned(), password: "secret".to_owned() };
    let address = "broker-1:9092";
    for options in [
        Options::plain([] as [&str; 0]),
        Options::plain(["broker-1"]),
        Options::plain([":9092"]),
        Options::plain(["broker-1:0"]),
        Options { authority_pem: Some("no certificate".to_owned()), ..Options::plain([address]) },
        Options { sasl: Some(sasl), ..Options::plain([address]) },
    ] {
        let shown = format!("{options:?}");
        assert!(matches!(Cluster::new(options), Err(WireError::Options(_))), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
    assert!(Cluster::new(Options::plain(["[::1]:9092"])).is_ok());
}

/// Brokers by id (from 1) and who is the controller, as metadata tells it.
fn metadata(addresses: &[&str], controller: i32) -> m::MetadataResponse {
    let broker = |(id, address): (i32, &&str)| {
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        MetadataResponseBroker::default().with_node_id(m::BrokerId(id)).with_host("127.0.0.1".into()).with_port(port)
    };
    let brokers = (1..).zip(addresses).map(broker).collect();
    m::MetadataResponse::default().with_brokers(brokers).with_controller_id(m::BrokerId(controller))
}

const KNOWN: &[(ApiKey, i16)] = &[(ApiKey::Metadata, 8), (ApiKey::CreateTopics, 5)];

/// A broker whose metadata names a dead one as controller for ever, and which says so many times that it is not the controller itself.
async fn one_that_believes_in(dead: String, refuses: usize) -> Cluster {
    let refused = AtomicUsize::new(0);
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = address.clone();
    let listens = fake_broker::start(KNOWN, move |asked| match asked.key {
        ApiKey::Metadata => asked.answer(&metadata(&[own.get().unwrap(), &dead], 2)),
        _ => {
            let again = refused.fetch_add(1, Ordering::SeqCst) < refuses;
            let code = if again { Code::NotController.code() } else { 0 };
            let topic = CreatableTopicResult::default().with_error_code(code);
            asked.answer(&m::CreateTopicsResponse::default().with_topics(vec![topic]))
        }
    });
    address.set(listens.await).unwrap();
    let call_deadline = Duration::from_secs(20);
    Cluster::new(Options { call_deadline, pause: Duration::from_millis(1), ..Options::plain([address.get().unwrap()]) }).unwrap()
}

#[tokio::test]
async fn another_broker_is_asked_while_metadata_names_a_dead_controller() {
    let cluster = one_that_believes_in(nobody().await, 0).await;
    let made = cluster.create_topics(&m::CreateTopicsRequest::default()).await.unwrap();
    assert_eq!(made.topics[0].error_code, 0);
}

#[tokio::test]
async fn controllers_are_looked_for_until_one_is_found_or_the_deadline_passes() {
    let cluster = one_that_believes_in(nobody().await, 5).await;
    let made = cluster.create_topics(&m::CreateTopicsRequest::default()).await.unwrap();
    assert_eq!(made.topics[0].error_code, 0);

    let mut options = one_that_believes_in(nobody().await, usize::MAX).await.options().clone();
    options.call_deadline = Duration::from_millis(100);
    let cluster = Cluster::new(options).unwrap();
    let made = cluster.create_topics(&m::CreateTopicsRequest::default()).await.unwrap();
    assert_eq!(made.topics[0].error_code, Code::NotController.code(), "what was said last");
}

#[tokio::test]
async fn a_cluster_of_dead_brokers_is_given_up_at_once() {
    let options = Options { call_deadline: Duration::from_secs(600), ..Options::plain([nobody().await]) };
    let (cluster, request) = (Cluster::new(options).unwrap(), m::CreateTopicsRequest::default());
    let made = tokio::time::timeout(Duration::from_secs(60), cluster.create_topics(&request)).await;
    let made = made.expect("there is nobody else to ask");
    assert!(matches!(made, Err(WireError::Connect { .. })), "{made:?}");
}

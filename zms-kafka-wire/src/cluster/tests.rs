//! What a cluster does when its brokers are away.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::{Cluster, Options, WireError};

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

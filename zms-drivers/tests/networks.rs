//! Where brokers may be holds for every kind, also for what a test server advertises.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

use std::time::Duration;

use zms_core::metadata::BrokerKind;
use zms_drivers::broker::BrokerError;
use zms_drivers::open::{self, Endpoint};

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

//! What the contract suites share: tables of cases, running them, and Kafka as an endpoint. Its macros come first in a suite:
//! `#[macro_use] mod support;`.

#![allow(dead_code, unused_macros, reason = "no suite needs all of it")]

use std::time::Duration;

use zms_drivers::open::{Credentials, Endpoint, Mechanism};
use zms_testbed::Kafka;

/// `cases![ALL: one, other]`: a table of cases with their names. Each is an async function of one bench; `Case` is the type beside it.
macro_rules! cases {
    ($table:ident: $($case:ident),* $(,)?) => {
        pub const $table: &[(&str, Case)] = &[$((stringify!($case), |bench| Box::pin($case(bench)))),*];
    };
}

/// `run!(cases, bench)`: each case within a minute, said before it begins; their number.
macro_rules! run {
    ($cases:expr, $bench:expr) => {{
        let (bench, cases) = ($bench, $cases);
        for (name, case) in cases {
            println!("{}: {name}", bench.name());
            let done = tokio::time::timeout(std::time::Duration::from_secs(60), case(bench)).await;
            assert!(done.is_ok(), "{name} on {}: not done within 60 s", bench.name());
        }
        cases.len()
    }};
}

/// Kafka, in the open or with TLS and SCRAM-SHA-512.
pub fn kafka_endpoint(kafka: &Kafka, secure: bool, deadline: Duration) -> Endpoint {
    let mut endpoint = Endpoint::plain("real", kafka.plain().split(','));
    endpoint.deadline = deadline;
    if secure {
        let (addresses, authority_pem, user, password) = kafka.tls_scram();
        endpoint.addresses = addresses.split(',').map(str::to_owned).collect();
        endpoint.authority_pem = Some(authority_pem.to_owned());
        let (user, password) = (user.to_owned(), password.to_owned());
        endpoint.credentials = Some(Credentials { mechanism: Mechanism::ScramSha512, user, password });
    }
    endpoint
}

/// What a bench of Kafka is called.
pub fn kafka_name(kafka: &Kafka, secure: bool) -> &'static str {
    use zms_testbed::KafkaLine::{V3, V4};
    match (kafka.line(), secure) {
        (V3, false) => "kafka-3.9",
        (V3, true) => "kafka-3.9-tls",
        (V4, false) => "kafka-4",
        (V4, true) => "kafka-4-tls",
    }
}

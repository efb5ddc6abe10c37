//! One contract for figures over time: the same cases on the server in memory and on InfluxDB 1.6.7.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "influx/bench.rs"]
mod bench;
#[path = "influx/cases.rs"]
mod cases;
#[path = "influx/faults.rs"]
mod faults;

use std::time::Duration;

use bench::{Bench, FakeBench, RealBench};
use zms_testbed::Influx;

async fn run(bench: &dyn Bench) -> usize {
    for (name, case) in cases::ALL {
        println!("{}: {name}", bench.name());
        let done = tokio::time::timeout(Duration::from_secs(60), case(bench)).await;
        assert!(done.is_ok(), "{name} on {}: not done within 60 s", bench.name());
    }
    cases::ALL.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_influxdb_pass_the_same_cases() {
    let fake = FakeBench::new();
    let on_fake = run(&fake).await;
    let mut server = tokio::task::spawn_blocking(Influx::start).await.unwrap();
    let real = RealBench::new(&server);
    let on_real = run(&real).await;
    faults::the_fake_answers_as_influxdb_does(&fake, &real).await;
    faults::a_batch_that_is_too_large_says_so(&real).await;
    server = faults::a_killed_server_is_away_quickly_and_has_its_points_when_it_is_back(&real, server).await;
    drop(server);
    println!("contract influx: {on_fake} cases on fake, {on_real} on real");
}

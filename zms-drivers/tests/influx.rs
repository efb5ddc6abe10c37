//! One contract for figures over time: the same cases on the server in memory, on InfluxDB 1.6.7 and, but for administration, on 2.7.12.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[macro_use]
mod support;

#[path = "influx/bench.rs"]
mod bench;
#[path = "influx/cases.rs"]
mod cases;
#[path = "influx/faults.rs"]
mod faults;
#[path = "influx/two.rs"]
mod two;

use bench::{Bench, FakeBench, RealBench};
use two::TwoBench;
use zms_testbed::{Influx, InfluxLine};

async fn run(bench: &dyn Bench) -> usize {
    run!(cases::ADMINISTRATION, bench) + run!(cases::DATA, bench)
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

#[tokio::test(flavor = "multi_thread")]
async fn influxdb_2_passes_the_cases_of_writing_and_asking() {
    if !InfluxLine::V2.is_at_hand() {
        println!("NOT RUN: InfluxDB 2 (no Go)");
        return;
    }
    let server = tokio::task::spawn_blocking(|| Influx::start_line(InfluxLine::V2)).await.unwrap();
    let bench = TwoBench::new(&server).await;
    let on_real = run!(cases::DATA, &bench as &dyn Bench);
    println!("contract influx-2: {on_real} on real");
}

//! Several portals as processes on one PostgreSQL: killed at random while flows run, and without their database for a while.
//!
//! `ZMS_FAULT_ROUNDS` (kills) and `ZMS_FAULT_SEED` make it long, as scripts/fault does; the same seed gives the same kills.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]
#![allow(clippy::disallowed_methods, reason = "portals are started as processes")]

#[path = "portals/check.rs"]
mod check;
#[path = "portals/chore.rs"]
mod chore;
#[path = "portals/resource.rs"]
mod resource;
#[path = "portals/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use check::{Fault, faults};
use stage::{Stage, dice, setting, until};

/// Only here when this program is started as a portal: then it serves until it is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_program_can_be_started_as_a_portal() {
    if std::env::var_os("ZMS_TEST_PORTAL").is_some() {
        chore::serve_as_portal().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portals_that_are_killed_at_random_do_each_effect_s_work_once_and_leave_nothing_behind() {
    let seed = setting("ZMS_FAULT_SEED", 20_261_128);
    let kills = setting("ZMS_FAULT_ROUNDS", 4);
    let flows = if kills > 4 { 1_000 } else { 60 };
    println!("seed {seed}: {flows} flows, {kills} kills");
    let mut random = dice(seed);
    let mut stage = Stage::set().await;
    let begun = Instant::now();
    let ids = stage.start_flows(flows).await;
    for kill in 0..kills {
        // Between two kills a part of what is left gets done.
        let wanted = (flows * 3 * (kill + 1) / (kills + 2)) as usize;
        until("the next part of the work", async || {
            let done = stage.resource.done();
            if done >= wanted { Ok(()) } else { Err(format!("{done} of {wanted} done")) }
        })
        .await;
        let portal = (random() % 2) as usize;
        stage.kill(portal);
        stage.start(portal);
    }
    stage.await_end(&ids).await;
    let (repeated, seconds) = (stage.resource.asked() - stage.resource.done(), begun.elapsed().as_secs_f64());
    println!("{flows} flows, {} effects, {repeated} asked for again, {seconds:.1} s", stage.resource.done());
    assert_eq!(faults(&stage, &ids).await, []);
    assert_eq!(stage.resource.workers(), 2, "both portals worked");

    // The checker itself: each fault is put there, and must be found.
    for (id, fault) in ids.iter().zip(Fault::ALL) {
        stage.damage(id, fault).await;
    }
    let found = faults(&stage, &ids).await;
    for (id, fault) in ids.iter().zip(Fault::ALL) {
        assert!(found.contains(&(id.clone(), fault)), "{fault:?} was not found: {found:?}");
    }
    assert_eq!(found.len(), Fault::ALL.len(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_requests_say_so_and_afterwards_everything_goes_on() {
    let mut stage = Stage::set().await;
    let cookie = stage.sign_in().await;
    let mut ids = stage.start_flows(40).await;
    for portal in 0..2 {
        assert_eq!(stage.get(portal, "/api/v1/environments", &cookie).await.0, 200);
    }
    stage.postgres.stop();
    for portal in 0..2 {
        let begun = Instant::now();
        let (status, body) = stage.get(portal, "/api/v1/environments", &cookie).await;
        let said: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, said["code"].as_str()), (503, Some("unavailable")), "{body}");
        assert!(said["detail"].as_str().unwrap().contains("database does not answer"), "{body}");
        let (status, page) = stage.get(portal, "/settings/users", &cookie).await;
        assert!(status == 503 && page.contains("<html") && page.contains("database does not answer"), "{status} {page}");
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        assert_eq!(stage.get(portal, "/readyz", "").await.0, 503, "a load balancer is told");
        assert_eq!(stage.get(portal, "/livez", "").await.0, 200, "and nobody restarts it");
    }
    stage.postgres.restart();
    for portal in 0..2 {
        until("the portal to answer again", async || match stage.get(portal, "/api/v1/environments", &cookie).await {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    ids.extend(stage.start_flows(10).await);
    stage.await_end(&ids).await;
    assert_eq!(faults(&stage, &ids).await, []);
    for log in stage.logs() {
        let password = stage.postgres.password();
        assert!(!log.contains(password) && !log.contains("secret%2Fof"), "the password is in the log");
    }
}

//! Workers that die, hang, compete and come too late.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::toy::{Command, Portal, Toy, job, quick, start, until};
use crate::app::now_ms;
use crate::db::Db;
use crate::engine::attempt::save;
use crate::engine::lease::{self, Ready};
use crate::engine::machine::{Outcome, Status};
use crate::engine::view::StepState;
use crate::engine::{Engine, Settings};
use crate::web::messages::Messages;

#[tokio::test]
async fn a_flow_runs_to_its_end() {
    let (_folder, db) = Db::temporary().await;
    let portal = Portal::run(&db, quick());
    let id = start(&portal.engine, &db, "s", vec![job("a", "t"), job("b", "t"), job("c", "u")]).await;
    portal.done(&id).await;
    let flow = portal.engine.view(&id).await.unwrap();
    assert_eq!(flow.progress(), (3, 3));
    assert_eq!(flow.events.len(), 3);
    assert!(
        flow.steps.iter().all(|step| step.attempts == 1 && step.done_at >= step.started_at && step.started_at.is_some()),
        "{flow:#?}"
    );
}

#[tokio::test]
async fn the_worker_dies_between_effect_and_outcome_and_the_flow_completes_once() {
    let (_folder, db) = Db::temporary().await;
    let settings = Settings { lease: Duration::from_millis(300), ..quick() };
    let first = Portal::run(&db, settings.clone());
    let id = start(&first.engine, &db, "s", vec![job("gate", "t")]).await;
    let hands = first.hands.clone();
    until("the effect to begin", async || if hands.times("gate") == 1 { Ok(()) } else { Err("not begun".to_owned()) }).await;
    first.kill().await;

    let second = Portal::run(&db, settings);
    second.hands.gate.0.add_permits(1);
    second.done(&id).await;
    assert_eq!((hands.times("gate"), second.hands.times("gate")), (1, 1));
    let flow = second.engine.view(&id).await.unwrap();
    assert_eq!((flow.events.len(), flow.steps[0].attempts), (1, 2), "{flow:#?}");
    // The same effect, so the same key for what must not happen twice elsewhere.
    let (before, after) = (hands.begun.lock().unwrap()[0].1.clone(), second.hands.begun.lock().unwrap()[0].1.clone());
    assert_eq!((before.effect_id, before.attempt, after.attempt), (after.effect_id, 1, 2));
}

#[tokio::test]
async fn a_long_effect_keeps_its_lease() {
    let (_folder, db) = Db::temporary().await;
    let settings = Settings { lease: Duration::from_millis(150), ..quick() };
    let (one, other) = (Portal::run(&db, settings.clone()), Portal::run(&db, settings));
    let id = start(&one.engine, &db, "s", vec![job("gate", "t")]).await;
    let begun = || one.hands.times("gate") + other.hands.times("gate");
    until("the effect to begin", async || if begun() == 1 { Ok(()) } else { Err("not begun".to_owned()) }).await;
    // Several lease times pass while it works.
    let end = now_ms() + 600;
    until("four lease times", async || if now_ms() > end { Ok(()) } else { Err("too early".to_owned()) }).await;
    one.hands.gate.0.add_permits(1);
    other.hands.gate.0.add_permits(1);
    one.done(&id).await;
    assert_eq!(begun(), 1);
}

#[tokio::test]
async fn two_workers_share_the_work_and_each_outcome_is_recorded_once() {
    let (folder, db) = Db::temporary().await;
    // A database object of its own: nothing but the file is shared, as between two portals.
    let same = Db::open(folder.url()).await.unwrap();
    // A few at a time each, so that neither can take all of them in one go.
    let settings = Settings { in_flight: 8, ..quick() };
    let (one, other) = (Portal::run(&db, settings.clone()), Portal::run(&same, settings));
    let mut ids = Vec::new();
    for n in 0..16 {
        ids.push(start(&one.engine, &db, "s", vec![job("gate", &format!("held{}", n % 4))]).await);
    }
    // Both are full, so both compete for what comes now.
    let held = || (one.hands.times("gate"), other.hands.times("gate"));
    until("both to do work", async || if held() == (8, 8) { Ok(()) } else { Err(format!("{:?}", held())) }).await;
    for n in 0..200 {
        ids.push(start(&one.engine, &db, "s", vec![job(&format!("job:{n}"), &format!("t{}", n % 20))]).await);
    }
    for hands in [&one.hands, &other.hands] {
        hands.gate.0.add_permits(8);
    }
    for id in &ids {
        one.done(id).await;
    }
    assert_eq!(held(), (8, 8));
    let mut times: HashMap<String, usize> = HashMap::new();
    for hands in [&one.hands, &other.hands] {
        for (name, _) in hands.begun.lock().unwrap().iter().filter(|(name, _)| name != "gate") {
            *times.entry(name.clone()).or_default() += 1;
        }
    }
    assert_eq!((times.len(), times.values().max()), (200, Some(&1)));
    for id in &ids {
        assert_eq!(one.engine.view(id).await.unwrap().events.len(), 1);
    }
}

#[tokio::test]
async fn a_target_that_hangs_delays_no_other_and_holds_four_slots_at_most() {
    let (_folder, db) = Db::temporary().await;
    let portal = Portal::run(&db, quick());
    for n in 0..40 {
        start(&portal.engine, &db, "s", vec![job(&format!("hang:{n}"), "dead")]).await;
    }
    let begun = Instant::now();
    for n in 0..10 {
        let id = start(&portal.engine, &db, "s", vec![job(&format!("job:{n}"), "alive")]).await;
        portal.done(&id).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(portal.hands.most("dead"), 4);
}

#[tokio::test]
async fn an_effect_that_takes_too_long_has_failed_and_its_target_gets_one_at_a_time() {
    let (_folder, db) = Db::temporary().await;
    let portal = Portal::run(&db, Settings { deadline: Duration::from_millis(50), ..quick() });
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(start(&portal.engine, &db, "s", vec![job(&format!("hang:{n}"), "dead")]).await);
    }
    let retrying = async || {
        let flow = portal.engine.view(&ids[0]).await.unwrap();
        let step = &flow.steps[0];
        if step.attempts >= 2 && step.note.contains("no answer within 0.05 s") { Ok(()) } else { Err(format!("{step:?}")) }
    };
    until("a second attempt", retrying).await;
    let alive = start(&portal.engine, &db, "s", vec![job("a", "alive")]).await;
    portal.done(&alive).await;
}

#[tokio::test]
async fn what_is_not_there_yet_waits_with_its_reason_and_is_no_failure() {
    let (_folder, db) = Db::temporary().await;
    let portal = Portal::run(&db, quick());
    portal.hands.troubles.store(usize::MAX, Ordering::SeqCst);
    let id = start(&portal.engine, &db, "s", vec![job("again", "t")]).await;
    let waiting = async || {
        let step = portal.engine.view(&id).await.unwrap().steps.remove(0);
        let so = step.state == StepState::Waiting && step.note == "the glue dries" && step.next_at.is_some();
        if so && portal.hands.times("again") > 3 { Ok(()) } else { Err(format!("{step:?}")) }
    };
    until("a waiting step that is polled", waiting).await;
    portal.hands.troubles.store(0, Ordering::SeqCst);
    portal.done(&id).await;
    let step = portal.engine.view(&id).await.unwrap().steps.remove(0);
    assert_eq!((step.state, step.attempts, step.note.as_str()), (StepState::Done, 1, ""));
}

#[tokio::test]
async fn a_failure_or_a_panic_is_shown_and_tried_again() {
    for (name, note) in [("fail", "the toy broke"), ("panic", "fault of the portal: the toy panic exploded")] {
        let (_folder, db) = Db::temporary().await;
        let portal = Portal::run(&db, quick());
        portal.hands.troubles.store(usize::MAX, Ordering::SeqCst);
        let id = start(&portal.engine, &db, "s", vec![job(name, "t")]).await;
        let shown = async || {
            let step = portal.engine.view(&id).await.unwrap().steps.remove(0);
            if step.note == note && step.state == StepState::Retrying { Ok(()) } else { Err(format!("{step:?}")) }
        };
        until("the failure to be shown", shown).await;
        portal.hands.troubles.store(0, Ordering::SeqCst);
        portal.done(&id).await;
    }
}

#[tokio::test]
async fn a_slow_performer_whose_lease_was_taken_cannot_save() {
    let (_folder, db) = Db::temporary().await;
    let settings = Settings { lease: Duration::from_millis(50), ..quick() };
    let engine = Engine::with(db.clone(), settings.clone());
    let hands = std::sync::Arc::new(super::toy::Hands::default());
    engine.register::<Toy>(hands);
    let kind = engine.kind("toy").unwrap();
    let id = start(&engine, &db, "s", vec![job("a", "t")]).await;
    let place = Ready { target: "t".to_owned(), kind: "toy".to_owned() };
    let now = now_ms();
    let slow = lease::candidates(&db, &place, now, 1).await.unwrap().remove(0);
    let rival = lease::candidates(&db, &place, now, 1).await.unwrap().remove(0);
    assert!(lease::take(&db, &settings, &slow, now).await.unwrap());
    assert!(!lease::take(&db, &settings, &rival, now).await.unwrap(), "it is leased");

    // The lease is over: another takes it.
    let later = now + 51;
    let quicker = lease::candidates(&db, &place, later, 1).await.unwrap().remove(0);
    assert!(lease::take(&db, &settings, &quicker, later).await.unwrap());
    assert!(!lease::renew(&db, &settings, &slow, later).await.unwrap());
    let done = || Outcome::Done(r#"{"JobDone":{"job":"a"}}"#.to_owned());
    for late in [done(), Outcome::Failed("late".to_owned()), Outcome::Again { after_ms: 1, why: "late".to_owned() }] {
        assert!(!save(&engine, &*kind, &slow, &late).await.unwrap(), "{late:?}");
    }
    let flow = engine.view(&id).await.unwrap();
    assert_eq!((flow.status, flow.events.len(), flow.steps[0].note.as_str()), (Status::Running, 0, ""));
    assert!(save(&engine, &*kind, &quicker, &done()).await.unwrap());
    assert!(!save(&engine, &*kind, &quicker, &done()).await.unwrap(), "once is enough");
    let flow = engine.view(&id).await.unwrap();
    assert_eq!((flow.status, flow.events.len()), (Status::Done, 1));
}

#[tokio::test]
async fn an_effect_that_is_cancelled_while_it_works_is_dropped() {
    let (_folder, db) = Db::temporary().await;
    let portal = Portal::run(&db, Settings { lease: Duration::from_millis(90), ..quick() });
    let id = start(&portal.engine, &db, "s", vec![job("hang", "t")]).await;
    until("the effect to begin", async || if portal.hands.times("hang") == 1 { Ok(()) } else { Err("not begun".to_owned()) })
        .await;
    portal.engine.command::<Toy>(&id, Command::Stop, "ada", now_ms()).await.unwrap();
    let busy = || portal.hands.busy.lock().unwrap()["t"].0;
    until("the performer to be dropped", async || if busy() == 0 { Ok(()) } else { Err("still at it".to_owned()) }).await;
    assert_eq!(portal.engine.view(&id).await.unwrap().steps[0].state, StepState::Cancelled);
}

#[tokio::test]
async fn an_outcome_that_no_longer_fits_is_noted_at_its_step() {
    let (_folder, db) = Db::temporary().await;
    let portal = Portal::run(&db, quick());
    let id = start(&portal.engine, &db, "s", vec![job("keep-gate", "t")]).await;
    until(
        "the effect to begin",
        async || if portal.hands.times("keep-gate") == 1 { Ok(()) } else { Err("not begun".to_owned()) },
    )
    .await;
    portal.engine.command::<Toy>(&id, Command::Pause, "ada", now_ms()).await.unwrap();
    portal.hands.gate.0.add_permits(1);
    let noted = async || {
        let step = portal.engine.view(&id).await.unwrap().steps.remove(0);
        let so = step.state == StepState::Done && step.note == Messages::ENGLISH.engine_stale();
        if so { Ok(()) } else { Err(format!("{step:?}")) }
    };
    until("the step to be done", noted).await;
    let flow = portal.engine.view(&id).await.unwrap();
    assert_eq!((flow.status, flow.events.len()), (Status::Waiting, 1));
}

#[tokio::test]
async fn the_end_waits_for_what_is_under_way_and_begins_nothing() {
    let (_folder, db) = Db::temporary().await;
    let portal = Portal::run(&db, quick());
    let id = start(&portal.engine, &db, "s", vec![job("gate", "t")]).await;
    until("the effect to begin", async || if portal.hands.times("gate") == 1 { Ok(()) } else { Err("not begun".to_owned()) })
        .await;
    portal.stop.send_replace(true);
    let other = start(&portal.engine, &db, "s", vec![job("a", "t")]).await;
    portal.hands.gate.0.add_permits(1);
    portal.worker.await.unwrap();
    assert_eq!(portal.engine.view(&id).await.unwrap().status, Status::Done);
    assert_eq!(portal.hands.times("a"), 0);
    let next = Portal::run(&db, quick());
    next.done(&other).await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever_and_leaves_the_lease_to_run_out() {
    let (_folder, db) = Db::temporary().await;
    let settings = Settings { last_words: Duration::from_millis(50), lease: Duration::from_millis(200), ..quick() };
    let portal = Portal::run(&db, settings.clone());
    let id = start(&portal.engine, &db, "s", vec![job("gate", "t")]).await;
    until("the effect to begin", async || if portal.hands.times("gate") == 1 { Ok(()) } else { Err("not begun".to_owned()) })
        .await;
    portal.stop.send_replace(true);
    portal.worker.await.unwrap();
    let next = Portal::run(&db, settings);
    next.hands.gate.0.add_permits(1);
    next.done(&id).await;
}

#[tokio::test]
async fn a_change_made_by_another_portal_wakes_the_pages_of_this_one() {
    let (_folder, db) = Db::temporary().await;
    let portal = Portal::run(&db, quick());
    let other = Engine::new(db.clone());
    let mut changed = portal.engine.changed();
    changed.borrow_and_update();
    let id = start(&other, &db, "s", vec![job("hang", "t")]).await;
    tokio::time::timeout(Duration::from_secs(20), changed.changed()).await.expect("a change is heard of").unwrap();
    // And its effects are begun here, though nobody woke this portal.
    until("the effect to begin", async || if portal.hands.times("hang") == 1 { Ok(()) } else { Err("not begun".to_owned()) })
        .await;
    assert_eq!(other.view(&id).await.unwrap().steps[0].state, StepState::Running);
}

#[tokio::test]
async fn effects_of_a_kind_that_is_unknown_here_wait_for_a_portal_that_knows_it() {
    let (_folder, db) = Db::temporary().await;
    let ignorant = Engine::with(db.clone(), quick());
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let worker = tokio::spawn({
        let ignorant = ignorant.clone();
        async move { ignorant.run(stopped).await }
    });
    let id = start(&ignorant, &db, "s", vec![job("a", "t")]).await;
    let portal = Portal::run(&db, quick());
    portal.done(&id).await;
    assert_eq!(portal.engine.view(&id).await.unwrap().steps[0].attempts, 1);
    worker.abort();
}

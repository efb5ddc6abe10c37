use axum::http::StatusCode;
use zms_core::host::{Answer, Ask, Finding, Question};

use super::*;
use crate::portal::contact::Contact;

/// The last request that the portal got.
fn last(fake: &Fake) -> Option<zms_core::host::SyncRequest> {
    fake.book().syncs.last().map(|(request, _)| request.clone())
}

#[tokio::test]
async fn a_newer_state_is_taken_kept_and_acknowledged_at_once() {
    let fake = Fake::start().await;
    let mut host = Host::running(&fake).await;
    until("the first request", || last(&fake)).await;
    fake.tell(|book| book.desired = Some(state(7)));
    host.desired.changed().await.unwrap();
    assert_eq!(host.desired.borrow_and_update().generation, 7);
    until("a request that has it", || last(&fake).filter(|request| request.have == 7)).await;
    assert_eq!(crate::host::remembered(&host.layout).unwrap(), Some(state(7)));

    let syncs = fake.book().syncs.clone();
    let (first, shown) = &syncs[0];
    assert!(first.report.is_some() && first.facts.as_ref().is_some_and(|facts| !facts.hostname.is_empty()));
    assert!(first.clock_ms > 0 && first.have == 0 && first.n == 1);
    assert_eq!(*shown, Fake::der(&host.identity().certificate));
    assert!(
        syncs[1..].iter().all(|(request, _)| request.report.is_none() && request.facts.is_none() && request.run == first.run)
    );
}

#[tokio::test]
async fn a_report_that_changes_does_not_wait_for_the_end_of_the_hold() {
    let fake = Fake::start().await;
    let host = Host::running(&fake).await;
    until("the first request", || last(&fake)).await;
    let began = tokio::time::Instant::now();
    for generation in 1..=50 {
        host.reports.send_replace(Some(report(generation)));
    }
    // Somewhere among the requests: an empty one may have followed it already.
    let arrived = |request: &zms_core::host::SyncRequest| request.report.as_ref().is_some_and(|report| report.generation == 50);
    until("the last report", || fake.book().syncs.iter().any(|(request, _)| arrived(request)).then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(20), "the hold is 25 s");
    let count = fake.book().syncs.len();
    assert!(count < 20, "{count} requests for 50 changes in a moment");
}

#[tokio::test]
async fn a_portal_that_does_not_know_this_run_gets_everything_again() {
    let fake = Fake::start().await;
    let _host = Host::running(&fake).await;
    until("the first request", || last(&fake)).await;
    fake.tell(|book| book.full = true);
    let whole = |request: &zms_core::host::SyncRequest| request.report.is_some() && request.facts.is_some();
    until("everything again", || fake.book().syncs[1..].iter().any(|(request, _)| whole(request)).then_some(())).await;
}

#[tokio::test]
async fn a_state_that_is_older_or_not_understood_changes_nothing_and_is_told() {
    let fake = Fake::start().await;
    let host = Host::running(&fake).await;
    fake.tell(|book| book.desired = Some(state(7)));
    until("generation 7", || (host.desired.borrow().generation == 7).then_some(())).await;
    fake.tell(|book| book.desired = Some(state(3)));
    let problem = |text: &'static str| move |host: &Host| Contact::load(&host.layout).problem.contains(text).then_some(());
    until("the refusal of 3", || problem("older than 7")(&host)).await;
    assert_eq!(host.desired.borrow().generation, 7);
    fake.tell(|book| book.desired = Some(DesiredState { instances: vec![reserved()], ..state(9) }));
    until("the refusal of 9", || problem("taken by ZMS itself")(&host)).await;
    assert!(host.status().contains("NOW desired state refused"), "{}", host.status());
    fake.tell(|book| book.desired = Some(state(10)));
    until("generation 10", || (host.desired.borrow().generation == 10).then_some(())).await;
    until("no problem any more", || Contact::load(&host.layout).problem.is_empty().then_some(())).await;
}

fn reserved() -> zms_core::host::InstanceSpec {
    crate::instance::tests::sleeper("supervisord")
}

#[tokio::test]
async fn a_portal_that_is_away_is_found_again_and_status_tells() {
    let fake = Fake::start().await;
    fake.tell(|book| book.failing = Some(StatusCode::SERVICE_UNAVAILABLE));
    let host = Host::running(&fake).await;
    until("the problem", || Contact::load(&host.layout).problem.contains("503").then_some(())).await;
    assert!(host.status().contains("never answered") && host.status().contains("certificate valid until"), "{}", host.status());
    fake.tell(|book| (book.failing, book.desired) = (None, Some(state(1))));
    until("generation 1", || (host.desired.borrow().generation == 1).then_some(())).await;
    until("a contact", || (Contact::load(&host.layout).answered_ms > 0).then_some(())).await;
    let status = host.status();
    assert!(status.contains("s ago") && status.contains(HOST) && !status.contains("NOW"), "{status}");
}

#[tokio::test]
async fn questions_are_answered_in_the_next_request() {
    let fake = Fake::start().await;
    let host = Host::running(&fake).await;
    let log = host.layout.log_file(&"kafka-1".parse().unwrap());
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "started\nsasl.password=hush\n").unwrap();
    let ask = |id: &str, ask| Question { id: id.into(), ask };
    let one = ask("q1", Ask::Log { instance: "kafka-1".parse().unwrap(), from: None });
    let other = ask("q2", Ask::Log { instance: "kafka-2".parse().unwrap(), from: Some(5) });
    let preflight = ask("q3", Ask::Preflight { instances: vec![crate::instance::tests::sleeper("s-1")] });
    fake.tell(|book| book.questions = vec![one, other, preflight]);
    let answers: Vec<Answer> = until("three answers", || {
        let syncs = fake.book().syncs.clone();
        let mut answers: Vec<Answer> = syncs.into_iter().flat_map(|(request, _)| request.answers).collect();
        answers.sort_by(|a, b| a.id.cmp(&b.id));
        answers.dedup();
        (answers.len() == 3).then_some(answers)
    })
    .await;
    assert!(matches!(&answers[0].found, Ok(Finding::Log { text, .. }) if text == "started\nsasl.password=***\n"), "{answers:?}");
    assert!(matches!(&answers[1].found, Err(why) if why.contains("none on this host")), "{answers:?}");
    assert!(matches!(&answers[2].found, Ok(Finding::Preflight { checks }) if checks.iter().any(|check| check.name == "python")));
}

#[tokio::test]
async fn a_clock_that_is_off_the_portals_is_told_until_it_is_set_right() {
    let fake = Fake::start().await;
    fake.tell(|book| book.ahead_ms = 95_000);
    let host = Host::running(&fake).await;
    let line = |host: &Host| host.status().lines().find(|line| line.starts_with("clock")).map(str::to_owned);
    let told = until("the clock is told", || line(&host)).await;
    assert!(told.contains("-95 s off the portal's; set it right") || told.contains("-94 s off"), "{told}");
    fake.tell(|book| (book.ahead_ms, book.full) = (0, true));
    until("the clock is right", || line(&host).is_none().then_some(())).await;
}

#[test]
fn half_a_minute_is_no_wrong_clock() {
    for (skew_ms, off) in [(0, false), (30_000, false), (-30_000, false), (30_001, true), (-30_001, true)] {
        assert_eq!(Contact { skew_ms, ..Contact::default() }.clock_is_off(), off, "{skew_ms}");
    }
}

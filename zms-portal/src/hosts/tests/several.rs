//! Two portals that share a database: hosts are connected to one, people to the other.

use std::time::{Duration, Instant};

use zms_core::host::{Answer, Ask, Finding, Phase, SyncRequest};
use zms_core::names::InstanceId;

use super::support::{Asking, Host, Portal, spec, sync};
use super::syncing::{ask_at, facts};
use crate::app::{App, now_ms};
use crate::error::Error;
use crate::hosts::{self, HostStatus, find, join, revoke, seen};
use crate::serve;

/// Longer than anything in here takes.
const LONG: Duration = Duration::from_secs(30);
/// What another portal changed is heard in half a second. A busy machine takes longer; who does not hear it waits for [`LONG`].
const HEARD: Duration = Duration::from_secs(15);

async fn two() -> (Portal, App) {
    let portal = Portal::new().await;
    let other = serve::open(portal.app.config.clone()).await.unwrap();
    (portal, other)
}

/// A host that joins at `other` with a token of `portal`, and is connected there.
async fn host_of(portal: &Portal, other: &App) -> Host {
    let asking = Asking::new(&portal.token(1, 60, now_ms()).await, "web");
    let reply = join::join(other, &asking.request, "192.0.2.7", now_ms()).await.ok().expect("the token is good everywhere");
    let host = Host { id: reply.host.to_string(), certificate: reply.certificate, key: asking.key.serialize_pem() };
    let first = SyncRequest { facts: facts("m1"), ..sync("r1", 1, 0) };
    ask_at(other, &host, first, Duration::ZERO).await;
    host
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_portal_wants_of_a_host_ends_the_request_that_the_other_holds() {
    let (portal, other) = two().await;
    let host = host_of(&portal, &other).await;
    let begun = Instant::now();
    let (reply, ()) = tokio::join!(ask_at(&other, &host, sync("r1", 2, 0), LONG), async {
        portal.place(&host.id, &spec("zookeeper-1", Vec::new(), "a")).await;
    });
    let desired = reply.desired.expect("there is something new");
    assert_eq!((desired.instances.len(), desired.instances[0].phase), (1, Phase::Running));
    assert!(begun.elapsed() < HEARD, "{:?}", begun.elapsed());

    let begun = Instant::now();
    let have = desired.generation;
    let held = tokio::spawn({
        let (other, host) = (other.clone(), Host { id: host.id.clone(), certificate: String::new(), key: String::new() });
        async move { super::syncing::ended_at(&other, &host, sync("r1", 3, have), LONG).await }
    });
    revoke(&portal.app, portal.actor(), &portal.environment, &host.id, now_ms()).await.unwrap();
    assert!(held.await.unwrap() && begun.elapsed() < HEARD, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_reaches_a_host_that_is_connected_to_another_portal() {
    let (portal, other) = two().await;
    let host = host_of(&portal, &other).await;
    let log = Ask::Log { instance: InstanceId::new("zookeeper-1").unwrap(), from: None };
    let piece = Finding::Log { text: "started".into(), from: 0, next: 7, size: 7 };
    let agent = async {
        for (n, found) in [(2, Ok(piece.clone())), (4, Err("there is no such log".to_owned()))] {
            let reply = ask_at(&other, &host, sync("r1", n, 0), LONG).await;
            let [question] = &reply.questions[..] else { panic!("{reply:?}") };
            let answers = vec![Answer { id: question.id.clone(), found }];
            ask_at(&other, &host, SyncRequest { answers, ..sync("r1", n + 1, 0) }, Duration::ZERO).await;
        }
    };
    let person = async {
        let found = hosts::ask(&portal.app, &host.id, log.clone(), LONG).await.unwrap();
        (found, hosts::ask(&portal.app, &host.id, log.clone(), LONG).await.unwrap_err())
    };
    let ((found, refused), ()) = tokio::join!(person, agent);
    assert_eq!(found, piece);
    assert!(
        matches!(refused, Error::Unavailable(ref text) if text.say(crate::web::messages::Messages::ENGLISH).contains("no such log"))
    );
    let begun = Instant::now();
    let away = hosts::ask(&portal.app, &host.id, log, LONG).await.unwrap_err();
    assert!(matches!(away, Error::Unavailable(_)) && begun.elapsed() < LONG / 2, "nobody holds it: {away:?}");
    let left: i64 = sqlx::query_scalar("select count(*) from questions").fetch_one(portal.app.db.read()).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_are_only_there_are_written_down_together_and_by_whoever_heard_them() {
    let (portal, other) = two().await;
    let host = host_of(&portal, &other).await;
    let first = find(&other.db, &host.id).await.unwrap().seen_at.unwrap();
    other.hub.heard().note(&host.id, first + 7_000, 12);
    other.hub.heard().note("nobody", first, 0);
    for n in 0..2_500 {
        other.hub.heard().note(&format!("gone-{n}"), first, 0);
    }
    seen::write(&other.hub, &other.db).await.unwrap();
    let row = find(&portal.app.db, &host.id).await.unwrap();
    assert_eq!((row.seen_at, row.status(first + 8_000)), (Some(first + 7_000), HostStatus::Online));
    // Who heard it earlier writes later: the newer one stays.
    portal.app.hub.heard().note(&host.id, first + 1_000, 0);
    seen::write(&portal.app.hub, &portal.app.db).await.unwrap();
    assert_eq!(find(&portal.app.db, &host.id).await.unwrap().seen_at, Some(first + 7_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_machines_with_one_certificate_are_found_though_each_asks_another_portal() {
    let (portal, other) = two().await;
    let host = host_of(&portal, &other).await;
    for n in 0..2 {
        ask_at(&portal.app, &host, SyncRequest { facts: facts("m2"), ..sync("r2", n + 1, 0) }, Duration::ZERO).await;
        ask_at(&other, &host, SyncRequest { facts: facts("m1"), ..sync("r1", n + 2, 0) }, Duration::ZERO).await;
    }
    assert!(portal.app.hub.twin_of(&host.id).is_some() || other.hub.twin_of(&host.id).is_some());
    assert!(!portal.audited("host.clone").await.is_empty());
}

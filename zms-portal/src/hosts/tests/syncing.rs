//! The long poll.

use std::time::{Duration, Instant};

use zms_core::host::{Answer, Ask, Finding, HostFacts, SyncReply, SyncRequest};
use zms_core::names::InstanceId;

use super::support::{Host, Portal, report, spec, sync};
use crate::app::{App, now_ms};
use crate::authority::PeerCertificate;
use crate::hosts::caller::Caller;
use crate::hosts::sync::{self, Synced};
use crate::hosts::{HostStatus, find, revoke, store};
use crate::packages::test_support::put;

/// Longer than anything in here takes.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::ZERO;

async fn caller(app: &App, host: &Host) -> Caller {
    let standing = store::standing(&app.db, &host.id).await.unwrap().unwrap();
    let peer = PeerCertificate {
        der: [].into(),
        named: crate::authority::Named::Host(host.id.clone()),
        serial: standing.serial.clone(),
        key_hash: standing.key_hash.clone(),
        expired: false,
    };
    Caller { id: host.id.clone(), standing, peer, address: "192.0.2.7".into() }
}

async fn ask(portal: &Portal, host: &Host, request: SyncRequest, hold: Duration) -> SyncReply {
    ask_at(&portal.app, host, request, hold).await
}

pub(super) async fn ask_at(app: &App, host: &Host, request: SyncRequest, hold: Duration) -> SyncReply {
    match sync::sync(app, &caller(app, host).await, request, hold).await.unwrap() {
        Synced::Reply(reply) => *reply,
        Synced::Revoked => panic!("the host is in service"),
    }
}

/// Was the request ended because the host was taken out of service?
pub(super) async fn ended_at(app: &App, host: &Host, request: SyncRequest, hold: Duration) -> bool {
    matches!(sync::sync(app, &caller(app, host).await, request, hold).await.unwrap(), Synced::Revoked)
}

pub(super) fn facts(machine: &str) -> Option<HostFacts> {
    Some(HostFacts { machine: machine.into(), hostname: "web".into(), cpus: 2, ..HostFacts::default() })
}

#[tokio::test]
async fn an_unknown_run_is_asked_for_everything_and_a_known_one_is_heard() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    assert!(ask(&portal, &host, sync("r1", 1, 0), LONG).await.full);
    let full = SyncRequest { facts: facts("m1"), report: Some(report(0)), ..sync("r1", 2, 0) };
    assert!(!ask(&portal, &host, full, SHORT).await.full);
    assert!(!ask(&portal, &host, sync("r1", 3, 0), SHORT).await.full);
    let row = find(&portal.app.db, &host.id).await.unwrap();
    assert_eq!((row.facts.cpus, row.agent_version(), row.status(now_ms())), (2, "0.1.0", HostStatus::Online));
}

#[tokio::test]
async fn what_is_wanted_comes_at_once_and_ends_a_request_that_is_held() {
    let portal = Portal::new().await;
    let supervisor = put(&portal.packages(), "supervisor", "4.3.0", "any", b"supervisor");
    portal.app.stock.rescan().await.unwrap();
    let host = portal.host("web").await;
    let begun = Instant::now();
    ask(&portal, &host, SyncRequest { facts: facts("m1"), ..sync("r1", 1, 0) }, LONG).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "what carries something is answered at once");
    let held = async { ask(&portal, &host, sync("r1", 2, 0), LONG).await };
    let spec = spec("zookeeper-1", Vec::new(), "");
    let (reply, ()) = tokio::join!(held, async {
        portal.place(&host.id, &spec).await;
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let desired = reply.desired.unwrap();
    assert_eq!((desired.generation, &desired.instances, desired.supervisor.clone()), (1, &vec![spec], Some(supervisor)));
    assert_eq!(ask(&portal, &host, sync("r1", 3, 0), LONG).await.desired, Some(desired));
    assert_eq!(ask(&portal, &host, sync("r1", 4, 1), SHORT).await.desired, None);
}

#[tokio::test]
async fn the_same_wish_again_is_no_new_generation() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    portal.place(&host.id, &spec("zookeeper-1", Vec::new(), "")).await;
    let mut tx = portal.app.db.begin().await.unwrap();
    crate::hosts::set_desired(&mut tx, &portal.app, &host.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(find(&portal.app.db, &host.id).await.unwrap().generation, 1);
    portal.place(&host.id, &spec("zookeeper-2", Vec::new(), "")).await;
    assert_eq!(find(&portal.app.db, &host.id).await.unwrap().generation, 2);
}

#[tokio::test]
async fn a_host_that_knows_a_later_state_than_the_database_gets_the_present_one_beyond_it() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    portal.place(&host.id, &spec("zookeeper-1", Vec::new(), "")).await;
    let reply = ask(&portal, &host, SyncRequest { facts: facts("m1"), ..sync("r1", 1, 41) }, SHORT).await;
    let desired = reply.desired.unwrap();
    assert_eq!((desired.generation, desired.instances.len()), (42, 1));
    assert_eq!(ask(&portal, &host, sync("r1", 2, 42), SHORT).await.desired, None);
    assert_eq!(ask(&portal, &host, sync("r1", 3, u64::MAX), SHORT).await.desired, None, "no number breaks it");
}

#[tokio::test]
async fn a_host_that_is_taken_out_of_service_is_let_go_at_once() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    ask(&portal, &host, SyncRequest { facts: facts("m1"), ..sync("r1", 1, 0) }, SHORT).await;
    let caller = caller(&portal.app, &host).await;
    let request = sync("r1", 2, 0);
    let begun = Instant::now();
    let (ended, ()) = tokio::join!(sync::sync(&portal.app, &caller, request, LONG), async {
        revoke(&portal.app, portal.actor(), &portal.environment, &host.id, now_ms()).await.unwrap();
    });
    assert!(matches!(ended.unwrap(), Synced::Revoked) && begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_question_goes_with_the_held_request_and_its_answer_with_the_next() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    let log = Ask::Log { instance: InstanceId::new("zookeeper-1").unwrap(), from: None };
    let piece = Finding::Log { text: "started".into(), from: 0, next: 7, size: 7 };
    let agent = async {
        ask(&portal, &host, SyncRequest { facts: facts("m1"), ..sync("r1", 1, 0) }, SHORT).await;
        let reply = ask(&portal, &host, sync("r1", 2, 0), LONG).await;
        let [question] = &reply.questions[..] else { panic!("{reply:?}") };
        assert_eq!(question.ask, log);
        let answers = vec![Answer { id: question.id.clone(), found: Ok(piece.clone()) }];
        ask(&portal, &host, SyncRequest { answers, ..sync("r1", 3, 0) }, SHORT).await;
    };
    let person = async {
        while find(&portal.app.db, &host.id).await.unwrap().seen_at.is_none() {
            tokio::task::yield_now().await;
        }
        portal.app.hub.ask(&host.id, log.clone(), LONG).await.unwrap()
    };
    let (found, ()) = tokio::join!(person, agent);
    assert_eq!(found, piece);
}

#[tokio::test]
async fn two_machines_that_take_turns_are_marked_once_in_the_audit_and_stay_marked() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    for (run, machine) in [("r1", "m1"), ("r2", "m2"), ("r1", "m1"), ("r2", "m2"), ("r1", "m1")] {
        ask(&portal, &host, SyncRequest { facts: facts(machine), ..sync(run, 1, 0) }, SHORT).await;
    }
    assert!(portal.app.hub.twin_of(&host.id).is_some());
    assert_eq!(portal.audited("host.clone").await.len(), 1);
    let other = portal.host("other").await;
    for run in ["r1", "r2", "r3"] {
        ask(&portal, &other, SyncRequest { facts: facts("m1"), ..sync(run, 1, 0) }, SHORT).await;
    }
    assert_eq!(portal.app.hub.twin_of(&other.id), None, "an agent that is started again is the same machine");
}

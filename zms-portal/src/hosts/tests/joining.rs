//! Tokens and enrolments.

use super::support::{Asking, Portal, csr, token_of};
use crate::access::{Actor, Role, User};
use crate::app::now_ms;
use crate::error::Error;
use crate::hosts::join::Refusal;
use crate::hosts::line::{self, NewLine};
use crate::hosts::{HostStatus, find, list, rename, revoke};

const NOW: i64 = 1_764_000_000_000;
const MINUTE: i64 = 60_000;

#[tokio::test]
async fn a_host_joins_with_a_line_and_is_pending_until_it_asks() {
    let portal = Portal::new().await;
    let made = line::make(&portal.app, portal.actor(), &portal.environment, &NewLine::default(), now_ms()).await.unwrap();
    assert_eq!(token_of(&made.line), token_of(&made.line_unprivileged));
    let asking = Asking::new(&token_of(&made.line), "Web-1.example.com");
    let reply = portal.join(&asking.request, now_ms()).await.unwrap();
    assert_eq!(reply.agent_url, "https://zms.example:8444");
    let hosts = list(&portal.app.db, &portal.environment.id).await.unwrap();
    assert_eq!((hosts.len(), hosts[0].name.as_str(), hosts[0].address.as_str()), (1, "web-1", "10.0.0.7"));
    assert_eq!((hosts[0].id.as_str(), hosts[0].status(now_ms())), (reply.host.as_str(), HostStatus::Pending));
    let (view, joined) = line::see(&portal.app.db, portal.actor(), &portal.environment, &made.view.key_id).await.unwrap();
    assert_eq!((view.uses, view.open(now_ms()), joined.len()), (1, false, 1));
    let stored: Vec<String> =
        sqlx::query_scalar("select secret_hash from join_tokens").fetch_all(portal.app.db.read()).await.unwrap();
    assert!(!made.line.contains(&stored[0]), "the database has a hash only");
}

#[tokio::test]
async fn of_two_joins_with_a_one_use_token_at_the_same_time_one_wins() {
    let portal = Portal::new().await;
    for _ in 0..5 {
        let token = portal.token(1, 60, NOW).await;
        let (a, b) = (Asking::new(&token, "a"), Asking::new(&token, "b"));
        let (first, second) = tokio::join!(portal.join(&a.request, NOW), portal.join(&b.request, NOW));
        let lost = match (&first, &second) {
            (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => refusal,
            both => panic!("{both:?}"),
        };
        assert_eq!(*lost, Refusal::UsedUp);
    }
    assert_eq!(list(&portal.app.db, &portal.environment.id).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_without_another_use_and_only_with_the_same_key_and_token() {
    let portal = Portal::new().await;
    let (token, other) = (portal.token(1, 60, NOW).await, portal.token(1, 60, NOW).await);
    let mut asking = Asking::new(&token, "a");
    let first = portal.join(&asking.request, NOW).await.unwrap();
    // Long after the token is over.
    let again = portal.join(&asking.request, NOW + 1000 * MINUTE).await.unwrap();
    assert_eq!(first, again);

    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let own = std::mem::replace(&mut asking.request.csr, csr(&key));
    assert_eq!(portal.join(&asking.request, NOW).await, Err(Refusal::OtherKey));
    asking.request.csr = own;
    asking.request.token = other;
    assert_eq!(portal.join(&asking.request, NOW).await, Err(Refusal::UnknownToken));
    asking.request.token = token;
    revoke(&portal.app, portal.actor(), &portal.environment, first.host.as_str(), NOW).await.unwrap();
    assert_eq!(portal.join(&asking.request, NOW).await, Err(Refusal::Revoked));
    assert_eq!(list(&portal.app.db, &portal.environment.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_refusal_leaves_no_host_no_use_and_its_reason_in_the_audit() {
    let portal = Portal::new().await;
    let good = portal.token(5, 60, NOW).await;
    let withdrawn = portal.token(5, 60, NOW).await;
    let key_id = withdrawn.split('.').nth(1).unwrap();
    line::withdraw(&portal.app.db, portal.actor(), &portal.environment, key_id, NOW).await.unwrap();
    let (head, secret) = good.rsplit_once('.').unwrap();
    let guessed = format!("{head}.{}{}", if secret.starts_with('A') { 'B' } else { 'A' }, &secret[1..]);
    let mut late = Asking::new(&good, "late");
    late.request.enrolment = "not a ulid".to_owned();
    let mut torn = Asking::new(&good, "torn");
    torn.request.csr.truncate(200);
    let table = [
        (Asking::new("nonsense", "a"), NOW, "it is no token"),
        (Asking::new(&format!("zmsj1.abcdefgh.{}", "A".repeat(43)), "a"), NOW, "there is no such token"),
        (Asking::new(&guessed, "a"), NOW, "there is no such token"),
        (Asking::new(&withdrawn, "a"), NOW, "the token was withdrawn"),
        (Asking::new(&good, "a"), NOW + 60 * MINUTE, "the token has expired"),
        (late, NOW, "the enrolment is no ULID"),
        (torn, NOW, "certificate signing request"),
    ];
    for (asking, now, reason) in &table {
        assert!(portal.join(&asking.request, *now).await.is_err(), "{reason}");
        let (result, detail) = portal.audited("host.join").await.pop().unwrap();
        assert!(result == "denied" && detail.contains(reason), "{reason}: {result} {detail}");
        assert!(!detail.contains(secret), "no token in the audit");
    }
    assert!(list(&portal.app.db, &portal.environment.id).await.unwrap().is_empty());
    let uses: i64 =
        sqlx::query_scalar("select cast(sum(uses) as bigint) from join_tokens").fetch_one(portal.app.db.read()).await.unwrap();
    assert_eq!(uses, 0);
}

#[tokio::test]
async fn strangers_cannot_fill_the_audit() {
    let portal = Portal::new().await;
    for _ in 0..70 {
        portal.join(&Asking::new("nonsense", "a").request, NOW).await.unwrap_err();
    }
    assert_eq!(portal.audited("host.join").await.len(), 60);
    portal.join(&Asking::new("nonsense", "a").request, NOW + MINUTE).await.unwrap_err();
    assert_eq!(portal.audited("host.join").await.len(), 61);
}

#[tokio::test]
async fn a_taken_name_gets_a_number_and_a_host_out_of_service_gives_its_name_free() {
    let portal = Portal::new().await;
    let mut ids = Vec::new();
    for expected in ["web", "web-2", "web-3"] {
        let host = portal.host("web").await;
        assert_eq!(find(&portal.app.db, &host.id).await.unwrap().name, expected);
        ids.push(host.id);
    }
    let taken = rename(&portal.app, portal.actor(), &portal.environment, &ids[1], "web", NOW).await.unwrap_err();
    assert!(matches!(taken, Error::Invalid(problems) if problems[0].field == "name"));
    revoke(&portal.app, portal.actor(), &portal.environment, &ids[0], NOW).await.unwrap();
    let gone = find(&portal.app.db, &ids[0]).await.unwrap();
    assert!(gone.revoked && gone.status(NOW) == HostStatus::Revoked && gone.name.starts_with("web~"), "{}", gone.name);
    rename(&portal.app, portal.actor(), &portal.environment, &ids[1], "web", NOW).await.unwrap();
    assert_eq!(portal.audited("host.rename").await.len(), 1);
    assert_eq!(portal.audited("host.revoke").await.len(), 1);
}

#[tokio::test]
async fn who_is_no_operator_makes_no_line_and_changes_no_host_and_the_try_is_audited() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    let viewer = User { id: String::new(), name: "vera".into(), roles: vec![Role::Viewer], language: String::new() };
    let actor = Actor { user: &viewer, address: "192.0.2.2" };
    let (app, environment) = (&portal.app, &portal.environment);
    assert!(matches!(line::make(app, actor, environment, &NewLine::default(), NOW).await, Err(Error::Forbidden)));
    assert!(matches!(line::open(&app.db, actor, environment, NOW).await, Err(Error::Forbidden)));
    assert!(matches!(line::withdraw(&app.db, actor, environment, "x", NOW).await, Err(Error::Forbidden)));
    assert!(matches!(rename(app, actor, environment, &host.id, "x", NOW).await, Err(Error::Forbidden)));
    assert!(matches!(revoke(app, actor, environment, &host.id, NOW).await, Err(Error::Forbidden)));
    for act in ["join_line.withdraw", "host.rename", "host.revoke"] {
        assert_eq!(portal.audited(act).await[0].0, "denied", "{act}");
    }
    for (uses, minutes, fields) in [(0, 60, &["uses"][..]), (1001, 10_081, &["uses", "minutes"]), (1, 0, &["minutes"])] {
        let error = line::make(app, portal.actor(), environment, &NewLine { uses, minutes }, NOW).await.err().unwrap();
        let Error::Invalid(problems) = error else { panic!("{error:?}") };
        assert_eq!(problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), fields);
    }
}

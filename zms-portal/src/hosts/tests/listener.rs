//! Agents over real TLS: who gets in, and to what.

use reqwest::StatusCode;
use serde_json::Value;
use zms_core::host::{JoinReply, RenewReply, RenewRequest, SyncReply, SyncRequest};

use super::support::{Asking, DAY_MS, Host, Portal, client, csr, report, spec, sync};
use crate::app::now_ms;
use crate::hosts::{find, revoke};
use crate::packages::test_support::put;

async fn post(client: &reqwest::Client, url: String, body: &impl serde::Serialize) -> (StatusCode, Value) {
    let response = client.post(url).json(body).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// A new run with everything in it, which is answered at once when something is wanted.
fn whole(have: u64) -> SyncRequest {
    SyncRequest { report: Some(report(have)), facts: Some(Asking::new("", "web").request.facts), ..sync("r1", 1, have) }
}

/// Signs another certificate for a host as if at `at_ms` and makes it the one that the portal knows.
async fn aged(portal: &Portal, host: Host, at_ms: i64) -> Host {
    let key = rcgen::KeyPair::from_pem(&host.key).unwrap();
    let signed = portal.app.authority.sign_host(&csr(&key), &host.id, at_ms).unwrap();
    let mut tx = portal.app.db.begin().await.unwrap();
    let sql = "update hosts set serial = $1, certificate_until = $2 where id = $3";
    sqlx::query(sql).bind(&signed.serial).bind(signed.until_ms).bind(&host.id).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    Host { certificate: signed.pem, ..host }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_syncs_and_is_refused_once_it_is_out_of_service() {
    let portal = Portal::listening().await;
    let authority = portal.app.authority.ca_pem();
    let asking = Asking::new(&portal.token(1, 60, now_ms()).await, "web");
    let stranger = client(authority, None);
    let (status, reply) = post(&stranger, format!("{}/join/v1", portal.url), &asking.request).await;
    let reply: JoinReply = serde_json::from_value(reply).unwrap();
    assert_eq!((status, reply.agent_url.as_str()), (StatusCode::OK, portal.agent_url.as_str()));
    let host = Host { id: reply.host.to_string(), certificate: reply.certificate, key: asking.key.serialize_pem() };
    portal.place(&host.id, &spec("zookeeper-1", Vec::new(), "")).await;

    let agent = host.client(authority);
    let url = format!("{}/agent/v1/sync", portal.agent_url);
    let (status, body) = post(&agent, url.clone(), &whole(0)).await;
    let reply: SyncReply = serde_json::from_value(body).unwrap();
    assert_eq!((status, reply.desired.map(|desired| desired.generation)), (StatusCode::OK, Some(1)));
    assert!(stranger.post(url.clone()).json(&whole(0)).send().await.is_err(), "without a certificate there is no connection");

    revoke(&portal.app, portal.actor(), &portal.environment, &host.id, now_ms()).await.unwrap();
    let (status, body) = post(&agent, url, &whole(0)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body["detail"].as_str().unwrap().contains("out of service"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refused_join_hears_the_same() {
    let portal = Portal::listening().await;
    let stranger = client(portal.app.authority.ca_pem(), None);
    let url = format!("{}/join/v1", portal.url);
    let used = portal.token(1, 60, now_ms()).await;
    portal.join(&Asking::new(&used, "a").request, now_ms()).await.unwrap();
    let mut heard = Vec::new();
    for token in ["nonsense", &format!("zmsj1.abcdefgh.{}", "A".repeat(43)), &used] {
        heard.push(post(&stranger, url.clone(), &Asking::new(token, "b").request).await);
    }
    assert!(heard.iter().all(|answer| *answer == heard[0] && answer.0 == StatusCode::FORBIDDEN), "{heard:?}");
    let large = serde_json::json!({ "token": "x".repeat(70_000) });
    assert_eq!(post(&stranger, url.clone(), &large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(post(&stranger, url, &serde_json::json!({ "token": 1 })).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_of_another_authority_is_no_portal_for_a_host() {
    let (ours, forged) = (Portal::new().await, Portal::listening().await);
    let asking = Asking::new("zmsj1.abcdefgh.secret", "web");
    let stranger = client(ours.app.authority.ca_pem(), None);
    let error = stranger.post(format!("{}/join/v1", forged.url)).json(&asking.request).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert!(forged.audited("host.join").await.is_empty(), "the forged portal has seen no token");
    let host = ours.host("web").await;
    let agent = host.client(forged.app.authority.ca_pem());
    let refused = agent.post(format!("{}/agent/v1/sync", forged.agent_url)).json(&whole(0)).send().await;
    assert!(refused.is_err(), "and a certificate of another authority opens nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_good_for_renewing_it_with_its_own_key_and_for_nothing_else() {
    let portal = Portal::listening().await;
    let host = portal.host("web").await;
    let host = aged(&portal, host, now_ms() - 17 * DAY_MS).await;
    let agent = host.client(portal.app.authority.ca_pem());
    let url = |call: &str| format!("{}/agent/v1/{call}", portal.agent_url);
    let (status, body) = post(&agent, url("sync"), &whole(0)).await;
    assert!(status == StatusCode::FORBIDDEN && body["detail"].as_str().unwrap().contains("expired"), "{status} {body}");
    let own = rcgen::KeyPair::from_pem(&host.key).unwrap();
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let (status, body) = post(&agent, url("renew"), &RenewRequest { csr: csr(&other) }).await;
    assert!(status == StatusCode::FORBIDDEN && body["detail"].as_str().unwrap().contains("own key"), "{status} {body}");
    let (status, body) = post(&agent, url("renew"), &RenewRequest { csr: csr(&own) }).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let renewed: RenewReply = serde_json::from_value(body).unwrap();
    let host = Host { certificate: renewed.certificate, ..host };
    portal.place(&host.id, &spec("zookeeper-1", Vec::new(), "")).await;
    assert_eq!(post(&host.client(portal.app.authority.ca_pem()), url("sync"), &whole(0)).await.0, StatusCode::OK);
    assert_eq!(portal.audited("host.renew").await.len(), 1);

    let long_ago = aged(&portal, portal.host("old").await, now_ms() - 38 * DAY_MS).await;
    let agent = long_ago.client(portal.app.authority.ca_pem());
    let renewal = RenewRequest { csr: csr(&rcgen::KeyPair::from_pem(&long_ago.key).unwrap()) };
    let refused = agent.post(url("renew")).json(&renewal).send().await;
    assert!(refused.is_err() || refused.unwrap().status() == StatusCode::FORBIDDEN, "more than 30 days are too many");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_counts_from_its_first_use_so_a_lost_answer_loses_nothing() {
    let portal = Portal::listening().await;
    let host = aged(&portal, portal.host("web").await, now_ms() - 5 * DAY_MS).await;
    portal.place(&host.id, &spec("zookeeper-1", Vec::new(), "")).await;
    let (authority, url) = (portal.app.authority.ca_pem(), |call: &str| format!("{}/agent/v1/{call}", portal.agent_url));
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let old = host.client(authority);
    for _ in 0..2 {
        let (status, _) = post(&old, url("renew"), &RenewRequest { csr: csr(&key) }).await;
        assert_eq!(status, StatusCode::OK, "the first answer got lost, the old certificate is good for another");
    }
    let (_, body) = post(&old, url("renew"), &RenewRequest { csr: csr(&key) }).await;
    let renewed: RenewReply = serde_json::from_value(body).unwrap();
    let host = Host { certificate: renewed.certificate, key: key.serialize_pem(), ..host };
    assert_eq!(post(&host.client(authority), url("sync"), &whole(0)).await.0, StatusCode::OK);
    let standing = crate::hosts::store::standing(&portal.app.db, &host.id).await.unwrap().unwrap();
    assert!(standing.certificate_until > now_ms() + 6 * DAY_MS);
    assert_eq!(post(&old, url("sync"), &whole(0)).await.0, StatusCode::OK, "requests that were under way go through");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_the_packages_and_secrets_of_its_own_state_and_no_others() {
    let portal = Portal::listening().await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let mine = put(&portal.packages(), "zookeeper", "3.9.5", "any", &bytes);
    let other = put(&portal.packages(), "kafka", "4.3.1", "any", b"kafka");
    portal.app.stock.rescan().await.unwrap();
    let (host, neighbour) = (portal.host("web").await, portal.host("db").await);
    portal.place(&host.id, &spec("zookeeper-1", vec![mine.clone()], "password={secret:dev/zookeeper@1}\n")).await;
    portal.place(&neighbour.id, &spec("kafka-1", vec![other.clone()], "password={secret:dev/kafka@1}\n")).await;
    let mut tx = portal.app.db.begin().await.unwrap();
    for reference in ["dev/zookeeper@1", "dev/kafka@1", "authority/key-of-a-test"] {
        portal.app.vault.put(&mut tx, reference, format!("value of {reference}").as_bytes(), 1).await.unwrap();
    }
    tx.commit().await.unwrap();
    let agent = host.client(portal.app.authority.ca_pem());
    let get = async |path: String, range: Option<&str>| {
        let mut request = agent.get(format!("{}/agent/v1/{path}", portal.agent_url));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap())
    };
    assert_eq!(get(format!("packages/{}", mine.sha512), None).await, (200, bytes.clone().into()));
    assert_eq!(get(format!("packages/{}", mine.sha512), Some("bytes=150000-")).await, (206, bytes[150_000..].to_vec().into()));
    assert_eq!(get(format!("packages/{}", other.sha512), None).await.0, 404);
    assert_eq!(get("packages/..%2F..%2Fdata%2Fkey".into(), None).await.0, 404);
    assert_eq!(get("secrets/dev%2Fzookeeper@1".into(), None).await, (200, "value of dev/zookeeper@1".into()));
    for reference in ["dev%2Fkafka@1", "authority%2Fkey-of-a-test", "authority%2Fkey", "dev%2Fzookeeper", "%7D"] {
        assert_eq!(get(format!("secrets/{reference}"), None).await.0, 404, "{reference}");
    }
    let read = portal.audited("secret.read").await;
    assert!(read.len() == 1 && read[0].1.contains("dev/zookeeper@1") && !read[0].1.contains("value of"), "{read:?}");
    assert_eq!(find(&portal.app.db, &host.id).await.unwrap().seen_at, None, "only a sync counts as seen");
}

//! Certificates as hosts, browsers and intruders meet them: real TLS on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Extension};
use axum::http::{Request, Response, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    CertificateParams, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData as _, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ca::{DAY_MS, hex};
use super::*;
use crate::db::TestDb;

/// A host's certificate of 7 days.
const WEEK_MS: i64 = 7 * DAY_MS;
/// Longer than any deadline of the listener.
const PATIENCE: Duration = Duration::from_secs(20);

struct Portal {
    authority: Authority,
    db: Db,
    vault: Vault,
    _folder: TestDb,
}

/// A portal that was set up 45 days ago, so that certificates of the past are within its authority's time.
async fn portal() -> Portal {
    let (folder, db) = Db::temporary().await;
    let vault = Vault::open(db.clone(), &folder.path().join("key")).await.unwrap();
    let authority = Authority::open(&db, &vault, "zms.example.com", now_ms() - 45 * DAY_MS).await.unwrap();
    Portal { authority, db, vault, _folder: folder }
}

fn request(change: impl FnOnce(&mut CertificateParams)) -> (KeyPair, String) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    change(&mut params);
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    (key, csr)
}

/// Certificate and key of a host, as if signed at `at_ms`.
fn host(authority: &Authority, id: &str, at_ms: i64) -> (String, String) {
    let (key, csr) = request(|_| {});
    (authority.sign_host(&csr, id, at_ms).unwrap().pem, key.serialize_pem())
}

async fn whoami(
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    peer: Option<Extension<PeerCertificate>>,
) -> Json<serde_json::Value> {
    let peer = peer.map(|Extension(peer)| {
        serde_json::json!([
            match &peer.named {
                crate::authority::Named::Host(id) | crate::authority::Named::Instance(id) => id,
            },
            peer.serial,
            peer.key_hash,
            peer.expired
        ])
    });
    Json(serde_json::json!({ "address": address.ip(), "peer": peer }))
}

/// Serves until the sender is dropped.
async fn serve(authority: &Authority, listener: Listener) -> (SocketAddr, watch::Sender<bool>) {
    let (end, stop) = watch::channel(false);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(serve_tls(socket, authority.server_config(listener).unwrap(), Router::new().route("/", get(whoami)), stop));
    (address, end)
}

/// A connection to `name` that trusts `ca` alone, shows `identity` (certificate and key, PEM) and offers `protocol`.
async fn connect(
    (address, name): (SocketAddr, &str),
    ca: &str,
    identity: Option<&(String, String)>,
    protocol: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(PATIENCE, handshake).await.expect("a handshake").map_err(|error| error.to_string())
}

/// What `GET /` says over HTTP/1.1.
async fn ask(to: (SocketAddr, &str), ca: &str, identity: Option<&(String, String)>) -> Result<serde_json::Value, String> {
    let stream = connect(to, ca, identity, "http/1.1").await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let get = Request::get("/").header(header::HOST, "zms").body(Body::empty()).unwrap();
    Ok(answer(sender.send_request(get)).await)
}

async fn answer(response: impl Future<Output = hyper::Result<Response<hyper::body::Incoming>>>) -> serde_json::Value {
    let response = tokio::time::timeout(PATIENCE, response).await.expect("an answer").unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_slice(&axum::body::to_bytes(Body::new(response.into_body()), 1 << 16).await.unwrap()).unwrap()
}

/// Why the agents' listener does not let `identity` in. In TLS 1.3 it says so after the client's part of the handshake; we
/// listen and send nothing, lest its answer is lost in a reset.
async fn refusal(address: SocketAddr, authority: &Authority, identity: Option<&(String, String)>) -> String {
    let mut stream = connect((address, "localhost"), authority.ca_pem(), identity, "h2").await.unwrap();
    let read = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("a refusal");
    read.expect_err("it was let in and greeted").to_string()
}

#[tokio::test]
async fn who_a_host_is_says_the_portal_and_not_its_request() {
    let Portal { authority, .. } = &portal().await;
    let (key, csr) = request(|params| {
        params.distinguished_name.push(DnType::CommonName, "administrator");
        params.subject_alt_names =
            vec![SanType::URI("zms://host/victim".try_into().unwrap()), SanType::DnsName("zms.example.com".try_into().unwrap())];
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let now = now_ms();
    let signed = authority.sign_host(&csr, "01HOST", now).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(signed.pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=01HOST");
    assert!(!certificate.is_ca());
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert_eq!(certificate.public_key().raw, key.subject_public_key_info());
    assert_eq!(certificate.validity().not_before.timestamp(), (now - 300_000) / 1000);
    assert_eq!(certificate.validity().not_after.timestamp(), (now + WEEK_MS) / 1000);
    let peer = PeerCertificate::read(Arc::from(&pem.contents[..]), now).unwrap();
    assert_eq!((&peer.named, peer.expired), (&Named::Host("01HOST".to_owned()), false));
    assert_eq!((&peer.serial, &peer.key_hash), (&signed.serial, &signed.key_hash));
    assert_eq!((signed.serial.len(), signed.until_ms), (32, (now + WEEK_MS) / 1000 * 1000));
    assert_eq!(signed.key_hash, hex(&Sha256::digest(key.subject_public_key_info())));
}

#[tokio::test]
async fn a_request_without_proof_of_its_key_or_with_another_kind_of_key_is_refused() {
    let Portal { authority, .. } = &portal().await;
    let (_, csr) = request(|_| {});
    let der = x509_parser::pem::parse_x509_pem(csr.as_bytes()).unwrap().1.contents;
    let (key, other) = request(|_| {});
    drop(key);
    let mut stolen = der.clone();
    let stranger = x509_parser::pem::parse_x509_pem(other.as_bytes()).unwrap().1.contents;
    // The other's point in place of its own, under its own signature.
    let point = |der: &[u8]| der.windows(3).position(|bytes| bytes == [0x42, 0x00, 0x04]).unwrap() + 2;
    let (to, from) = (point(&stolen), point(&stranger));
    stolen[to..to + 65].copy_from_slice(&stranger[from..from + 65]);
    let mut broken = der.clone();
    *broken.last_mut().unwrap() ^= 1;
    let text = |der: &[u8]| {
        use base64::Engine as _;
        let text = base64::prelude::BASE64_STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    };
    assert!(authority.sign_host(&text(&der), "1", 0).is_ok());
    for der in [stolen, broken] {
        assert!(matches!(authority.sign_host(&text(&der), "1", 0), Err(SignError::Signature)));
    }
    let trailing = [&der[..], &[0]].concat();
    for csr in ["", "nonsense", authority.ca_pem(), &text(&trailing), &"x".repeat(1 << 20)] {
        assert!(matches!(authority.sign_host(csr, "1", 0), Err(SignError::Unreadable)));
    }
    let large = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let csr = CertificateParams::default().serialize_request(&large).unwrap().pem().unwrap();
    assert!(matches!(authority.sign_host(&csr, "1", 0), Err(SignError::Key)));
}

#[tokio::test]
async fn only_hosts_of_this_portal_get_in_where_agents_are_answered() {
    let (Portal { authority, vault, db, .. }, stranger) = (&portal().await, portal().await.authority);
    let (address, _end) = serve(authority, Listener::Agents).await;
    let good = host(authority, "01HOST", now_ms());
    let told = ask((address, "localhost"), authority.ca_pem(), Some(&good)).await.unwrap();
    assert_eq!((&told["address"], &told["peer"][0], &told["peer"][3]), (&"127.0.0.1".into(), &"01HOST".into(), &false.into()));

    assert!(refusal(address, authority, None).await.contains("CertificateRequired"));
    let foreign = refusal(address, authority, Some(&host(&stranger, "01HOST", now_ms()))).await;
    assert!(foreign.contains("UnknownCA") || foreign.contains("DecryptError"), "{foreign}");
    // The portal's own certificate is of our authority too, and for servers only.
    let own = "select reference from secrets where reference like 'authority/server/%'";
    let own: String = sqlx::query_scalar(own).fetch_one(db.read()).await.unwrap();
    let own = String::from_utf8(vault.get(&own).await.unwrap()).unwrap();
    let own = refusal(address, authority, Some(&(own.clone(), own))).await;
    assert!(own.contains("received fatal alert"), "{own}");
}

#[tokio::test]
async fn a_portal_that_is_not_ours_is_not_spoken_to() {
    let (Portal { authority, .. }, forger) = (&portal().await, portal().await.authority);
    let (address, _end) = serve(&forger, Listener::Agents).await;
    let identity = host(authority, "01HOST", now_ms());
    let forged = ask((address, "localhost"), authority.ca_pem(), Some(&identity)).await.unwrap_err();
    assert!(forged.contains("invalid peer certificate"), "{forged}");
}

#[tokio::test]
async fn a_certificate_that_expired_lately_gets_in_and_is_marked() {
    let Portal { authority, .. } = &portal().await;
    let (address, _end) = serve(authority, Listener::Agents).await;
    let expired = |days: i64| host(authority, "01HOST", now_ms() - WEEK_MS - days * DAY_MS);
    let told = ask((address, "localhost"), authority.ca_pem(), Some(&expired(1))).await.unwrap();
    assert_eq!((&told["peer"][0], &told["peer"][3]), (&"01HOST".into(), &true.into()));
    let late = refusal(address, authority, Some(&expired(31))).await;
    assert!(late.contains("CertificateExpired"), "{late}");
}

#[tokio::test]
async fn http_2_is_spoken_to_who_offers_it() {
    let Portal { authority, .. } = &portal().await;
    let (address, _end) = serve(authority, Listener::Agents).await;
    let identity = host(authority, "01HOST", now_ms());
    let stream = connect((address, "localhost"), authority.ca_pem(), Some(&identity), "h2").await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let get = Request::get("https://zms/").body(Body::empty()).unwrap();
    assert_eq!(answer(sender.send_request(get)).await["peer"][0], "01HOST");
}

#[tokio::test]
async fn people_need_no_certificate_and_reach_the_portal_by_each_of_its_names() {
    let Portal { authority, .. } = &portal().await;
    let (address, _end) = serve(authority, Listener::Ui).await;
    for name in ["zms.example.com", "localhost", "127.0.0.1", "::1"] {
        let told = ask((address, name), authority.ca_pem(), None).await.unwrap();
        assert!(told["peer"].is_null(), "{name}");
    }
    assert!(ask((address, "other.example.com"), authority.ca_pem(), None).await.unwrap_err().contains("not valid for name"));
}

#[tokio::test]
async fn whoever_connects_and_says_nothing_is_cut_off() {
    let Portal { authority, .. } = &portal().await;
    let (_end, stop) = watch::channel(false);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let short = Duration::from_millis(200);
    let waits = listen::Waits { handshake: short, head: short, last_words: short };
    tokio::spawn(listen::serve(socket, authority.server_config(Listener::Ui).unwrap(), Router::new(), stop, waits));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let cut = tokio::time::timeout(PATIENCE, silent.read_u8()).await.expect("a cut without a handshake");
    assert!(cut.is_err());
    for protocol in ["h2", "http/1.1", "neither"] {
        let offered = if protocol == "neither" { "h2" } else { protocol };
        let mut silent = connect((address, "localhost"), authority.ca_pem(), None, offered).await.unwrap();
        if protocol != "neither" {
            // Half a preface or half a head.
            silent.write_all(if protocol == "h2" { b"PRI * HT" } else { b"GET / HTTP/1.1\r\n" }).await.unwrap();
        }
        let cut = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut Vec::new())).await;
        assert!(cut.is_ok(), "{protocol}: it is still connected");
    }
}

#[tokio::test]
async fn a_listener_ends_when_it_is_told_to() {
    let Portal { authority, .. } = &portal().await;
    let (end, stop) = watch::channel(false);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let server = tokio::spawn(serve_tls(
        socket,
        authority.server_config(Listener::Ui).unwrap(),
        Router::new().route("/", get(whoami)),
        stop,
    ));
    ask((address, "localhost"), authority.ca_pem(), None).await.unwrap();
    end.send_replace(true);
    tokio::time::timeout(Duration::from_secs(5), server).await.expect("nothing is under way").unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_restart_keeps_authority_and_fingerprint_until_time_or_names_run_out() {
    let Portal { authority, db, vault, .. } = &portal().await;
    let (set_up, print) = (now_ms() - 45 * DAY_MS, authority.fingerprint());
    assert_eq!((print.len(), print.matches(':').count()), (95, 31));
    let again = async |host: &str, now_ms| Authority::open(db, vault, host, now_ms).await.unwrap();
    let same = again("zms.example.com", set_up + 59 * DAY_MS).await;
    assert_eq!((same.ca_pem(), same.fingerprint()), (authority.ca_pem(), print.clone()));
    same.renew(set_up + 59 * DAY_MS).await.unwrap();
    assert_eq!(same.fingerprint(), print, "there is time left");
    same.renew(set_up + 61 * DAY_MS).await.unwrap();
    assert_ne!(same.fingerprint(), print, "less than 30 days were left");
    let renamed = again("portal.example.com", set_up + 61 * DAY_MS).await;
    assert_ne!(renamed.fingerprint(), same.fingerprint());
    assert_eq!(renamed.ca_pem(), authority.ca_pem());
}

#[tokio::test]
async fn two_portals_that_start_at_once_have_one_authority() {
    let (folder, db) = Db::temporary().await;
    let vault = Vault::open(db.clone(), &folder.path().join("key")).await.unwrap();
    let (one, two) = tokio::join!(Authority::open(&db, &vault, "a", 0), Authority::open(&db, &vault, "a", 0));
    assert_eq!(one.unwrap().ca_pem(), two.unwrap().ca_pem());
}

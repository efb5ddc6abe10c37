//! An installation as it goes in production: hosts are asked first, and an agent does what the agents' API tells it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use tokio::sync::watch;
use tower::ServiceExt;
use zms_core::host::{Answer, Ask, Check, Finding, HostReport, Level, SupervisorReport, SyncReply, SyncRequest};

use super::test_support::{TestApp, host_row, insert_host, report};
use super::wish::{Wish, WishedHost};
use super::{ServiceStatus, find, install, logs};
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::authority::PeerCertificate;
use crate::environments::{self, Actor, NewEnvironment};
use crate::error::Error;
use crate::hosts;
use crate::packages::test_support::put;

/// One host with a certificate of ours.
struct Agent {
    router: Router,
    certificate: PeerCertificate,
    level: watch::Receiver<Level>,
}

impl Agent {
    async fn new(app: &App, host: &str, level: watch::Receiver<Level>) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let signed = app.authority.sign_host(&request, host, now_ms()).unwrap();
        let mut tx = app.db.begin().await.unwrap();
        let update = sqlx::query("update hosts set key_hash = $1, serial = $2, certificate_until = $3 where id = $4");
        update.bind(&signed.key_hash).bind(&signed.serial).bind(signed.until_ms).bind(host).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let body: String = signed.pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        let certificate = PeerCertificate::read(Arc::from(der), now_ms()).unwrap();
        Self { router: hosts::agent_api().with_state(app.clone()), certificate, level }
    }

    /// Syncs for ever: everything wanted is healthy at once, and every check comes out at `level`.
    async fn run(self) {
        let (mut n, mut have, mut answers, mut found) = (0, 0, Vec::new(), None);
        loop {
            n += 1;
            let facts = (n == 1).then(|| host_row(1, 0).facts);
            let request = SyncRequest { run: "run".to_owned(), n, have, clock_ms: 0, report: found.take(), facts, answers };
            let reply = self.sync(&request).await;
            answers = reply
                .questions
                .iter()
                .map(|question| Answer { id: question.id.clone(), found: Ok(self.look(&question.ask)) })
                .collect();
            if let Some(desired) = reply.desired {
                have = desired.generation;
                let instances = desired.instances.iter().map(|spec| report(spec, true)).collect();
                let supervisor = SupervisorReport::NotNeeded;
                found = Some(HostReport {
                    agent_version: "1".to_owned(),
                    generation: have,
                    supervisor,
                    instances,
                    strays: Vec::new(),
                });
            }
        }
    }

    async fn sync(&self, request: &SyncRequest) -> SyncReply {
        let request = Request::post("/agent/v1/sync")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(self.certificate.clone())
            .extension(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 40_000))))
            .body(Body::from(serde_json::to_vec(request).unwrap()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        serde_json::from_slice(&to_bytes(response.into_body(), 16 << 20).await.unwrap()).unwrap()
    }

    fn look(&self, ask: &Ask) -> Finding {
        match ask {
            Ask::Preflight { instances } => {
                let (name, text) = ("port".to_owned(), "10.0.0.1:2181 is looked at".to_owned());
                let check = |instance: &zms_core::host::InstanceSpec| Check {
                    name: name.clone(),
                    instance: instance.id.clone(),
                    level: *self.level.borrow(),
                    text: text.clone(),
                };
                Finding::Preflight { checks: instances.iter().map(check).collect() }
            }
            Ask::Log { .. } => Finding::Log { text: "started\u{1b}[0m\n".to_owned(), from: 0, next: 12, size: 12 },
        }
    }
}

fn fields(error: Error) -> Vec<String> {
    match error {
        Error::Invalid(problems) => problems.into_iter().map(|problem| problem.field).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_asked_first_and_what_they_object_to_is_not_installed() {
    let test = TestApp::start().await;
    let app = &test.app;
    put(app.stock.folder(), "zookeeper", "3.9.5", "any", b"zookeeper");
    put(app.stock.folder(), "supervisor", "4.3.0", "any", b"supervisor");
    app.stock.rescan().await.unwrap();
    let operator = User { id: "U".to_owned(), name: "olga".to_owned(), roles: vec![Role::Operator], language: String::new() };
    let actor = Actor { user: &operator, address: "192.0.2.1" };
    let new = NewEnvironment { name: "dev".to_owned(), title: String::new(), colour: "green".to_owned(), protected: false };
    let environment = environments::create(&app.db, actor, new, now_ms()).await.unwrap();
    let host = insert_host(app, &environment, 1).await;
    let wish = |accept_warnings| Wish {
        name: "zk".to_owned(),
        kind: "zookeeper".to_owned(),
        hosts: vec![WishedHost { host: host.clone(), address: String::new() }],
        accept_warnings,
        ..Wish::default()
    };
    let silent = install(app, actor, &environment, wish(true), now_ms()).await.unwrap_err();
    assert_eq!(fields(silent), ["preflight"], "a host that nobody can ask is not installed on");

    let (level, levels) = watch::channel(Level::Fail);
    let (end, stop) = watch::channel(false);
    tokio::spawn(Agent::new(app, &host, levels).await.run());
    let worker = tokio::spawn({
        let app = app.clone();
        async move { app.engine.run(stop).await }
    });
    // The first sync connects the host to the hub.
    let connected = tokio::time::timeout(Duration::from_secs(20), async {
        while let Err(error) = install(app, actor, &environment, wish(false), now_ms()).await {
            if !format!("{error:?}").contains("not connected") {
                return error;
            }
            tokio::task::yield_now().await;
        }
        panic!("a failed check was passed over");
    });
    assert!(format!("{:?}", connected.await.expect("the agent connects")).contains("is looked at"));
    level.send_replace(Level::Warn);
    assert_eq!(fields(install(app, actor, &environment, wish(false), now_ms()).await.unwrap_err()), ["accept_warnings"]);
    let flow = install(app, actor, &environment, wish(true), now_ms()).await.unwrap();
    let mut changed = app.engine.changed();
    let done = tokio::time::timeout(Duration::from_secs(20), async {
        while app.engine.view(&flow).await.unwrap().status.to_string() != "done" {
            changed.changed().await.unwrap();
        }
    });
    done.await.expect("the flow is done");
    let service = find(app, &environment, "zk", now_ms()).await.unwrap();
    assert_eq!((service.status, service.instances[0].pid), (ServiceStatus::Healthy, Some(4242)));
    let piece = logs::read(app, &host, &"zk-1".parse().unwrap(), None).await.unwrap();
    assert_eq!(piece.text, "started\u{241b}[0m\n");
    end.send_replace(true);
    worker.await.unwrap();
}

//! An agent that is a task in this process: it speaks to the agents' API as a real one does.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use tokio::sync::watch;
use tower::ServiceExt;
use zms_core::host::{Answer, Ask, Check, Finding, HostReport, Level, SupervisorReport, SyncReply, SyncRequest};

use super::test_support::{host_row, report};
use crate::app::{App, now_ms};
use crate::authority::PeerCertificate;
use crate::hosts;

/// One host with a certificate of ours.
pub struct Agent {
    router: Router,
    certificate: PeerCertificate,
    level: watch::Receiver<Level>,
}

impl Agent {
    /// Of this host, whose certificate it is from now on; every check comes out at `level`.
    pub async fn new(app: &App, host: &str, level: watch::Receiver<Level>) -> Self {
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

    /// Syncs until its host is taken out of service: everything wanted is healthy at once, and every check comes out at `level`.
    pub async fn run(self) {
        let (mut n, mut have, mut answers, mut found) = (0, 0, Vec::new(), None);
        loop {
            n += 1;
            let facts = (n == 1).then(|| host_row(1, 0).facts);
            let request = SyncRequest { run: "run".to_owned(), n, have, clock_ms: 0, report: found.take(), facts, answers };
            let Some(reply) = self.sync(&request).await else { return };
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

    async fn sync(&self, request: &SyncRequest) -> Option<SyncReply> {
        let request = Request::post("/agent/v1/sync")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(self.certificate.clone())
            .extension(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 40_000))))
            .body(Body::from(serde_json::to_vec(request).unwrap()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        if response.status() == StatusCode::FORBIDDEN {
            return None;
        }
        assert_eq!(response.status(), StatusCode::OK);
        Some(serde_json::from_slice(&to_bytes(response.into_body(), 16 << 20).await.unwrap()).unwrap())
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

//! A portal for tests, hosts that join it, and their requests.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use zms_core::host::{
    ConfigFile, Exec, HostFacts, HostReport, InstanceSpec, JoinReply, JoinRequest, Phase, SpecBody, StopSignal, SupervisorReport,
    SyncRequest,
};
use zms_core::names::{InstanceId, KindName};
use zms_core::package::PackageRef;
use zms_core::probe::Probe;

use crate::access::{Actor, Role, User};
use crate::app::{App, new_id, now_ms};
use crate::authority::{Authority, Listener, serve_tls};
use crate::config::Config;
use crate::db::{Db, TestDb};
use crate::environments::{self, Environment, NewEnvironment};
use crate::hosts::join::{self, JoinError, Refusal};
use crate::hosts::line::{self, NewLine};
use crate::hosts::{agent_api, join as entry};
use crate::secrets::Vault;
use crate::serve;

/// A day, in milliseconds.
pub const DAY_MS: i64 = 24 * 3600 * 1000;

/// A portal with one environment and, where asked for, its listeners.
pub struct Portal {
    pub app: App,
    pub environment: Environment,
    pub user: User,
    /// Of the listener for joining; empty without one.
    pub url: String,
    /// Of the listener for agents; empty without one.
    pub agent_url: String,
    pub folder: TestDb,
    _end: watch::Sender<bool>,
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

impl Portal {
    /// Without listeners.
    pub async fn new() -> Self {
        Self::open(["https://zms.example:8443".to_owned(), "https://zms.example:8444".to_owned()]).await
    }

    /// With both listeners.
    pub async fn listening() -> Self {
        let sockets = [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let urls = sockets.each_ref().map(|socket| format!("https://{}", socket.local_addr().unwrap()));
        let mut portal = Self::open(urls).await;
        let (end, stop) = watch::channel(false);
        let routers = [(Listener::Ui, entry()), (Listener::Agents, agent_api())];
        for (socket, (listener, router)) in sockets.into_iter().zip(routers) {
            let config = portal.app.authority.server_config(listener).unwrap();
            tokio::spawn(serve_tls(socket, config, router.with_state(portal.app.clone()), stop.clone()));
        }
        portal._end = end;
        portal
    }

    async fn open([url, agent_url]: [String; 2]) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = TestDb::new().await;
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir_all(path("packages")).unwrap();
        std::fs::create_dir_all(path("data")).unwrap();
        executable(&folder.path().join("agent"), AGENT);
        let arguments = [
            ("--data-dir", path("data")),
            ("--packages", path("packages")),
            ("--public-url", url.clone()),
            ("--agent-url", agent_url.clone()),
            ("--agent-binary", path("agent")),
        ];
        let flags = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let mut config = <Arguments as clap::Parser>::parse_from(std::iter::once("zms-portal".to_owned()).chain(flags)).config;
        config.database_url = Some(folder.url().to_owned());
        // The authority is older than the oldest certificate of a test.
        let db = Db::open(&config.database_url().unwrap()).await.unwrap();
        let vault = Vault::open(db.clone(), &config.key_file()).await.unwrap();
        Authority::open(&db, &vault, &config.public_host().unwrap(), now_ms() - 45 * DAY_MS).await.unwrap();
        drop((db, vault));
        let app = serve::open(config).await.unwrap();
        let user = User { id: new_id(), name: "olga".to_owned(), roles: vec![Role::Operator], language: String::new() };
        let new = NewEnvironment { name: "dev".into(), title: "Development".into(), colour: "green".into(), protected: false };
        let actor = Actor { user: &user, address: "192.0.2.1" };
        let environment = environments::create(&app.db, actor, new, now_ms()).await.unwrap();
        Self { app, environment, user, url, agent_url, folder, _end: watch::channel(false).0 }
    }

    pub fn actor(&self) -> Actor<'_> {
        Actor { user: &self.user, address: "192.0.2.1" }
    }

    /// A token for `uses` hosts, good for `minutes`, made at `now`.
    pub async fn token(&self, uses: i64, minutes: i64, now: i64) -> String {
        let made = line::make(&self.app, self.actor(), &self.environment, &NewLine { uses, minutes }, now).await.unwrap();
        token_of(&made.line)
    }

    /// Joins at once.
    pub async fn join(&self, request: &JoinRequest, now: i64) -> Result<JoinReply, Refusal> {
        match join::join(&self.app, request, "192.0.2.7", now).await {
            Ok(reply) => Ok(reply),
            Err(JoinError::Refused(refusal)) => Err(refusal),
            Err(JoinError::Failed(error)) => panic!("{error:?}"),
        }
    }

    /// A new host with the certificate that it got.
    pub async fn host(&self, name: &str) -> Host {
        let asking = Asking::new(&self.token(1, 60, now_ms()).await, name);
        let reply = self.join(&asking.request, now_ms()).await.unwrap();
        Host { id: reply.host.to_string(), certificate: reply.certificate, key: asking.key.serialize_pem() }
    }

    /// Places an instance on a host, as a flow would.
    pub async fn place(&self, host_id: &str, spec: &InstanceSpec) {
        let mut tx = self.app.db.begin().await.unwrap();
        let (service, now) = (new_id(), now_ms());
        let sql = "insert into services (id, environment_id, name, kind, settings, packages, generated, created_by, created_at) \
                   values ($1, $2, $1, 'zookeeper', '{}', '[]', '{}', '', $3)";
        sqlx::query(sql).bind(&service).bind(&self.environment.id).bind(now).execute(&mut *tx).await.unwrap();
        let sql = "insert into instances (id, service_id, host_id, name, node_id, role, address, phase, generated, settings, spec) \
                   values ($1, $1, $2, $3, 1, '', '', 'running', '{}', '{}', $4)";
        let json = serde_json::to_string(spec).unwrap();
        sqlx::query(sql).bind(&service).bind(host_id).bind(spec.id.as_str()).bind(json).execute(&mut *tx).await.unwrap();
        crate::hosts::set_desired(&mut tx, &self.app, host_id).await.unwrap();
        tx.commit().await.unwrap();
        self.app.hub.wake(host_id);
    }

    /// What the audit says of an act: result and detail, oldest first.
    pub async fn audited(&self, act: &str) -> Vec<(String, String)> {
        let sql = "select result, detail from audit where act = $1 order by day, n";
        sqlx::query_as(sql).bind(act).fetch_all(self.app.db.read()).await.unwrap()
    }

    pub fn packages(&self) -> PathBuf {
        self.folder.path().join("packages")
    }
}

/// The token within a join line.
pub fn token_of(line: &str) -> String {
    let from = line.find("zmsj1.").unwrap();
    line[from..].split('\'').next().unwrap().to_owned()
}

/// A host before it has joined.
pub struct Asking {
    pub key: KeyPair,
    pub request: JoinRequest,
}

impl Asking {
    pub fn new(token: &str, hostname: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let facts = HostFacts {
            hostname: hostname.into(),
            addresses: vec!["10.0.0.7".into()],
            machine: "m1".into(),
            ..HostFacts::default()
        };
        let request = JoinRequest { token: token.to_owned(), enrolment: new_id(), csr: csr(&key), facts };
        Self { key, request }
    }
}

/// A request for a certificate of `key`.
pub fn csr(key: &KeyPair) -> String {
    CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
}

/// A host with its certificate.
pub struct Host {
    pub id: String,
    pub certificate: String,
    pub key: String,
}

impl Host {
    /// A client that shows its certificate and trusts `authority` alone.
    pub fn client(&self, authority: &str) -> reqwest::Client {
        client(authority, Some((&self.certificate, &self.key)))
    }
}

/// A client that trusts `authority` alone.
pub fn client(authority: &str, identity: Option<(&str, &str)>) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).timeout(Duration::from_secs(40)).no_proxy();
    client.build().unwrap()
}

/// The `n`th request of a run, without news.
pub fn sync(run: &str, n: u64, have: u64) -> SyncRequest {
    let clock_ms = u64::try_from(now_ms()).unwrap();
    SyncRequest { run: run.into(), n, have, clock_ms, report: None, facts: None, answers: Vec::new() }
}

/// A report of a host on which nothing runs.
pub fn report(generation: u64) -> HostReport {
    HostReport {
        agent_version: "0.1.0".into(),
        generation,
        supervisor: SupervisorReport::NotNeeded,
        instances: Vec::new(),
        strays: Vec::new(),
    }
}

/// An instance made of these packages, with one file of this content.
pub fn spec(id: &str, packages: Vec<PackageRef>, file: &str) -> InstanceSpec {
    let exec = Exec {
        argv: vec!["{java}".into()],
        env: BTreeMap::new(),
        nofile: 1024,
        stop_signal: StopSignal::Term,
        stop_wait_s: 5,
        start_secs: 1,
    };
    let body = SpecBody {
        restart: 0,
        packages,
        files: vec![ConfigFile { name: "f".into(), body: file.into(), private: true }],
        prepare: Vec::new(),
        exec,
        ports: Vec::new(),
        probe: Probe::Zookeeper { host: "127.0.0.1".into(), port: 1 },
        min_free_mib: 0,
        disk_full_at: None,
    };
    InstanceSpec::new(InstanceId::new(id).unwrap(), new_id(), KindName::new("zookeeper").unwrap(), Phase::Running, body)
}

/// Stands for the agent: it notes how it was called, refuses where a file says so, and runs until it is ended.
pub const AGENT: &str = r#"#!/bin/sh
[ "$1" = --prefix ] || exit 9
prefix=$2
shift 2
echo "$*" >>"$prefix/calls"
case $1 in
    join)
        cat >"$prefix/token"
        cp "$5" "$prefix/authority"
        [ ! -e "$prefix/refuse" ] || exit 3
        ;;
    run) while :; do sleep 1; done ;;
esac
"#;

/// Writes a program.
pub fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Serves `router` for joining with the portal's certificate; its address.
pub async fn serve_joining(portal: &Portal, router: Router) -> (String, watch::Sender<bool>) {
    let (end, stop) = watch::channel(false);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", socket.local_addr().unwrap());
    tokio::spawn(serve_tls(socket, portal.app.authority.server_config(Listener::Ui).unwrap(), router, stop));
    (url, end)
}

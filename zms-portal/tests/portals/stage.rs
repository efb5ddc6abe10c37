//! PostgreSQL, two portals as processes, the resource that their effects change, and the test's own eye on the database.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zms_portal::app::{App, now_ms};
use zms_portal::engine::NewFlow;
use zms_portal::{serve, setup};
use zms_testbed::{Postgres, free_port};

use crate::check::Fault;
use crate::chore::{self, Chore, State, Work};
use crate::resource::Resource;

/// Longer than a portal takes for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Stage {
    pub app: App,
    pub resource: Resource,
    pub postgres: Postgres,
    portals: Vec<Portal>,
    client: reqwest::Client,
    folder: tempfile::TempDir,
}

struct Portal {
    child: Option<Child>,
    port: u16,
}

impl Stage {
    pub async fn set() -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let postgres = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::start();
            postgres.create("zms", None);
            postgres
        });
        let postgres = postgres.await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("packages")).unwrap();
        fs::write(folder.path().join("url"), postgres.url("zms")).unwrap();
        let mut config = chore::config();
        config.data_dir = folder.path().join("own");
        config.packages = folder.path().join("packages");
        config.database_url_file = Some(folder.path().join("url"));
        config.key_file = Some(folder.path().join("key"));
        let app = serve::open(config).await.unwrap();
        let authority = reqwest::Certificate::from_pem(app.authority.ca_pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().timeout(Duration::from_secs(40));
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let portals = (0..2).map(|_| Portal { child: None, port: free_port() }).collect();
        let mut stage = Self { app, resource: Resource::start(), postgres, portals, client, folder };
        for portal in 0..2 {
            stage.start(portal);
        }
        for portal in 0..2 {
            let path = "/readyz";
            until("a portal to be ready", async || match stage.try_get(portal, path, "").await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}; {}", stage.logs().join("\n"))),
            })
            .await;
        }
        stage
    }

    /// Starts portal 0 or 1; its log goes on.
    pub fn start(&mut self, portal: usize) {
        let log = fs::File::options().create(true).append(true).open(self.log(portal)).unwrap();
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let folder = self.folder.path();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "this_program_can_be_started_as_a_portal", "--nocapture"])
            .env("ZMS_TEST_PORTAL", portal.to_string())
            .env("ZMS_TEST_RESOURCE", self.resource.port.to_string())
            .env("ZMS_DATA_DIR", folder.join(format!("data-{portal}")))
            .env("ZMS_DATABASE_URL_FILE", folder.join("url"))
            .env("ZMS_KEY_FILE", folder.join("key"))
            .env("ZMS_PACKAGES", folder.join("packages"))
            .env("ZMS_UI_LISTEN", listen(self.portals[portal].port))
            .env("ZMS_AGENT_LISTEN", listen(free_port()))
            .env("ZMS_METRICS_LISTEN", listen(free_port()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        self.portals[portal].child = Some(command.spawn().unwrap());
    }

    /// kill -9.
    pub fn kill(&mut self, portal: usize) {
        let mut child = self.portals[portal].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn log(&self, portal: usize) -> PathBuf {
        self.folder.path().join(format!("log-{portal}"))
    }

    /// What the portals logged.
    pub fn logs(&self) -> Vec<String> {
        (0..2).map(|portal| fs::read_to_string(self.log(portal)).unwrap_or_default()).collect()
    }

    /// Starts flows with work at eight targets; their ids.
    pub async fn start_flows(&self, flows: u64) -> Vec<String> {
        let mut ids = Vec::new();
        for n in 0..flows {
            let work = |side| Work { n: side, target: format!("side-{}", n % 8) };
            let new = NewFlow::<Chore> {
                environment_id: None,
                subject: "chore",
                lock: None,
                state: State::Sides { left: 2 },
                effects: vec![work(1), work(2)],
                by: "test",
                now_ms: now_ms(),
            };
            let mut tx = self.app.db.begin().await.unwrap();
            ids.push(self.app.engine.start(&mut tx, new).await.unwrap());
            tx.commit().await.unwrap();
        }
        ids
    }

    /// Waits until these flows have ended.
    pub async fn await_end(&self, ids: &[String]) {
        until("all flows to end", async || {
            let open = "select count(*) from flows where status = 'running'";
            match sqlx::query_scalar::<_, i64>(open).fetch_one(self.app.db.read()).await {
                Ok(0) => Ok(()),
                other => Err(format!("{other:?} of {} are open", ids.len())),
            }
        })
        .await;
    }

    /// Puts a fault into a flow.
    pub async fn damage(&self, id: &str, fault: Fault) {
        let sql = match fault {
            Fault::Stuck => "update flows set status = 'running' where id = $1",
            Fault::Twice => {
                "insert into flow_events (flow_id, n, at, who, what) select flow_id, 99, at, who, what from flow_events where flow_id = $1 and n = 1"
            }
            Fault::Lost => "delete from flow_events where flow_id = $1 and n = 2",
            Fault::Open => "update effects set lease_until = 1 where flow_id = $1 and n = 1",
            Fault::Undone => return self.resource.forget(id, 2),
        };
        let mut tx = self.app.db.begin().await.unwrap();
        assert_eq!(sqlx::query(sql).bind(id).execute(&mut *tx).await.unwrap().rows_affected(), 1);
        tx.commit().await.unwrap();
    }

    /// Makes an administrator at one portal; the session's cookie.
    pub async fn sign_in(&self) -> String {
        let code = setup::new_code(&self.app.db, &self.app.config, now_ms()).await.unwrap();
        let body = serde_json::json!({ "code": code, "name": "ada", "password": "correct horse battery" });
        let request = self.client.post(self.url(0, "/api/v1/setup")).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 204);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    fn url(&self, portal: usize, path: &str) -> String {
        format!("https://localhost:{}{path}", self.portals[portal].port)
    }

    /// Status and body.
    pub async fn get(&self, portal: usize, path: &str, cookie: &str) -> (u16, String) {
        self.try_get(portal, path, cookie).await.unwrap()
    }

    async fn try_get(&self, portal: usize, path: &str, cookie: &str) -> reqwest::Result<(u16, String)> {
        let response = self.client.get(self.url(portal, path)).header("cookie", cookie).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for portal in &mut self.portals {
            if let Some(mut child) = portal.child.take() {
                // An error means that it ended before.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Numbers that look random, the same for the same seed (splitmix64).
pub fn dice(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Asks until it is so; says what was missing after the deadline.
pub async fn until<F: Future<Output = Result<(), String>>>(what: &str, mut ask: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(()) => return,
            Err(missing) if Instant::now() > end => panic!("waited for {what}: {missing}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

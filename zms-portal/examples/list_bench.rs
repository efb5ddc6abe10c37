//! How long the list of topics takes with thousands of them: page, later page, filter, other orders, REST. The portal runs in this process, on
//! SQLite in a temporary folder or a PostgreSQL of its own, and is asked over TLS on 127.0.0.1, one request after the other on one connection, as a browser asks (session
//! cookie, gzip). Prints one JSON line for each figure.
//!
//! ```text
//! cargo run --release -p zms-portal --example list_bench
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, COOKIE, SET_COOKIE};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use zms_core::collect::{Snapshot, TopicFigures};
use zms_core::metadata::Order;
use zms_core::names::{ClusterName, TopicName};
use zms_portal::app::{App, new_id, now_ms};
use zms_portal::authority::{Listener, serve_tls};
use zms_portal::config::Config;
use zms_portal::topics::{self, State, Topic};
use zms_portal::{serve, setup};
use zms_testbed::{Against, Figure, Postgres, percentile};

const CLUSTER: &str = "kafka";
/// Of a page.
const ROWS: usize = 50;
/// Nobody should notice that a list is long.
const P95_MS: f64 = 100.0;

#[derive(Parser)]
struct Arguments {
    /// How many topics.
    #[arg(long, default_value_t = 5000)]
    topics: u32,
    /// On which database.
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    database: Database,
    /// Requests for each figure.
    #[arg(long, default_value_t = 200)]
    requests: usize,
    /// Only this path, for a profiler.
    #[arg(long)]
    only: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
}

/// The portal's own settings, read from arguments that this program writes.
#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::select! {
        done = run(&arguments) => done,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| anyhow::anyhow!("there is a provider of cryptography already"))?;
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("https://{}", listener.local_addr()?);
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(folder.path().join("packages"))?;
    let settings = ["portal", "--data-dir", &at("data"), "--packages", &at("packages"), "--public-url", &url];
    let mut config = Settings::try_parse_from(settings)?.config;
    let server = match arguments.database {
        Database::Sqlite => None,
        Database::Postgres => Some(tokio::task::spawn_blocking(Postgres::start).await?),
    };
    if let Some(server) = &server {
        server.create("zms", None);
        config.database_url = Some(server.url("zms"));
    }
    let app = serve::open(config).await?;
    let (_end, stop) = watch::channel(false);
    tokio::spawn(serve_tls(listener, app.authority.server_config(Listener::Ui)?, serve::ui_router(&app), stop));

    let mut browser = Browser::new(&app, url)?;
    let code = setup::new_code(&app.db, &app.config, now_ms()).await?;
    browser.post("/api/v1/setup", &json!({ "code": code, "name": "ada", "password": "correct horse battery" })).await?;
    let environment = json!({ "name": "dev", "title": "Development", "colour": "green", "protected": false });
    browser.post("/api/v1/environments", &environment).await?;
    let begun = Instant::now();
    make_topics(&app, "dev", arguments.topics).await.context("making topics")?;
    eprintln!("list: {} topics made in {} ms", arguments.topics, begun.elapsed().as_millis());

    let list = "/e/dev/topics";
    let asked = match &arguments.only {
        Some(path) => vec![("only", path.clone())],
        None => vec![
            ("page", list.to_owned()),
            ("page 3", format!("{list}?page=3")),
            ("filter", format!("{list}?q=invoices")),
            ("by rate", format!("{list}?sort=rate&dir=desc")),
            ("by cluster", format!("{list}?sort=cluster&dir=desc")),
            ("REST, all topics", "/api/v1/environments/dev/topics".to_owned()),
        ],
    };
    for (what, path) in asked {
        let plain = browser.get(&path, false).await?;
        let text = String::from_utf8_lossy(&plain);
        // A page has a link to each topic, REST the name of each.
        let seen = text.matches("/overview\"").count().max(text.matches("\"owner\":").count());
        anyhow::ensure!(seen >= ROWS, "{path}: {seen} topics in the answer");
        let (times, sent) = measure(&browser, &path, arguments.requests).await?;
        eprintln!("list: {what}: {seen} topics, {} KB, as sent {} KB", plain.len() / 1000, sent / 1000);
        for (percent, against) in [(50, Against::Nothing), (95, Against::AtMost(P95_MS))] {
            let on = if server.is_some() { " on PostgreSQL" } else { "" };
            let what = format!("{what}, {} topics{on}, p{percent}", arguments.topics);
            Figure { bench: "list", what, value: percentile(&times, percent), unit: "ms", against }.print();
        }
    }
    Ok(())
}

/// Milliseconds of each request, and the bytes of an answer.
async fn measure(browser: &Browser, path: &str, requests: usize) -> anyhow::Result<(Vec<f64>, usize)> {
    let (mut times, mut bytes) = (Vec::with_capacity(requests), 0);
    for _ in 0..requests {
        let begun = Instant::now();
        bytes = browser.get(path, true).await?.len();
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok((times, bytes))
}

/// One connection with a session.
struct Browser {
    client: reqwest::Client,
    url: String,
    session: String,
}

impl Browser {
    fn new(app: &App, url: String) -> anyhow::Result<Self> {
        let authority = reqwest::Certificate::from_pem(app.authority.ca_pem().as_bytes())?;
        let client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().timeout(Duration::from_secs(30));
        Ok(Self { client: client.build()?, url, session: String::new() })
    }

    async fn post(&mut self, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        let request = self.client.post(format!("{}{path}", self.url)).header(COOKIE, &self.session).json(body);
        let answer = request.send().await?;
        let cookie = answer.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()?.split(';').next());
        if let Some(cookie) = cookie {
            self.session = cookie.to_owned();
        }
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{path}: {status} {}", answer.text().await?);
        Ok(())
    }

    async fn get(&self, path: &str, gzip: bool) -> anyhow::Result<bytes::Bytes> {
        let request = self.client.get(format!("{}{path}", self.url)).header(COOKIE, &self.session);
        let answer = request.header(ACCEPT_ENCODING, if gzip { "gzip" } else { "identity" }).send().await?;
        anyhow::ensure!(answer.status() == 200, "{path}: {}", answer.status());
        anyhow::ensure!(answer.headers().contains_key(CONTENT_ENCODING) == gzip, "{path}: is not encoded as was asked");
        Ok(answer.bytes().await?)
    }
}

/// Topics past the approvals: what thousands of requests, decisions and effects take is not what is measured. Their rates are there as a
/// collector tells them.
async fn make_topics(app: &App, environment: &str, count: u32) -> anyhow::Result<()> {
    let (cluster_id, now) = (new_id(), now_ms());
    let environment_id: String =
        sqlx::query_scalar("select id from environments where name = $1").bind(environment).fetch_one(app.db.read()).await?;
    let mut tx = app.db.begin().await?;
    let cluster =
        "insert into clusters (id, environment_id, name, broker, addresses, created_at) values ($1, $2, $3, 'kafka', '[]', $4)";
    sqlx::query(cluster).bind(&cluster_id).bind(&environment_id).bind(CLUSTER).bind(now).execute(&mut *tx).await?;
    let mut figures = Vec::new();
    for number in 0..count {
        // A prime: names, owners and rates come in no order.
        let mixed = number * 7919 % count.max(1);
        let kind = pick(mixed, &["orders", "invoices", "clicks", "shipments", "prices"]);
        let name = TopicName::new(format!("{kind}-{mixed:05}"))?;
        let partitions = pick(mixed / 5, &[3, 6, 12, 24]);
        let figure = TopicFigures {
            cluster: ClusterName::new(CLUSTER)?,
            topic: name.clone().into(),
            internal: false,
            partitions,
            replicas: 3,
            under_replicated: 0,
            offline: 0,
            end: Some(1000),
            kept: Some(1000),
            rate_in: Some(f64::from(mixed * 31 % 997)),
        };
        figures.push(figure);
        let topic = Topic {
            id: new_id(),
            environment_id: environment_id.clone(),
            name,
            cluster_id: cluster_id.clone(),
            partitions: i32::try_from(partitions)?,
            replicas: 3,
            config: BTreeMap::from([("retention.ms".to_owned(), "86400000".to_owned())]),
            owner: format!("team-{}", mixed % 40),
            about: format!("What happens to {kind} of market {}, as it happens", mixed % 90),
            state: State::Active,
            order: Order { term: 1, epoch: 1 },
            created_at: now - i64::from(number) * 60_000,
        };
        topics::insert(&mut tx, &topic).await?;
    }
    tx.commit().await?;
    let snapshot = Snapshot { fence: 1, at_ms: now, topics: figures, ..Snapshot::default() };
    // As if it came an hour from now: a collector that says nothing meanwhile is not silent.
    let told = app.metrics.snapshots.tell(&environment_id, snapshot, now + 3_600_000);
    told.map_err(|fence| anyhow::anyhow!("a collector with fence {fence} was heard"))
}

fn pick<T: Copy>(number: u32, of: &[T]) -> T {
    of[number as usize % of.len()]
}

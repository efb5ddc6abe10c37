//! Puts the parts together and listens: people and hosts that join on one port, agents on another, our own metrics in clear on
//! this machine only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;

use crate::app::{App, Parts, now_ms};
use crate::authority::{Authority, Listener, serve_tls};
use crate::clusters::Brokers;
use crate::config::Config;
use crate::db::Db;
use crate::engine::Engine;
use crate::error::Error;
use crate::hosts::Hub;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::packages::Stock;
use crate::secrets::Vault;
use crate::services::Catalogue;
use crate::{
    audit, clusters, engine, environments, groups, hosts, import, metadata, metrics, packages, requests, services, setup, topics,
    users, web,
};

/// How long requests and effects under way may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: Config) -> anyhow::Result<()> {
    run_app(open(config).await?).await
}

/// Serves an app that was opened, until SIGTERM or SIGINT.
pub async fn run_app(app: App) -> anyhow::Result<()> {
    let metrics = PrometheusBuilder::new().install_recorder().context("setting up our own metrics")?;
    let (end, stop) = watch::channel(false);
    let ui = listen(app.config.ui_listen, "UI and API").await?;
    let agents = listen(app.config.agent_listen, "agents").await?;
    let own = listen(app.config.metrics_listen, "our own metrics").await?;
    tracing::info!(url = app.config.public_url, certificate_sha256 = app.authority.fingerprint(), "portal is up");
    if !setup::done(&app.db).await? {
        tracing::info!(
            "there is no administrator yet: run `zms-portal setup-code` with the same settings and open {}/setup",
            app.config.public_url
        );
    }
    let worker = tokio::spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.engine.run(stop).await }
    });
    tokio::spawn(metrics::keep(app.clone(), stop.clone()));
    tokio::spawn(metrics::follow(app.clone(), stop.clone()));
    tokio::spawn(metadata::heartbeat::keep(app.clone(), stop.clone()));
    let servers = [
        tokio::spawn(serve_tls(ui, app.authority.server_config(Listener::Ui)?, ui_router(&app), stop.clone())),
        tokio::spawn(serve_tls(agents, app.authority.server_config(Listener::Agents)?, agent_router(&app), stop.clone())),
    ];
    let local = axum::serve(own, local_router(app.clone(), metrics)).with_graceful_shutdown(ended(stop));
    tokio::spawn(async move {
        if let Err(error) = local.await {
            tracing::error!(%error, "the local listener ended");
        }
    });
    wait_for_signal().await?;
    tracing::info!("ending");
    end.send_replace(true);
    let all = async {
        for server in servers {
            if let Ok(Err(error)) = server.await {
                tracing::error!(error = format!("{error:#}"), "a listener ended");
            }
        }
        worker.await
    };
    if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
        tracing::warn!("requests or effects were still under way; effects go on at the next start");
    }
    Ok(())
}

/// Prints a set-up code.
pub async fn setup_code(config: Config) -> anyhow::Result<()> {
    let db = Db::open(&config.database_url()?).await?;
    if setup::done(&db).await? {
        anyhow::bail!("there is an administrator already; an administrator invites others in Settings → Users");
    }
    println!("{}", setup::new_code(&db, &config, now_ms()).await?);
    Ok(())
}

/// Prints a link with which an administrator of this name comes in.
pub async fn invite_administrator(config: Config, name: &str) -> anyhow::Result<()> {
    let db = Db::open(&config.database_url()?).await?;
    if !setup::done(&db).await? {
        anyhow::bail!("there is no administrator yet: `zms-portal setup-code` makes the code for the first one");
    }
    let invited = users::invite_administrator(&db, &config.public_url, name, now_ms()).await.map_err(|error| match error {
        Error::Internal(cause) => anyhow::anyhow!("inviting an administrator: {cause:#}"),
        _ => anyhow::anyhow!("inviting {name:?}: a name has lower-case letters, digits and . _ - @, and must not be taken"),
    })?;
    println!("{}", invited.link);
    Ok(())
}

/// Opens everything that requests need.
pub async fn open(config: Config) -> anyhow::Result<App> {
    open_with(config, engine::Settings::default()).await
}

/// The same, with the engine's waits of one's own.
pub async fn open_with(config: Config, waits: engine::Settings) -> anyhow::Result<App> {
    create_private(&config.data_dir).with_context(|| format!("making the data folder {}", config.data_dir.display()))?;
    let db = Db::open(&config.database_url()?).await?;
    let vault = Vault::open(db.clone(), &config.key_file()).await?;
    let authority = Authority::open(&db, &vault, &config.public_host()?, now_ms()).await?;
    let stock = Stock::open(config.packages.clone()).await?;
    let catalogue = Catalogue::load(config.catalogue.as_deref())?;
    let engine = Engine::with(db.clone(), waits);
    let metadata = Metadata::new(db.clone(), vault.clone(), authority.clone());
    let (hub, brokers, metrics) = (Hub::new(), Brokers::new(vault.clone()), Metrics::default());
    let app = App::new(Parts { config, db, vault, authority, metadata, brokers, metrics, engine, catalogue, stock, hub });
    services::register(&app);
    clusters::register(&app);
    requests::register(&app);
    metadata::rights::register(&app);
    import::register(&app);
    Ok(app)
}

fn create_private(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

async fn listen(address: std::net::SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening for {what} on {address}"))
}

/// Pages, API and join.
pub fn ui_router(app: &App) -> Router {
    let (api, document) = OpenApiRouter::new()
        .merge(setup::api())
        .merge(users::api())
        .merge(environments::api())
        .merge(hosts::api())
        .merge(packages::api())
        .merge(services::api())
        .merge(clusters::api())
        .merge(topics::api())
        .merge(groups::api())
        .merge(requests::api())
        .merge(metadata::api())
        .merge(import::api())
        .merge(metrics::api())
        .merge(engine::api())
        .merge(audit::api())
        .split_for_parts();
    let pages = Router::new()
        .merge(setup::pages())
        .merge(users::pages())
        .merge(environments::pages())
        .merge(hosts::pages())
        .merge(packages::pages())
        .merge(services::pages())
        .merge(clusters::pages())
        .merge(topics::pages())
        .merge(groups::pages())
        .merge(requests::pages())
        .merge(metadata::pages())
        .merge(import::pages())
        .merge(engine::pages())
        .merge(audit::pages());
    let router = web::layers(app, pages, api, document)
        .merge(hosts::join().with_state(app.clone()))
        .merge(health().with_state(app.clone()));
    web::layers::headers(router).layer(middleware::from_fn(measure))
}

fn agent_router(app: &App) -> Router {
    hosts::agent_api().merge(metrics::collector_api()).with_state(app.clone()).layer(middleware::from_fn(measure))
}

fn local_router(app: App, metrics: PrometheusHandle) -> Router {
    let scrape = get(move || {
        let text = metrics.render();
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    });
    Router::new().route("/metrics", scrape).merge(health().with_state(app))
}

/// For load balancers and supervisors: alive, able to serve, which version.
fn health() -> Router<App> {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(|| async { Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") })) }))
}

async fn ready(State(app): State<App>) -> Response {
    let asked = sqlx::query("select 1").execute(app.db.read());
    match tokio::time::timeout(Duration::from_secs(2), asked).await {
        Ok(Ok(_)) => "ok\n".into_response(),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
    }
}

/// Counts requests and their time by route, never by path.
async fn measure(request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| Arc::from("other"), |path| Arc::<str>::from(path.as_str()));
    let method = request.method().clone();
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    ::metrics::histogram!("zms_portal_request_seconds", "method" => method.to_string(), "route" => route, "status" => status)
        .record(begun.elapsed().as_secs_f64());
    response
}

async fn ended(mut stop: watch::Receiver<bool>) {
    // A closed channel means the same: everything is ending.
    let _ = stop.wait_for(|ended| *ended).await;
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::services::test_support::TestApp;

    async fn get(router: &Router, path: &str) -> (StatusCode, String) {
        let answer = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn both_listeners_say_that_they_live_and_only_the_local_one_gives_our_metrics() {
        let test = TestApp::start().await;
        let recorder = PrometheusBuilder::new().build_recorder();
        let (ui, local) = (ui_router(&test.app), local_router(test.app.clone(), recorder.handle()));
        let _recording = ::metrics::set_default_local_recorder(&recorder);
        for router in [&ui, &local] {
            assert_eq!(get(router, "/livez").await, (StatusCode::OK, "ok\n".to_owned()));
            assert_eq!(get(router, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
            let (status, version) = get(router, "/version").await;
            let version: Value = serde_json::from_str(&version).unwrap();
            assert_eq!((status, version), (StatusCode::OK, serde_json::json!({ "version": env!("CARGO_PKG_VERSION") })));
        }
        let (status, text) = get(&local, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        // By route, as a request to the other listener counted.
        let counted = |line: &&str| line.starts_with("zms_portal_request_seconds") && line.contains("route=\"/readyz\"");
        assert!(text.lines().find(counted).is_some_and(|line| line.contains("status=\"200\"")), "{text}");
        assert_eq!(get(&ui, "/metrics").await.0, StatusCode::NOT_FOUND);

        // It lives without its database, but is not to be asked for anything.
        test.app.db.read().close().await;
        let (status, why) = get(&local, "/readyz").await;
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && why.contains("database"), "{status} {why}");
        assert_eq!(get(&local, "/livez").await.0, StatusCode::OK);
    }
}

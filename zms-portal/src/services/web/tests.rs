//! Pages as a browser gets them, in both languages.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use tower::ServiceExt;

use super::super::test_support::{TestApp, insert_host};
use super::super::wish::{Step, Wish, WishedHost};
use crate::access::{Actor, Role, User, Visitor};
use crate::app::{App, now_ms};
use crate::environments::{self, Environment, NewEnvironment};
use crate::packages::test_support::put;
use crate::web::form::encode;
use crate::web::links::Link;

struct Portal {
    app: App,
    environment: Environment,
    user: User,
    hosts: Vec<String>,
    _test: TestApp,
}

impl Portal {
    async fn start() -> Self {
        let test = TestApp::start().await;
        let app = test.app.clone();
        put(app.stock.folder(), "zookeeper", "3.9.5", "any", b"zookeeper");
        app.stock.rescan().await.unwrap();
        let user = User { id: "U".to_owned(), name: "olga".to_owned(), roles: vec![Role::Operator], language: String::new() };
        let actor = Actor { user: &user, address: "192.0.2.1" };
        let new = NewEnvironment { name: "dev".to_owned(), title: String::new(), colour: "green".to_owned(), protected: false };
        let environment = environments::create(&app.db, actor, new, now_ms()).await.unwrap();
        let mut hosts = Vec::new();
        for number in 1..=3 {
            hosts.push(insert_host(&app, &environment, number).await);
        }
        Self { app, environment, user, hosts, _test: test }
    }

    /// A wish of three steps for so many hosts.
    fn wish(&self, hosts: usize) -> Wish {
        let wished = |host: &String| WishedHost { host: host.clone(), address: String::new() };
        Wish {
            name: "zk".to_owned(),
            kind: "zookeeper".to_owned(),
            version: "3.9.5".to_owned(),
            hosts: self.hosts.iter().take(hosts).map(wished).collect(),
            ..Wish::default()
        }
    }

    async fn send(&self, method: &str, path: String, language: &str, form: String) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT_LANGUAGE, language)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .extension(Visitor(Some(self.user.clone())))
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 50_000))))
            .body(Body::from(form))
            .unwrap();
        let pages = super::pages().merge(environments::pages()).merge(crate::packages::pages());
        let response = pages.with_state(self.app.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 4 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: impl std::fmt::Display, language: &str) -> String {
        let (status, page) = self.send("GET", path.to_string(), language, String::new()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        page
    }

    /// Installs ZooKeeper on three hosts without asking them first; nobody works on it.
    async fn install(&self) {
        let mut wish = self.wish(3);
        wish.generate(self.app.catalogue.find("zookeeper").unwrap());
        let decided = super::super::install::decide(&self.app, &self.environment, &wish, now_ms()).await.unwrap().unwrap();
        let actor = Actor { user: &self.user, address: "192.0.2.1" };
        super::super::install::begin(&self.app, actor, &self.environment, "zookeeper", decided, now_ms()).await.unwrap();
    }

    /// Asks for a step with everything typed so far.
    async fn step(&self, wish: Wish, step: Step) -> (StatusCode, String) {
        let fields = wish.hidden_fields(Step::Plan);
        let form =
            fields.iter().map(|(field, value)| format!("{}={}", encode(field), encode(value))).collect::<Vec<_>>().join("&");
        self.send("POST", Link::ServiceNew("dev", step.as_str()).to_string(), "en", form).await
    }
}

/// What of these is not in the page.
fn missing<'a>(page: &str, wanted: &[&'a str]) -> Vec<&'a str> {
    wanted.iter().copied().filter(|text| !page.contains(text)).collect()
}

#[tokio::test]
async fn the_first_step_offers_what_is_at_hand_and_says_what_to_run_for_the_rest() {
    let portal = Portal::start().await;
    let page = portal.get(Link::ServiceNew("dev", "kind"), "en").await;
    let wanted = ["value=\"zookeeper/3.9.5\"", "scripts/packages kafka", "scripts/packages influxdb", "Coordination service"];
    assert_eq!(missing(&page, &wanted), [""; 0], "{page}");
    assert!(!page.contains("value=\"kafka/"), "{page}");
}

#[tokio::test]
async fn a_step_after_a_wrong_one_shows_the_wrong_one_with_its_problem_and_every_value() {
    let portal = Portal::start().await;
    let mut wish = Wish { name: "Zk".to_owned(), ..portal.wish(2) };
    wish.settings.insert("tickTime".to_owned(), "3s".to_owned());
    let (status, page) = portal.step(wish, Step::Settings).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let wanted = ["1, 3, 5, 7", "name=\"settings.tickTime\" value=\"3s\"", "name=\"name\" value=\"Zk\"", "type=\"checkbox\""];
    assert_eq!(missing(&page, &wanted), [""; 0], "{page}");
    assert_eq!(page.matches(" checked").count(), 2, "{page}");
    assert!(!page.contains("digits and -, beginning"), "a name that was not asked for yet is no problem: {page}");

    let (status, page) = portal.step(Wish::default(), Step::Plan).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("choose a kind of service") && page.contains("zookeeper/3.9.5"), "{page}");
}

#[tokio::test]
async fn the_settings_show_defaults_for_the_size_of_the_hosts_and_what_was_typed() {
    let portal = Portal::start().await;
    let mut wish = portal.wish(3);
    wish.settings.insert("client_port".to_owned(), "12181".to_owned());
    wish.settings.insert("extra_properties".to_owned(), "a=<b>\nc=d".to_owned());
    let (status, page) = portal.step(wish.clone(), Step::Settings).await;
    assert_eq!(status, StatusCode::OK);
    // A host of 4000 MiB: a heap of 256.
    let wanted = ["placeholder=\"256\"", "value=\"12181\"", "a=&#60;b&#62;", "From 1024 to 65535"];
    assert_eq!(missing(&page, &wanted), [""; 0], "{page}");

    wish.settings.insert("client_port".to_owned(), "80".to_owned());
    let (status, page) = portal.step(wish, Step::Preflight).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(missing(&page, &["80 is below the smallest value", "value=\"80\""]), [""; 0], "{page}");
}

#[tokio::test]
async fn pages_of_a_service_speak_both_languages() {
    let portal = Portal::start().await;
    portal.install().await;
    for (language, healthy, install) in [("en", "0 of 3 healthy", "Install a service"), ("zh", "0/3 健康", "安装服务")] {
        let page = portal.get(Link::Services("dev"), language).await;
        assert_eq!(missing(&page, &[healthy, install, "host-2", "/e/dev/services/zk/status"]), [""; 0], "{page}");
        let tab = async |tab| portal.get(Link::Service("dev", "zk", tab), language).await;
        let page = tab("status").await;
        assert_eq!(missing(&page, &[healthy, "zk-3", "data-live=\"/e/dev/services/zk/status/part\""]), [""; 0], "{page}");
        let page = tab("instances").await;
        assert_eq!(missing(&page, &["zk-1", "10.0.0.2", "/e/dev/services/zk/instances/zk-1/act/restart"]), [""; 0], "{page}");
        let page = tab("history").await;
        assert_eq!(missing(&page, &["olga", "/flows/"]), [""; 0], "{page}");
        let page = tab("config").await;
        assert_eq!(missing(&page, &["zoo.cfg", "clientPortAddress=10.0.0.1", "name=\"settings.tickTime\""]), [""; 0], "{page}");
        let page = portal.get(Link::Environment("dev"), language).await;
        assert_eq!(missing(&page, &[healthy, "/flows/", "/e/dev/services/zk/status"]), [""; 0], "{page}");
        let page = portal.get(Link::Packages, language).await;
        assert_eq!(missing(&page, &["dev/zk", "3.9.5", "Apache-2.0"]), [""; 0], "{page}");
    }
}

#[tokio::test]
async fn an_empty_portal_shows_the_first_steps_until_they_are_done() {
    let portal = Portal::start().await;
    let page = portal.get(Link::Overview, "en").await;
    assert_eq!(missing(&page, &["First steps", "/e/dev/services/new/kind"]), [""; 0], "{page}");
    portal.install().await;
    let page = portal.get(Link::Overview, "en").await;
    assert!(!page.contains("First steps") && page.contains("/e/dev/services/zk/status"), "{page}");
}

#[tokio::test]
async fn a_change_is_shown_line_by_line_before_it_is_made_and_a_wrong_one_at_its_field() {
    let portal = Portal::start().await;
    portal.install().await;
    let plan = format!("{}/plan", Link::Service("dev", "zk", "config"));
    let (status, page) = portal.send("POST", plan.clone(), "en", "settings.tickTime=3s".to_owned()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        missing(&page, &["<del>- tickTime=2000</del>", "<ins>+ tickTime=3000</ins>", "name=\"fingerprint\""]),
        [""; 0],
        "{page}"
    );
    let (status, page) = portal.send("POST", plan, "zh", "settings.tickTime=never".to_owned()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(missing(&page, &["不是时长", "value=\"never\""]), [""; 0], "{page}");
}

#[tokio::test]
async fn a_removal_asks_for_the_name_and_shows_the_form_again_without_it() {
    let portal = Portal::start().await;
    portal.install().await;
    let removal = Link::Service("dev", "zk", "remove").to_string();
    let (status, page) = portal.send("POST", removal, "en", "confirm=kz".to_owned()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("type zk to confirm"), "{page}");
}

/// Sends JSON to the API; status and answer.
async fn call(portal: &Portal, method: &str, path: &str, body: serde_json::Value) -> (StatusCode, serde_json::Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .extension(Visitor(Some(portal.user.clone())))
        .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 50_000))))
        .body(Body::from(body.to_string()))
        .unwrap();
    let (api, _) = crate::services::api().merge(environments::api()).merge(crate::packages::api()).split_for_parts();
    let response = api.with_state(portal.app.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 4 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn the_api_has_the_shapes_that_scripts_rely_on() {
    let portal = Portal::start().await;
    portal.install().await;
    let none = serde_json::Value::Null;
    let (status, body) = call(&portal, "GET", "/environments/dev/services", none.clone()).await;
    assert_eq!(status, StatusCode::OK);
    let item = &body["items"][0];
    assert_eq!((&item["name"], &item["kind"], &item["status"]), (&"zk".into(), &"zookeeper".into(), &"installing".into()));
    assert_eq!((&item["healthy"], &item["wanted"]), (&0.into(), &3.into()));
    let (_, body) = call(&portal, "GET", "/environments", none.clone()).await;
    assert_eq!(body["items"][0]["name"], "dev");
    let (_, body) = call(&portal, "GET", "/packages", none.clone()).await;
    assert_eq!(body["items"][0]["used_by"][0]["service"], "zk");
    let (_, body) = call(&portal, "GET", "/kinds", none.clone()).await;
    assert_eq!(body["items"].as_array().unwrap().len(), 5);
    let room = serde_json::json!({ "name": "room-a", "title": "Room A", "colour": "red", "protected": true });
    let (status, body) = call(&portal, "POST", "/environments", room).await;
    assert_eq!((status, &body["protected"]), (StatusCode::CREATED, &true.into()));
    let change = serde_json::json!({ "settings": { "tickTime": 2000 } });
    let (status, body) = call(&portal, "PATCH", "/environments/dev/services/zk", change).await;
    assert_eq!((status, &body["flow"]), (StatusCode::ACCEPTED, &none), "the default, typed: saved, and nothing is restarted");
    for (method, path, body, expected) in [
        ("GET", "/environments/nowhere/services", none.clone(), StatusCode::NOT_FOUND),
        ("GET", "/environments/dev/services/nothing", none.clone(), StatusCode::NOT_FOUND),
        ("DELETE", "/environments/dev/services/zk", serde_json::json!({ "confirm": "no" }), StatusCode::UNPROCESSABLE_ENTITY),
        ("POST", "/environments/dev/services/zk/act/explode", none.clone(), StatusCode::NOT_FOUND),
        ("POST", "/environments/dev/services/zk/act/restart", none.clone(), StatusCode::CONFLICT),
        (
            "POST",
            "/environments/dev/services",
            serde_json::json!({ "name": "x", "kind": "kafka", "hosts": [] }),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("POST", "/environments/dev/services/zk/cancel", none.clone(), StatusCode::ACCEPTED),
    ] {
        let (status, answer) = call(&portal, method, path, body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
}

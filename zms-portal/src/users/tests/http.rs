//! Pages and API as browsers and scripts meet them, with all layers around them.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use clap::Parser;
use serde_json::json;
use tower::ServiceExt as _;

use crate::app::{App, now_ms};
use crate::config::Config;
use crate::db::TestDb;
use crate::{serve, setup};

const PASSWORD: &str = "correct horse battery";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// A browser that keeps the session cookie.
struct Browser {
    router: Router,
    cookie: Option<String>,
    language: &'static str,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    #[track_caller]
    fn leads_to(self, location: &str) {
        assert_eq!((self.status, self.location()), (StatusCode::SEE_OTHER, location), "{}", self.body);
    }
}

impl Browser {
    async fn send(&mut self, method: &str, path: &str, kind: &str, body: String) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "zms.example")
            .header(header::ACCEPT_LANGUAGE, self.language);
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 50_000))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let mut set = parts.headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        if let Some(session) = set.rfind(|cookie| cookie.starts_with("__Host-zms=")) {
            assert!(session.ends_with("; Secure; HttpOnly; SameSite=Lax"), "{session}");
            self.cookie = (!session.contains("Max-Age=0")).then(|| session.split(';').next().unwrap().to_owned());
        }
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", String::new()).await
    }

    async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let encode = crate::web::form::encode;
        let body = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&");
        self.send("POST", path, "application/x-www-form-urlencoded", body).await
    }

    async fn api(&mut self, method: &str, path: &str, body: serde_json::Value) -> Answer {
        self.send(method, &format!("/api/v1{path}"), "application/json", body.to_string()).await
    }

    fn another(&self, language: &'static str) -> Self {
        Self { router: self.router.clone(), cookie: None, language }
    }
}

async fn portal() -> (TestDb, App, Browser) {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = TestDb::new().await;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let arguments = [
        "portal",
        "--data-dir",
        &at("data"),
        "--packages",
        &at("packages"),
        "--public-url",
        "https://zms.example:8443",
        "--database-url",
        folder.url(),
    ];
    std::fs::create_dir(folder.path().join("packages")).unwrap();
    let app = serve::open(Arguments::try_parse_from(arguments).unwrap().config).await.unwrap();
    let router = serve::ui_router(&app);
    (folder, app, Browser { router, cookie: None, language: "en" })
}

/// With an administrator, who is signed in.
async fn portal_in_use() -> (TestDb, App, Browser) {
    let (folder, app, mut browser) = portal().await;
    let code = setup::new_code(&app.db, &app.config, now_ms()).await.unwrap();
    browser.api("POST", "/setup", json!({ "code": code, "name": "ada", "password": PASSWORD })).await.is(204);
    (folder, app, browser)
}

#[tokio::test]
async fn a_first_start_leads_to_the_set_up_and_after_it_there_is_none() {
    let (_folder, app, mut browser) = portal().await;
    let code = setup::new_code(&app.db, &app.config, now_ms()).await.unwrap();
    browser.get("/settings/users").await.leads_to("/login?next=%2Fsettings%2Fusers");
    browser.get("/login").await.leads_to("/setup");
    assert!(browser.get("/setup").await.is(200).body.contains("zms-portal setup-code"));
    let filled = |again| [("code", code.as_str()), ("name", "ada"), ("password", PASSWORD), ("again", again)];
    let shown = browser.form("/setup", &filled("another")).await.is(422).body;
    assert!(shown.contains(&code) && shown.contains("value=\"ada\"") && !shown.contains(PASSWORD), "{shown}");
    browser.form("/setup", &filled(PASSWORD)).await.leads_to("/");
    browser.get("/settings/users").await.is(200);
    browser.get("/setup").await.is(404);
    browser.form("/setup", &filled(PASSWORD)).await.is(404);
    browser.another("en").api("POST", "/setup", json!({ "code": code, "name": "eve", "password": PASSWORD })).await.is(404);
}

#[tokio::test]
async fn a_script_signs_in_asks_who_it_is_and_signs_out() {
    let (_folder, _app, browser) = portal_in_use().await;
    let mut script = browser.another("en");
    script.get("/api/v1/session").await.is(401);
    script.api("POST", "/session", json!({ "name": "ada", "password": "wrong" })).await.is(422);
    assert_eq!(script.cookie, None);
    script.api("POST", "/session", json!({ "name": "ada", "password": PASSWORD })).await.is(204);
    let first = script.cookie.clone();
    let myself: serde_json::Value = serde_json::from_str(&script.get("/api/v1/session").await.is(200).body).unwrap();
    assert_eq!(myself, json!({ "name": "ada", "roles": ["administrator"], "language": "" }));
    script.api("POST", "/session", json!({ "name": "ada", "password": PASSWORD })).await.is(204);
    let second = script.cookie.clone();
    assert_ne!(first, second);
    script.cookie = first;
    script.get("/api/v1/session").await.is(401);
    script.cookie.clone_from(&second);
    script.api("DELETE", "/session", json!(null)).await.is(204);
    assert_eq!(script.cookie, None);
    script.cookie = second;
    script.get("/api/v1/session").await.is(401);
}

#[tokio::test]
async fn a_sign_in_leads_where_one_wanted_to_go_and_nowhere_else() {
    let (_folder, _app, browser) = portal_in_use().await;
    for (next, expected) in
        [("/settings/account", "/settings/account"), ("//evil.example", "/"), ("https://evil.example", "/"), ("", "/")]
    {
        let mut person = browser.another("en");
        let wrong = person.form("/login", &[("name", "ada"), ("password", "wrong"), ("next", next)]).await.is(422).body;
        assert!(wrong.contains("Name or password is wrong") && !wrong.contains("evil"), "{wrong}");
        person.form("/login", &[("name", "ada"), ("password", PASSWORD), ("next", next)]).await.leads_to(expected);
        person.get(&format!("/login?next={}", crate::web::form::encode(next))).await.leads_to(expected);
        let session = person.cookie.clone();
        person.form("/logout", &[]).await.leads_to("/login");
        person.cookie = session;
        person.get("/settings/account").await.leads_to("/login?next=%2Fsettings%2Faccount");
    }
}

#[tokio::test]
async fn another_site_cannot_sign_anybody_out() {
    let (_folder, _app, mut browser) = portal_in_use().await;
    let request = Request::builder().method("POST").uri("/logout").header("sec-fetch-site", "cross-site");
    let mut request = request.header(header::COOKIE, browser.cookie.clone().unwrap()).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 50_000))));
    assert_eq!(browser.router.clone().oneshot(request).await.unwrap().status(), StatusCode::FORBIDDEN);
    browser.get("/api/v1/session").await.is(200);
}

#[tokio::test]
async fn an_invited_person_chooses_a_password_and_is_in() {
    let (_folder, _app, mut browser) = portal_in_use().await;
    assert!(
        browser
            .form("/settings/users", &[("name", "<b>"), ("role", "viewer")])
            .await
            .is(422)
            .body
            .contains("value=\"&#60;b&#62;\"")
    );
    let page = browser.form("/settings/users", &[("name", "grace"), ("role", "viewer")]).await.is(200).body;
    let link =
        page.split("https://zms.example:8443/invite#").nth(1).expect("the link is shown").split('<').next().unwrap().to_owned();
    assert!(!browser.get("/settings/users").await.body.contains(&link), "it is shown once");
    let mut grace = browser.another("zh");
    assert!(grace.get("/invite").await.is(200).body.contains("js/invite.js"));
    // Without script one pastes the whole link.
    let pasted = format!("https://zms.example:8443/invite#{link}");
    let accepted = |again| [("token", pasted.as_str()), ("password", PASSWORD), ("again", again)];
    assert!(grace.form("/invite", &accepted("other")).await.is(422).body.contains("两次输入不一致"));
    grace.form("/invite", &accepted(PASSWORD)).await.leads_to("/");
    grace.get("/settings/account").await.is(200);
    grace.get("/settings/users").await.is(403);
    grace.form("/settings/users/grace", &[("act", "roles"), ("role", "administrator")]).await.is(403);
    browser.another("en").form("/invite", &accepted(PASSWORD)).await.is(422);
}

#[tokio::test]
async fn an_administrator_manages_people_on_one_page() {
    let (_folder, _app, mut browser) = portal_in_use().await;
    let new = json!({ "name": "grace@example.com", "password": PASSWORD, "roles": ["viewer"] });
    browser.api("POST", "/users", new).await.is(201);
    let path = "/settings/users/grace%40example.com";
    browser.form(path, &[("role", "operator"), ("role", "approver"), ("act", "roles")]).await.leads_to("/settings/users");
    let csv = browser.get("/settings/users?format=csv&sort=name").await.is(200).body;
    assert!(csv.contains("\"grace@example.com\",\"approver operator\",\"no\",\"\","), "{csv}");
    assert!(browser.form(path, &[("act", "roles")]).await.is(422).body.contains("at least one role"));
    browser.form(path, &[("act", "disable")]).await.leads_to("/settings/users");
    browser.another("en").form("/login", &[("name", "grace@example.com"), ("password", PASSWORD)]).await.is(422);
    assert!(browser.form("/settings/users/ada", &[("act", "disable")]).await.is(409).body.contains("last administrator"));
    browser.api("PATCH", "/users/ada", json!({ "roles": ["viewer"] })).await.is(409);
    browser.api("PATCH", "/users/nobody", json!({ "disabled": true })).await.is(404);
    browser.api("PATCH", "/users/grace@example.com", json!({ "disabled": false })).await.is(204);
    browser.form("/settings/users/ada", &[("act", "end_sessions")]).await.leads_to("/settings/users");
    browser.get("/settings/users").await.leads_to("/login?next=%2Fsettings%2Fusers");
}

#[tokio::test]
async fn a_changed_password_keeps_this_browser_and_ends_the_others() {
    let (_folder, _app, mut browser) = portal_in_use().await;
    let mut other = browser.another("en");
    other.form("/login", &[("name", "ada"), ("password", PASSWORD)]).await.leads_to("/");
    let change = |present, again| [("present", present), ("new", "unrelated words are good"), ("again", again)];
    let path = "/settings/account/password";
    assert!(
        browser.form(path, &change("wrong", "unrelated words are good")).await.is(422).body.contains("not the present password")
    );
    browser.form(path, &change(PASSWORD, "other")).await.is(422);
    browser.form(path, &change(PASSWORD, "unrelated words are good")).await.leads_to("/settings/account");
    browser.get("/settings/account").await.is(200);
    other.get("/settings/account").await.leads_to("/login?next=%2Fsettings%2Faccount");
}

#[tokio::test]
async fn pages_speak_the_chosen_language() {
    let (_folder, _app, mut browser) = portal_in_use().await;
    assert!(browser.get("/settings/account").await.body.contains("Present password"));
    browser.form("/settings/account/language", &[("language", "zh")]).await.leads_to("/settings/account");
    assert!(browser.get("/settings/account").await.body.contains("当前密码"));
    assert!(browser.get("/settings/users").await.body.contains("管理员"));
    browser.form("/settings/account/language", &[("language", "tlh")]).await.is(422);
}

#[tokio::test]
async fn a_page_that_refreshes_itself_does_not_keep_a_session_alive() {
    let (_folder, app, browser) = portal_in_use().await;
    let seen = async || sqlx::query_scalar::<_, i64>("select seen_at from sessions").fetch_one(app.db.read()).await.unwrap();
    let mut tx = app.db.begin().await.unwrap();
    sqlx::query("update sessions set seen_at = seen_at - 120000").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let before = seen().await;
    for (destination, keeps) in [("empty", false), ("document", true)] {
        let request = Request::builder().uri("/settings/account").header("sec-fetch-dest", destination);
        let request = request.header(header::COOKIE, browser.cookie.clone().unwrap()).body(Body::empty()).unwrap();
        assert_eq!(browser.router.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
        assert_eq!(seen().await > before, keeps, "{destination}");
    }
}

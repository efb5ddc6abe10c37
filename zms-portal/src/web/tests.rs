//! What lies around the handlers, tried on a small portal with a page and an operation of each sort.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt;

use super::links::Link;
use super::{Form, Json, Path, Query, flash, layers, page, see_other};
use crate::access::{Role, User, Visitor};
use crate::app::App;
use crate::error::{Error, Problem, Result};
use crate::services::test_support::TestApp;

#[derive(askama::Template)]
#[template(source = "{% extends \"layout.html\" %}{% block title %}<i>Some</i> page{% endblock %}", ext = "html")]
struct SomePage {
    chrome: super::chrome::Chrome,
}

#[derive(Debug, Deserialize)]
struct Numbered {
    n: u32,
}

fn pages() -> Router<App> {
    Router::new()
        .route("/", get(async |chrome| page(SomePage { chrome })).post(async || flash::with(see_other("/"), "It is done; 完成")))
        .route("/private", get(async |_: User| "seen").post(async |_: User| "done"))
        .route("/fault", get(async || -> Result<()> { Err(anyhow::anyhow!("the disk is full").context("writing").into()) }))
        .route("/panic", get(async || -> () { panic!("never thought of it") }))
        .route("/form", post(async |Form(form): Form<Numbered>| form.n.to_string()))
        .route("/n/{n}", get(async |Path(n): Path<u32>, Query(query): Query<Numbered>| (n + query.n).to_string()))
        .route("/foreign/{n}", get(async |axum::extract::Path(n): axum::extract::Path<u32>| n.to_string()))
}

fn api() -> Router<App> {
    let invalid = || Err(Error::Invalid(vec![Problem::new("name", |m| m.error_invalid_detail().to_owned())]));
    Router::new()
        .route("/number", post(async |Json(body): Json<Numbered>| Json(body.n)))
        .route("/invalid", post(async move |Json(_): Json<Value>| -> Result<()> { invalid() }))
        .route("/fault", get(async || -> Result<()> { Err(anyhow::anyhow!("the disk is full").into()) }))
        .route("/private", get(async |_: User| "seen"))
}

struct Portal {
    router: Router,
    _app: TestApp,
}

impl Portal {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let document = utoipa::openapi::OpenApiBuilder::new().build();
        Self { router: layers(&app.app, pages(), api(), document), _app: app }
    }

    async fn ask(&self, request: axum::http::request::Builder, body: impl Into<Body>) -> Response<Body> {
        self.router.clone().oneshot(request.header("host", "zms").body(body.into()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.ask(Request::get(path), "").await
    }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 4 << 20).await.unwrap().to_vec()).unwrap()
}

async fn problem(response: Response<Body>) -> Value {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let status = response.status();
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["status"], status.as_u16());
    for key in ["type", "title", "detail", "code", "request"] {
        assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {problem}");
    }
    problem
}

fn json(path: &str) -> axum::http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "application/json")
}

#[tokio::test]
async fn every_answer_has_the_headers_that_browsers_need_to_be_safe() {
    let portal = Portal::start().await;
    let logo = super::assets::asset("img/logo.svg");
    for path in [
        "/",
        "/nothing",
        "/fault",
        "/panic",
        "/private",
        "/static/x/nothing",
        &logo,
        "/api/v1/nothing",
        "/api/v1/openapi.json",
        "/api/v1/fault",
    ] {
        let response = portal.get(path).await;
        let headers = response.headers();
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"), "{path}: {policy}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin", "{path}");
        assert!(headers.contains_key(header::STRICT_TRANSPORT_SECURITY), "{path}");
        let kept = headers[header::CACHE_CONTROL].to_str().unwrap() != "no-store";
        assert_eq!(kept, path == logo, "{path}: {:?}", headers[header::CACHE_CONTROL]);
    }
}

#[tokio::test]
async fn no_page_has_script_or_style_in_it() {
    let portal = Portal::start().await;
    for path in ["/", "/nothing"] {
        let html = text(portal.get(path).await).await;
        assert!(html.contains("<script src=\"/static/"), "{html}");
        for inline in ["<style", " style=", "<script>", " onclick=", "javascript:"] {
            assert!(!html.contains(inline), "{path} has {inline}");
        }
    }
    // The heading names the page in the browser's tab too, as text.
    assert!(signed_in(&portal, "/").await.contains("<title>Some page · ZMS</title>"));
}

async fn signed_in(portal: &Portal, path: &str) -> String {
    let user = User { id: "1".into(), name: "ada".into(), roles: vec![Role::Administrator], language: String::new() };
    text(portal.ask(Request::get(path).extension(Visitor(Some(user))), "").await).await
}

#[tokio::test]
async fn a_state_change_from_another_site_is_refused() {
    let portal = Portal::start().await;
    let form = || Request::post("/form").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let cases = [
        (form(), StatusCode::OK),
        (form().header("sec-fetch-site", "same-origin"), StatusCode::OK),
        (form().header("origin", "https://zms"), StatusCode::OK),
        (form().header("sec-fetch-site", "cross-site"), StatusCode::FORBIDDEN),
        (form().header("sec-fetch-site", "same-site"), StatusCode::FORBIDDEN),
        (form().header("origin", "https://evil.example"), StatusCode::FORBIDDEN),
        (form().header("origin", "null"), StatusCode::FORBIDDEN),
    ];
    for (request, expected) in cases {
        let seen = format!("{request:?}");
        assert_eq!(portal.ask(request, "n=1").await.status(), expected, "{seen}");
    }
    let page = portal.ask(form().header("sec-fetch-site", "cross-site"), "n=1").await;
    assert!(text(page).await.contains("the request came from another site"));
    let answer = portal.ask(json("/api/v1/number").header("sec-fetch-site", "cross-site"), r#"{"n": 1}"#).await;
    assert_eq!(problem(answer).await["code"], "forbidden");
}

#[tokio::test]
async fn a_state_change_of_the_api_must_be_json() {
    let portal = Portal::start().await;
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""] {
        let answer = portal.ask(Request::post("/api/v1/number").header(header::CONTENT_TYPE, kind), r#"{"n": 1}"#).await;
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind:?}");
        assert!(problem(answer).await["detail"].as_str().unwrap().contains("application/json"));
    }
    let right = Request::post("/api/v1/number").header(header::CONTENT_TYPE, "Application/JSON; charset=utf-8");
    assert_eq!(text(portal.ask(right, r#"{"n": 1}"#).await).await, "1");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_what_would_be_right() {
    let portal = Portal::start().await;
    let wrong = problem(portal.ask(json("/api/v1/number"), r#"{"n": "one"}"#).await).await;
    assert_eq!((wrong["status"].as_u64(), wrong["code"].as_str()), (Some(422), Some("invalid")));
    assert!(wrong["errors"][0]["detail"].as_str().unwrap().contains("expected u32"), "{wrong}");
    let broken = problem(portal.ask(json("/api/v1/number"), "{").await).await;
    assert!(broken["detail"].as_str().unwrap().contains("EOF"), "{broken}");
    let large = portal.ask(json("/api/v1/number"), " ".repeat((1 << 20) + 1)).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(problem(large).await["detail"].as_str().unwrap().contains("1 MiB"));

    let form = Request::post("/form").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let page = portal.ask(form, "n=one").await;
    assert_eq!(page.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(page).await.contains("invalid digit"));
    for (path, status) in [("/n/1?n=2", 200), ("/n/one?n=2", 404), ("/n/1?n=two", 422), ("/n/1", 422), ("/foreign/one", 400)] {
        let response = portal.get(path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(status == 200 || text(response).await.contains("<!doctype html>"), "{path}");
    }
}

#[tokio::test]
async fn a_fault_of_ours_keeps_its_cause_for_the_log() {
    let portal = Portal::start().await;
    for path in ["/fault", "/panic"] {
        let response = portal.get(path).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let html = text(response).await;
        assert!(html.contains(&id), "the visitor sees the number of the request");
        assert!(!html.contains("disk is full") && !html.contains("never thought"), "{html}");
    }
    let response = portal.get("/api/v1/fault").await;
    let id = response.headers()["x-request-id"].clone();
    let answer = problem(response).await;
    assert_eq!((answer["code"].as_str(), answer["request"].as_str()), (Some("internal"), id.to_str().ok()));
    assert!(!answer.to_string().contains("disk"), "{answer}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_said_in_the_reader_s_language() {
    let portal = Portal::start().await;
    let chinese = |path: &str| Request::get(path).header(header::ACCEPT_LANGUAGE, "zh-CN,zh;q=0.9");
    let page = portal.ask(chinese("/nothing"), "").await;
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    let html = text(page).await;
    assert!(html.contains("lang=\"zh\"") && html.contains("没有找到"), "{html}");
    for path in ["/api/v1/nothing", "/api/nothing"] {
        assert_eq!(problem(portal.ask(chinese(path), "").await).await["title"], "没有找到", "{path}");
    }
    let wrong = portal.ask(Request::builder().method(Method::DELETE).uri("/"), "").await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    let wrong = portal.ask(json("/api/v1/fault"), "{}").await;
    assert_eq!(wrong.headers()[header::ALLOW], "GET,HEAD");
    assert_eq!(problem(wrong).await["code"], "malformed");
}

#[tokio::test]
async fn who_is_not_signed_in_is_led_to_the_sign_in_and_back() {
    let portal = Portal::start().await;
    let sent = portal.ask(Request::get("/private?a=b&c=d").header("sec-fetch-mode", "navigate"), "").await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    assert_eq!(sent.headers()[header::LOCATION], "/login?next=%2Fprivate%3Fa%3Db%26c%3Dd");
    // A script of ours cannot follow, nor would a form come back filled.
    let part = portal.ask(Request::get("/private").header("sec-fetch-mode", "cors"), "").await;
    assert_eq!(part.status(), StatusCode::UNAUTHORIZED);
    let form = portal.ask(Request::post("/private").header("sec-fetch-site", "same-origin"), "").await;
    assert_eq!(form.status(), StatusCode::UNAUTHORIZED);
    assert!(text(form).await.contains(&format!("href=\"{}\"", Link::SignIn)));
    assert_eq!(problem(portal.get("/api/v1/private").await).await["code"], "sign_in");
}

#[tokio::test]
async fn wrong_fields_are_named_in_a_problem() {
    let portal = Portal::start().await;
    let answer = problem(portal.ask(json("/api/v1/invalid"), "{}").await).await;
    assert_eq!(answer["errors"][0]["field"], "name");
    assert!(answer["detail"].as_str().unwrap().starts_with("name: "), "{answer}");
}

#[tokio::test]
async fn the_sentence_after_a_form_is_shown_once() {
    let portal = Portal::start().await;
    let sent = portal.ask(Request::post("/"), "").await;
    let cookie = sent.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(sent.headers()[header::SET_COOKIE].to_str().unwrap().contains("HttpOnly"));
    let with = |mode: &str| Request::get("/").header(header::COOKIE, &cookie).header("sec-fetch-mode", mode);
    let shown = portal.ask(with("navigate"), "").await;
    assert!(shown.headers()[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert!(text(shown).await.contains("It is done; 完成"));
    assert!(!portal.ask(with("cors"), "").await.headers().contains_key(header::SET_COOKIE), "a part must not eat it");
}

#[tokio::test]
async fn the_api_page_and_the_description_are_there() {
    let portal = Portal::start().await;
    let description: Value = serde_json::from_str(&text(portal.get("/api/v1/openapi.json").await).await).unwrap();
    assert_eq!(
        (description["info"]["title"].as_str(), description["servers"][0]["url"].as_str()),
        (Some("ZMS"), Some("/api/v1"))
    );
    assert!(signed_in(&portal, "/docs/api").await.contains("/api/v1/session"));
    assert_eq!(portal.get("/docs/api").await.status(), StatusCode::SEE_OTHER);
}

//! Pages and REST of the metadata store and of imports, as a browser and a program get them.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use tower::ServiceExt as _;

use super::*;
use crate::access::Visitor;
use crate::web::form::encode;

struct Browser<'a> {
    stage: &'a Stage,
    user: User,
}

impl Browser<'_> {
    async fn send(
        &self,
        router: Router<App>,
        (method, path, kind): (&str, &str, &str),
        language: &str,
        body: String,
    ) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT_LANGUAGE, language)
            .header(header::CONTENT_TYPE, kind)
            .extension(Visitor(Some(self.user.clone())))
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 50_000))))
            .body(Body::from(body))
            .unwrap();
        let response = router.with_state(self.stage.app.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        (status, String::from_utf8(to_bytes(response.into_body(), 4 << 20).await.unwrap().to_vec()).unwrap())
    }

    async fn page(&self, method: &str, path: &str, language: &str, form: &str) -> (StatusCode, String) {
        let pages = crate::metadata::pages().merge(pages()).merge(crate::environments::pages());
        self.send(pages, (method, path, "application/x-www-form-urlencoded"), language, form.to_owned()).await
    }

    async fn api(&self, method: &str, path: &str, body: serde_json::Value) -> (StatusCode, serde_json::Value) {
        let (router, _) = crate::metadata::api().merge(api()).split_for_parts();
        let (status, text) = self.send(router, (method, path, "application/json"), "en", body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }
}

#[tokio::test]
async fn the_page_of_an_import_says_what_it_found_and_its_button_imports() {
    let stage = Stage::set().await;
    first(&stage.meta);
    stage.app.brokers.fake_at("10.0.0.1:9092", &stage.brokers);
    let olga = Browser { stage: &stage, user: user("olga", Role::Operator) };
    for (language, words) in [
        ("en", ["made by a first ZMS", "nobody could ask for this name", "2 clusters, 2 topics and 1 groups"]),
        ("zh", ["由第一代 ZMS 创建", "名称不符合申请规则", "2 个集群、2 个主题和 1 个消费组"]),
    ] {
        let (status, page) = olga.page("GET", "/e/dev/import", language, "").await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert!(words.iter().all(|words| page.contains(words)), "{page}");
    }
    stage.meta.put("/zms/cluster/abroad", "bootAddr=8.8.8.8:9092\nbrokerType=kafka\n");
    let (_, page) = olga.page("GET", "/e/dev/import", "zh", "").await;
    assert!(page.contains("8.8.8.8:9092 不在本环境允许的代理网络内"), "{page}");
    let victor = Browser { stage: &stage, user: user("victor", Role::Viewer) };
    assert_eq!(victor.page("GET", "/e/dev/import", "en", "").await.0, StatusCode::FORBIDDEN);
    assert_eq!(victor.page("POST", "/e/dev/import", "en", "").await.0, StatusCode::FORBIDDEN);
    let (status, plan) = olga.api("GET", "/environments/dev/import", serde_json::Value::Null).await;
    assert_eq!(
        (status, &plan["origin"]["is"], &plan["topics"][0]["name"]),
        (StatusCode::OK, &"first".into(), &"orders".into()),
        "{plan}"
    );
    assert_eq!(olga.page("POST", "/e/dev/import", "en", "").await.0, StatusCode::SEE_OTHER);
    until("everything is known", async || look_as(&stage, &olga.user).await.is_done()).await;
    let (status, _) = olga.api("POST", "/environments/dev/import", serde_json::json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "there is nothing more");
    // In red on the environment's page.
    let (_, page) = olga.page("GET", "/e/dev", "en", "").await;
    assert!(page.contains("alert-danger") && page.contains("Legacy mode"), "{page}");
    let (_, page) = olga.page("GET", "/e/dev", "zh", "").await;
    assert!(page.contains("兼容模式"), "{page}");
    stage.meta.cut();
    let (status, page) = olga.page("GET", "/e/dev/import", "en", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("cannot be read"), "{page}");
}

#[tokio::test]
async fn a_store_is_chosen_by_a_form_that_shows_itself_again_and_no_password() {
    let stage = Stage::set().await;
    let olga = Browser { stage: &stage, user: user("olga", Role::Operator) };
    let pem = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    let form = |addresses: &str, user: &str| {
        format!("addresses={}&authority={}&user={user}&password=secret-word", encode(addresses), encode(&pem))
    };
    let (status, page) = olga.page("POST", "/e/dev/metadata", "en", &form("10.0.0.1:2281/chroot", "super")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("10.0.0.1:2281/chroot") && page.contains("without a path") && !page.contains("secret-word"), "{page}");
    let (status, page) = olga.page("POST", "/e/dev/metadata/try", "zh", &form("8.8.8.8:2281", "super")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("8.8.8.8:2281") && page.contains("网络范围"), "{page}");
    assert_eq!(olga.page("POST", "/e/dev/metadata", "en", &form("10.0.0.1:2281", "super")).await.0, StatusCode::SEE_OTHER);
    for language in ["en", "zh"] {
        let (status, page) = olga.page("GET", "/e/dev/metadata", language, "").await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert!(page.contains("10.0.0.1:2281") && page.contains("super") && !page.contains("secret-word"), "{page}");
    }
    let (_, page) = olga.page("GET", "/e/dev", "en", "").await;
    assert!(page.contains("10.0.0.1:2281") && !page.contains("alert-danger"), "{page}");
    let (status, kept) = olga.api("GET", "/environments/dev/metadata-store", serde_json::Value::Null).await;
    assert_eq!((status, &kept["user"], kept.get("password")), (StatusCode::OK, &"super".into(), None));
    let victor = Browser { stage: &stage, user: user("victor", Role::Viewer) };
    let plain = serde_json::json!({ "addresses": "10.0.0.1:2181" });
    assert_eq!(victor.api("PUT", "/environments/dev/metadata-store", plain.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(victor.api("POST", "/environments/dev/metadata-store/try", plain.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(olga.api("PUT", "/environments/dev/metadata-store", plain).await.0, StatusCode::OK);
    // Nobody can be kept out of one without TLS, whatever the mode.
    for path in ["/e/dev", "/e/dev/metadata"] {
        let (_, page) = olga.page("GET", path, "en", "").await;
        assert!(page.contains("alert-danger") && page.contains("has no TLS") && !page.contains(">secured<"), "{page}");
    }
    assert_eq!(olga.api("DELETE", "/environments/dev/metadata-store", serde_json::Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(olga.api("GET", "/environments/dev/metadata-store", serde_json::Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn rights_are_switched_by_a_button_and_by_programs() {
    let stage = Stage::set().await;
    stage.published().await;
    let olga = Browser { stage: &stage, user: user("olga", Role::Operator) };
    assert_eq!(olga.page("POST", "/e/dev/metadata/rights", "en", "mode=legacy").await.0, StatusCode::SEE_OTHER);
    until("rights are written", async || stage.meta.access("/zms/topic/zms_statistics") == Some(Access::Legacy)).await;
    let free =
        async || stage.app.engine.of_subject(Some(&stage.environment.id), rights::SUBJECT).await.unwrap()[0].status.is_final();
    until("the flow ends", free).await;
    let (status, told) = olga.api("GET", "/environments/dev/metadata-rights", serde_json::Value::Null).await;
    assert_eq!((status, &told["mode"]), (StatusCode::OK, &"legacy".into()));
    let (_, page) = olga.page("GET", "/e/dev/metadata", "en", "").await;
    assert!(page.contains("Legacy mode") && page.contains("Rights of topics"), "{page}");
    let (status, begun) = olga.api("PUT", "/environments/dev/metadata-rights", serde_json::json!({ "mode": "secured" })).await;
    assert!(status == StatusCode::ACCEPTED && begun["flow"].is_string(), "{begun}");
    until("rights are written", async || stage.meta.access("/zms/topic/zms_statistics") == Some(Access::Read)).await;
    assert_eq!(olga.page("POST", "/e/dev/metadata/rights", "en", "mode=open").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // What is wrong with this form is not said in the one below.
    let pem = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    let form = format!("addresses=10.0.0.1:2281&authority={}&user=&password=", encode(&pem));
    assert_eq!(olga.page("POST", "/e/dev/metadata", "en", &form).await.0, StatusCode::SEE_OTHER);
    stage.app.metadata.with(&stage.environment.id, stage.meta.clone()).await;
    stage.meta.put("/zms/topic/zms_statistics/10.0.0.9||DEFAULT_PRODUCER||1.0.0||2026-11-21T08:40:02.558647||32848", "");
    let (status, page) = olga.page("POST", "/e/dev/metadata/rights", "en", "mode=secured").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(page.matches("1 Java clients are connected").count(), 1, "{page}");
}

#[tokio::test]
async fn java_clients_stand_on_the_pages_of_their_topic_and_group_in_both_languages() {
    let stage = Stage::set().await;
    first(&stage.meta);
    stage.app.brokers.fake_at("10.0.0.1:9092", &stage.brokers);
    let olga = Browser { stage: &stage, user: user("olga", Role::Operator) };
    let flow = begin(&stage.app, actor(&olga.user), &stage.environment, "", now_ms()).await.unwrap();
    done(&stage, &flow).await;
    stage.meta.put("/zms/client", "");
    let get = async |path: &str, language: &str| {
        let pages = crate::topics::pages().merge(crate::groups::pages());
        let (status, page) = olga.send(pages, ("GET", path, "text/html"), language, String::new()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        page
    };
    for language in ["en", "zh"] {
        let page = get("/e/dev/topics/orders/clients", language).await;
        for words in ["10.0.0.9", "DEFAULT_PRODUCER", "DEFAULT_CONSUMER", "Java 1.0.0", "2026-11-21 08:40:02"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let page = get("/e/dev/groups/billing", language).await;
        assert!(page.contains("DEFAULT_CONSUMER") && page.contains("Java 1.0.0") && !page.contains("DEFAULT_PRODUCER"), "{page}");
        assert!(get("/e/dev/groups/billing/clients/part", language).await.contains("DEFAULT_CONSUMER"));
    }
}

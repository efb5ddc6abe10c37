//! Pages and API, as a person and a program get them.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use tower::ServiceExt as _;

use super::support::{Portal, report, spec};
use crate::access::Visitor;
use crate::app::now_ms;
use crate::hosts::{find, pages, revoke};

/// A page with its status, asked by the operator (or by a viewer).
async fn ask(portal: &Portal, method: &str, path: &str, form: &str) -> (StatusCode, String) {
    let app = portal.app.clone();
    let router = pages().merge(crate::hosts::api().split_for_parts().0).with_state(app);
    let (kind, body) =
        if form.starts_with('{') { ("application/json", form) } else { ("application/x-www-form-urlencoded", form) };
    let mut request =
        Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind).body(Body::from(body.to_owned())).unwrap();
    request.extensions_mut().insert(Visitor(Some(portal.user.clone())));
    request.extensions_mut().insert(axum::extract::ConnectInfo(std::net::SocketAddr::from(([192, 0, 2, 1], 1))));
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn the_list_shows_filters_and_downloads_hosts() {
    let portal = Portal::new().await;
    let (_, empty) = ask(&portal, "GET", "/e/dev/hosts", "").await;
    assert!(empty.contains("No hosts yet") && empty.contains("/e/dev/hosts/join"), "{empty}");
    for name in ["web-10", "web-2", "<b>db"] {
        portal.host(name).await;
    }
    let (status, page) = ask(&portal, "GET", "/e/dev/hosts", "").await;
    assert!(
        status == StatusCode::OK && page.find("web-2<").unwrap() < page.find("web-10<").unwrap() && !page.contains("<b>db"),
        "{page}"
    );
    let (_, part) = ask(&portal, "GET", "/e/dev/hosts/rows?q=web-1", "").await;
    assert!(
        part.contains("web-10<") && !part.contains("web-2<") && part.contains("data-live=\"/e/dev/hosts/rows?q=web-1"),
        "{part}"
    );
    let (_, csv) = ask(&portal, "GET", "/e/dev/hosts?format=csv", "").await;
    assert!(csv.contains("\"id\",\"name\"") && csv.lines().count() == 4, "{csv}");
    assert_eq!(ask(&portal, "GET", "/e/other/hosts", "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_page_of_a_host_shows_its_report_and_changes_it() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    let placed = spec("zookeeper-1", Vec::new(), "");
    portal.place(&host.id, &placed).await;
    let mut found = report(1);
    found.instances.push(zms_core::host::InstanceReport {
        id: placed.id.clone(),
        wanted: placed.phase,
        wanted_hash: placed.hash.clone(),
        running_hash: None,
        pid: None,
        supervised: true,
        health: zms_core::host::Health::Unknown,
        step: zms_core::host::Step::Fetch,
        message: "fetching <zookeeper>".into(),
        failures: 0,
    });
    let mut tx = portal.app.db.begin().await.unwrap();
    let word = crate::hosts::store::Word { run: "r", skew_ms: -90_000, report: Some(&found), facts: None };
    crate::hosts::store::hear(&mut tx, &host.id, &word, now_ms()).await.unwrap();
    tx.commit().await.unwrap();
    let at = format!("/e/dev/hosts/{}", host.id);
    let (status, page) = ask(&portal, "GET", &at, "").await;
    assert_eq!(status, StatusCode::OK);
    for part in ["zookeeper-1", "fetching &#60;zookeeper&#62;", "-90 s off", "chip-online", "chip-starting"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(ask(&portal, "GET", &format!("{at}/part"), "").await.0, StatusCode::OK);

    let (status, page) = ask(&portal, "POST", &format!("{at}/rename"), "name=Not+a+name").await;
    assert!(
        status == StatusCode::UNPROCESSABLE_ENTITY && page.contains("value=\"Not a name\"") && page.contains("lower-case"),
        "{page}"
    );
    assert_eq!(ask(&portal, "POST", &format!("{at}/rename"), "name=zk-a").await.0, StatusCode::SEE_OTHER);
    let (status, page) = ask(&portal, "POST", &format!("{at}/revoke"), "confirm=web").await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && page.contains("Type zk-a"), "{page}");
    assert!(!find(&portal.app.db, &host.id).await.unwrap().revoked);
    assert_eq!(ask(&portal, "POST", &format!("{at}/revoke"), "confirm=zk-a").await.0, StatusCode::SEE_OTHER);
    assert!(find(&portal.app.db, &host.id).await.unwrap().revoked);
    let (_, page) = ask(&portal, "GET", &at, "").await;
    assert!(page.contains("out of service") && !page.contains("/revoke"), "{page}");
}

#[tokio::test]
async fn the_page_of_a_host_says_how_many_figures_were_given_up_and_a_dash_while_nobody_knows() {
    let portal = Portal::new().await;
    let host = portal.host("web").await;
    let said = async || {
        let (_, page) = ask(&portal, "GET", &format!("/e/dev/hosts/{}/part", host.id), "").await;
        let (_, rest) = page.split_once("Figures given up since the agent started").expect("it is on the page");
        rest.split_once("datagrid-content\">").unwrap().1.split_once('<').unwrap().0.to_owned()
    };
    assert_eq!(said().await, "–");
    let heard = |dropped| zms_core::collect::HostFrames { host: host.id.parse().unwrap(), at_ms: 1, dropped };
    for dropped in [0, 7] {
        let snapshot = zms_core::collect::Snapshot { fence: 1, hosts: vec![heard(dropped)], ..Default::default() };
        portal.app.metrics.snapshots.tell(&portal.environment.id, snapshot, now_ms()).unwrap();
        assert_eq!(said().await, dropped.to_string());
    }
}

#[tokio::test]
async fn a_line_is_shown_once_and_its_hosts_appear_below_it() {
    let portal = Portal::new().await;
    let (status, page) = ask(&portal, "POST", "/e/dev/hosts/join", "uses=2&minutes=30").await;
    assert_eq!(status, StatusCode::OK);
    let token = super::support::token_of(&page.replace("&#39;", "'"));
    let key_id = token.split('.').nth(1).unwrap();
    assert!(page.contains(&format!("data-live=\"/e/dev/hosts/join/{key_id}\"")), "{page}");
    let (_, again) = ask(&portal, "GET", "/e/dev/hosts/join", "").await;
    assert!(again.contains(key_id) && !again.contains(&token), "{again}");
    let joined = portal.join(&super::support::Asking::new(&token, "web").request, now_ms()).await.unwrap();
    let (_, part) = ask(&portal, "GET", &format!("/e/dev/hosts/join/{key_id}"), "").await;
    assert!(part.contains(joined.host.as_str()) && part.contains("1 of 2"), "{part}");
    assert_eq!(ask(&portal, "POST", &format!("/e/dev/hosts/join/{key_id}"), "").await.0, StatusCode::SEE_OTHER);
    assert!(portal.join(&super::support::Asking::new(&token, "b").request, now_ms()).await.is_err());
    let (status, page) = ask(&portal, "POST", "/e/dev/hosts/join", "uses=many&minutes=30").await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && page.contains("value=\"many\"") && !page.contains("zmsj1."), "{page}");
}

#[tokio::test]
async fn the_api_says_the_same_as_the_pages() {
    let portal = Portal::new().await;
    let (status, made) = ask(&portal, "POST", "/environments/dev/join-tokens", "{\"uses\": 1, \"minutes\": 10}").await;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(status, StatusCode::CREATED);
    assert!(
        made["line"].as_str().unwrap().contains("zmsj1.") && made["line_unprivileged"].as_str().unwrap().contains("--user"),
        "{made}"
    );
    let host = portal.host("web").await;
    let (_, hosts) = ask(&portal, "GET", "/environments/dev/hosts", "").await;
    let hosts: serde_json::Value = serde_json::from_str(&hosts).unwrap();
    assert_eq!((&hosts["items"][0]["id"], &hosts["items"][0]["status"]), (&host.id.clone().into(), &"pending".into()));
    let at = format!("/environments/dev/hosts/{}", host.id);
    assert_eq!(ask(&portal, "PATCH", &at, "{\"name\": \"zk-a\"}").await.0, StatusCode::NO_CONTENT);
    let (_, one) = ask(&portal, "GET", &at, "").await;
    assert!(one.contains("\"name\":\"zk-a\"") && one.contains("\"hostname\":\"web\""), "{one}");
    assert_eq!(ask(&portal, "DELETE", &at, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&portal, "DELETE", &at, "").await.0, StatusCode::NO_CONTENT, "twice is once");
    assert!(revoke(&portal.app, portal.actor(), &portal.environment, "01JDG6Z3V0T7S4Q9X8K2M5N1P9", 1).await.is_err());
    let (_, open) = ask(&portal, "GET", "/environments/dev/join-tokens", "").await;
    assert!(open.contains("\"key_id\"") && !open.contains("zmsj1."), "{open}");
}

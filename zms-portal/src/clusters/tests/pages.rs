//! Every page of adopted clusters, in both languages.

use zms_core::names::PhysicalName;
use zms_drivers::broker::{ClusterAdmin as _, OffsetWish};

use super::super::test_support::Stage;
use super::adopting::{PASSWORD, adopted};
use super::browser::Browser;
use crate::access::Role;

fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

/// A cluster with what real ones have: dots, the longest name, a group that committed nothing everywhere, the brokers' own topics.
async fn stage() -> (Stage, Browser, String) {
    let stage = Stage::set().await;
    let longest = format!("{}.z", "long-".repeat(50).split_at(247).0);
    for topic in ["orders", "orders.v1", longest.as_str(), "__consumer_offsets"] {
        stage.brokers.make_topic(&name(topic), 2);
    }
    let at = |offset| OffsetWish::At([(0.into(), offset)].into());
    stage.brokers.ensure_offsets(&name("billing"), &name("orders"), &OffsetWish::Earliest).await.unwrap();
    stage.brokers.ensure_offsets(&name("half.done"), &name("orders.v1"), &at(0)).await.unwrap();
    stage.brokers.ensure_offsets(&name("asleep"), &name("orders"), &OffsetWish::At([].into())).await.unwrap();
    adopted(&stage, "old-kafka", "10.0.0.9:9092").await;
    let browser = Browser::of(&stage.app);
    (stage, browser, longest)
}

#[tokio::test]
async fn every_page_of_an_adopted_cluster_speaks_both_languages() {
    let (_stage, browser, longest) = stage().await;
    let topic = format!("/e/dev/clusters/old-kafka/topics/{longest}");
    for (path, english, chinese, both) in [
        ("/e/dev/clusters", "I already have Kafka or RocketMQ", "我已有 Kafka 或 RocketMQ", "old-kafka"),
        ("/e/dev/clusters/adopt", "Adopt a cluster", "接管集群", "10.0.0.0/8"),
        ("/e/dev/clusters/old-kafka", "Let applications find it", "允许应用发现", "10.0.0.9:9092"),
        ("/e/dev/clusters/old-kafka/brokers", "Rack", "机架", "old-kafka"),
        ("/e/dev/clusters/old-kafka/topics", "Under-replicated", "副本不足", longest.as_str()),
        ("/e/dev/clusters/old-kafka/groups", "nothing committed", "未提交位点", "half.done"),
        ("/e/dev/clusters/old-kafka/topics/orders.v1", "Messages kept", "保留消息数", "half.done"),
        (topic.as_str(), "the name is not allowed", "名称不合规", longest.as_str()),
        ("/e/dev/clusters/old-kafka/groups/half.done", "Nobody consumes in this group now", "当前没有成员", "orders.v1"),
        ("/e/dev/clusters/old-kafka/change", "How old-kafka is reached", "old-kafka 的连接方式", "10.0.0.9:9092"),
        ("/e/dev/clusters/old-kafka/take-over", "Take over topics and groups", "纳管主题和消费组", "orders.v1"),
        ("/e/dev/networks", "Networks of brokers", "代理网络", "192.168.0.0/16"),
        ("/e/dev", "Networks of brokers", "代理网络", "192.168.0.0/16"),
    ] {
        browser.get(path, "en").await.is(200).shows(&[both, english]);
        browser.get(path, "zh").await.is(200).shows(&[both, chinese]);
    }
}

#[tokio::test]
async fn the_first_page_offers_to_adopt_and_shows_what_was() {
    let fresh = Stage::set().await;
    let browser = Browser::of(&fresh.app);
    browser.get("/", "en").await.is(200).shows(&["I already have Kafka or RocketMQ", "/e/dev/clusters/adopt"]);
    // Where there is no environment yet, one is made first.
    let fields = [("name", "shop"), ("colour", "green"), ("then", "adopt")];
    let answer = browser.form("/environments/new", &fields).await.is(303);
    assert_eq!(answer.location(), "/e/shop/clusters/adopt");
    browser.form("/environments/new", &[("name", "a b"), ("colour", "green"), ("then", "adopt")]).await.is(422).shows(&["adopt"]);

    let (_stage, browser, _) = stage().await;
    for path in ["/", "/overview/part", "/e/dev", "/e/dev/part"] {
        let page = browser.get(path, "en").await.is(200).hides("Add a host").hides("has no host yet");
        page.shows(&["/e/dev/clusters/old-kafka"]);
    }
}

#[tokio::test]
async fn what_the_collector_gave_up_is_on_the_page_of_its_environment_and_what_it_does_not_count_is_a_dash() {
    let stage = Stage::set().await;
    let browser = Browser::of(&stage.app);
    browser.get("/e/dev", "en").await.is(200).hides("points given up");
    let sink = zms_core::collect::Sink { dropped: 41, unreadable: 42, over: Some(43), lost: None, ..Default::default() };
    let snapshot = zms_core::collect::Snapshot { fence: 1, sink, ..Default::default() };
    stage.app.metrics.snapshots.tell(&stage.environment.id, snapshot, crate::app::now_ms()).unwrap();
    for path in ["/e/dev", "/e/dev/part"] {
        let page = browser.get(path, "en").await.is(200);
        page.shows(&["41 points given up", "42 not readable", "43 topics, groups and clients left out", "– not sent"]);
        browser.get(path, "zh").await.is(200).shows(&["放弃 41 个数据点", "42 条无法解析", "– 条未能发送"]);
    }
}

#[tokio::test]
async fn lag_that_is_not_known_is_said_to_be_unknown_in_page_and_csv() {
    let (stage, browser, _) = stage().await;
    let page = browser.get("/e/dev/clusters/old-kafka/groups", "en").await.is(200);
    page.shows(&[
        "as the portal read it",
        "1 partitions without a commit",
        "unknown",
        "/e/dev/clusters/old-kafka/groups/half.done",
    ]);
    let csv = browser.get("/e/dev/clusters/old-kafka/groups?format=csv&q=asleep", "en").await.is(200);
    csv.shows(&["\"asleep\",\"empty\",\"0\",\"\",\"\",\"\",\"no\""]);
    let csv = browser.get("/e/dev/clusters/old-kafka/topics?format=csv&sort=name", "en").await.is(200);
    csv.shows(&["\"orders.v1\",\"2\",\"1\"", "the name is not allowed", "one of the brokers' own"]);
    // All who look within ten seconds share one read, also when the cluster is away meanwhile.
    stage.brokers.cut();
    browser.get("/e/dev/clusters/old-kafka/groups", "en").await.is(200).shows(&["half.done"]);
    browser.get("/e/dev/clusters/old-kafka/brokers", "en").await.is(200).shows(&["The cluster says nothing now"]);
}

#[tokio::test]
async fn a_form_that_fails_comes_back_without_the_password() {
    let (stage, browser, _) = stage().await;
    let mut fields = vec![
        ("name", "new-kafka"),
        ("kind", "kafka"),
        ("addresses", "10.0.0.8:9093"),
        ("tls", "off"),
        ("mechanism", "plain"),
        ("user", "zms"),
        ("password", PASSWORD),
    ];
    let answer = browser.form("/e/dev/clusters/adopt", &fields).await.is(422).hides(PASSWORD);
    answer.shows(&["turn TLS on, or use SCRAM", "value=\"new-kafka\""]);
    stage.app.brokers.fake_at("10.0.0.8:9093", &stage.brokers);
    fields[4] = ("mechanism", "scram-sha-512");
    fields.push(("act", "try"));
    let answer = browser.form("/e/dev/clusters/adopt", &fields).await.is(200).hides(PASSWORD);
    answer.shows(&["It answers", "type it again"]);
    fields.pop();
    let answer = browser.form("/e/dev/clusters/adopt", &fields).await.is(303).hides(PASSWORD);
    assert_eq!(answer.location(), "/e/dev/clusters/new-kafka/groups");
    browser.get("/e/dev/clusters/new-kafka/change", "en").await.is(200).hides(PASSWORD).shows(&["keep the present one"]);
    let mut change = vec![("addresses", "10.0.0.7:9093"), ("tls", "off"), ("mechanism", "scram-sha-512"), ("user", "zms")];
    browser.form("/e/dev/clusters/new-kafka/change", &change).await.is(422).shows(&["Type the password again", "10.0.0.7:9093"]);
    change.push(("password", PASSWORD));
    browser.form("/e/dev/clusters/new-kafka/change", &change).await.is(303);
    browser.get("/e/dev/clusters/new-kafka", "en").await.is(200).shows(&["10.0.0.7:9093", "SCRAM-SHA-512 · zms"]);
    browser.form("/e/dev/networks", &[("networks", "10.0.0.0/8\nbroker")]).await.is(422).shows(&["like 10.0.0.0/8"]);
    browser.form("/e/dev/networks", &[("networks", "10.0.0.0/8")]).await.is(303);
}

#[tokio::test]
async fn programs_can_do_all_of_it_and_viewers_may_only_look() {
    let (stage, browser, _) = stage().await;
    let base = "/environments/dev/clusters";
    let body = serde_json::json!({ "name": "other", "kind": "kafka", "addresses": "10.0.0.8:9092", "mechanism": "scram-sha-256",
        "user": "zms", "password": PASSWORD });
    stage.app.brokers.fake_at("10.0.0.8:9092", &stage.brokers);
    browser.json("POST", &format!("{base}/try"), body.clone()).await.is(200).shows(&["\"result\":\"answers\""]);
    let viewer = Browser::with(&stage.app, Role::Viewer);
    viewer.json("POST", base, body.clone()).await.is(403);
    browser.json("POST", base, body).await.is(201).hides(PASSWORD).shows(&["\"adopted\":true"]);
    viewer.json("GET", &format!("{base}/other"), serde_json::Value::Null).await.is(200).shows(&["scram-sha-256"]);
    let groups = viewer.json("GET", &format!("{base}/other/groups"), serde_json::Value::Null).await.is(200);
    groups.shows(&["\"name\":\"half.done\"", "\"lag\":null", "\"governed\":{\"is\":\"not_allowed\"}"]);
    viewer
        .json("GET", &format!("{base}/other/topics"), serde_json::Value::Null)
        .await
        .is(200)
        .shows(&["\"governed\":{\"is\":\"free\"}"]);
    let mut change = serde_json::json!({ "addresses": "10.0.0.7:9092" });
    browser.json("PATCH", &format!("{base}/other"), change.clone()).await.is(422);
    change["password"] = PASSWORD.into();
    browser.json("PATCH", &format!("{base}/other"), change).await.is(200).shows(&["10.0.0.7:9092"]);
    browser.json("DELETE", &format!("{base}/other"), serde_json::Value::Null).await.is(202).shows(&["\"flow\""]);
    let networks = serde_json::json!({ "networks": ["10.0.0.0/8"] });
    browser.json("PUT", "/environments/dev/networks", networks).await.is(200).shows(&["10.0.0.0/8"]);
    viewer.json("GET", "/environments/dev/networks", serde_json::Value::Null).await.is(200).shows(&["10.0.0.0/8"]);
}

//! Topics and groups that were there before become governed.

use zms_core::names::PhysicalName;
use zms_drivers::broker::{ClusterAdmin as _, OffsetWish, TopicWish};

use super::super::takeover::{self, Choice, State};
use super::super::test_support::{Stage, actor, until, user};
use super::super::{Governed, by_id, publish};
use super::adopting::adopted;
use super::browser::Browser;
use crate::access::Role;
use crate::app::now_ms;
use crate::engine::Status;
use crate::error::Error;
use crate::{groups, topics};

fn name(text: &str) -> PhysicalName {
    PhysicalName::new(text).unwrap()
}

/// A published cluster on which somebody has worked for years.
async fn stage() -> Stage {
    let stage = Stage::set().await;
    let config = [("retention.ms".to_owned(), "3600000".to_owned())].into();
    let orders = TopicWish { name: name("orders"), partitions: 4, replicas: 2, config };
    stage.brokers.ensure_topic(&orders).await.unwrap();
    for topic in ["payments", "orders.v1", "__consumer_offsets", "rmq_sys_wheel_timer", "checkstatus_topic"] {
        stage.brokers.make_topic(&name(topic), 1);
    }
    for (group, on) in
        [("billing", vec!["orders"]), ("audit", vec!["orders", "payments"]), ("mixed", vec!["orders", "orders.v1"])]
    {
        for topic in on {
            stage.brokers.ensure_offsets(&name(group), &name(topic), &OffsetWish::Earliest).await.unwrap();
        }
    }
    adopted(&stage, "old-kafka", "10.0.0.9:9092").await;
    crate::users::test_support::add(&stage.app.db, "dora", &[Role::Developer]).await;
    stage
}

fn everything() -> Choice {
    Choice { pattern: "*".into(), owner: "dora".into(), ..Choice::default() }
}

async fn publish_it(stage: &Stage) {
    let olga = user("olga", Role::Operator);
    let flow = publish(&stage.app, actor(&olga), &stage.environment, "old-kafka", now_ms()).await.unwrap();
    until("it is published", async || stage.app.engine.view(&flow).await.unwrap().status.is_final()).await;
}

async fn take(stage: &Stage, choice: &Choice) -> crate::error::Result<(Status, State)> {
    let olga = user("olga", Role::Operator);
    let flow = takeover::take_over(&stage.app, actor(&olga), &stage.environment, "old-kafka", choice, now_ms()).await?;
    until("it is done", async || stage.app.engine.view(&flow).await.unwrap().status.is_final()).await;
    let view = stage.app.engine.view(&flow).await.unwrap();
    Ok((view.status, serde_json::from_value(view.state).unwrap()))
}

#[tokio::test]
async fn what_is_there_becomes_governed_as_it_is_and_what_cannot_says_why() {
    let stage = stage().await;
    let refused = take(&stage, &everything()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "applications do not find the cluster yet: {refused:?}");
    publish_it(&stage).await;
    let cluster = super::super::find(&stage.app.db, &stage.environment.id, "old-kafka").await.unwrap();
    let preview = takeover::preview(&stage.app, &cluster, &everything(), now_ms()).await.unwrap();
    let of = |name: &str| preview.topics.iter().chain(&preview.groups).find(|item| item.name == name).unwrap().governed.clone();
    for (name, governed) in [
        ("orders", Governed::Free),
        ("orders.v1", Governed::NotAllowed),
        ("__consumer_offsets", Governed::Internal),
        ("rmq_sys_wheel_timer", Governed::Internal),
        ("checkstatus_topic", Governed::Reserved),
        ("billing", Governed::Free),
        ("audit", Governed::Free),
        ("mixed", Governed::Ungoverned { topics: vec!["orders.v1".into()] }),
    ] {
        assert_eq!(of(name), governed, "{name}");
    }
    let nobody = Choice { owner: "nobody".into(), ..everything() };
    assert!(matches!(take(&stage, &nobody).await, Err(Error::Invalid(_))), "there is no such user");
    let (status, state) = take(&stage, &everything()).await.unwrap();
    assert_eq!((status, state), (Status::Done, State::Done { taken: 4, failed: [].into() }));

    let topic = topics::find(&stage.app.db, &stage.environment.id, "orders").await.unwrap();
    assert_eq!((topic.partitions, topic.replicas, topic.owner.as_str(), topic.state), (4, 2, "dora", topics::State::Active));
    assert_eq!(topic.config.get("retention.ms").map(String::as_str), Some("3600000"));
    assert!(stage.node("/zms/topic/orders").contains("clusterName=old-kafka"));
    assert_eq!(stage.node("/zms/topic/orders.v1"), "");
    assert!(stage.node("/zms/consumergroup/billing").contains("bindingTopic=orders"));
    let audit = groups::find(&stage.app.db, &stage.environment.id, "audit").await.unwrap();
    assert_eq!((audit.topics.len(), stage.node("/zms/consumergroup/audit").as_str()), (2, ""), "two topics, so no node");
    // A second time there is nothing to do.
    assert!(matches!(take(&stage, &everything()).await, Err(Error::Conflict(_))));
    let browser = Browser::of(&stage.app);
    browser
        .get("/e/dev/clusters/old-kafka/topics", "en")
        .await
        .is(200)
        .shows(&["/e/dev/topics/orders/overview", "the name is not allowed"]);
    let refused =
        super::super::let_go(&stage.app, actor(&user("olga", Role::Operator)), &stage.environment, "old-kafka", now_ms()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "governed topics live there: {refused:?}");
}

#[tokio::test]
async fn a_form_with_a_wrong_owner_comes_back_with_the_same_ticks() {
    let stage = stage().await;
    publish_it(&stage).await;
    let browser = Browser::of(&stage.app);
    let fields = [("pattern", "*"), ("topic", "orders"), ("group", "billing"), ("owner", "nobody")];
    let page = browser.form("/e/dev/clusters/old-kafka/take-over", &fields).await.is(422);
    let ticked = |field: &str, name: &str| {
        let row = page.body.split(&format!("name=\"{field}\" value=\"{name}\"")).nth(1).unwrap();
        row.split('>').next().unwrap().contains("checked")
    };
    for (field, name, expected) in
        [("topic", "orders", true), ("topic", "payments", false), ("group", "billing", true), ("group", "audit", false)]
    {
        assert_eq!(ticked(field, name), expected, "{field} {name}");
    }
    page.shows(&["value=\"nobody\"", "There is no user nobody"]);
}

#[tokio::test]
async fn a_name_that_another_cluster_has_stays_there_and_is_shown_with_the_reason() {
    let stage = stage().await;
    publish_it(&stage).await;
    take(&stage, &everything()).await.unwrap();
    let second = zms_drivers::broker::fake::FakeCluster::new("second", 1);
    second.make_topic(&name("orders"), 1);
    second.ensure_offsets(&name("billing"), &name("orders"), &OffsetWish::Earliest).await.unwrap();
    stage.app.brokers.fake_at("10.0.0.5:9092", &second);
    let olga = user("olga", Role::Operator);
    let wish = super::adopting::wish("second", "10.0.0.5:9092");
    let cluster = super::super::adopt(&stage.app, actor(&olga), &stage.environment, &wish, now_ms()).await.unwrap();
    let preview = takeover::preview(&stage.app, &cluster, &everything(), now_ms()).await.unwrap();
    let taken = || Governed::Taken { cluster: "old-kafka".into() };
    assert_eq!((preview.topics[0].governed.clone(), preview.groups[0].governed.clone()), (taken(), taken()));
    let browser = Browser::of(&stage.app);
    let page = browser.get("/e/dev/clusters/second/topics", "en").await.is(200);
    page.shows(&["the name belongs to one on cluster old-kafka", "/e/dev/clusters/second/topics/orders"]);
}

#[tokio::test]
async fn hundreds_are_taken_over_at_once_and_one_that_fails_hinders_no_other() {
    let stage = stage().await;
    publish_it(&stage).await;
    for number in 0..300 {
        stage.brokers.make_topic(&name(&format!("bulk-{number}")), 1);
    }
    let pattern = Choice { pattern: "bulk-*".into(), ..everything() };
    let olga = user("olga", Role::Operator);
    let flow = takeover::take_over(&stage.app, actor(&olga), &stage.environment, "old-kafka", &pattern, now_ms()).await.unwrap();
    // Gone after it was chosen.
    let gone = stage.brokers.ensure_topic_gone(&name("bulk-299")).await.unwrap();
    assert_eq!(gone, zms_drivers::broker::Ensured::Made);
    until("it is done", async || stage.app.engine.view(&flow).await.unwrap().status.is_final()).await;
    let state: State = serde_json::from_value(stage.app.engine.view(&flow).await.unwrap().state).unwrap();
    let State::Done { taken, failed } = state else { panic!("{state:?}") };
    assert!(taken + failed.len() == 300 && taken >= 299, "{taken} {failed:?}");
    assert!(failed.iter().all(|(what, why)| what == "topic bulk-299" && why.contains("not there")), "{failed:?}");
}

#[tokio::test]
async fn a_take_over_waits_for_what_is_away_and_goes_on() {
    let stage = stage().await;
    publish_it(&stage).await;
    let olga = user("olga", Role::Operator);
    let ticked = Choice { topics: vec!["payments".into()], owner: "dora".into(), ..Choice::default() };
    let cluster = super::super::find(&stage.app.db, &stage.environment.id, "old-kafka").await.unwrap();
    let before = takeover::preview(&stage.app, &cluster, &ticked, now_ms()).await.unwrap();
    assert_eq!(before.count(), (1, 0));
    stage.meta.cut();
    let flow = takeover::take_over(&stage.app, actor(&olga), &stage.environment, "old-kafka", &ticked, now_ms()).await.unwrap();
    let noted = async || stage.app.engine.view(&flow).await.unwrap().steps.iter().any(|step| !step.note.is_empty());
    until("the step says why", noted).await;
    stage.meta.heal();
    until("it is done", async || stage.app.engine.view(&flow).await.unwrap().status == Status::Done).await;
    assert!(stage.node("/zms/topic/payments").contains("clusterName=old-kafka"));
    assert!(by_id(&stage.app.db, &cluster.id).await.is_ok());
    // By the page: what is ticked counts.
    let browser = Browser::of(&stage.app);
    let only_ours = browser.get("/e/dev/clusters/old-kafka/take-over?pattern=zms_*", "en").await.is(200);
    only_ours.shows(&["zms_statistics", "None of these can be taken over"]).hides("name=\"owner\"");
    let fields = [("pattern", "*"), ("owner", "dora"), ("topic", "orders"), ("group", "billing")];
    let answer = browser.form("/e/dev/clusters/old-kafka/take-over", &fields).await.is(303);
    let flow = answer.location().rsplit('/').next().unwrap().to_owned();
    until("it is done", async || stage.app.engine.view(&flow).await.unwrap().status == Status::Done).await;
    assert!(stage.node("/zms/consumergroup/billing").contains("bindingTopic=orders"));
    browser.get("/e/dev/clusters/old-kafka", "en").await.is(200).shows(&["2 taken over, 0 not"]);
}

#[tokio::test]
async fn a_group_that_broadcasts_is_taken_over_as_one_and_where_nobody_says_it_the_page_does() {
    let stage = stage().await;
    publish_it(&stage).await;
    let there = zms_drivers::broker::fake::FakeCluster::new("rocket", 1);
    there.make_topic(&name("prices"), 1);
    for (group, said) in [("everybody", "broadcasting"), ("shared", "clustering"), ("asleep", "")] {
        there.ensure_offsets(&name(group), &name("prices"), &OffsetWish::Earliest).await.unwrap();
        there.set_protocol(&name(group), said);
    }
    stage.app.brokers.fake_at("10.0.0.6:9876", &there);
    let olga = user("olga", Role::Operator);
    let wish = super::super::NewCluster { kind: "rocketmq".into(), ..super::adopting::wish("rocket", "10.0.0.6:9876") };
    super::super::adopt(&stage.app, actor(&olga), &stage.environment, &wish, now_ms()).await.unwrap();
    let flow = publish(&stage.app, actor(&olga), &stage.environment, "rocket", now_ms()).await.unwrap();
    until("it is published", async || stage.app.engine.view(&flow).await.unwrap().status.is_final()).await;
    let cluster = super::super::find(&stage.app.db, &stage.environment.id, "rocket").await.unwrap();
    let preview = takeover::preview(&stage.app, &cluster, &everything(), now_ms()).await.unwrap();
    let said: Vec<_> = preview.groups.iter().map(|item| (item.name.as_str(), item.broadcast)).collect();
    assert_eq!(said, [("asleep", None), ("everybody", Some(true)), ("shared", Some(false))]);
    let page = Browser::of(&stage.app).get("/e/dev/clusters/rocket/take-over", "en").await.is(200);
    page.shows(&["every member gets every message", "Nobody is connected"]);
    let flow =
        takeover::take_over(&stage.app, actor(&olga), &stage.environment, "rocket", &everything(), now_ms()).await.unwrap();
    until("it is done", async || stage.app.engine.view(&flow).await.unwrap().status.is_final()).await;
    for (group, broadcast) in [("everybody", true), ("shared", false), ("asleep", false)] {
        let node = stage.node(&format!("/zms/consumergroup/{group}"));
        assert!(node.contains(&format!("broadcast={broadcast}")), "{group}: {node}");
        assert_eq!(groups::find(&stage.app.db, &stage.environment.id, group).await.unwrap().broadcast, broadcast, "{group}");
    }
}

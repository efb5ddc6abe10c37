mod found;

use zms_core::names::PhysicalName;
use zms_drivers::broker::ClusterAdmin as _;

use super::*;
use crate::app::now_ms;
use crate::clusters::test_support::{Stage, actor, until, user};
use crate::engine::Status;

fn orders() -> Wish {
    Wish::Topic(TopicWish {
        name: "orders".into(),
        about: "Orders as they are placed".into(),
        rate: 500,
        size: 1024,
        retention_hours: 72,
        group: "billing".into(),
        ..TopicWish::default()
    })
}

fn choice(partitions: i32, replicas: i16) -> Choice {
    Choice { cluster: "kafka".into(), partitions, replicas }
}

async fn ask(stage: &Stage, wish: Wish) -> Result<i64> {
    apply(&stage.app, actor(&user("dora", Role::Developer)), &stage.environment, wish, now_ms()).await
}

async fn approved(stage: &Stage, number: i64, choice: Choice) -> Result<String> {
    approve(&stage.app, actor(&user("anna", Role::Approver)), number, choice, now_ms()).await
}

async fn status(stage: &Stage, flow: &str) -> Status {
    stage.app.engine.view(flow).await.unwrap().status
}

#[tokio::test]
async fn what_a_developer_asks_for_and_an_approver_allows_is_on_the_broker_and_in_the_metadata() {
    let stage = Stage::set().await;
    stage.published().await;
    let number = ask(&stage, orders()).await.unwrap();
    let Wish::Topic(wish) = orders() else { unreachable!() };
    let proposal = propose(&stage.app, &stage.environment.id, &wish).await.unwrap();
    assert_eq!(proposal.choice, choice(3, 3));
    assert_eq!(count_open(&stage.app.db).await.unwrap(), 1);
    let flow = approved(&stage, number, proposal.choice).await.unwrap();
    until("it is done", async || status(&stage, &flow).await == Status::Done).await;
    let topic = stage.brokers.topic(&PhysicalName::new("orders").unwrap()).await.unwrap().unwrap();
    assert_eq!((topic.partitions.len(), topic.replicas()), (3, 3));
    let config = stage.brokers.topic_config(&topic.name).await.unwrap();
    assert_eq!(config["retention.ms"].value.as_deref(), Some("259200000"));
    assert!(stage.node("/zms/topic/orders").contains("clusterName=kafka") && stage.node("/zms/topic/orders").contains("epoch=1"));
    let group = stage.node("/zms/consumergroup/billing");
    assert!(
        group.contains("bindingTopic=orders") && group.contains("consumeFrom=earliest") && group.contains("suspend=false"),
        "{group}"
    );
    let topic = topics::find(&stage.app.db, &stage.environment.id, "orders").await.unwrap();
    assert_eq!((topic.state, topic.order.epoch, topic.owner.as_str()), (topics::State::Active, 1, "dora"));
    assert_eq!(groups::find(&stage.app.db, &stage.environment.id, "billing").await.unwrap().topics, [topic.id]);
    assert_eq!(count_open(&stage.app.db).await.unwrap(), 0);
}

#[tokio::test]
async fn on_rocketmq_replicas_and_retention_are_the_brokers_own() {
    let stage = Stage::set().await;
    let cluster = stage.is_healthy("rocketmq", &[("nameserver", 9876), ("master", 10911)]).await;
    let number = ask(&stage, orders()).await.unwrap();
    let choice = Choice { cluster: cluster.name.to_string(), partitions: 6, replicas: 0 };
    let flow = approved(&stage, number, choice).await.unwrap();
    until("it is done", async || status(&stage, &flow).await == Status::Done).await;
    let name = PhysicalName::new("orders").unwrap();
    assert!(!stage.brokers.topic_config(&name).await.unwrap()["retention.ms"].own, "the broker's default");
    let there = stage.brokers.topic(&name).await.unwrap().unwrap();
    let topic = topics::find(&stage.app.db, &stage.environment.id, "orders").await.unwrap();
    assert_eq!((topic.partitions, usize::try_from(topic.replicas).unwrap()), (6, there.replicas()), "read back");
    assert_eq!(topic.config["retention.ms"], "259200000", "what was asked for is not forgotten");
    assert!(matches!(find(&stage.app.db, number).await.unwrap().decision, Some(Decision::Topic { replicas: 0, .. })));
    assert!(stage.node("/zms/consumergroup/billing").contains("clusterName=rocketmq"));
}

#[tokio::test]
async fn a_cluster_that_is_away_is_waited_for_and_the_step_says_why() {
    let stage = Stage::set().await;
    stage.published().await;
    let number = ask(&stage, orders()).await.unwrap();
    stage.brokers.cut();
    let flow = approved(&stage, number, choice(3, 1)).await.unwrap();
    let noted = async || stage.app.engine.view(&flow).await.unwrap().steps.iter().any(|step| !step.note.is_empty());
    until("the step says why", noted).await;
    assert_eq!(status(&stage, &flow).await, Status::Running);
    assert_eq!(stage.node("/zms/topic/orders"), "");
    stage.brokers.heal();
    until("it is done", async || status(&stage, &flow).await == Status::Done).await;
    assert!(stage.node("/zms/topic/orders").contains("clusterName=kafka"));
}

#[tokio::test]
async fn of_two_approvals_at_once_one_counts_and_the_other_is_told_who_was_first() {
    let stage = Stage::set().await;
    stage.published().await;
    let number = ask(&stage, orders()).await.unwrap();
    let (one, two) = tokio::join!(approved(&stage, number, choice(3, 1)), approved(&stage, number, choice(6, 1)));
    let refused = match (one, two) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused, Error::Conflict(_)), "{refused:?}");
    let late = approved(&stage, number, choice(3, 1)).await.unwrap_err();
    assert!(matches!(&late, Error::Conflict(text) if format!("{text:?}").contains("anna")), "{late:?}");
}

#[tokio::test]
async fn who_may_not_is_refused_and_what_is_wrong_is_named() {
    let stage = Stage::set().await;
    stage.published().await;
    let viewer = apply(&stage.app, actor(&user("vera", Role::Viewer)), &stage.environment, orders(), now_ms()).await;
    assert!(matches!(viewer, Err(Error::Forbidden)));
    let number = ask(&stage, orders()).await.unwrap();
    let own = approve(&stage.app, actor(&user("dora", Role::Developer)), number, choice(3, 1), now_ms()).await;
    assert!(matches!(own, Err(Error::Forbidden)));
    let fields = |result: Result<String>| match result {
        Err(Error::Invalid(problems)) => problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(fields(approved(&stage, number, choice(0, 9)).await), ["partitions", "replicas"]);
    assert_eq!(fields(approved(&stage, number, Choice { cluster: "other".into(), ..choice(3, 1) }).await), ["cluster"]);
    let stranger = withdraw(&stage.app, actor(&user("emil", Role::Developer)), number, now_ms()).await;
    assert!(matches!(stranger, Err(Error::Forbidden)));
    withdraw(&stage.app, actor(&user("dora", Role::Developer)), number, now_ms()).await.unwrap();
    let late = reject(&stage.app, actor(&user("anna", Role::Approver)), number, "no", now_ms()).await;
    assert!(matches!(late, Err(Error::Conflict(_))));
    let unknown = Wish::Group(GroupWish { name: "g".into(), topic: "nothing".into(), about: "x".into(), ..GroupWish::default() });
    assert!(matches!(ask(&stage, unknown).await, Err(Error::Invalid(problems)) if problems[0].field == "topic"));
}

#[tokio::test]
async fn a_group_is_made_on_a_topic_that_is_there_and_a_rejection_has_its_reason() {
    let stage = Stage::set().await;
    stage.published().await;
    let first = ask(&stage, orders()).await.unwrap();
    let flow = approved(&stage, first, choice(3, 1)).await.unwrap();
    until("it is done", async || status(&stage, &flow).await == Status::Done).await;
    let wish = Wish::Group(GroupWish { name: "audit".into(), topic: "orders".into(), about: "x".into(), ..GroupWish::default() });
    let second = ask(&stage, wish).await.unwrap();
    let flow = approved(&stage, second, Choice::default()).await.unwrap();
    until("it is done", async || status(&stage, &flow).await == Status::Done).await;
    assert!(stage.node("/zms/consumergroup/audit").contains("bindingTopic=orders"));
    let third = ask(
        &stage,
        Wish::Topic(TopicWish {
            name: "more".into(),
            about: "x".into(),
            rate: 1,
            size: 1,
            retention_hours: 1,
            ..TopicWish::default()
        }),
    );
    let third = third.await.unwrap();
    reject(&stage.app, actor(&user("anna", Role::Approver)), third, "use orders", now_ms()).await.unwrap();
    let request = find(&stage.app.db, third).await.unwrap();
    assert_eq!(request.decision, Some(Decision::Rejected { why: "use orders".into() }));
    assert_eq!(request.state, State::Rejected);
}

//! Names that somebody has on the cluster already, and requests that are given up.

use std::collections::BTreeMap;

use zms_drivers::broker::{OffsetWish, TopicWish as BrokerWish};

use super::super::flow::{Command, Effect, Named, State as Flow};
use super::super::perform::Performer;
use super::*;
use crate::clusters::test_support::Held;
use crate::engine::{EffectContext, Outcome, Perform};

fn physical(name: &str) -> PhysicalName {
    PhysicalName::new(name).unwrap()
}

async fn state(stage: &Stage, flow: &str) -> Flow {
    serde_json::from_value(stage.app.engine.view(flow).await.unwrap().state).unwrap()
}

fn approver() -> crate::access::User {
    user("anna", Role::Approver)
}

/// An hour, while the request says 72.
fn retention(ms: &str) -> BTreeMap<String, String> {
    [("retention.ms".to_owned(), ms.to_owned())].into()
}

async fn retention_there(stage: &Stage) -> Option<String> {
    stage.brokers.topic_config(&physical("orders")).await.unwrap()["retention.ms"].value.clone()
}

#[tokio::test]
async fn a_topic_that_was_there_before_is_somebodys_and_waits_for_a_person() {
    let stage = Stage::set().await;
    stage.published().await;
    // Laid out as it will be approved: its layout says nothing of whose it is.
    let there = BrokerWish { name: physical("orders"), partitions: 3, replicas: 1, config: retention("3600000") };
    stage.brokers.ensure_topic(&there).await.unwrap();
    let number = ask(&stage, orders()).await.unwrap();
    let flow = approved(&stage, number, choice(3, 1)).await.unwrap();
    until("it waits for a person", async || status(&stage, &flow).await == Status::Waiting).await;
    let found = |state: &Flow| matches!(state, Flow::Found { topics, groups, .. } if topics == &["orders"] && groups.is_empty());
    assert!(found(&state(&stage, &flow).await));
    assert_eq!((stage.node("/zms/topic/orders").as_str(), retention_there(&stage).await.as_deref()), ("", Some("3600000")));
    retry(&stage.app, actor(&approver()), number, now_ms()).await.unwrap();
    until("it waits again", async || found(&state(&stage, &flow).await)).await;
    // Nobody needs it: gone there, it is made as it was approved.
    stage.brokers.ensure_topic_gone(&physical("orders")).await.unwrap();
    retry(&stage.app, actor(&approver()), number, now_ms()).await.unwrap();
    until("it is done", async || status(&stage, &flow).await == Status::Done).await;
    assert_eq!(retention_there(&stage).await.as_deref(), Some("259200000"));
}

#[tokio::test]
async fn a_group_that_somebody_consumes_with_is_somebodys_too() {
    let stage = Stage::set().await;
    stage.published().await;
    stage.brokers.make_topic(&physical("elsewhere"), 1);
    stage.brokers.ensure_offsets(&physical("billing"), &physical("elsewhere"), &OffsetWish::Earliest).await.unwrap();
    let number = ask(&stage, orders()).await.unwrap();
    let flow = approved(&stage, number, choice(3, 1)).await.unwrap();
    until("it waits for a person", async || status(&stage, &flow).await == Status::Waiting).await;
    let waits = state(&stage, &flow).await;
    assert!(matches!(&waits, Flow::Found { topics, groups, .. } if topics.is_empty() && groups == &["billing"]), "{waits:?}");
    assert!(stage.brokers.topic(&physical("orders")).await.unwrap().is_none(), "nothing was made");
    cancel(&stage.app, actor(&approver()), number, now_ms()).await.unwrap();
    until("it is given up", async || status(&stage, &flow).await == Status::Cancelled).await;
    assert!(matches!(topics::find(&stage.app.db, &stage.environment.id, "orders").await, Err(Error::NotFound)));
    assert!(ask(&stage, orders()).await.is_ok(), "the names are free again");
}

#[tokio::test]
async fn what_a_lost_answer_made_is_gone_on_with_and_has_the_settings_that_were_approved() {
    let stage = Stage::set().await;
    stage.published().await;
    let number = ask(&stage, orders()).await.unwrap();
    let flow = approved(&stage, number, choice(3, 1)).await.unwrap();
    until("it is done", async || status(&stage, &flow).await == Status::Done).await;
    let other = [("retention.ms".to_owned(), Some("3600000".to_owned()))].into();
    stage.brokers.ensure_topic_config(&physical("orders"), &other).await.unwrap();
    let topic = topics::find(&stage.app.db, &stage.environment.id, "orders").await.unwrap();
    let again = Effect::EnsureTopic { topic: Named { id: topic.id, name: "orders".into() }, cluster: "kafka".into() };
    let context = EffectContext { flow_id: flow, effect_id: "again".into(), attempt: 2, created_ms: 0, now_ms: now_ms() };
    assert_eq!(Performer(stage.app.clone()).perform(&context, &again).await, Outcome::Done(Command::TopicMade));
    assert_eq!(retention_there(&stage).await.as_deref(), Some("259200000"));
}

#[tokio::test]
async fn what_is_given_up_while_its_node_is_being_written_leaves_no_node_and_no_row() {
    let stage = Stage::set().await;
    stage.published().await;
    let held = Held::of(&stage.meta, "/zms/topic/orders");
    stage.app.metadata.with(&stage.environment.id, held.clone()).await;
    let number = ask(&stage, orders()).await.unwrap();
    let flow = approved(&stage, number, choice(3, 1)).await.unwrap();
    until("its node is being written", async || held.waiting() == 1).await;
    cancel(&stage.app, actor(&approver()), number, now_ms()).await.unwrap();
    let waits = async || {
        let steps = stage.app.engine.view(&flow).await.unwrap().steps;
        steps.iter().any(|step| step.note.contains("under way"))
    };
    until("giving up waits for that step", waits).await;
    assert_eq!(status(&stage, &flow).await, Status::Running);
    assert!(topics::find(&stage.app.db, &stage.environment.id, "orders").await.is_ok(), "the name is not free yet");
    held.release();
    until("it is given up", async || status(&stage, &flow).await == Status::Cancelled).await;
    assert_eq!(held.done(), 2, "the node was written after all, and taken away");
    assert_eq!(stage.node("/zms/topic/orders"), "");
    assert!(matches!(topics::find(&stage.app.db, &stage.environment.id, "orders").await, Err(Error::NotFound)));
    assert!(matches!(groups::find(&stage.app.db, &stage.environment.id, "billing").await, Err(Error::NotFound)));
    assert!(ask(&stage, orders()).await.is_ok(), "the names are free again");
}

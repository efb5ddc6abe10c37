mod adopting;
mod browser;
mod pages;
mod taking;

use zms_drivers::broker::ClusterAdmin as _;

use super::test_support::{Stage, until};

#[tokio::test]
async fn a_cluster_is_found_by_applications_and_has_the_topics_of_statistics() {
    let stage = Stage::set().await;
    stage.published().await;
    let node = stage.node("/zms/cluster/kafka");
    assert!(node.starts_with("bootAddr=10.0.0.1:9092,10.0.0.2:9092,10.0.0.3:9092\nbrokerType=kafka\n"), "{node}");
    for topic in ["statistic_topic_producerinfo", "statistic_topic_consumerinfo", "zms_statistics"] {
        assert!(stage.node(&format!("/zms/topic/{topic}")).contains("clusterName=kafka"), "{topic}");
    }
    let topics = stage.brokers.topics().await.unwrap();
    assert_eq!(topics.iter().filter(|topic| topic.partitions.len() == 3 && topic.replicas() == 3).count(), 3, "{topics:?}");
}

#[tokio::test]
async fn rocketmq_is_found_by_its_name_servers_when_masters_and_slaves_answer() {
    let stage = Stage::set().await;
    let ports = [("nameserver", 9876), ("master", 10911), ("master_fast", 10909), ("slave", 10921)];
    let cluster = stage.is_healthy("rocketmq", &ports).await;
    let subject = super::subject(&cluster.name);
    let flow = || async { stage.app.engine.of_subject(Some(&stage.environment.id), &subject).await.unwrap().remove(0) };
    until("six brokers are waited for", async || flow().await.steps.iter().any(|step| step.note == "3 of 6 brokers answer"))
        .await;

    let stage = Stage::set().await;
    let cluster = stage.is_healthy("rocketmq", &ports[..3]).await;
    until("it is published", async || stage.meta.value("/zms/consumergroup/zms_collector").is_some()).await;
    let node = stage.node("/zms/cluster/rocketmq");
    assert!(node.starts_with("bootAddr=10.0.0.1:9876;10.0.0.2:9876;10.0.0.3:9876\nbrokerType=rocketmq\n"), "{node}");
    let topic = zms_core::names::PhysicalName::new("zms_statistics").unwrap();
    let settings = stage.brokers.topic_config(&topic).await.unwrap();
    assert!(!settings["retention.ms"].own, "RocketMQ has no such setting: {settings:?}");
    assert!(!cluster.chooses_replicas() && !cluster.chooses_retention());
}

#[tokio::test]
async fn brokers_that_are_away_are_waited_for_and_the_step_says_why() {
    let stage = Stage::set().await;
    stage.brokers.cut();
    let cluster = stage.kafka_is_healthy().await;
    let subject = super::subject(&cluster.name);
    let flow = || async { stage.app.engine.of_subject(Some(&stage.environment.id), &subject).await.unwrap().remove(0) };
    until("the step says why", async || flow().await.steps.iter().any(|step| !step.note.is_empty())).await;
    assert_eq!(stage.node("/zms/cluster/kafka"), "");
    stage.brokers.heal();
    stage.meta.cut();
    until("the node is waited for", async || {
        flow().await.steps.iter().any(|step| step.name == "ensure_node" && !step.note.is_empty())
    })
    .await;
    stage.meta.heal();
    until("it is done", async || flow().await.status.is_final()).await;
    assert!(stage.node("/zms/cluster/kafka").contains("epoch=1"));
}

//! Starts RocketMQ, makes a topic, a group, messages and offsets, and writes down what its servers answer: the unit tests read these
//! bodies. Run it again for a new version, and look at the difference.
//!
//! ```text
//! cargo run -p zms-drivers --example rocketmq_golden -- zms-drivers/tests/golden
//! ```
//!
//! `scripts/packages` must have been run.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use zms_drivers::open::Endpoint;
use zms_drivers::rocketmq::remoting::{Options, Remoting, Request, RequestCode, answers};
use zms_testbed::{RocketLine, RocketMq, RocketWish};

const TOPIC: &str = "orders";
const GROUP: &str = "billing";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::time::timeout(Duration::from_secs(300), run()).await?
}

async fn run() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("which folder?")?.into();
    for line in [RocketLine::V4, RocketLine::V5] {
        let wish = RocketWish { slaves: true, ..RocketWish::one(line) };
        let cluster = tokio::task::spawn_blocking(move || RocketMq::start(&wish)).await?;
        let folder = folder.join(format!("rocketmq-{}", if line == RocketLine::V4 { "4" } else { "5" }));
        std::fs::create_dir_all(&folder)?;
        capture(&cluster, &folder).await?;
    }
    Ok(())
}

async fn capture(cluster: &RocketMq, folder: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let (names, broker) = (cluster.name_servers().remove(0), cluster.address("broker-a", 0));
    let remoting = Remoting::new(Options::of(&Endpoint::plain("golden", [names.clone()])), None)?;
    let topic = Request::new(RequestCode::UpdateAndCreateTopic)
        .with("topic", TOPIC)
        .with("defaultTopic", "TBW102")
        .with("readQueueNums", 2)
        .with("writeQueueNums", 2)
        .with("perm", 6)
        .with("topicFilterType", "SINGLE_TAG")
        .with("topicSysFlag", 0)
        .with("order", false);
    remoting.ask(&broker, topic).await?;
    let group = json!({"groupName": GROUP, "consumeEnable": true, "consumeBroadcastEnable": true, "retryQueueNums": 1, "retryMaxTimes": 16});
    remoting.ask(&broker, Request::new(RequestCode::UpdateAndCreateSubscriptionGroup).with_body(group.to_string())).await?;
    for queue in [0, 0, 1] {
        let send = Request::new(RequestCode::SendMessage)
            .with("producerGroup", "golden")
            .with("topic", TOPIC)
            .with("defaultTopic", "TBW102")
            .with("defaultTopicQueueNums", 4)
            .with("queueId", queue)
            .with("sysFlag", 0)
            .with("bornTimestamp", 1_700_000_000_000_i64)
            .with("flag", 0)
            .with("properties", "TAGS\u{1}a\u{2}")
            .with("reconsumeTimes", 0)
            .with("unitMode", false)
            .with("batch", false);
        remoting.ask(&broker, send.with_body("message")).await?;
    }
    let commit = Request::new(RequestCode::UpdateConsumerOffset)
        .with("consumerGroup", GROUP)
        .with("topic", TOPIC)
        .with("queueId", 0)
        .with("commitOffset", 1);
    remoting.ask(&broker, commit).await?;
    let heartbeat = json!({"clientID": "127.0.0.1@golden", "producerDataSet": [], "consumerDataSet": [{"groupName": GROUP,
        "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING", "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET", "unitMode": false,
        "subscriptionDataSet": [{"topic": TOPIC, "subString": "*", "classFilterMode": false, "subVersion": 1, "tagsSet": [], "codeSet": [],
        "expressionType": "TAG"}]}]});
    remoting.ask(&broker, Request::new(RequestCode::HeartBeat).with_body(heartbeat.to_string())).await?;
    // Name servers hear of a topic with the next registration; a slave copies offsets each 10 s.
    let route = Request::new(RequestCode::GetRouteinfoByTopic).with("topic", TOPIC);
    while remoting.ask(&names, route.clone()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (server, name, request) in [
        (&names, "105-route", route),
        (&names, "106-cluster", Request::new(RequestCode::GetBrokerClusterInfo)),
        (&broker, "21-topics", Request::new(RequestCode::GetAllTopicConfig)),
        (&broker, "201-groups", Request::new(RequestCode::GetAllSubscriptionGroupConfig)),
        (&broker, "202-ends", Request::new(RequestCode::GetTopicStatsInfo).with("topic", TOPIC)),
        (&broker, "208-lag", Request::new(RequestCode::GetConsumeStats).with("consumerGroup", GROUP).with("topic", TOPIC)),
        (&broker, "317-lags", Request::new(RequestCode::GetBrokerConsumeStats).with("isOrder", false)),
        (&broker, "43-committed", Request::new(RequestCode::GetAllConsumerOffset)),
        (&broker, "203-members", Request::new(RequestCode::GetConsumerConnectionList).with("consumerGroup", GROUP)),
        (&broker, "28-runtime", Request::new(RequestCode::GetBrokerRuntimeInfo)),
    ] {
        // A broker that was just started has no runtime information for a second.
        let answer = loop {
            match remoting.ask(server, request.clone()).await {
                Err(error) if error.answer() == Some(answers::SYSTEM_ERROR) => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                answer => break answer?,
            }
        };
        std::fs::write(folder.join(format!("{name}.json")), &answer.body)?;
        println!("{}/{name}: {} bytes", folder.display(), answer.body.len());
    }
    Ok(())
}

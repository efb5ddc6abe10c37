//! What a tick of a collector costs on a full RocketMQ broker. Starts one of each line of versions, fills it, and scrapes it: once as
//! if every topic moved, once as if none did. Prints one JSON line for each figure.
//!
//! ```text
//! cargo run --release -p zms-drivers --example rocketmq_scrape_line
//! ```
//!
//! `scripts/packages` must have been run.

use std::time::Duration;

use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use zms_drivers::broker::{Cost, Scraper as _};
use zms_drivers::open::Endpoint;
use zms_drivers::rocketmq::remoting::{Options, Remoting, Request, RequestCode};
use zms_drivers::rocketmq::{Pace, RocketMqScraper};
use zms_testbed::{Against, Figure, RocketLine, RocketMq, RocketWish, percentile};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Requests of a tick in which every topic moves, with lists of topics and groups: a collector shares brokers with applications.
const REQUESTS: f64 = 230.0;
const TICK_MS: f64 = 300.0;

#[derive(Parser)]
struct Arguments {
    /// Topics.
    #[arg(long, default_value_t = 200)]
    topics: usize,
    /// Queues of each.
    #[arg(long, default_value_t = 8)]
    queues: usize,
    /// Groups, each with offsets on two topics.
    #[arg(long, default_value_t = 300)]
    groups: usize,
    /// Ticks that are measured.
    #[arg(long, default_value_t = 20)]
    ticks: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    for line in [RocketLine::V5, RocketLine::V4] {
        let name = if line == RocketLine::V5 { "5.5.0" } else { "4.9.7" };
        eprintln!("rocketmq-scrape: starting one broker {name}");
        let server = tokio::task::spawn_blocking(move || RocketMq::start(&RocketWish::one(line))).await?;
        fill(&server, &arguments).await?;
        measure(&server, &arguments, name).await?;
    }
    Ok(())
}

async fn fill(server: &RocketMq, arguments: &Arguments) -> Result<()> {
    let broker = server.address("broker-a", 0);
    let remoting = Remoting::new(Options::of(&Endpoint::plain("bench", [broker.clone()])), None)?;
    let deadline = Duration::from_secs(60);
    let ask = |request| remoting.ask_within(&broker, request, deadline);
    let topics = (0..arguments.topics).map(|topic| {
        let request = Request::new(RequestCode::UpdateAndCreateTopic)
            .with("topic", format!("topic-{topic}"))
            .with("defaultTopic", "TBW102")
            .with("readQueueNums", arguments.queues)
            .with("writeQueueNums", arguments.queues)
            .with("perm", 6);
        ask(request.with("topicFilterType", "SINGLE_TAG").with("topicSysFlag", 0).with("order", false))
    });
    let groups = (0..arguments.groups).map(|group| {
        let group =
            json!({"groupName": format!("group-{group}"), "consumeEnable": true, "retryQueueNums": 1, "retryMaxTimes": 16});
        ask(Request::new(RequestCode::UpdateAndCreateSubscriptionGroup).with_body(group.to_string()))
    });
    stream::iter(topics).buffer_unordered(8).try_collect::<Vec<_>>().await?;
    stream::iter(groups).buffer_unordered(8).try_collect::<Vec<_>>().await?;
    let places = (0..arguments.groups)
        .flat_map(|group| [group % arguments.topics, (group * 7 + 1) % arguments.topics].map(|topic| (group, topic)));
    let places: Vec<_> =
        places.flat_map(|(group, topic)| (0..arguments.queues).map(move |queue| (group, topic, queue))).collect();
    // A broker may lose one of two first commits of a group that come at the same moment: the first queue of each is committed before the others.
    let (first, others): (Vec<_>, Vec<_>) = places.into_iter().partition(|(_, _, queue)| *queue == 0);
    let commit = |(group, topic, queue)| {
        let request = Request::new(RequestCode::UpdateConsumerOffset)
            .with("consumerGroup", format!("group-{group}"))
            .with("topic", format!("topic-{topic}"));
        ask(request.with("queueId", queue).with("commitOffset", 0))
    };
    for commits in [first, others] {
        stream::iter(commits.into_iter().map(commit)).buffer_unordered(16).try_collect::<Vec<_>>().await?;
    }
    Ok(())
}

async fn measure(server: &RocketMq, arguments: &Arguments, name: &str) -> Result<()> {
    let mut scraper = RocketMqScraper::new(&Endpoint::plain("bench", server.name_servers()))?;
    for (what, idle) in [("every topic asked", Duration::ZERO), ("no topic moves", Duration::from_secs(3600))] {
        scraper.pace = Pace { idle, refresh: Duration::ZERO, rarely: u64::MAX, ..Pace::default() };
        let first = scraper.scrape().await?;
        let offsets = |scrape: &zms_drivers::broker::Scrape| {
            scrape
                .groups
                .iter()
                .filter_map(|group| group.committed.as_ref().ok())
                .flat_map(|topics| topics.values())
                .map(|ids| ids.len())
                .sum::<usize>()
        };
        let expected = 2 * arguments.groups * arguments.queues;
        if first.topics.len() < arguments.topics || offsets(&first) != expected || !first.silent.is_empty() {
            return Err(format!("a tick saw {} topics, {} offsets of {expected}", first.topics.len(), offsets(&first)).into());
        }
        let mut costs = Vec::with_capacity(arguments.ticks);
        for _ in 0..arguments.ticks {
            costs.push(scraper.scrape().await?.cost);
        }
        figures(&format!("{name}, {what}"), &costs);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes are below 2^52")]
fn figures(what: &str, costs: &[Cost]) {
    let print = |value: f64, of: &str, unit, against| {
        Figure { bench: "rocketmq-scrape", what: format!("{of}, {what}"), value, unit, against }.print();
    };
    let all = |value: fn(&Cost) -> f64| costs.iter().map(value).collect::<Vec<f64>>();
    let took = all(|cost| cost.took.as_secs_f64() * 1000.0);
    print(
        percentile(&all(|cost| (cost.requests + cost.rare_requests) as f64), 100),
        "requests a tick, most",
        "",
        Against::AtMost(REQUESTS),
    );
    print(percentile(&took, 50), "a tick, median", "ms", Against::AtMost(TICK_MS));
    print(percentile(&took, 95), "a tick, p95", "ms", Against::Nothing);
    print(percentile(&all(|cost| cost.bytes as f64 / 1e6), 100), "received a tick, most", "MB", Against::Nothing);
}

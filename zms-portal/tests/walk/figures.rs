//! Figures as people see them: charts that show what was sent, lag to the message, and a gap where nobody looked.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::browser::{self, Browser};
use crate::stage::Stage;

/// Where the chart of `orders` is had.
fn chart_of(stage: &Stage) -> String {
    format!("/environments/dev/charts/topic-rate?cluster={}&topic=orders&range=15m", stage.broker)
}

/// Asks until it holds.
pub async fn until(what: &str, patience: Duration, stage: &Stage, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + patience;
    loop {
        let said = stage.get(path).await;
        if holds(&said) {
            return said;
        }
        assert!(Instant::now() < end, "after {patience:?} still not: {what}\n{said:#}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn values<'a>(chart: &'a Value, name: &str) -> Vec<Option<f64>> {
    let series = chart["series"].as_array().unwrap().iter().find(|series: &&'a Value| series["name"] == name);
    series.map(|series| series["values"].as_array().unwrap().iter().map(Value::as_f64).collect()).unwrap_or_default()
}

fn figures_of<'a>(figures: &'a Value, list: &str, field: &str, name: &str) -> &'a Value {
    figures[list].as_array().unwrap().iter().find(|one| one[field] == name).unwrap_or(&Value::Null)
}

/// The collector has found the cluster and ended a tick: from now on it counts every message.
pub async fn of_a_cluster(stage: &Stage) {
    let path = "/environments/dev/figures";
    let whole = |said: &Value| figures_of(said, "clusters", "name", stage.broker)["reach"] == "whole";
    until("the collector reaches the cluster", Duration::from_secs(60), stage, path, whole).await;
}

/// Within 30 s of the first message its topic's page shows rates, lag, who sends and who consumes.
/// Returns how many messages its consumer handled.
pub async fn of_a_topic(browser: &Browser, stage: &Stage) -> i64 {
    let begun = Instant::now();
    let consumer = stage.consume();
    let patience = Duration::from_secs(30);
    let flows = |chart: &Value| {
        let positive = |name: &str| values(chart, name).into_iter().flatten().any(|value| value > 0.0);
        positive("in") && positive("out: billing")
    };
    until("rates on the chart", patience, stage, &chart_of(stage), flows).await;
    browser.open(&format!("{}/e/dev/topics/orders/overview?range=15m", stage.url)).await;
    browser.see_within("#chart-topic-rate[data-drawn] .chart-legend tbody tr:nth-child(2)", browser::PATIENCE).await;
    browser.see_within("#chart-topic-lag[data-drawn] .chart-legend tbody tr", browser::PATIENCE).await;
    println!("walk: the chart of orders had rates {:.1} s after the first message", begun.elapsed().as_secs_f32());
    browser.open(&format!("{}/e/dev/topics/orders/clients?range=15m", stage.url)).await;
    browser.see_text("example-send", browser::PATIENCE).await;
    browser.see_text("example-consume", browser::PATIENCE).await;
    let rates = "#clients tbody tr:nth-child(1) td:nth-child(4)";
    let end = Instant::now() + patience;
    while !browser.see(rates).await.text().await.unwrap_or_default().contains("/s") {
        assert!(Instant::now() < end, "nobody says how much it consumes:\n{}", browser.text().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(begun.elapsed() < patience + Duration::from_secs(15), "{:?}", begun.elapsed());
    browser.picture("clients").await;

    browser.open(&format!("{}/e/dev/clusters/{}?range=15m", stage.url, stage.broker)).await;
    browser.see_within("#chart-cluster-rate[data-drawn] .chart-legend tbody tr", browser::PATIENCE).await;
    let of_brokers = if stage.broker == "kafka" { "bytes" } else { "messages" };
    let drawn = format!("#chart-cluster-{of_brokers}[data-drawn] .chart-legend tbody tr");
    browser.see_within(&drawn, Duration::from_secs(30)).await;
    browser.picture("cluster").await;
    let hosts = stage.get("/environments/dev/hosts").await;
    let id = hosts["items"][0]["id"].as_str().unwrap();
    browser.open(&format!("{}/e/dev/hosts/{id}?range=15m", stage.url)).await;
    for chart in ["cpu", "memory", "disk"] {
        browser.see_within(&format!("#chart-host-{chart}[data-drawn] .chart-legend tbody tr"), Duration::from_secs(30)).await;
    }
    browser.picture("host").await;

    // The page forgets a client that is gone.
    let said = consumer.end();
    let gone = Instant::now();
    assert!(said.contains("closed"), "{said}");
    browser.open(&format!("{}/e/dev/topics/orders/clients", stage.url)).await;
    // Its past stays on the charts.
    let list = "return document.querySelector('#clients').innerText";
    let listed = async || {
        browser.page.execute(list, vec![]).await.is_ok_and(|text| !text.as_str().unwrap_or_default().contains("example-consume"))
    };
    while !listed().await {
        assert!(gone.elapsed() < Duration::from_secs(30), "the stopped client is still there:\n{}", browser.text().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    println!("walk: a stopped client left the page after {:.1} s", gone.elapsed().as_secs_f32());
    number_after(&said, "done ")
}

/// The last number that an example says after a word.
pub fn number_after(said: &str, word: &str) -> i64 {
    let last = said.lines().rev().find_map(|line| line.split_once(word)?.1.split(',').next()?.parse().ok());
    last.unwrap_or_else(|| panic!("no number after \"{word}\":\n{said}"))
}

/// While nobody consumes, lag is to the message what was sent since the last commit, for a minute. `done`: how many messages the
/// group's consumers say that they handled, all together; each closed with everything committed.
pub async fn of_a_group_whose_consumer_is_stopped(browser: &Browser, stage: &Stage, done: i64) {
    let figures = "/environments/dev/figures";
    let lag_and_end = |said: &Value| {
        // On RocketMQ a group also has a topic of what it could not handle.
        let is_line = |line: &&Value| line["group"] == "billing" && line["topic"] == "orders";
        let lag = said["groups"].as_array()?.iter().find(is_line)?["lag"].as_i64()?;
        Some((lag, figures_of(said, "topics", "topic", "orders")["end"].as_i64()?))
    };
    // A tick may have fallen between the consumer's last commit and its end.
    let exact = |said: &Value| lag_and_end(said).is_some_and(|(lag, end)| lag == end - done);
    let first = until("lag is produced minus what was done", Duration::from_secs(20), stage, figures, exact).await;
    let (begun, mut ticks, mut last) = (Instant::now(), 0, lag_and_end(&first).unwrap().1);
    // Each snapshot with the end that it knew: tells a collector that was silent from a sender that was.
    let mut seen = Vec::new();
    while begun.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let said = stage.get(figures).await;
        let (lag, end) = lag_and_end(&said).unwrap();
        let of_now = (said["at_ms"].as_i64().unwrap(), end);
        if seen.last() != Some(&of_now) {
            seen.push(of_now);
        }
        if end == last {
            continue;
        }
        assert_eq!(lag, end - done, "lag is produced minus what the consumers did\n{said:#}");
        (ticks, last) = (ticks + 1, end);
    }
    assert!(ticks >= 4, "{ticks} ticks in a minute: {seen:?}");
    println!("walk: lag was exact at {ticks} ticks while the consumer was stopped");
    adds_up(stage).await;
    browser.open(&format!("{}/e/dev/groups/billing?range=15m", stage.url)).await;
    browser.see_within("#chart-group-lag[data-drawn] .chart-legend tbody tr", browser::PATIENCE).await;
    browser.picture("group").await;
}

/// Since the topic was made: rate × time of the chart's windows is its number of messages.
async fn adds_up(stage: &Stage) {
    let figures = stage.get("/environments/dev/figures").await;
    let end = figures_of(&figures, "topics", "topic", "orders")["end"].as_f64().unwrap();
    // The tick fell on the last multiple of its length before its figures came.
    let tick = figures["at_ms"].as_i64().unwrap() / 10_000 * 10_000;
    let has = |chart: &Value| {
        let t = chart["t"].as_array().unwrap();
        let at = t.iter().position(|at| at.as_i64() == Some(tick));
        at.is_some_and(|at| values(chart, "in").get(at).is_some_and(Option::is_some))
    };
    let chart = until("the chart has the tick of the figures", Duration::from_secs(20), stage, &chart_of(stage), has).await;
    let step = chart["step_ms"].as_f64().unwrap() / 1000.0;
    let t = chart["t"].as_array().unwrap();
    let until_tick = t.iter().zip(values(&chart, "in")).filter(|(at, _)| at.as_i64().unwrap() <= tick);
    let shown: f64 = until_tick.filter_map(|(_, rate)| rate).map(|rate| rate * step).sum();
    println!("walk: {end} messages in the topic, {shown:.1} by its chart");
    assert!((shown - end).abs() <= end * 0.02, "{chart:#}\n{figures:#}");
}

/// Killed again and again for a while, so that nothing is collected: a gap, not 0, and the page says why. `steady`: since when messages were
/// sent all the time.
pub async fn of_a_collector_that_is_killed(browser: &Browser, stage: &Stage, steady: i64) {
    let others = |stage: &Stage| {
        let mut instances = stage.instances();
        instances.remove("collector-1");
        instances
    };
    let before = others(stage);
    // The portal was started anew a moment ago: it has to have heard of the collector to miss it.
    let heard = |said: &Value| said["silent"] == false;
    until("the portal hears of the collector", Duration::from_secs(40), stage, "/environments/dev/figures", heard).await;
    let chart = until("a chart", Duration::from_secs(30), stage, &chart_of(stage), |chart| !values(chart, "in").is_empty()).await;
    let from = chart["t"].as_array().unwrap().last().unwrap().as_i64().unwrap();
    browser.open(&format!("{}/e/dev/topics/orders/overview?range=15m", stage.url)).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(35) {
        stage.kill_instance("collector-1");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    browser.see_text("The collector has said nothing for", browser::PATIENCE).await;
    browser.picture("gap").await;
    stage.until("the collector is back, once", || stage.instances().get("collector-1").is_some_and(|pids| pids.len() == 1));
    assert_eq!(others(stage), before, "nothing else was touched");
    let back = |chart: &Value| {
        let (t, values) = (chart["t"].as_array().unwrap(), values(chart, "in"));
        let after: Vec<Option<f64>> =
            t.iter().zip(values).filter(|(at, _)| at.as_i64().unwrap() > from).map(|(_, value)| value).collect();
        after.iter().any(Option::is_none) && after.last().is_some_and(Option::is_some)
    };
    let chart = until("the chart goes on after the gap", Duration::from_secs(90), stage, &chart_of(stage), back).await;
    let gaps = chart["gaps"].as_array().unwrap();
    let gap = gaps.iter().find(|gap| gap["to_ms"].as_i64().unwrap() > from).unwrap_or_else(|| panic!("no gap\n{chart:#}"));
    assert_eq!(gap["why"], "the collector said nothing", "{chart:#}");
    let length = gap["to_ms"].as_i64().unwrap() - gap["from_ms"].as_i64().unwrap();
    assert!(length >= 30_000, "{chart:#}");
    let (t, step) = (chart["t"].as_array().unwrap(), chart["step_ms"].as_i64().unwrap());
    let wholly = t.iter().map(|at| at.as_i64().unwrap()).zip(values(&chart, "in")).filter(|(at, _)| at - step >= steady);
    let rates: Vec<(i64, f64)> = wholly.filter_map(|(at, rate)| Some((at, rate?))).collect();
    let moving = rates.len() >= 5 && rates.iter().all(|(_, rate)| *rate > 0.0);
    assert!(moving, "messages were sent all the time since {steady}: {rates:?}\n{chart:#}");
    browser.open(&format!("{}/e/dev/topics/orders/overview?range=15m", stage.url)).await;
    browser.see_within("#chart-topic-rate[data-drawn] .chart-legend tbody tr", browser::PATIENCE).await;
    browser.picture("topic").await;
}

/// What the chart shows is what was sent, but for the gap: rate × time of its windows, and the messages that came while nobody looked.
pub async fn add_up(stage: &Stage, sent: i64) {
    let path = "/environments/dev/figures";
    let all_seen = |said: &Value| figures_of(said, "topics", "topic", "orders")["end"].as_i64() == Some(sent);
    until("the collector has seen all messages", Duration::from_secs(30), stage, path, all_seen).await;
    let newest_is_empty = |chart: &Value| values(chart, "in").last().copied().flatten() == Some(0.0);
    let chart = until("a tick without messages", Duration::from_secs(40), stage, &chart_of(stage), newest_is_empty).await;
    let step = chart["step_ms"].as_f64().unwrap() / 1000.0;
    let shown: f64 = values(&chart, "in").into_iter().flatten().map(|rate| rate * step).sum();
    let seconds = |gap: &Value| (gap["to_ms"].as_f64().unwrap() - gap["from_ms"].as_f64().unwrap()) / 1000.0;
    let gaps = chart["gaps"].as_array().unwrap().iter().map(seconds).fold(0.0, |sum, gap| sum + gap);
    // The sender's pace is 20 a second; the first tick after a gap has no rate.
    let expected = sent as f64 - gaps * 20.0;
    let off = (shown - expected).abs() / sent as f64;
    println!(
        "walk: {sent} sent, {shown:.0} on the chart and {:.0} in its gaps of {gaps:.0} s: {:.2} % off",
        gaps * 20.0,
        off * 100.0
    );
    assert!(off <= 0.02, "{chart:#}");
}

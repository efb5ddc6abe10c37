//! The line as a person walks it, in a real browser on real servers: an empty portal, an environment, a host, ZooKeeper, InfluxDB
//! and brokers by wizard, and everything killed once. On Kafka, and on RocketMQ.

#![allow(clippy::disallowed_methods, reason = "the test plays the person at the keyboard")]
#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "walk/applying.rs"]
mod applying;
#[path = "walk/browser.rs"]
#[allow(dead_code, reason = "both walks share it")]
mod browser;
#[path = "walk/figures.rs"]
mod figures;
#[path = "walk/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use browser::Browser;
use stage::Stage;

const PASSWORD: &str = "a lantern over the harbour";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_from_an_empty_portal_to_healthy_servers() {
    walk(&Stage::set()).await;
}

/// What does not depend on the kind of broker is walked on Kafka alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_on_rocketmq() {
    walk(&Stage::with_brokers("rocketmq")).await;
}

async fn walk(stage: &Stage) {
    let browser = &Browser::start("en", 1280).await;
    to_healthy_servers(browser, stage).await;
    a_topic_for_an_application(browser, stage).await;
    let sender = stage.send("20", &[]);
    let done = 500 + figures::of_a_topic(browser, stage).await;
    // Messages were on the chart: from here on they come all the time. Before, between the 500 and these, a tick may have been without any.
    let steady = zms_portal::app::now_ms();
    figures::of_a_group_whose_consumer_is_stopped(browser, stage, done).await;
    if stage.broker == "rocketmq" {
        a_message_by_its_key(browser, stage).await;
    }
    killed_one_at_a_time(browser, stage).await;
    if stage.broker == "kafka" {
        figures::of_a_collector_that_is_killed(browser, stage, steady).await;
    }
    let said = sender.end();
    figures::add_up(stage, 500 + figures::number_after(&said, "sent ")).await;
    without_zookeeper(stage);
    no_send_failed(&said);
    in_chinese_dark_and_narrow(browser, stage).await;
    browser.page.clone().close().await.unwrap();
}

fn no_send_failed(said: &str) {
    assert!(
        said.contains(", failed 0,") && said.contains("closed, 0 given up"),
        "no send failed while everything was killed once:\n{said}"
    );
}

/// From the first visit to ZooKeeper, InfluxDB, brokers and a collector, all healthy, and the collector counting.
async fn to_healthy_servers(browser: &Browser, stage: &Stage) {
    // The first visit: only the set-up code opens it, and it makes the one administrator.
    browser.open(&format!("{}/", stage.url)).await;
    browser.open(&format!("{}/setup", stage.url)).await;
    browser.fill("code", "0000-0000-0000-0000-0000-0000-00").await;
    sign_up(browser).await;
    browser.see("input[name=code].is-invalid").await;
    assert!(browser.page.current_url().await.unwrap().path().starts_with("/setup"));
    browser.fill("code", &stage.code).await;
    sign_up(browser).await;
    browser.see(".rail").await;
    browser.open(&format!("{}/setup", stage.url)).await;
    assert_eq!(browser.see(".empty-header").await.text().await.unwrap(), "404");

    // An empty portal says what to do first.
    browser.open(&format!("{}/", stage.url)).await;
    browser.picture("overview-empty").await;
    browser.open(&format!("{}/environments/new", stage.url)).await;
    browser.fill("name", "dev").await;
    browser.fill("title", "Development").await;
    browser.choose("colour", "green").await;
    browser.press("form.card button.btn-primary").await;
    browser.see_text("Development", browser::PATIENCE).await;

    // The host: one line, copied and run; it appears with its facts.
    browser.open(&format!("{}/e/dev/hosts/join", stage.url)).await;
    browser.press("main form button.btn-primary").await;
    let line = browser.see("#line-own").await.prop("textContent").await.unwrap().unwrap();
    let begun = Instant::now();
    stage.run_join_line(&line);
    browser.open(&format!("{}/e/dev/hosts", stage.url)).await;
    browser.see_text("online", Duration::from_secs(20)).await;
    println!("walk: the host was online {:.1} s after the line was run", begun.elapsed().as_secs_f32());
    browser.picture("hosts").await;
    browser.press("main table tbody a").await;
    let of_this_machine = |file: &str| std::fs::read_to_string(file).unwrap().trim().to_owned();
    browser.see_fact("Calls itself", &of_this_machine("/proc/sys/kernel/hostname")).await;
    let kernel = format!("{} {}", of_this_machine("/proc/sys/kernel/osrelease"), std::env::consts::ARCH);
    browser.see_fact("Kernel", &kernel).await;
    let processors = std::thread::available_parallelism().unwrap();
    browser.see_fact("CPUs", &processors.to_string()).await;

    for kind in ["zookeeper", "influxdb", stage.broker, "collector"] {
        let begun = Instant::now();
        install(browser, stage, kind).await;
        println!("walk: {kind} was healthy {:.1} s after the click", begun.elapsed().as_secs_f32());
    }
    browser.open(&format!("{}/e/dev/services", stage.url)).await;
    browser.picture("services").await;
    let (healthy, file) = if stage.broker == "kafka" { ("1 of 1", "server.properties") } else { ("2 of 2", "broker.conf") };
    browser.open(&format!("{}/e/dev/services/{}/status", stage.url, stage.broker)).await;
    browser.see_text(healthy, browser::PATIENCE).await;
    browser.open(&format!("{}/e/dev/services/{}/config", stage.url, stage.broker)).await;
    browser.see_text(file, browser::PATIENCE).await;

    let cookie = browser.page.get_named_cookie("__Host-zms").await.unwrap();
    stage.signed_in(&format!("__Host-zms={}", cookie.value()));
    figures::of_a_cluster(stage).await;
}

async fn in_chinese_dark_and_narrow(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/e/dev", stage.url)).await;
    browser.press("button[name=language][value=zh]").await;
    browser.see_text("主机", browser::PATIENCE).await;
    browser.page.execute("document.querySelector('button[name=theme][value=dark]').click()", vec![]).await.unwrap();
    browser.see("html[data-bs-theme=dark]").await;
    browser.open(&format!("{}/e/dev/topics/orders/overview?range=15m", stage.url)).await;
    browser.see_within("#chart-topic-rate[data-drawn] .chart-legend tbody tr", browser::PATIENCE).await;
    browser.picture("dark").await;
    browser.page.set_window_size(390, 900).await.unwrap();
    let (status, cluster) = (format!("e/dev/services/{}/status", stage.broker), format!("e/dev/clusters/{}", stage.broker));
    for path in [
        "",
        "e/dev",
        "e/dev/hosts",
        "e/dev/services",
        &status,
        "e/dev/clusters",
        &cluster,
        "e/dev/topics",
        "e/dev/topics/orders/overview",
        "e/dev/topics/orders/partitions",
        "e/dev/topics/orders/clients",
        "e/dev/groups",
        "e/dev/groups/billing",
        "e/dev/requests/new/topic",
        "e/dev/client-file",
        "requests",
        "requests/1",
        "packages",
        "settings/users",
        "audit",
        "docs/api",
    ] {
        browser.open(&format!("{}/{path}", stage.url)).await;
        let wide = browser
            .page
            .execute("return document.documentElement.scrollWidth - document.documentElement.clientWidth", vec![])
            .await
            .unwrap();
        browser.picture(&format!("narrow-{}", path.replace('/', "-"))).await;
        assert!(wide.as_i64().unwrap() <= 0, "/{path} is {wide} px wider than a phone");
    }
}

async fn sign_up(browser: &Browser) {
    browser.fill("name", "admin").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("again", PASSWORD).await;
    browser.press("main form button.btn-primary").await;
}

/// Through the wizard: kind, host, settings, preflight, plan, and then the steps until it is done.
async fn install(browser: &Browser, stage: &Stage, kind: &str) {
    browser.open(&format!("{}/e/dev/services/new", stage.url)).await;
    browser.tick(&format!("input[name=choice][value^=\"{kind}/\"]")).await;
    browser.press("main form button.btn-primary").await;
    browser.tick("input[type=checkbox][name=hosts]").await;
    browser.pick("main form select[name^=\"address.\"]", "127.0.0.1").await;
    browser.press("main form button.btn-primary").await;
    browser.fill("name", kind).await;
    for (key, value) in stage.settings(kind) {
        browser.fill_css(&format!("[name$=\"{key}\"]:not([type=hidden])"), &value).await;
    }
    browser.press("main form button.btn-primary").await;
    browser.see("main table").await;
    if let Some(tick) = browser.find("input[name=accept_warnings]").await {
        tick.click().await.unwrap();
    }
    browser.press("main form button.btn-primary").await;
    browser.see("main form").await;
    if kind == stage.broker {
        browser.picture("plan").await;
    }
    browser.press("main form button.btn-primary").await;
    browser.see("section.flow").await;
    browser.see_within(".chip-done", Duration::from_secs(90)).await;
    browser.open(&format!("{}/e/dev/services/{kind}/status", stage.url)).await;
    browser.see_within("section .chip-healthy", Duration::from_secs(60)).await;
}

/// Asked for, approved, and used by an application that names no broker.
async fn a_topic_for_an_application(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/e/dev/clusters/{}", stage.url, stage.broker)).await;
    let end = Instant::now() + Duration::from_secs(60);
    while browser.count(".flow .chip-done").await == 0 {
        assert!(Instant::now() < end, "the cluster is not published:\n{}", browser.text().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    browser.picture("cluster").await;
    if stage.broker == "kafka" {
        browser.open(&format!("{}/e/dev/clusters/kafka/brokers", stage.url)).await;
        browser.until_count("main table tbody tr", 1).await;
        let row = browser.row("1").await.unwrap_or_default();
        assert!(row.get(1).is_some_and(|address| address.starts_with("127.0.0.1:")), "{row:?}");
        applying::by_a_developer(browser, stage).await;
    } else {
        applying::apply(browser, stage).await;
        browser.press("button[name=approve]").await;
        browser.see_within(".flow .chip-done", Duration::from_secs(30)).await;
    }

    stage.take_client_file().await;
    let said = stage.send("200", &["--count", "500"]).end();
    assert!(said.contains("sent 500, failed 0"), "{said}");
    let consumer = stage.consume();
    stage.until("500 messages are consumed", || consumer.said().contains("done 500,"));
    browser.open(&format!("{}/e/dev/topics/orders/clients", stage.url)).await;
    browser.see_text("example-consume", browser::PATIENCE).await;
    browser.open(&format!("{}/e/dev/topics/orders/partitions", stage.url)).await;
    browser.see_text("ISR", browser::PATIENCE).await;
    consumer.end();
    browser.open(&format!("{}/e/dev/topics/orders/overview", stage.url)).await;
    browser.see_fact("Messages kept", "500").await;
    browser.picture("topic").await;
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        browser.open(&format!("{}/e/dev/groups/billing", stage.url)).await;
        if browser.text().await.contains("no members") {
            break;
        }
        assert!(Instant::now() < end, "the group is not left:\n{}", browser.text().await);
    }
    let lag = browser.see("main p strong").await.text().await.unwrap();
    assert_eq!(lag, "0", "everything that was sent was consumed and committed");
}

/// The example's keys are `customer 0` to `customer 99`.
async fn a_message_by_its_key(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/e/dev/topics/orders/messages", stage.url)).await;
    browser.fill("text", "customer 107").await;
    browser.press("main form button.btn-primary").await;
    browser.see_text("No such message", browser::PATIENCE).await;
    browser.fill("text", "customer 42").await;
    browser.press("main form button.btn-primary").await;
    browser.see("section.message pre").await;
    browser.see_text("source: example", browser::PATIENCE).await;
    browser.picture("messages").await;
}

/// An application that is started anew while ZooKeeper is down sends by what it kept on its disk.
fn without_zookeeper(stage: &Stage) {
    stage.kill_instance("zookeeper-1");
    let sender = stage.send("50", &["--count", "20"]);
    stage.until("the example sends without ZooKeeper", || {
        stage.kill_instance("zookeeper-1");
        sender.said().contains("sent 20,")
    });
    let said = sender.end();
    assert!(said.contains("sent 20, failed 0"), "{said}");
    stage.until("ZooKeeper is back, once", || stage.instances().get("zookeeper-1").is_some_and(|pids| pids.len() == 1));
}

/// kill -9 of portal, agent and supervisord, one after the other: nothing of what runs is touched or started twice.
async fn killed_one_at_a_time(browser: &Browser, stage: &Stage) {
    let before = stage.instances();
    // On RocketMQ a name server runs beside the broker.
    let all = if stage.broker == "kafka" { 4 } else { 5 };
    assert_eq!(before.len(), all, "{before:?}");
    let mut logs = stage.logs();
    for victim in ["supervisord", "zms-agent", "zms-portal"] {
        stage.kill_9(victim);
        stage.until(&format!("{victim} is back"), || stage.runs(victim));
        assert_eq!(stage.instances(), before, "after kill -9 of {victim} the same processes run, each once");
        if victim == "supervisord" {
            logs = stage.logs();
            // Each has something to say: a member joins and leaves, a chart is asked for, and the portal will be gone for a moment.
            let consumer = stage.consume();
            stage.until("the consumer is there", || consumer.said().contains("done "));
            consumer.end();
            browser.open(&format!("{}/e/dev/topics/orders/overview", stage.url)).await;
            browser.see_within("#chart-topic-rate[data-drawn]", browser::PATIENCE).await;
        }
    }
    // What the new portal reads first may be the old one's.
    let (mut first, patience) = (None, Duration::from_secs(15));
    for what in ["a heartbeat in ZooKeeper", "the new portal beats"] {
        let beyond = |said: &serde_json::Value| said["n"].as_u64() > first && said["problem"].is_null();
        first = figures::until(what, patience, stage, "/environments/dev/metadata-heartbeat", beyond).await["n"].as_u64();
    }
    stage.until("each has written to its log since supervisord was killed", || {
        let now = stage.logs();
        logs.len() == all && logs.iter().all(|(id, size)| now.get(id).is_some_and(|now| now > size))
    });
    browser.open(&format!("{}/e/dev/services", stage.url)).await;
    let end = Instant::now() + Duration::from_secs(40);
    while browser.count(".chip-healthy").await < 4 {
        assert!(Instant::now() < end, "not all are healthy again:\n{}", browser.text().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

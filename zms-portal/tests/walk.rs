//! The line as a person walks it, in a real browser on real servers: an empty portal, an environment, a host, ZooKeeper, InfluxDB
//! and Kafka by wizard, and everything killed once.

#![allow(clippy::disallowed_methods, reason = "the test plays the person at the keyboard")]
#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "walk/browser.rs"]
mod browser;
#[path = "walk/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use browser::Browser;
use stage::Stage;

const PASSWORD: &str = "a lantern over the harbour";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_from_an_empty_portal_to_healthy_servers() {
    let stage = Stage::set();
    let browser = Browser::start("en", 1280).await;

    // The first visit: only the set-up code opens it, and it makes the one administrator.
    browser.open(&format!("{}/", stage.url)).await;
    browser.open(&format!("{}/setup", stage.url)).await;
    browser.fill("code", "0000-0000-0000-0000-0000-0000-00").await;
    sign_up(&browser).await;
    browser.see("input[name=code].is-invalid").await;
    assert!(browser.page.current_url().await.unwrap().path().starts_with("/setup"));
    browser.fill("code", &stage.code).await;
    sign_up(&browser).await;
    browser.see(".rail").await;
    browser.open(&format!("{}/setup", stage.url)).await;
    browser.see_text("404", browser::PATIENCE).await;

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

    for kind in ["zookeeper", "influxdb", "kafka"] {
        let begun = Instant::now();
        install(&browser, &stage, kind).await;
        println!("walk: {kind} was healthy {:.1} s after the click", begun.elapsed().as_secs_f32());
    }
    browser.open(&format!("{}/e/dev/services", stage.url)).await;
    browser.picture("services").await;
    browser.open(&format!("{}/e/dev/services/kafka/status", stage.url)).await;
    browser.see_text("1 of 1", browser::PATIENCE).await;
    browser.open(&format!("{}/e/dev/services/kafka/config", stage.url)).await;
    browser.see_text("server.properties", browser::PATIENCE).await;

    killed_one_at_a_time(&browser, &stage).await;

    // The same pages in Chinese, dark and narrow.
    browser.open(&format!("{}/e/dev", stage.url)).await;
    browser.press("button[name=language][value=zh]").await;
    browser.see_text("主机", browser::PATIENCE).await;
    browser.page.set_window_size(390, 900).await.unwrap();
    for path in [
        "",
        "e/dev",
        "e/dev/hosts",
        "e/dev/services",
        "e/dev/services/kafka/status",
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
        assert!(wide.as_i64().unwrap() <= 0, "/{path} is {wide} px wider than a phone");
    }
    browser.page.clone().close().await.unwrap();
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
    if kind == "kafka" {
        browser.picture("plan").await;
    }
    browser.press("main form button.btn-primary").await;
    browser.see("section.flow").await;
    browser.see_within(".chip-done", Duration::from_secs(90)).await;
    browser.open(&format!("{}/e/dev/services/{kind}/status", stage.url)).await;
    browser.see_within("section .chip-healthy", Duration::from_secs(60)).await;
}

/// kill -9 of portal, agent and supervisord, one after the other: nothing of what runs is touched or started twice.
async fn killed_one_at_a_time(browser: &Browser, stage: &Stage) {
    let before = stage.instances();
    assert_eq!(before.len(), 3, "{before:?}");
    for victim in ["supervisord", "zms-agent", "zms-portal"] {
        stage.kill_9(victim);
        stage.until(&format!("{victim} is back"), || stage.runs(victim));
        assert_eq!(stage.instances(), before, "after kill -9 of {victim} the same processes run, each once");
    }
    browser.open(&format!("{}/e/dev/services", stage.url)).await;
    let end = Instant::now() + Duration::from_secs(40);
    while browser.count(".chip-healthy").await < 3 {
        assert!(Instant::now() < end, "not all are healthy again:\n{}", browser.text().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

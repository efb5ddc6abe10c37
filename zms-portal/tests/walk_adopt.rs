//! Coming with what is there, as an operator walks it in a real browser: a Kafka, a RocketMQ and a ZooKeeper that ZMS did not start are
//! adopted from the first page, topics and groups are taken over, and an environment is made of a tree that the first ZMS wrote.

#![allow(clippy::disallowed_methods, reason = "the test plays the person at the keyboard")]
#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "walk_adopt/adopting.rs"]
mod adopting;
#[path = "walk/browser.rs"]
#[allow(dead_code, reason = "both walks share it")]
mod browser;
#[path = "walk_adopt/first.rs"]
mod first;
#[path = "walk_adopt/importing.rs"]
mod importing;
#[path = "walk_adopt/outside.rs"]
mod outside;
#[path = "walk_adopt/pictures.rs"]
mod pictures;
#[path = "walk/stage.rs"]
#[allow(dead_code, reason = "this walk installs nothing")]
mod stage;
#[path = "walk_adopt/taking.rs"]
mod taking;

use std::time::Instant;

use browser::Browser;
use outside::Outside;
use stage::Stage;

const PASSWORD: &str = "a lantern over the harbour";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_has_servers_already_adopts_and_imports_them() {
    let mut clock = Clock(Instant::now(), Instant::now());
    let (outside, stage) = std::thread::scope(|scope| {
        let outside = scope.spawn(Outside::start);
        let stage = Stage::set();
        (outside.join().unwrap(), stage)
    });
    clock.says("servers outside and an empty portal are up");
    let shop = adopting::fill(&outside).await;
    clock.says("topics, messages and groups are there");

    let browser = Browser::start("en", pictures::WIDTH).await;
    sign_up(&browser, &stage).await;
    adopting::an_environment_from_the_first_page(&browser, &stage).await;
    adopting::networks(&browser, &stage).await;
    clock.says("the first page, an environment, its networks");
    adopting::kafka(&browser, &stage, &outside, &shop).await;
    adopting::rocketmq(&browser, &stage, &outside, &shop).await;
    adopting::lists(&browser, &stage).await;
    clock.says("Kafka and RocketMQ are adopted");
    taking::a_store_and_found_by_applications(&browser, &stage, &outside).await;
    taking::by_pattern(&browser, &stage, &shop).await;
    clock.says("topics and groups are taken over");
    importing::walk(&browser, &stage, &outside).await;
    clock.says("the first ZMS's tree is imported and secured");
    on_a_phone(&browser, &stage).await;
    clock.says("pages in Chinese, dark, on a phone");
    println!("walk: all of it took {:.0} s", clock.0.elapsed().as_secs_f32());
    browser.page.clone().close().await.unwrap();
}

/// Since the beginning, and since the part before.
struct Clock(Instant, Instant);

impl Clock {
    fn says(&mut self, what: &str) {
        println!("walk: {what}, {:.1} s", self.1.elapsed().as_secs_f32());
        self.1 = Instant::now();
    }
}

async fn sign_up(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/setup", stage.url)).await;
    browser.fill("code", &stage.code).await;
    browser.fill("name", "admin").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("again", PASSWORD).await;
    browser.press("main form button.btn-primary").await;
    browser.see(".rail").await;
}

/// Every page of the walk that was not looked at on its way.
async fn on_a_phone(browser: &Browser, stage: &Stage) {
    pictures::look(browser, "zh", "dark").await;
    let longest = outside::longest();
    for path in [
        "",
        "e/shop",
        "e/shop/networks",
        "e/shop/clusters",
        "e/shop/clusters/adopt",
        "e/shop/clusters/old-kafka/brokers",
        "e/shop/clusters/old-kafka/change",
        "e/shop/clusters/old-kafka/groups/shop-billing",
        &format!("e/shop/clusters/old-kafka/topics/{longest}"),
        "e/shop/clusters/old-rocketmq",
        "e/shop/clusters/old-rocketmq/topics",
        "e/shop/clusters/old-rocketmq/groups",
        "e/shop/topics/shop-orders/overview",
        "e/shop/groups/shop-billing",
        "e/old",
        "e/old/metadata",
        "e/old/import",
        "e/old/topics/order_created/clients",
        "e/old/groups/order_bill",
    ] {
        browser.open(&format!("{}/{path}", stage.url)).await;
        browser.see("html[lang^=zh][data-bs-theme=dark]").await;
        let name: String = path.replace('/', "-").chars().take(60).collect();
        pictures::whole(browser, &format!("zh-{name}")).await;
        pictures::phone(browser, &format!("zh-{name}")).await;
    }
}

//! From an empty portal to the lag of groups on brokers that ZMS did not install.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zms_drivers::broker::Consumer;

use crate::browser::{self, Browser};
use crate::outside::{Outside, longest};
use crate::pictures;
use crate::stage::Stage;

/// Nothing installed, and lag is there: the promise is five minutes.
const PROMISE: Duration = Duration::from_secs(300);

/// What is on the brokers.
pub struct Shop {
    /// Lag of the group that is half done, on Kafka.
    pub billing: i64,
    /// Of one on a topic whose name has dots.
    pub reports: i64,
    /// On RocketMQ.
    pub settle: i64,
    _asleep: Arc<dyn Consumer>,
}

/// Topics, messages and groups, as applications have left them.
pub async fn fill(outside: &Outside) -> Shop {
    let (kafka, rocketmq) = (outside.kafka(), outside.rocketmq());
    kafka.topic("shop-orders", 3, 300).await;
    kafka.topic("shop-payments", 1, 50).await;
    kafka.topic("shop-stock", 1, 10).await;
    kafka.topic("sales.eu.daily", 2, 40).await;
    kafka.topic(&longest(), 1, 1).await;
    let billing = kafka.half_done("shop-billing", "shop-orders").await;
    kafka.all_done("shop-audit", "shop-payments").await;
    kafka.one_partition_done("shop-new", "shop-orders").await;
    let reports = kafka.half_done("sales.reports", "sales.eu.daily").await;
    let asleep = kafka.never_commits("shop-asleep", "shop-stock").await;
    // Of the first ZMS, whose topics of statistics somebody made by hand.
    for topic in ["order_created", "order.v1", "statistic_topic_producerinfo", "statistic_topic_consumerinfo"] {
        kafka.topic(topic, 2, 4).await;
    }
    rocketmq.topic("shop-orders", 4, 40).await;
    rocketmq.topic("bank-invoices", 4, 60).await;
    let settle = rocketmq.half_done("bank-settle", "bank-invoices").await;
    rocketmq.known("bank-asleep").await;
    Shop { billing, reports, settle, _asleep: asleep }
}

/// "I already have Kafka or RocketMQ" stands on the first page, also where there is no environment yet.
pub async fn an_environment_from_the_first_page(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/", stage.url)).await;
    pictures::both(browser, "first-page", "起步").await;
    browser.follow("I already have Kafka or RocketMQ").await;
    browser.fill("name", "shop").await;
    browser.fill("title", "Shop").await;
    browser.choose("colour", "green").await;
    browser.press("form.card button.btn-primary").await;
    // It leads on to what was wanted.
    browser.see("textarea[name=addresses]").await;
    assert!(browser.text().await.contains("Adopt a cluster"), "{}", browser.text().await);
}

/// Where brokers may be is said on the environment's page.
pub async fn networks(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/e/shop", stage.url)).await;
    browser.press("main a[href='/e/shop/networks']").await;
    browser.fill("networks", "127.0.0.0/33").await;
    browser.press("main form button.btn-primary").await;
    browser.see("textarea[name=networks].is-invalid").await;
    browser.see_text("127.0.0.0/33: an address and the length of its prefix", browser::PATIENCE).await;
    pictures::whole(browser, "networks-wrong").await;
    browser.fill("networks", "127.0.0.0/8").await;
    pictures::both(browser, "networks", "代理网络").await;
    browser.fill("networks", "127.0.0.0/8").await;
    browser.press("main form button.btn-primary").await;
    browser.see_text("Networks of brokers: 127.0.0.0/8", browser::PATIENCE).await;
}

async fn form(browser: &Browser, kind: &str, name: &str, addresses: &str) {
    browser.choose("kind", kind).await;
    browser.fill("name", name).await;
    browser.fill("addresses", addresses).await;
}

/// What was wrong stands at its field, in a sentence, with everything that was typed.
async fn refused(browser: &Browser, stage: &Stage) {
    form(browser, "kafka", "old kafka", "169.254.169.254:9092").await;
    browser.press("button[name=act][value='']").await;
    browser.see("input[name=name].is-invalid").await;
    browser.see("textarea[name=addresses].is-invalid").await;
    let said = browser.see("#addresses-help .invalid-feedback").await.text().await.unwrap();
    assert!(said.contains("169.254.169.254:9092 is outside the networks"), "{said}");
    assert!(said.contains("127.0.0.0/8"), "it says which networks are allowed: {said}");
    let typed = browser.see("textarea[name=addresses]").await.prop("value").await.unwrap();
    assert_eq!(typed.as_deref(), Some("169.254.169.254:9092"), "what was typed is still there");
    pictures::whole(browser, "adopt-refused").await;
    pictures::phone(browser, "adopt-refused").await;
    let nobody = format!("127.0.0.1:{}", zms_testbed::free_port());
    form(browser, "kafka", "old-kafka", &nobody).await;
    browser.press("button[name=act][value=try]").await;
    browser.see_within("main .alert-danger", browser::PATIENCE).await;
    browser.see_text("Nobody takes the call there", browser::PATIENCE).await;
    pictures::whole(browser, "adopt-unreachable").await;
    browser.open(&format!("{}/e/shop/clusters", stage.url)).await;
    browser.see_text("There is no cluster yet", browser::PATIENCE).await;
    pictures::both(browser, "clusters-none", "尚无集群").await;
}

/// Tries, adopts, and waits for the groups' lag; the page shows it within [`PROMISE`].
async fn adopt(browser: &Browser, (kind, name, addresses): (&str, &str, &str), brokers: &[&str], groups: &[(&str, &str)]) {
    form(browser, kind, name, addresses).await;
    browser.press("button[name=act][value=try]").await;
    browser.see_within("main .alert-success", browser::PATIENCE).await;
    let said = browser.see("main .alert-success").await.text().await.unwrap();
    for broker in brokers {
        assert!(said.contains(broker), "a try shows {broker}: {said}");
    }
    pictures::whole(browser, &format!("adopt-{kind}-tried")).await;
    pictures::phone(browser, &format!("adopt-{kind}-tried")).await;
    let begun = Instant::now();
    browser.press("button[name=act][value='']").await;
    loop {
        let mut missing = Vec::new();
        for (group, lag) in groups {
            let row = browser.row(group).await;
            if row.as_ref().and_then(|cells| cells.get(3)).map(String::as_str) != Some(*lag) {
                missing.push(format!("{group}: {lag}, not {row:?}"));
            }
        }
        if missing.is_empty() {
            break;
        }
        assert!(begun.elapsed() < PROMISE, "{missing:?}\n{}", browser.text().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        browser.page.refresh().await.unwrap();
    }
    println!("walk: lag of the groups on {name} was on the page {:.1} s after the click", begun.elapsed().as_secs_f32());
    assert!(browser.page.current_url().await.unwrap().path().ends_with("/groups"), "it leads to the groups");
}

/// ZMS did not install it, so nothing there starts, stops, restarts or updates it.
async fn no_life_cycle(browser: &Browser, stage: &Stage, name: &str) {
    browser.open(&format!("{}/e/shop/clusters/{name}", stage.url)).await;
    let buttons: Vec<String> = browser.buttons().await.into_iter().filter(|text| !text.is_empty()).collect();
    assert_eq!(buttons, ["Take over", "Change", "Let applications find it", "Let go"]);
    assert_eq!(browser.count("main a[href*='/services/']").await, 0, "it is no service");
    browser.open(&format!("{}/e/shop/services", stage.url)).await;
    browser.see("main").await;
    assert!(browser.row(name).await.is_none(), "it is no service:\n{}", browser.text().await);
}

pub async fn kafka(browser: &Browser, stage: &Stage, outside: &Outside, shop: &Shop) {
    browser.open(&format!("{}/", stage.url)).await;
    browser.follow("I already have Kafka or RocketMQ").await;
    refused(browser, stage).await;
    browser.follow("I already have Kafka or RocketMQ").await;
    let broker = format!("1 {}", outside.kafka.plain());
    let billing = shop.billing.to_string();
    let groups = [("shop-billing", billing.as_str()), ("shop-audit", "0"), ("shop-asleep", "unknown"), ("shop-new", "≥ 0")];
    let kafka = outside.kafka.plain();
    adopt(browser, ("kafka", "old-kafka", &kafka), &[&broker], &groups).await;
    let asleep = browser.row("shop-asleep").await.unwrap();
    assert_eq!((asleep[1].as_str(), asleep[2].as_str()), ("consuming", "1"), "one is connected: {asleep:?}");
    let new = browser.row("shop-new").await.unwrap();
    assert!(new[4].contains("2 partitions without a commit"), "{new:?}");
    pictures::both(browser, "groups-kafka", "消费组").await;
    no_life_cycle(browser, stage, "old-kafka").await;
    browser.open(&format!("{}/e/shop/clusters/old-kafka", stage.url)).await;
    pictures::both(browser, "cluster-kafka", "已接管").await;
}

pub async fn rocketmq(browser: &Browser, stage: &Stage, outside: &Outside, shop: &Shop) {
    browser.open(&format!("{}/e/shop/clusters", stage.url)).await;
    browser.follow("I already have Kafka or RocketMQ").await;
    let broker = outside.rocketmq.address("broker-a", 0);
    let settle = shop.settle.to_string();
    let groups = [("bank-settle", settle.as_str()), ("bank-asleep", "unknown")];
    let addresses = outside.rocketmq.name_servers().join("\n");
    adopt(browser, ("rocketmq", "old-rocketmq", &addresses), &["broker-a", &broker], &groups).await;
    pictures::both(browser, "groups-rocketmq", "消费组").await;
    no_life_cycle(browser, stage, "old-rocketmq").await;
    browser.open(&format!("{}/e/shop/clusters/old-rocketmq", stage.url)).await;
    pictures::both(browser, "cluster-rocketmq", "已接管").await;
    // What somebody has who adopted everything and installed nothing.
    browser.open(&format!("{}/", stage.url)).await;
    browser.see_text("old-rocketmq", browser::PATIENCE).await;
    pictures::both(browser, "first-page-adopted", "old-kafka").await;
    browser.open(&format!("{}/e/shop", stage.url)).await;
    browser.see_text("old-rocketmq", browser::PATIENCE).await;
    pictures::both(browser, "environment-adopted", "old-kafka").await;
}

/// Everything that is on the brokers stands in the lists, whatever its name.
pub async fn lists(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/e/shop/clusters/old-kafka/topics", stage.url)).await;
    for (topic, partitions, kept) in [("shop-orders", "3", "300"), ("sales.eu.daily", "2", "40"), (&longest(), "1", "1")] {
        let row = browser.row(topic).await.unwrap_or_else(|| panic!("no row of {topic}"));
        assert_eq!((row[1].as_str(), row[4].as_str()), (partitions, kept), "{row:?}");
    }
    assert!(browser.row("sales.eu.daily").await.unwrap()[6].contains("the name is not allowed"));
    assert_eq!(browser.row("shop-orders").await.unwrap()[6], "can be taken over");
    pictures::both(browser, "topics-kafka", "可纳管").await;
    browser.press(&format!("main td a[href$='/{}']", longest())).await;
    browser.see_text("Messages kept", browser::PATIENCE).await;
    pictures::both(browser, "topic-longest", "保留消息数").await;
    browser.open(&format!("{}/e/shop/clusters/old-rocketmq/topics", stage.url)).await;
    let row = browser.row("shop-orders").await.expect("the same name on the other cluster");
    assert_eq!((row[1].as_str(), row[4].as_str()), ("4", "40"), "{row:?}");
    pictures::both(browser, "topics-rocketmq", "可纳管").await;
}

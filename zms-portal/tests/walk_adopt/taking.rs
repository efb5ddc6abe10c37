//! Topics and groups that are there get an owner, and applications find them by name.

use std::time::Duration;

use crate::adopting::Shop;
use crate::browser::{self, Browser};
use crate::outside::Outside;
use crate::pictures;
use crate::stage::Stage;

/// How long a flow may take.
const FLOW: Duration = Duration::from_secs(40);

/// An empty ZooKeeper that ZMS did not install is the environment's store; then applications may find both clusters.
pub async fn a_store_and_found_by_applications(browser: &Browser, stage: &Stage, outside: &Outside) {
    browser.open(&format!("{}/e/shop/clusters/old-kafka/take-over", stage.url)).await;
    browser.see_text("Applications do not find this cluster yet", browser::PATIENCE).await;
    pictures::both(browser, "take-over-unpublished", "应用尚不能发现此集群").await;
    browser.open(&format!("{}/e/shop/metadata", stage.url)).await;
    browser.fill("addresses", "169.254.169.254:2181").await;
    browser.press("button[formaction$='/metadata/try']").await;
    browser.see("input[name=addresses].is-invalid").await;
    browser.see_text("169.254.169.254:2181 is outside the environment's networks", browser::PATIENCE).await;
    pictures::whole(browser, "metadata-refused").await;
    browser.fill("addresses", &outside.zookeeper.plain()).await;
    browser.press("button[formaction$='/metadata/try']").await;
    browser.see_text("not there: a tree will be made with the first cluster", browser::PATIENCE).await;
    browser.press("form[action$='/metadata'] button.btn-primary").await;
    browser.see_text("not by ZMS", browser::PATIENCE).await;
    browser.see_text("This ZooKeeper has no TLS", browser::PATIENCE).await;
    assert_eq!(browser.count("button[name=mode]").await, 0, "there are no rights to be switched");
    pictures::both(browser, "metadata-open", "对所有人开放").await;
    for cluster in ["old-kafka", "old-rocketmq"] {
        browser.open(&format!("{}/e/shop/clusters/{cluster}", stage.url)).await;
        browser.press_surely("form[action$='/act/publish'] button").await;
        browser.flow_is_done(FLOW).await;
        pictures::whole(browser, &format!("published-{cluster}")).await;
    }
}

/// By pattern, without one that was unticked, for an owner who exists.
pub async fn by_pattern(browser: &Browser, stage: &Stage, shop: &Shop) {
    browser.open(&format!("{}/e/shop/clusters/old-kafka/topics", stage.url)).await;
    browser.follow("Take over").await;
    browser.fill("pattern", "shop-*").await;
    browser.follow("Show").await;
    browser.until_count("input[name=topic]", 3).await;
    assert_eq!(browser.row("sales.eu.daily").await, None, "the pattern does not fit it");
    let asleep = browser.row("shop-asleep").await.expect("what cannot be taken over is shown with the reason");
    assert!(asleep[3].contains("it committed nothing"), "{asleep:?}");
    pictures::both(browser, "take-over", "纳管所选").await;
    browser.press("input[name=topic][value=shop-stock]").await;
    browser.fill("owner", "nobody-here").await;
    browser.press("main form[method=post] button.btn-primary").await;
    browser.see("input[name=owner].is-invalid").await;
    pictures::whole(browser, "take-over-refused").await;
    let stock = browser.see("input[name=topic][value=shop-stock]").await;
    assert!(!stock.is_selected().await.unwrap(), "what was unticked is still so");
    browser.fill("owner", "admin").await;
    browser.press("main form[method=post] button.btn-primary").await;
    browser.flow_is_done(FLOW).await;
    pictures::whole(browser, "taken-over").await;

    // Governed from now on: they have pages, and the others are still in the lists.
    browser.open(&format!("{}/e/shop/topics", stage.url)).await;
    let row = browser.row("shop-orders").await.expect("it is governed");
    assert_eq!((row[1].as_str(), row[2].as_str(), row[5].as_str()), ("old-kafka", "3", "admin"), "{row:?}");
    assert!(browser.row("shop-payments").await.is_some() && browser.row("shop-stock").await.is_none());
    browser.open(&format!("{}/e/shop/topics/shop-orders/overview", stage.url)).await;
    browser.see_text("shop-billing", browser::PATIENCE).await;
    pictures::both(browser, "topic-governed", "shop-billing").await;
    browser.open(&format!("{}/e/shop/groups/shop-billing", stage.url)).await;
    assert_eq!(browser.see("main p strong").await.text().await.unwrap(), shop.billing.to_string(), "its lag");
    browser.open(&format!("{}/e/shop/clusters/old-kafka/topics", stage.url)).await;
    for (topic, governed) in [("shop-orders", "governed"), ("shop-stock", "can be taken over")] {
        assert_eq!(browser.row(topic).await.unwrap()[6], governed, "{topic}");
    }
    assert!(browser.row("sales.eu.daily").await.unwrap()[6].contains("the name is not allowed"));
    browser.open(&format!("{}/e/shop/clusters/old-kafka/groups", stage.url)).await;
    let reports = browser.row("sales.reports").await.expect("what is physical only stays visible");
    assert_eq!(reports[3], shop.reports.to_string(), "{reports:?}");
    pictures::both(browser, "groups-after", "受管").await;
    the_other_cluster(browser, stage).await;
}

/// The same topic there stays physical, with the reason.
async fn the_other_cluster(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/e/shop/clusters/old-rocketmq/take-over?pattern=*", stage.url)).await;
    let orders = browser.row("shop-orders").await.unwrap();
    assert!(orders[1].contains("the name belongs to one on cluster old-kafka"), "{orders:?}");
    let wheel = browser.row("rmq_sys_wheel_timer").await.unwrap();
    assert_eq!(wheel[1], "one of the brokers' own", "{wheel:?}");
    browser.until_count("input[name=topic]:checked", 1).await;
    pictures::both(browser, "take-over-rocketmq", "old-kafka").await;
    browser.press("main form[method=post] button.btn-primary").await;
    browser.flow_is_done(FLOW).await;
    browser.open(&format!("{}/e/shop/groups", stage.url)).await;
    let row = browser.row("bank-settle").await.expect("it is governed");
    assert_eq!(row[1], "bank-invoices", "{row:?}");
    browser.open(&format!("{}/e/shop/clusters/old-rocketmq/topics", stage.url)).await;
    assert!(browser.row("shop-orders").await.is_some(), "what is physical only stays visible");
}

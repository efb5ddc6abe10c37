//! An environment out of a tree that the first ZMS wrote, with its Java clients at work.

use std::time::{Duration, Instant};

use crate::browser::{self, Browser};
use crate::first::{Contents, Tree};
use crate::outside::Outside;
use crate::pictures;
use crate::stage::Stage;

const FLOW: Duration = Duration::from_secs(40);

pub async fn walk(browser: &Browser, stage: &Stage, outside: &Outside) {
    let tree = Tree::write(&outside.first.plain(), &outside.kafka.plain(), &outside.rocketmq.name_servers().join(";")).await;
    let clients = tree.java_clients().await;
    a_store(browser, stage, outside).await;
    preview(browser, stage, &tree).await;
    import(browser, &tree).await;
    java_clients(browser, stage).await;
    rights(browser, stage, &tree).await;
    drop(clients);
}

/// A second environment, whose store is the old ZooKeeper.
async fn a_store(browser: &Browser, stage: &Stage, outside: &Outside) {
    browser.open(&format!("{}/environments/new", stage.url)).await;
    browser.fill("name", "old").await;
    browser.fill("title", "Old world").await;
    browser.choose("colour", "orange").await;
    browser.press("form.card button.btn-primary").await;
    browser.see_text("Old world", browser::PATIENCE).await;
    browser.follow("Metadata store").await;
    browser.fill("addresses", &outside.first.tls().unwrap()).await;
    browser.fill("authority", outside.first.authority_pem()).await;
    browser.press("button[formaction$='/metadata/try']").await;
    browser.see_within("#found", browser::PATIENCE).await;
    let found = browser.see("#found").await.text().await.unwrap();
    for said in ["3.9.", "of a first ZMS, with 7 topics and 3 groups: it can be imported"] {
        assert!(found.contains(said), "{said}: {found}");
    }
    assert_eq!(browser.count("#found .chip-failed").await, 0, "reached, and with rights: {found}");
    pictures::whole(browser, "metadata-tried").await;
    pictures::phone(browser, "metadata-tried").await;
    browser.press("form[action$='/metadata'] button.btn-primary").await;
    browser.see_text("not by ZMS", browser::PATIENCE).await;
    pictures::both(browser, "metadata", "元数据存储").await;
}

/// What was found and what would be done; nothing is done before somebody says so.
async fn preview(browser: &Browser, stage: &Stage, tree: &Tree) {
    let before = tree.contents().await;
    browser.follow("Import what is there").await;
    let end = Instant::now() + Duration::from_secs(30);
    while !browser.text().await.contains("made by a first ZMS") {
        assert!(Instant::now() < end, "the tree is not read:\n{}", browser.text().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        browser.page.refresh().await.unwrap();
    }
    // The portal's session is there now, so not even that moves the server's counter.
    let transaction = tree.last_transaction();
    browser.open(&format!("{}/e/old/import", stage.url)).await;
    let page = browser.text().await;
    for said in [
        "made by a first ZMS",
        "Java clients of the first ZMS that are connected: 2",
        "2 clusters, 2 topics and 2 groups are made known",
        "/zms/system and /zms/client are made",
    ] {
        assert!(page.contains(said), "{said}:\n{page}");
    }
    for (name, cell, expected) in [
        ("mq-a", 1, "kafka"),
        ("mq-b", 1, "rocketmq"),
        ("order_created", 1, "mq-a"),
        ("order_created", 3, "1"),
        ("order_bill", 1, "order_created"),
        ("order_bill", 3, "1"),
        ("bank-settle", 1, "bank-invoices"),
        ("/zms/topic/order.v1", 1, "nobody could ask for this name: it stays with its brokers alone"),
        ("/zms/topic/half_made", 1, "it is empty"),
        ("/zms/topic/sold_abroad", 1, "its cluster mq-abroad has no usable node"),
        ("/zms/consumergroup/order_archive", 1, "its topic order.v1 is not imported"),
        ("/zms/topic/statistic_topic_producerinfo", 1, "one of ZMS's own"),
    ] {
        let row = browser.row(name).await.unwrap_or_else(|| panic!("no row {name}:\n{page}"));
        assert_eq!(row[cell], expected, "{row:?}");
    }
    let abroad = browser.row("/zms/cluster/mq-abroad").await.unwrap();
    assert!(abroad[1].contains("203.0.113.7:9092 is outside the networks"), "{abroad:?}");
    pictures::both(browser, "import", "203.0.113.7:9092 不在本环境允许的代理网络内").await;
    assert_eq!(tree.last_transaction(), transaction, "a look writes nothing at all");
    assert_eq!(tree.contents().await, before, "not a byte, no version, no transaction");
}

/// After a person said so everything is known, and what the first ZMS wrote is as it was.
async fn import(browser: &Browser, tree: &Tree) {
    let before = tree.contents().await;
    browser.press("form[action='/e/old/import'] button.btn-primary").await;
    browser.flow_is_done(FLOW).await;
    pictures::both(browser, "imported", "导入元数据").await;
    let end = Instant::now() + FLOW;
    let statistics = "/zms/consumergroup/zms_collector";
    let mut after = Contents::new();
    while !after.contains_key(statistics) {
        assert!(Instant::now() < end, "the collectors' groups are not made: {:?}", after.keys());
        tokio::time::sleep(Duration::from_millis(300)).await;
        after = tree.contents().await;
    }
    for (path, node) in before.iter().filter(|(path, _)| path.as_str() != "/zms") {
        assert_eq!(after.get(path), Some(node), "{path} is as it was");
    }
    assert!(after.contains_key("/zms/system/id"), "{:?}", after.keys());
}

/// Who sends and who consumes.
async fn java_clients(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/e/old/topics/order_created/clients", stage.url)).await;
    for (name, does, ip, started) in [
        ("DEFAULT_PRODUCER", "sends", "10.20.30.41", "2026-11-21 08:40:02"),
        ("DEFAULT_CONSUMER", "consumes", "10.20.30.42", "2026-11-21 08:41:17"),
    ] {
        let row = browser.row(name).await.unwrap_or_else(|| panic!("{name} is not there"));
        assert!(row[1] == does && row[7] == ip && row[8] == "Java 1.0.0" && row[9].starts_with(started), "{row:?}");
    }
    pictures::both(browser, "java-topic", "DEFAULT_PRODUCER").await;
    browser.open(&format!("{}/e/old/groups/order_bill", stage.url)).await;
    browser.see_text("DEFAULT_CONSUMER", browser::PATIENCE).await;
    assert!(!browser.text().await.contains("DEFAULT_PRODUCER"), "it does not consume:\n{}", browser.text().await);
    pictures::both(browser, "java-group", "DEFAULT_CONSUMER").await;
}

/// Legacy mode is red wherever the environment is looked at, and ends by a flow.
async fn rights(browser: &Browser, stage: &Stage, tree: &Tree) {
    browser.open(&format!("{}/e/old", stage.url)).await;
    let warned = browser.see("main .alert-danger").await.text().await.unwrap();
    assert!(warned.contains("Legacy mode"), "{warned}");
    pictures::both(browser, "environment-legacy", "兼容模式").await;
    browser.press("main .alert-danger a").await;
    browser.see(".chip-failed").await;
    assert_eq!(tree.anybody_reads_and_changes("order_created").await, (true, true), "as the first ZMS left it");
    browser.press("button[name=mode][value=legacy]").await;
    browser.flow_is_done(FLOW).await;
    assert_eq!(tree.anybody_reads_and_changes("order_created").await, (true, false));
    browser.open(&format!("{}/e/old/metadata", stage.url)).await;
    browser.press("button[name=mode][value=secured]").await;
    browser.see("input[name=confirm].is-invalid").await;
    browser.see_text("2 Java clients are connected", browser::PATIENCE).await;
    pictures::whole(browser, "rights-refused").await;
    browser.fill("confirm", "old").await;
    browser.press("button[name=mode][value=secured]").await;
    browser.flow_is_done(FLOW).await;
    pictures::both(browser, "rights-switched", "重写元数据权限").await;
    assert_eq!(tree.anybody_reads_and_changes("order_created").await, (false, false));
    browser.open(&format!("{}/e/old", stage.url)).await;
    browser.see("main").await;
    assert_eq!(browser.count("main .alert-danger").await, 0, "{}", browser.text().await);
}

//! What people do among themselves: one is invited and applies, another approves.

use std::time::Duration;

use crate::PASSWORD;
use crate::browser::{self, Browser};
use crate::stage::Stage;

/// What dora chooses.
const HERS: &str = "a second lantern, further out";

/// Fills in the form for a topic with a group.
pub async fn apply(browser: &Browser, stage: &Stage) {
    browser.open(&format!("{}/e/dev/requests/new/topic", stage.url)).await;
    browser.fill("name", "orders of today").await;
    browser.fill("about", "Orders as they are placed").await;
    browser.fill("group", "billing").await;
    browser.press("main form button.btn-primary").await;
    browser.see("input[name=name].is-invalid").await;
    browser.fill("name", "orders").await;
    browser.press("main form button.btn-primary").await;
    browser.see("p.about").await;
}

/// A developer comes in by a link that works once and applies; the administrator signs in where she was, and chooses otherwise than was proposed.
pub async fn by_a_developer(administrator: &Browser, stage: &Stage) {
    administrator.open(&format!("{}/settings/users", stage.url)).await;
    administrator.fill_css("#invite [name=name]", "dora").await;
    administrator.tick("#invite [name=role][value=developer]").await;
    administrator.press("#invite button.btn-primary").await;
    let link = administrator.see("#invitation-link").await.prop("textContent").await.unwrap().unwrap();

    let hers = &Browser::start("en", 1280).await;
    hers.open(link.trim()).await;
    hers.fill("password", HERS).await;
    hers.fill("again", HERS).await;
    let shown = hers.page.current_url().await.unwrap();
    assert_eq!(shown.fragment().unwrap_or_default(), "", "the secret is gone from the address bar");
    hers.press("main form button.btn-primary").await;
    hers.see(".rail").await;
    apply(hers, stage).await;
    hers.see("form[action$=\"/withdraw\"]").await;
    assert_eq!(hers.count("button[name=approve]").await, 0, "a developer decides nothing");
    hers.press(".user-name").await;
    hers.press("form[action=\"/logout\"] button").await;

    hers.open(&format!("{}/login", stage.url)).await;
    hers.fill("name", "admin").await;
    hers.fill("password", PASSWORD).await;
    hers.press("main form button.btn-primary").await;
    hers.see(".rail").await;
    hers.open(&format!("{}/requests/1", stage.url)).await;
    hers.see("button[name=approve]").await;
    hers.picture("request").await;
    hers.choose("cluster", stage.broker).await;
    hers.fill("partitions", "6").await;
    hers.fill("replicas", "1").await;
    hers.press("button[name=approve]").await;
    hers.see_within(".flow .chip-done", Duration::from_secs(30)).await;
    hers.see_text("partitions: 6, replicas: 1", browser::PATIENCE).await;
    hers.open(&format!("{}/e/dev/topics/orders/partitions", stage.url)).await;
    hers.until_count("main table tbody tr", 6).await;
    hers.open(&format!("{}/e/dev/topics/orders/overview", stage.url)).await;
    hers.see_fact("Owner", "dora").await;
    hers.page.clone().close().await.unwrap();
}

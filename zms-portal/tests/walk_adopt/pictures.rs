//! Pages as people see them: English and light, Chinese and dark, and on a phone.

use crate::browser::{self, Browser};

/// Width of the window, in pixels.
pub const WIDTH: u32 = 1280;
const HEIGHT: u32 = 1000;
const PHONE: u32 = 390;

/// A picture of the whole page, as it is.
pub async fn whole(browser: &Browser, name: &str) {
    if wanted() {
        photograph(browser, name, WIDTH).await;
        browser.page.set_window_size(WIDTH, HEIGHT).await.unwrap();
    }
}

/// Otherwise nobody looks at them.
fn wanted() -> bool {
    std::env::var_os("ZMS_WALK_IMAGES").is_some()
}

async fn photograph(browser: &Browser, name: &str, width: u32) {
    let height = browser.page.execute("return document.documentElement.scrollHeight", vec![]).await.unwrap();
    let height = u32::try_from(height.as_u64().unwrap()).unwrap_or(HEIGHT);
    browser.page.set_window_size(width, (height + 150).clamp(HEIGHT, 8000)).await.unwrap();
    browser.picture(name).await;
}

/// From here on pages are Chinese and dark, or English and light again.
pub async fn look(browser: &Browser, language: &str, theme: &str) {
    browser.press(&format!("button[name=language][value={language}]")).await;
    browser.see(&format!("html[lang^={language}]")).await;
    let click = format!("document.querySelector('button[name=theme][value={theme}]').click()");
    browser.page.execute(&click, vec![]).await.unwrap();
    browser.see(&format!("html[data-bs-theme={theme}]")).await;
}

/// Pictures of a page that can be opened again: in both looks, and no wider than a phone. `said`: what only its Chinese has.
pub async fn both(browser: &Browser, name: &str, said: &str) {
    whole(browser, name).await;
    look(browser, "zh", "dark").await;
    browser.see_text(said, browser::PATIENCE).await;
    whole(browser, &format!("{name}-dark")).await;
    phone(browser, name).await;
    look(browser, "en", "light").await;
}

/// The page on a phone: nothing of it is outside.
pub async fn phone(browser: &Browser, name: &str) {
    browser.page.set_window_size(PHONE, HEIGHT).await.unwrap();
    if wanted() {
        // As a phone opens a page: the menu is closed there.
        browser.page.execute("document.querySelector('.rail-menu').open = false", vec![]).await.unwrap();
        photograph(browser, &format!("{name}-phone"), PHONE).await;
    }
    let wide = browser.too_wide().await;
    assert!(wide <= 0, "{name} is {wide} px wider than a phone:\n{}", browser.text().await);
    browser.page.set_window_size(WIDTH, HEIGHT).await.unwrap();
}

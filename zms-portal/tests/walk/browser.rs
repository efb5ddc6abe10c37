//! A headless Chromium, driven as a person would: by what is written on links and buttons, and by the names of fields.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;

/// How long a page or a part of it may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// See the module. Dropping it ends the driver and with it the browser.
pub struct Browser {
    driver: Child,
    pub page: Client,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts Chromium in the given language, narrow or wide.
    pub async fn start(language: &str, width: u32) -> Self {
        let port = zms_testbed::free_port();
        // A group of its own, so that the browser ends with it whatever happens.
        let driver = Command::new("chromedriver")
            .process_group(0)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is there; scripts/setup installs it");
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!("--lang={language}"),
            format!("--window-size={width},1000"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        // The portal's certificate is of its own authority: a person compares the printed SHA-256 instead.
        let capabilities = serde_json::json!({
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments, "prefs": { "intl.accept_languages": language } },
        });
        let serde_json::Value::Object(capabilities) = capabilities else { unreachable!("an object was written above") };
        let url = format!("http://127.0.0.1:{port}");
        let mut tried = 0;
        let page = loop {
            match ClientBuilder::new(HttpConnector::new()).capabilities(capabilities.clone()).connect(&url).await {
                Ok(page) => break page,
                Err(error) => {
                    tried += 1;
                    assert!(tried < 50, "no session with chromedriver: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        };
        Self { driver, page, _profile: profile }
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.page.goto(url).await.unwrap_or_else(|error| panic!("opening {url}: {error}"));
    }

    /// Waits for an element.
    pub async fn see(&self, css: &str) -> Element {
        match self.page.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await {
            Ok(element) => element,
            Err(error) => {
                self.picture("failed").await;
                panic!("waiting for {css}: {error}\n{}", self.text().await)
            }
        }
    }

    /// Waits longer for an element, reading the page anew in between.
    pub async fn see_within(&self, css: &str, patience: Duration) {
        let end = tokio::time::Instant::now() + patience;
        while self.find(css).await.is_none() {
            assert!(tokio::time::Instant::now() < end, "after {patience:?} there is no {css}\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The element, if it is there now.
    pub async fn find(&self, css: &str) -> Option<Element> {
        self.page.find(Locator::Css(css)).await.ok()
    }

    /// Waits until there are so many.
    pub async fn until_count(&self, css: &str, wanted: usize) {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let found = self.count(css).await;
            if found == wanted {
                return;
            }
            assert!(std::time::Instant::now() < end, "{found} of {css}, not {wanted}:\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many there are now.
    pub async fn count(&self, css: &str) -> usize {
        self.page.find_all(Locator::Css(css)).await.map_or(0, |all| all.len())
    }

    /// Clicks what the selector names, as soon as it is there.
    pub async fn press(&self, css: &str) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while let Err(error) = self.press_once(self.see(css).await).await {
            // The page was replaced, or a part of it refreshed itself, between the look and the click.
            let gone = ["stale", "does not belong to the document", "detached"];
            let said = error.to_string();
            let again = gone.iter().any(|word| said.contains(word)) && tokio::time::Instant::now() < end;
            assert!(again, "clicking {css}: {said}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn press_once(&self, element: Element) -> Result<(), CmdError> {
        let there = vec![serde_json::to_value(&element).expect("an element is JSON")];
        self.page.execute("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", there).await?;
        element.click().await
    }

    /// Clicks the link or button that says exactly this.
    pub async fn follow(&self, text: &str) {
        let path = format!("//*[self::a or self::button or self::summary][normalize-space()=\"{text}\"]");
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let said = match self.page.find(Locator::XPath(&path)).await {
                Ok(element) => match self.press_once(element).await {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            assert!(tokio::time::Instant::now() < end, "following {text:?}: {said}\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Presses a button that asks first, and says yes.
    pub async fn press_surely(&self, css: &str) {
        self.press(css).await;
        self.press("dialog.sheet .btn-danger").await;
    }

    /// Waits for the page of a flow, which other pages may show too, and for its good end.
    pub async fn flow_is_done(&self, patience: Duration) {
        let end = tokio::time::Instant::now() + patience;
        while !self.page.current_url().await.is_ok_and(|url| url.path().starts_with("/flows/")) {
            assert!(tokio::time::Instant::now() < end, "after {patience:?} no flow is shown\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.see_within(".flow .chip-done", patience).await;
    }

    /// The cells of the row of a table that begins with `name`, if it is there now.
    pub async fn row(&self, name: &str) -> Option<Vec<String>> {
        let script = "for (const row of document.querySelectorAll('main table tbody tr')) {
            const cells = [...row.cells].map(cell => cell.innerText.trim());
            if (cells[0] === arguments[0]) return cells;
        }
        return null;";
        let cells = self.page.execute(script, vec![name.into()]).await.unwrap();
        serde_json::from_value(cells).unwrap()
    }

    /// Waits until a page that lists facts says this beside a title.
    pub async fn see_fact(&self, title: &str, wanted: &str) {
        let script = "for (const item of document.querySelectorAll('main .datagrid-item')) {
            if (item.querySelector('.datagrid-title').textContent.trim() === arguments[0]) {
                return item.querySelector('.datagrid-content').textContent.trim();
            }
        }
        return null;";
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.page.execute(script, vec![title.into()]).await.unwrap();
            if found == wanted {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{title:?} is {found}, not {wanted:?}:\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What buttons and links that look like buttons in the page itself say.
    pub async fn buttons(&self) -> Vec<String> {
        let script = "return [...document.querySelectorAll('main a.btn, main button')].map(button => button.innerText.trim())";
        serde_json::from_value(self.page.execute(script, vec![]).await.unwrap()).unwrap()
    }

    /// How many pixels the page is wider than the window.
    pub async fn too_wide(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.page.execute(script, vec![]).await.unwrap().as_i64().unwrap()
    }

    /// Ticks a box that is not ticked.
    pub async fn tick(&self, css: &str) {
        if !self.see(css).await.is_selected().await.unwrap() {
            self.press(css).await;
        }
    }

    /// Chooses an option by its text.
    pub async fn pick(&self, css: &str, text: &str) {
        let select = self.see(css).await;
        select.select_by_label(text).await.unwrap_or_else(|error| panic!("choosing {text} in {css}: {error}"));
    }

    /// Types into what the selector names.
    pub async fn fill_css(&self, css: &str, value: &str) {
        let field = self.see(css).await;
        let open =
            "let d = arguments[0].closest('details'); while (d) { d.open = true; d = d.parentElement.closest('details'); }";
        self.page.execute(open, vec![serde_json::to_value(&field).unwrap()]).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
    }

    /// Waits until the page says `text`.
    pub async fn see_text(&self, text: &str, patience: Duration) {
        let end = tokio::time::Instant::now() + patience;
        while !self.text().await.contains(text) {
            assert!(
                tokio::time::Instant::now() < end,
                "after {patience:?} the page does not say {text:?} but\n{}",
                self.text().await
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Address and visible text of the page.
    pub async fn text(&self) -> String {
        let url = self.page.current_url().await.map(|url| url.to_string()).unwrap_or_default();
        // What a person sees of it. WebDriver's own way to ask looks at the style of every element, in every look.
        let body = match self.page.execute("return document.body.innerText", vec![]).await {
            Ok(text) => text.as_str().unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        };
        format!("[{url}]\n{body}")
    }

    /// Types into the field of this name.
    pub async fn fill(&self, name: &str, value: &str) {
        let field = self.see(&format!("[name=\"{name}\"]:not([type=hidden])")).await;
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
    }

    /// Chooses a radio button, a checkbox or an option.
    pub async fn choose(&self, name: &str, value: &str) {
        if let Ok(select) = self.page.find(Locator::Css(&format!("select[name=\"{name}\"]"))).await {
            select.select_by_value(value).await.unwrap();
            return;
        }
        let field = self.see(&format!("input[name=\"{name}\"][value=\"{value}\"]")).await;
        if !field.is_selected().await.unwrap() {
            // A click on the label is what a person does; the input itself may be hidden behind its card.
            self.page.execute("arguments[0].click()", vec![serde_json::to_value(field).unwrap()]).await.unwrap();
        }
    }

    /// Writes a picture of the page to `docs/images` if the walk is told to (`ZMS_WALK_IMAGES`).
    pub async fn picture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("ZMS_WALK_IMAGES") {
            let folder = std::path::PathBuf::from(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("{name}.png")), self.page.screenshot().await.unwrap()).unwrap();
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
    }
}

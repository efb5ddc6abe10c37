//! What the walk walks on: a portal started as a new user would, a host joined by its line, and eyes on their processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zms_testbed::{free_port, free_ports};

/// See the module. Dropping it ends every process below its folder.
pub struct Stage {
    folder: tempfile::TempDir,
    port: u16,
    pub url: String,
    pub code: String,
    /// The kind of its brokers, and the name of their service and cluster.
    pub broker: &'static str,
    cookie: std::sync::Mutex<String>,
}

impl Stage {
    /// Runs `scripts/quickstart --empty` in a folder of its own and reads what it prints.
    pub fn set() -> Self {
        Self::with_brokers("kafka")
    }

    /// The same for brokers of another kind.
    pub fn with_brokers(broker: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("zms-walk-").tempdir().unwrap();
        let port = free_ports(4);
        let mut stage = Self { folder, port, url: String::new(), code: String::new(), broker, cookie: Default::default() };
        let output = stage.quickstart(&["--empty"]);
        let value = |label: &str| {
            let line = output
                .lines()
                .find_map(|line| line.trim().strip_prefix(label))
                .unwrap_or_else(|| panic!("no {label} in\n{output}"));
            line.trim().to_owned()
        };
        stage.url = value("URL").trim_end_matches("/setup").to_owned();
        stage.code = value("set-up code");
        assert_eq!(value("certificate SHA-256").split(':').count(), 32);
        stage
    }

    /// Again with the same folder brings back what was killed.
    fn quickstart(&self, more: &[&str]) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let output = Command::new(root.join("scripts/quickstart"))
            .args(["--profile", "dev", "--dir"])
            .arg(self.folder.path())
            .args(["--port", &self.port.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "scripts/quickstart: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn host(&self) -> PathBuf {
        self.folder.path().join("host")
    }

    /// As a person pastes it.
    pub fn run_join_line(&self, line: &str) {
        let output =
            Command::new("bash").arg("-c").arg(line).env("ZMS_JOIN_PREFIX", self.host()).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the join line: {}\n{said}", output.status);
    }

    /// Ports of this test's own, so that it does not meet servers that run on the machine.
    pub fn settings(&self, kind: &str) -> Vec<(&'static str, String)> {
        let free = || free_port().to_string();
        match kind {
            "zookeeper" => {
                vec![("client_port", free()), ("secure_port", free()), ("quorum_port", free()), ("election_port", free())]
            }
            "influxdb" => vec![("http_port", free()), ("rpc_port", free())],
            "collector" => vec![("frames_port", free()), ("status_port", free())],
            "rocketmq" => {
                vec![("nameserver_port", free()), ("master_port", free()), ("heap", "256".into())]
            }
            _ => vec![("client_port", free()), ("controller_port", free()), ("jolokia_port", free()), ("heap", "256".into())],
        }
    }

    /// The processes of instances, by their marker in /proc: instance → processes.
    pub fn instances(&self) -> BTreeMap<String, Vec<u32>> {
        let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for pid in processes() {
            let inside = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(self.host().join("data")));
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let marker = environment.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"ZMS_INSTANCE="));
            if let Some(marker) = marker.filter(|_| inside) {
                let id = String::from_utf8_lossy(marker).into_owned();
                if !["", "supervisord", "zms-agent"].contains(&id.as_str()) {
                    found.entry(id).or_default().push(pid);
                }
            }
        }
        // A process that an instance itself started for a moment is no second copy.
        for pids in found.values_mut() {
            let all = pids.clone();
            pids.retain(|pid| parent(*pid).is_none_or(|parent| !all.contains(&parent)));
        }
        found
    }

    /// Processes of one of our programs in this folder.
    fn of(&self, program: &str) -> Vec<u32> {
        let place = self.folder.path().to_string_lossy().into_owned();
        processes()
            .into_iter()
            .filter(|pid| {
                let command =
                    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ");
                let wanted = match program {
                    "supervisord" => command.contains("supervisor.supervisord"),
                    "zms-agent" => command.contains("zms-agent --prefix") && command.contains(" run"),
                    _ => command.contains("zms-portal --config"),
                };
                wanted && command.contains(&place)
            })
            .collect()
    }

    /// Does it run?
    pub fn runs(&self, program: &str) -> bool {
        !self.of(program).is_empty()
    }

    /// Bytes in the log of each instance.
    pub fn logs(&self) -> BTreeMap<String, u64> {
        let size = |id: &String| fs::metadata(self.host().join("log").join(id).join("out.log")).map_or(0, |file| file.len());
        self.instances().into_keys().map(|id| (id.clone(), size(&id))).collect()
    }

    /// kill -9 of an instance, if it runs.
    pub fn kill_instance(&self, id: &str) {
        kill(&self.instances().remove(id).unwrap_or_default());
    }

    /// kill -9; the portal, which nothing restarts on such a machine, is started again as the quickstart does.
    pub fn kill_9(&self, program: &str) {
        let pids = self.of(program);
        assert!(!pids.is_empty(), "{program} does not run");
        kill(&pids);
        if program == "zms-portal" {
            self.quickstart(&["--start"]);
        }
    }

    /// Waits for a condition.
    pub fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(90);
        while !condition() {
            assert!(Instant::now() < end, "after 90 s still not: {what}\n{}", self.story());
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    fn client_file(&self) -> PathBuf {
        self.folder.path().join("zms-client.toml")
    }

    /// From now on its requests are those of the person with this cookie.
    pub fn signed_in(&self, cookie: &str) {
        cookie.clone_into(&mut self.cookie.lock().unwrap());
    }

    /// What the API answers to a signed-in person's script.
    pub async fn get(&self, path: &str) -> serde_json::Value {
        let http = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
        let request = http.get(format!("{}/api/v1{path}", self.url)).header("cookie", self.cookie.lock().unwrap().clone());
        let response = request.timeout(Duration::from_secs(20)).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Makes the file for applications, as a signed-in person's script would.
    pub async fn take_client_file(&self) {
        let cookie = self.cookie.lock().unwrap().clone();
        let http = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
        let request = http.post(format!("{}/api/v1/environments/dev/client-file", self.url));
        let request =
            request.header("cookie", cookie).header("content-type", "application/json").header("sec-fetch-site", "same-origin");
        let response = request.timeout(Duration::from_secs(10)).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{status}: {text}");
        assert!(
            text.contains("user = \"sdk\"") && text.contains("BEGIN CERTIFICATE"),
            "the metadata is read over TLS, with an identity"
        );
        fs::write(self.client_file(), text).unwrap();
    }

    /// Starts the example that sends to `orders`.
    pub fn send(&self, rate: &str, more: &[&str]) -> Example {
        let arguments = ["--topic", "orders", "--rate", rate].iter().chain(more).copied().collect::<Vec<_>>();
        self.example("send", &arguments)
    }

    /// Starts the example that consumes with `billing`.
    pub fn consume(&self) -> Example {
        self.example("consume", &["--group", "billing"])
    }

    fn example(&self, name: &str, arguments: &[&str]) -> Example {
        let program = Path::new(env!("CARGO_BIN_EXE_zms-portal")).with_file_name("examples").join(name);
        let log = self.folder.path().join(format!("example-{name}-{}.log", processes().len()));
        let out = fs::File::create(&log).unwrap();
        let mut command = Command::new(&program);
        command.arg("--client-file").arg(self.client_file()).arg("--cache").arg(self.folder.path().join("cache")).args(arguments);
        let error = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(error).spawn();
        let bounded = arguments.contains(&"--count");
        Example { child: child.unwrap_or_else(|error| panic!("{}: {error}", program.display())), log, bounded }
    }

    fn story(&self) -> String {
        let log = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(15).collect();
            format!("--- {}\n{}\n", path.display(), lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        let mut logs = vec![self.folder.path().join("portal/portal.log")];
        logs.extend(["zms-agent", "collector-1"].map(|name| self.host().join("log").join(name).join("out.log")));
        let files = fs::read_dir(self.folder.path()).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        logs.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "log")));
        logs.into_iter().map(log).collect()
    }
}

/// One of the SDK's examples at work.
pub struct Example {
    child: std::process::Child,
    log: PathBuf,
    /// It ends by itself.
    bounded: bool,
}

impl Example {
    /// What it printed so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it in order, or waits for its end; what it printed.
    pub fn end(mut self) -> String {
        if !self.bounded {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        }
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => {
                    assert!(status.success(), "{status}:\n{}", self.said());
                    return self.said();
                }
                None => assert!(Instant::now() < end, "it does not end:\n{}", self.said()),
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// kill -9, and waits until they have ended: whoever looks for a successor must not find them.
fn kill(pids: &[u32]) {
    for pid in pids {
        let _ = Command::new("kill").arg("-9").arg(pid.to_string()).stderr(Stdio::null()).status();
    }
    let end = Instant::now() + Duration::from_secs(10);
    // What has ended and is not waited for yet has no command line.
    while pids.iter().any(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())) {
        assert!(Instant::now() < end, "{pids:?} do not end");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
        let place = self.folder.path().to_path_buf();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let ours: Vec<u32> = processes()
                .into_iter()
                .filter(|pid| *pid != std::process::id())
                .filter(|pid| {
                    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    let inside = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&place));
                    let names = String::from_utf8_lossy(&command).contains(&*place.to_string_lossy());
                    let zombie = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
                    (inside || names) && !zombie
                })
                .collect();
            if ours.is_empty() || Instant::now() > end {
                break;
            }
            for pid in ours {
                let _ = Command::new("kill").arg("-9").arg(pid.to_string()).stderr(Stdio::null()).status();
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

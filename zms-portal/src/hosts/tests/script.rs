//! The join script, run for real: against a portal with its real certificates, with a script in place of the agent.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use super::support::{AGENT, Portal, executable, serve_joining, token_of};
use crate::app::now_ms;
use crate::hosts::line::{self, NewLine};
use crate::hosts::script::{AgentBinary, Rights, Script};

/// A run is over by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// Every shell at hand that hosts may have.
const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// A host in a folder.
pub(super) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        // The path of a socket is short.
        Self { folder: tempfile::Builder::new().prefix("zmsj").tempdir_in("/tmp").unwrap() }
    }

    pub(super) fn prefix(&self) -> PathBuf {
        self.folder.path().join("zms")
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.prefix().join(name)).unwrap_or_default()
    }

    /// Runs `text` in `shell` with these arguments and the token on its standard input.
    pub(super) async fn run(&self, shell: &[&str], text: &str, arguments: &[&str], token: &str) -> Output {
        let file = self.folder.path().join("join.sh");
        std::fs::write(&file, text).unwrap();
        let prefix = self.prefix();
        let mut all: Vec<&str> = shell[1..].to_vec();
        all.extend([file.to_str().unwrap(), "--user", "--prefix", prefix.to_str().unwrap()]);
        all.extend(arguments);
        run(shell[0], &all, &format!("{token}\n")).await
    }

    /// Runs the join line itself, as a person would paste it.
    async fn paste(&self, line: &str) -> Output {
        let command = format!("export ZMS_JOIN_PREFIX='{}'; {line}", self.prefix().display());
        run("bash", &["-c", &command], "").await
    }

    /// Whatever was started here ends.
    pub(super) async fn end(&self) {
        if self.prefix().join("bin/zms-down").exists() {
            let output = run("sh", &[self.prefix().join("bin/zms-down").to_str().unwrap()], "").await;
            assert!(output.status.success(), "{}", said(&output));
        }
    }
}

async fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    run_within(PATIENCE, program, arguments, input).await
}

pub(super) async fn run_within(patience: Duration, program: &str, arguments: &[&str], input: &str) -> Output {
    #[allow(clippy::disallowed_methods, reason = "what is tested is a script that a person runs")]
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env_remove("ZMS_JOIN_PREFIX").env("no_proxy", "127.0.0.1");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A script that ends before it reads closes the pipe.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    tokio::time::timeout(patience, child.wait_with_output()).await.expect("the run ends").unwrap()
}

pub(super) fn said(output: &Output) -> String {
    format!("{:?}: {}{}", output.status.code(), String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn shells() -> impl Iterator<Item = &'static [&'static str]> {
    let there = |name: &str| ["/bin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(name).exists());
    SHELLS.into_iter().filter(move |shell| there(shell[0]))
}

/// The script for a server of ours that answers requests for the agent as `agent` says.
pub(super) struct Served {
    pub(super) script: Script,
    sha512: String,
    _end: watch::Sender<bool>,
}

pub(super) async fn serve(portal: &Portal, agent: impl Fn(Request) -> Response + Clone + Send + Sync + 'static) -> Served {
    let answer = move |request: Request| {
        let agent = agent.clone();
        async move { agent(request) }
    };
    let (url, end) = serve_joining(portal, Router::new().route("/j/agent/{sha512}", get(answer))).await;
    let agents = AgentBinary::find(&portal.app.config).await.unwrap();
    let sha512 = agents[0].sha512.to_string();
    Served { script: Script::render(&url, portal.app.authority.ca_pem(), &agents).unwrap(), sha512, _end: end }
}

pub(super) fn whole(_: Request) -> Response {
    AGENT.into_response()
}

pub(super) const TOKEN: &str = "zmsj1.abcdefgh.a-secret_of_a_test";

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_line_makes_this_machine_a_host_and_pasted_again_repairs_it() {
    let portal = Portal::listening().await;
    let made = line::make(&portal.app, portal.actor(), &portal.environment, &NewLine::default(), now_ms()).await.unwrap();
    let place = Place::new();
    let output = place.paste(&made.line_unprivileged).await;
    assert!(output.status.success(), "{}", said(&output));
    let token = token_of(&made.line);
    assert_eq!(place.read("token").trim(), token);
    assert!(!said(&output).contains(&token), "the token is shown nowhere");
    assert_eq!(place.read("authority").trim(), portal.app.authority.ca_pem().trim());
    let calls = place.read("calls");
    assert!(calls.starts_with(&format!("join --url {} --ca ", portal.url)) && calls.trim_end().ends_with("\nrun"), "{calls}");
    assert_eq!(place.read("bin/zms-agent"), AGENT);
    assert!(!place.prefix().join(".join").exists() && !place.prefix().join(".join.lock").exists());

    std::fs::remove_file(place.prefix().join("bin/zms-up")).unwrap();
    let output = place.paste(&made.line_unprivileged).await;
    assert!(output.status.success() && place.prefix().join("bin/zms-up").exists(), "{}", said(&output));
    assert!(said(&output).contains("the agent runs already"), "{}", said(&output));
    let output = run("sh", &[place.prefix().join("bin/zms-down").to_str().unwrap(), "--running"], "").await;
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]));
    place.end().await;
    let output = run("sh", &[place.prefix().join("bin/zms-up").to_str().unwrap()], "").await;
    assert!(said(&output).contains("the agent runs; its log is"), "{}", said(&output));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_works_in_every_shell_and_removes_what_it_made_but_data() {
    let portal = Portal::new().await;
    let served = serve(&portal, whole).await;
    let mut shells = shells().peekable();
    assert!(shells.peek().is_some(), "there is a shell");
    for shell in shells {
        let place = Place::new();
        let output = place.run(shell, &served.script.text, &["--no-start"], TOKEN).await;
        assert!(output.status.success(), "{shell:?}: {}", said(&output));
        assert_eq!((place.read("token").trim(), place.read("calls").lines().count()), (TOKEN, 1), "{shell:?}");
        std::fs::create_dir_all(place.prefix().join("data/kafka-1")).unwrap();
        let output = place.run(shell, &served.script.text, &["--uninstall"], "").await;
        assert!(output.status.success(), "{shell:?}: {}", said(&output));
        assert!(place.prefix().join("data/kafka-1").exists() && !place.prefix().join("bin").exists(), "{shell:?}");
        assert!(!place.prefix().join("releases").exists(), "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_is_gone_on_with() {
    let (portal, place) = (Portal::new().await, Place::new());
    let agent = format!("{AGENT}{}", "# so long that it takes a while\n".repeat(10_000));
    executable(&portal.folder.path().join("agent"), &agent);
    let (ranges, part) = (Arc::new(Mutex::new(Vec::new())), place.prefix().join(".join"));
    let served = serve(&portal, {
        let (ranges, agent) = (ranges.clone(), agent.clone());
        move |request| {
            let range = request.headers().get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
            let from = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
            ranges.lock().unwrap().push(from.unwrap_or_default());
            let Some(from) = from else { return cut(&agent[..agent.len() / 2], agent.len(), part.clone()) };
            let content = [(header::CONTENT_RANGE, format!("bytes {from}-{}/{}", agent.len() - 1, agent.len()))];
            (StatusCode::PARTIAL_CONTENT, content, agent[from..].to_owned()).into_response()
        }
    })
    .await;
    let output = place.run(&["sh"], &served.script.text, &["--no-start"], TOKEN).await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(place.read("bin/zms-agent") == agent, "it is the whole agent");
    let ranges = ranges.lock().unwrap().clone();
    assert!(ranges.len() == 2 && ranges[0] == 0 && ranges[1] > 0, "{ranges:?}");
}

/// Sends `text`, and cuts the line when some of it has come to a file in `folder`.
fn cut(text: &str, length: usize, folder: PathBuf) -> Response {
    let there = move || {
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        files.into_iter().any(|file| {
            file.file_name().to_string_lossy().starts_with("agent-") && file.metadata().is_ok_and(|found| found.len() > 0)
        })
    };
    let end = async move {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        let end = tokio::time::Instant::now() + PATIENCE;
        while !there() && tokio::time::Instant::now() < end {
            look.tick().await;
        }
        Err(std::io::Error::other("the line is cut"))
    };
    let pieces = futures::stream::iter([Ok(Bytes::from(text.to_owned()))]).chain(futures::stream::once(end));
    ([(header::CONTENT_LENGTH, length)], Body::from_stream(pieces)).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_another_hash_is_deleted_and_not_run() {
    let portal = Portal::new().await;
    let evil = AGENT.replace("calls", "evils");
    assert_eq!(evil.len(), AGENT.len());
    let served = serve(&portal, move |_| evil.clone().into_response()).await;
    let place = Place::new();
    let output = place.run(&["sh"], &served.script.text, &[], TOKEN).await;
    assert!(output.status.code() == Some(4) && said(&output).contains("another SHA-512"), "{}", said(&output));
    assert!(!place.prefix().join("bin/zms-agent").exists() && !place.prefix().join("evils").exists());
    let left: Vec<_> = std::fs::read_dir(place.prefix().join(".join")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["ca.pem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_be_had_and_a_portal_of_another_authority_cost_a_sentence() {
    let portal = Portal::new().await;
    let served = serve(&portal, |_| StatusCode::NOT_FOUND.into_response()).await;
    let output = Place::new().run(&["sh"], &served.script.text, &[], TOKEN).await;
    assert!(output.status.code() == Some(5) && said(&output).contains("take a new join line"), "{}", said(&output));

    let (forged, asked) = (Portal::new().await, Arc::new(AtomicUsize::new(0)));
    let seen = asked.clone();
    let served = serve(&forged, move |request| {
        seen.fetch_add(1, Ordering::Relaxed);
        whole(request)
    })
    .await;
    let text = served.script.text.replace(forged.app.authority.ca_pem().trim(), portal.app.authority.ca_pem().trim());
    let output = Place::new().run(&["sh"], &text, &[], TOKEN).await;
    assert!(output.status.code() == Some(5) && asked.load(Ordering::Relaxed) == 0, "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_token_is_said_and_the_agent_is_not_started() {
    let portal = Portal::new().await;
    let served = serve(&portal, whole).await;
    let place = Place::new();
    std::fs::create_dir_all(place.prefix()).unwrap();
    std::fs::write(place.prefix().join("refuse"), "").unwrap();
    let output = place.run(&["sh"], &served.script.text, &[], TOKEN).await;
    assert!(output.status.code() == Some(3) && said(&output).contains("take a new one"), "{}", said(&output));
    assert_eq!(place.read("calls").lines().count(), 1, "{}", place.read("calls"));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_script_does_nothing_wherever_it_is_cut() {
    let portal = Portal::new().await;
    let served = serve(&portal, whole).await;
    let text = served.script.text.trim_end();
    let ends = (0..8).map(|before| text.len() - 1 - before);
    let cuts: Vec<usize> = (1..text.len()).step_by(1_117).chain(ends).filter(|cut| text.is_char_boundary(*cut)).collect();
    for shell in shells() {
        let place = Place::new();
        for cut in &cuts {
            place.run(shell, &text[..*cut], &["--no-start"], TOKEN).await;
            assert!(!place.prefix().exists(), "{shell:?}, cut at {cut} of {}", text.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_runs_no_script_of_another_hash() {
    let portal = Portal::new().await;
    let (url, _end) =
        serve_joining(&portal, Router::new().route("/j/{sha256}", get(|| async { "touch \"$ZMS_JOIN_PREFIX\"\n" }))).await;
    let agents = AgentBinary::find(&portal.app.config).await.unwrap();
    let script = Script::render(&url, portal.app.authority.ca_pem(), &agents).unwrap();
    let place = Place::new();
    let output = place.paste(&script.line(&url, TOKEN, Rights::Own).unwrap()).await;
    assert!(!output.status.success() && !place.prefix().exists(), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_and_hosts_that_do_not_fit_are_told_before_anything_is_made() {
    let portal = Portal::new().await;
    let served = serve(&portal, whole).await;
    let text = &served.script.text;
    let young = text.replace("born='", "born='9");
    let elsewhere = text.replace("agents='x86_64 ", "agents='sparc ").replace("agents='aarch64 ", "agents='sparc ");
    let tight = text.replace("space=524288", "space=999999999999");
    for (text, arguments, token, status, part) in [
        (text, &["--frobnicate"][..], TOKEN, 2, "option \"--frobnicate\" is unknown"),
        (text, &["--prefix"], TOKEN, 2, "--prefix needs a folder"),
        (text, &["--prefix", "/a b"], TOKEN, 2, "absolute path of letters"),
        (text, &["--prefix", "/tmp/../x"], TOKEN, 2, "absolute path of letters"),
        (text, &["--prefix", "relative"], TOKEN, 2, "absolute path of letters"),
        (text, &[], "", 2, "no token"),
        (text, &[], "hunter2", 2, "no token"),
        (text, &["--uninstall"], "", 6, "nothing is installed"),
        (&young, &[], TOKEN, 6, "the clock says"),
        (&elsewhere, &[], TOKEN, 6, "has an agent for sparc only"),
        (&tight, &[], TOKEN, 6, "MiB are needed"),
    ] {
        let place = Place::new();
        let output = place.run(&["sh"], text, arguments, token).await;
        assert!(output.status.code() == Some(status) && said(&output).contains(part), "{arguments:?} {part}: {}", said(&output));
        assert!(!place.prefix().exists(), "{part}");
    }
    let place = Place::new();
    std::fs::create_dir_all(place.prefix()).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mine = format!("{}@{}", std::process::id(), boot.trim());
    std::os::unix::fs::symlink(mine, place.prefix().join(".join.lock")).unwrap();
    let output = place.run(&["sh"], text, &["--no-start"], TOKEN).await;
    assert!(output.status.code() == Some(7) && said(&output).contains("another join works"), "{}", said(&output));
    std::fs::remove_file(place.prefix().join(".join.lock")).unwrap();
    std::os::unix::fs::symlink("4194305@before-the-last-boot", place.prefix().join(".join.lock")).unwrap();
    let output = place.run(&["sh"], text, &["--no-start"], TOKEN).await;
    assert!(output.status.success(), "a lock of before the boot is nobody's: {}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_of_the_script_is_served_with_its_hash_as_address() {
    let portal = Portal::listening().await;
    let served = serve(&portal, whole).await;
    let client = super::support::client(portal.app.authority.ca_pem(), None);
    let get = async |path: String| {
        let response = client.get(format!("{}{path}", portal.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get(format!("/j/agent/{}", served.sha512)).await, (200, AGENT.to_owned()));
    assert_eq!(get(format!("/j/agent/{}", "0".repeat(128))).await.0, 404);
    assert_eq!(get("/j/agent/..%2Fdata%2Fkey".to_owned()).await.0, 404);
    let (script, _) = line::script(&portal.app).await.unwrap().unwrap();
    assert_eq!(get(format!("/j/{}", script.sha256)).await, (200, script.text));
    assert_eq!(get(format!("/j/{}", "0".repeat(64))).await.0, 404);
}

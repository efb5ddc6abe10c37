//! A host against a portal that does what a test wants, over real TLS.

mod fake;
mod joining;
mod packages;
mod pki;
mod renewing;
mod syncing;

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use zms_core::host::{DesiredState, HostReport, SupervisorReport};

use self::fake::{Authority, Fake};
use super::pki::{Identity, Pki};
use super::session::{Ends, Session};
use super::{Membership, Waits, now_ms};
use crate::layout::Layout;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Short waits between requests, long ones for answers: a slow machine must not fail a test.
fn waits() -> Waits {
    let short = Duration::from_millis(20);
    Waits {
        push: short,
        back_off: short,
        back_off_max: short,
        renew_again: short,
        join: Duration::from_secs(20),
        ..Waits::default()
    }
}

fn place() -> (tempfile::TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().join("zms")).unwrap();
    (folder, layout)
}

/// A host that has joined, with its session running.
struct Host {
    _folder: tempfile::TempDir,
    layout: Layout,
    desired: watch::Receiver<DesiredState>,
    reports: watch::Sender<Option<HostReport>>,
    session: Option<JoinHandle<()>>,
}

impl Host {
    /// A host whose certificate holds from and until so many days from now; no session yet.
    fn joined(fake: &Fake, from_days: i64, until_days: i64) -> Self {
        let (folder, layout) = place();
        let pki = Pki::new(&layout);
        let key = pki.next_key().unwrap();
        let span = (now_ms() + from_days * DAY_MS, now_ms() + until_days * DAY_MS);
        pki.propose(fake.authority.sign(&super::pki::signing_request(&key).unwrap(), span)).unwrap();
        pki.promote().unwrap();
        std::fs::write(layout.authority(), fake.authority.pem()).unwrap();
        let membership = Membership { host: HOST.parse().unwrap(), agent_url: fake.url.clone(), url: fake.url.clone() };
        membership.save(&layout).unwrap();
        let none = DesiredState::default();
        Self {
            _folder: folder,
            layout,
            desired: watch::channel(none).1,
            reports: watch::channel(Some(report(0))).0,
            session: None,
        }
    }

    /// With a fresh certificate and a session.
    async fn running(fake: &Fake) -> Self {
        let mut host = Self::joined(fake, 0, 7);
        host.start().await;
        host
    }

    /// Starts the session, as a start of the agent does.
    async fn start(&mut self) {
        let (current, desired) = watch::channel(self.desired.borrow().clone());
        self.desired = desired;
        let ends = Ends { current, reports: self.reports.subscribe() };
        let session = Session::new(self.layout.clone(), ends, waits()).await.unwrap();
        self.session = Some(tokio::spawn(session.work()));
    }

    fn held(&self) -> super::pki::Held {
        Pki::new(&self.layout).look().unwrap()
    }

    fn identity(&self) -> Identity {
        self.held().current
    }

    fn status(&self) -> String {
        crate::status::show(&self.layout, SystemTime::now()).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.abort();
        }
    }
}

const HOST: &str = "01JAAAAAAAAAAAAAAAAAAAAAAA";

fn report(generation: u64) -> HostReport {
    let supervisor = SupervisorReport::NotNeeded;
    HostReport { agent_version: "1".into(), generation, supervisor, instances: vec![], strays: vec![] }
}

fn state(generation: u64) -> DesiredState {
    DesiredState { generation, ..DesiredState::default() }
}

/// Waits for a condition; when the deadline passes, says what was still missing.
async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        look.tick().await;
        if let Some(found) = condition() {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "after 30 s still not: {what}");
    }
}

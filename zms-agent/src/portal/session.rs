//! The loop between host and portal.
//!
//! One request is always under way. One that carries something is answered at once; an empty one when the portal has something
//! new, and at the latest after its hold. When the host has news meanwhile, the empty request is given up and the news are sent,
//! at most once a `push`. So what was sent is always acknowledged, however often it changes.

mod identity;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zms_core::host::{Answer, DesiredState, HostFacts, HostReport, Question};

use super::connection::{Connection, Reply};
use super::contact::Contact;
use super::error::CallError;
use super::link::Link;
use super::pki::{Held, Identity, Pki};
use super::renew::{Due, due};
use super::request::{self, Outbox};
use super::{Membership, Waits, chance, now_ms, shown};
use crate::layout::Layout;
use crate::{answer, disk, facts, host};

/// Largest authority that is read, in bytes.
const AUTHORITY_LIMIT: u64 = 256 << 10;
/// A question that is not answered after this time is given up.
const ANSWER: Duration = Duration::from_secs(20);
/// A portal can make us wait at most this long with `pause_ms`.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the session shares with the host.
#[derive(Debug)]
pub struct Ends {
    /// Where the desired state goes.
    pub current: watch::Sender<DesiredState>,
    /// Where the report comes from.
    pub reports: watch::Receiver<Option<HostReport>>,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    layout: Layout,
    waits: Waits,
    ends: Ends,
    membership: Membership,
    pki: Pki,
    held: Held,
    link: Link,
    outbox: Outbox,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    facts: (HostFacts, Instant),
    contact: Contact,
    written: Option<Contact>,
    /// Calls that failed in a row; refused states count.
    failures: u32,
    /// Drawn once a certificate.
    chance: f64,
    /// When something may be sent again.
    next_push: Instant,
    renew_not_before: Instant,
    renew_problem: String,
}

/// How a request ended.
enum Round {
    /// And when the next empty request may go at the earliest, if this one was empty.
    Replied {
        reply: Reply,
        pause_until: Option<Instant>,
    },
    /// It was given up because there is something to say.
    News,
    Failed(CallError),
}

impl Session {
    /// Reads who this host is and makes the link; nothing is dialled yet.
    pub async fn new(layout: Layout, ends: Ends, waits: Waits) -> anyhow::Result<Self> {
        let membership = Membership::required(&layout)?;
        let pki = Pki::new(&layout);
        let mut held = pki.load()?;
        let connection = match (connect(&layout, &membership, held.best(), waits), held.candidate.is_some()) {
            (Err(error), true) => {
                tracing::warn!(error = format!("{error:#}"), "cannot use the new certificate; going on with the old one");
                pki.withdraw()?;
                held.candidate = None;
                connect(&layout, &membership, &held.current, waits)?
            }
            (connection, _) => connection?,
        };
        let link = Link::new(connection);
        let facts = (facts::collect(&layout).await, Instant::now());
        let contact = Contact { answered_ms: Contact::load(&layout).answered_ms, ..Contact::default() };
        Ok(Self {
            layout,
            waits,
            ends,
            membership,
            pki,
            held,
            link,
            outbox: Outbox::default(),
            answers: mpsc::channel(16),
            facts,
            contact,
            written: None,
            failures: 0,
            chance: chance(),
            next_push: Instant::now(),
            renew_not_before: Instant::now(),
            renew_problem: String::new(),
        })
    }

    /// For archives and secrets.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Works until it is dropped.
    pub async fn work(mut self) {
        // The first request should have a report; without one it goes all the same.
        let _ = timeout(self.waits.push, self.ends.reports.wait_for(Option::is_some)).await;
        loop {
            self.renew().await;
            if self.facts.1.elapsed() > self.waits.facts {
                self.facts = (facts::collect(&self.layout).await, Instant::now());
            }
            match self.round().await {
                Round::News => {}
                Round::Replied { reply, pause_until } => self.replied(reply, pause_until).await,
                Round::Failed(error) => self.failed(error).await,
            }
        }
    }

    async fn round(&mut self) -> Round {
        if self.outbox.has_news(self.ends.reports.borrow().as_ref(), &self.facts.0) {
            sleep_until(self.next_push).await;
        }
        let have = self.ends.current.borrow().generation;
        let report = self.ends.reports.borrow_and_update().clone();
        let request = self.outbox.request(have, report.as_ref(), &self.facts.0, now_ms());
        let began = Instant::now();
        let give_up = if request::is_empty(&request) {
            self.next_push
        } else {
            self.next_push = began + self.waits.push;
            began + self.waits.answer
        };
        let connection = self.link.now();
        let ended = tokio::select! {
            reply = connection.sync(&request) => Some(reply),
            () = news(&mut self.ends.reports, &mut self.answers.1, &mut self.outbox, give_up) => None,
        };
        match ended {
            None => Round::News,
            Some(Err(error)) => Round::Failed(error),
            Some(Ok(reply)) => {
                // A portal that answers empty requests at once is not asked in a circle.
                let pause_until = request::is_empty(&request).then(|| began + self.waits.push);
                self.outbox.acknowledged(request);
                Round::Replied { reply, pause_until }
            }
        }
    }

    async fn replied(&mut self, reply: Reply, pause_until: Option<Instant>) {
        self.confirm();
        let now = now_ms();
        let skew_ms = now.saturating_sub(i64::try_from(reply.clock_ms).unwrap_or(i64::MAX));
        let was_off = self.contact.clock_is_off();
        self.contact = Contact { answered_ms: now, denied: false, skew_ms, problem: std::mem::take(&mut self.contact.problem) };
        if self.contact.clock_is_off() && !was_off {
            tracing::warn!(seconds = skew_ms / 1000, "this host's clock is off the portal's");
        }
        if reply.full {
            self.outbox.forget();
        }
        let taken = match reply.desired.as_ref().map(|raw| self.take(raw.get())) {
            None => false,
            Some(Ok(taken)) => taken,
            Some(Err(problem)) => return self.pause(format!("desired state refused: {problem}"), None).await,
        };
        if !self.contact.problem.is_empty() || self.written.is_none() {
            tracing::info!(portal = %self.membership.agent_url, "the portal answers");
            self.contact.problem.clear();
        }
        self.failures = 0;
        self.keep_contact();
        for question in &reply.questions {
            if let Some(question) = self.outbox.question(question) {
                self.work_on(question);
            }
        }
        self.await_answers().await;
        sleep(Duration::from_millis(reply.pause_ms).min(LONGEST_PAUSE)).await;
        if let Some(until) = pause_until.filter(|_| !taken && reply.questions.is_empty()) {
            sleep_until(until).await;
        }
    }

    fn take(&self, text: &str) -> Result<bool, String> {
        let state: DesiredState =
            serde_json::from_str(text).map_err(|error| format!("this agent does not understand it: {error}"))?;
        host::take(&self.layout, &self.ends.current, state).map_err(|error| format!("{error:#}"))
    }

    fn work_on(&self, question: Question) {
        let (layout, current, sender) = (self.layout.clone(), self.ends.current.borrow().clone(), self.answers.0.clone());
        tokio::spawn(async move {
            let Question { id, ask } = question;
            let work = tokio::task::spawn_blocking(move || answer::answer(&layout, &current, &ask));
            let found = match timeout(ANSWER, work).await {
                Ok(Ok(found)) => found,
                Ok(Err(panic)) => Err(format!("looking ended with a panic: {panic}")),
                Err(_) => Err(format!("looking took longer than {} s", ANSWER.as_secs())),
            };
            // The other end goes away only with the whole agent.
            let _ = sender.send(Answer { id, found }).await;
        });
    }

    /// Quick answers go with the next request, which else would have to be given up for them.
    async fn await_answers(&mut self) {
        let until = Instant::now() + self.waits.push;
        while self.outbox.works() {
            match tokio::time::timeout_at(until, self.answers.1.recv()).await {
                Ok(Some(answer)) => self.outbox.answer(answer),
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn failed(&mut self, error: CallError) {
        let denied = matches!(error, CallError::Denied(_));
        if denied && self.held.candidate.take().is_some() {
            tracing::warn!(%error, "the portal does not take the new certificate; going on with the old one");
            if let Err(error) = self.pki.withdraw() {
                tracing::warn!(%error, "cannot delete the new certificate");
            }
            if let Err(error) = self.show(&self.held.current.clone()) {
                tracing::warn!(error = format!("{error:#}"), "cannot use the old certificate");
            }
        }
        self.contact.denied = denied;
        let what = match due(self.held.best(), self.chance, self.clock()) {
            Due::Join => format!(
                "the certificate expired on {}; make a join line on the portal and run it here",
                shown(self.held.best().until_ms)
            ),
            Due::Revive | Due::Renew | Due::Nothing if denied => {
                format!("{error}; if the host was removed there, make a join line and run it here")
            }
            Due::Revive | Due::Renew | Due::Nothing => error.to_string(),
        };
        self.pause(what, error.again()).await;
        self.reread();
    }

    /// Says once what stands in the way, and waits.
    async fn pause(&mut self, problem: String, again: Option<Duration>) {
        if self.contact.problem != problem {
            tracing::warn!(problem, "nothing new from the portal; the host goes on as it is");
            self.contact.problem = problem;
        }
        self.keep_contact();
        self.failures = self.failures.saturating_add(1);
        sleep(self.waits.after_failures(self.failures).max(again.unwrap_or_default())).await;
    }

    fn keep_contact(&mut self) {
        if let Err(error) = self.contact.save(&self.layout, &mut self.written) {
            tracing::warn!(%error, "cannot keep how the last request ended");
        }
    }

    /// The portal's clock as far as it is known: certificates are made by it.
    fn clock(&self) -> i64 {
        now_ms().saturating_sub(self.contact.skew_ms)
    }
}

/// Returns when there is something to say, not before `not_before`.
async fn news(
    reports: &mut watch::Receiver<Option<HostReport>>,
    answers: &mut mpsc::Receiver<Answer>,
    outbox: &mut Outbox,
    not_before: Instant,
) {
    tokio::select! {
        changed = reports.changed() => if changed.is_err() {
            // The host ends, and this with it.
            std::future::pending::<()>().await;
        },
        Some(answer) = answers.recv() => outbox.answer(answer),
    }
    sleep_until(not_before).await;
}

fn connect(layout: &Layout, membership: &Membership, identity: &Identity, waits: Waits) -> anyhow::Result<Connection> {
    let path = layout.authority();
    let authority = disk::read_bounded(&path, AUTHORITY_LIMIT)?.unwrap_or_default();
    Connection::new(&membership.agent_url, &String::from_utf8_lossy(&authority), Some(identity), waits)
}

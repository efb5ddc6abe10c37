//! The long polls of agents: who waits, what wakes them, questions and their answers. In memory; what must not be lost is in the
//! desired state.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use zms_core::host::{Answer, Ask, Finding, Question};

use super::seen::Heard;
use super::{follow, row};
use crate::app::{new_id, now_ms};
use crate::db::Db;
use crate::error::{Error, Result, Text};

/// Most questions that wait for one host.
const MOST_QUESTIONS: usize = 32;
/// Most refused joins that are audited in a minute.
const MOST_REFUSALS: u32 = 60;
/// Runs that are remembered of a host to find a clone by.
const RUNS: usize = 8;

/// Waits of the hub; production values by default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// A host counts as connected for this long after a request ended: the next one comes within a second.
    pub between: Duration,
    /// A question that was given and is not answered is given again after this time.
    pub give_again: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { between: Duration::from_secs(5), give_again: Duration::from_secs(5) }
    }
}

/// See the module; cheap to clone.
#[derive(Clone, Default)]
pub struct Hub(Arc<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    waits: Waits,
    lines: Mutex<HashMap<String, Arc<Line>>>,
    /// The minute, and how many refused joins were audited in it.
    refusals: Mutex<(i64, u32)>,
    follows: AtomicBool,
    heard: Heard,
}

/// One host.
#[derive(Default)]
pub(super) struct Line {
    waits: Waits,
    /// Wakes requests that are held.
    pub wake: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests under way.
    held: usize,
    /// When the last one ended.
    ended: Option<Instant>,
    questions: Vec<Waiting>,
    /// The last runs: run, and the machine that it said to be on.
    runs: VecDeque<(String, Option<String>)>,
    twin: Option<Twin>,
}

struct Waiting {
    question: Question,
    given: Option<Instant>,
    answer: oneshot::Sender<std::result::Result<Finding, String>>,
}

/// Two machines use the certificate of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twin {
    /// When they last took turns, milliseconds since 1970.
    pub at_ms: i64,
}

impl Hub {
    /// A hub without hosts. From now on silence of hosts counts.
    pub fn new() -> Self {
        row::up_since(now_ms());
        Self::default()
    }

    /// Ends the requests that are held for a host: there is something new. Call it after the commit.
    pub fn wake(&self, host_id: &str) {
        // Without a line nobody waits, and the next request looks by itself.
        let line = lock(&self.0.lines).get(host_id).cloned();
        if let Some(line) = line {
            line.wake.notify_waiters();
        }
    }

    /// Ends the requests of all hosts.
    pub(super) fn wake_all(&self) {
        lock(&self.0.lines).values().for_each(|line| line.wake.notify_waiters());
    }

    /// Asks a host and waits for its answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with a sentence: the host is not connected to this portal, did not answer within `deadline`, or could
    /// not answer.
    pub async fn ask(&self, host_id: &str, ask: Ask, deadline: Duration) -> Result<Finding> {
        let line = self.line(host_id);
        let (sender, receiver) = oneshot::channel();
        let id = new_id();
        {
            let mut state = lock(&line.state);
            if !state.connected(self.0.waits.between) {
                return Err(unavailable(|m| m.hosts_not_connected().to_owned()));
            }
            // Those who asked may have gone away.
            state.questions.retain(|waiting| !waiting.answer.is_closed());
            if state.questions.len() >= MOST_QUESTIONS {
                return Err(unavailable(|m| m.hosts_asked_too_much().to_owned()));
            }
            state.questions.push(Waiting { question: Question { id, ask }, given: None, answer: sender });
        }
        line.wake.notify_waiters();
        match timeout(deadline, receiver).await {
            Ok(Ok(Ok(finding))) => Ok(finding),
            Ok(Ok(Err(why))) => Err(unavailable(move |_| why.clone())),
            Ok(Err(_)) | Err(_) => {
                let seconds = deadline.as_secs();
                Err(unavailable(move |m| m.hosts_no_answer(seconds)))
            }
        }
    }

    /// Has this host shown two machines since the portal started?
    pub fn twin_of(&self, host_id: &str) -> Option<Twin> {
        let line = lock(&self.0.lines).get(host_id).cloned()?;
        let state = lock(&line.state);
        state.twin
    }

    /// Is a request of this host under way here, so that it can be asked at once?
    pub(super) fn holds(&self, host_id: &str) -> bool {
        let line = lock(&self.0.lines).get(host_id).cloned();
        line.is_some_and(|line| lock(&line.state).held > 0)
    }

    /// Hosts that are to be written down.
    pub(super) fn heard(&self) -> &Heard {
        &self.0.heard
    }

    pub(super) fn of(inner: &Weak<Inner>) -> Option<Self> {
        inner.upgrade().map(Self)
    }

    pub(super) fn line(&self, host_id: &str) -> Arc<Line> {
        let new = || Arc::new(Line { waits: self.0.waits, ..Line::default() });
        lock(&self.0.lines).entry(host_id.to_owned()).or_insert_with(new).clone()
    }

    /// May another refused join be audited in this minute?
    pub(super) fn may_record_refusal(&self, now_ms: i64) -> bool {
        let mut refusals = lock(&self.0.refusals);
        let minute = now_ms.div_euclid(60_000);
        if refusals.0 != minute {
            *refusals = (minute, 0);
        }
        refusals.1 += 1;
        refusals.1 <= MOST_REFUSALS
    }

    /// Does what `follow` says, from the first call on and as long as the hub lives.
    pub(super) fn follow(&self, db: &Db) {
        if !self.0.follows.swap(true, Ordering::Relaxed) {
            tokio::spawn(follow::run(Arc::downgrade(&self.0), db.clone()));
        }
    }
}

impl State {
    fn connected(&self, between: Duration) -> bool {
        self.held > 0 || self.ended.is_some_and(|ended| ended.elapsed() < between)
    }
}

impl Line {
    /// A request is under way until the guard is dropped.
    pub fn hold(self: &Arc<Self>) -> Held {
        lock(&self.state).held += 1;
        Held(self.clone())
    }

    /// Questions to give now.
    pub fn give(&self) -> Vec<Question> {
        let mut state = lock(&self.state);
        state.questions.retain(|waiting| !waiting.answer.is_closed());
        let again = self.waits.give_again;
        let due = state.questions.iter_mut().filter(|waiting| waiting.given.is_none_or(|given| given.elapsed() >= again));
        due.map(|waiting| {
            waiting.given = Some(Instant::now());
            waiting.question.clone()
        })
        .collect()
    }

    /// When a question that was given is given again, if its answer has not come by then.
    pub fn next_give(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.questions.iter().filter_map(|waiting| waiting.given).min().map(|given| given + self.waits.give_again)
    }

    /// Hands answers to those who wait; an answer to nothing is nobody's.
    pub fn take(&self, answers: Vec<Answer>) {
        let mut state = lock(&self.state);
        for answer in answers {
            let place = state.questions.iter().position(|waiting| waiting.question.id == answer.id);
            if let Some(place) = place {
                // Who asked may have gone away meanwhile.
                let _ = state.questions.swap_remove(place).answer.send(answer.found);
            }
        }
    }

    /// Notes who is asking; true when it is found out just now that two machines do. An agent that was started again has a new
    /// run and never an old one; two copies of a machine take turns.
    pub fn note_run(&self, run: &str, machine: Option<&str>, now_ms: i64) -> bool {
        let mut state = lock(&self.state);
        let machine = machine.filter(|machine| !machine.is_empty());
        if let Some(known) = state.runs.back_mut().filter(|(last, _)| last == run) {
            if let Some(machine) = machine {
                known.1 = Some(machine.to_owned());
            }
            return false;
        }
        let before = state.runs.iter().position(|(known, _)| known == run);
        let known = before.and_then(|place| state.runs.remove(place)).and_then(|(_, machine)| machine);
        let machine = machine.map(str::to_owned).or(known);
        let other = state.runs.back().and_then(|(_, machine)| machine.clone());
        let turns = before.is_some() && machine.is_some() && other.is_some() && machine != other;
        state.runs.push_back((run.to_owned(), machine));
        if state.runs.len() > RUNS {
            state.runs.pop_front();
        }
        if turns {
            return state.twin.replace(Twin { at_ms: now_ms }).is_none();
        }
        false
    }
}

/// A request that is under way.
pub(super) struct Held(Arc<Line>);

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.held -= 1;
        state.ended = Some(Instant::now());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn unavailable(say: impl Fn(crate::web::messages::Messages) -> String + Send + Sync + 'static) -> Error {
    Error::Unavailable(Text::new(say))
}

#[cfg(test)]
mod tests {
    use zms_core::names::InstanceId;

    use super::*;

    fn log() -> Ask {
        Ask::Log { instance: InstanceId::new("kafka-1").unwrap(), from: None }
    }

    fn sentence(error: Error) -> String {
        match error {
            Error::Unavailable(text) => text.say(crate::web::messages::Messages::ENGLISH),
            other => panic!("{other:?}"),
        }
    }

    fn hub(between: Duration, give_again: Duration) -> Hub {
        Hub(Arc::new(Inner { waits: Waits { between, give_again }, ..Inner::default() }))
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn asked(hub: &Hub) -> (Arc<Line>, Held, tokio::task::JoinHandle<Result<Finding>>) {
        let (hub, line) = (hub.clone(), hub.line("h"));
        let held = line.hold();
        let asked = tokio::spawn(async move { hub.ask("h", log(), LONG).await });
        line.wake.notified().await;
        (line, held, asked)
    }

    #[tokio::test]
    async fn a_question_reaches_the_host_once_and_its_answer_the_one_who_asked() {
        let (line, _held, asked) = asked(&hub(LONG, LONG)).await;
        let given = line.give();
        assert_eq!((given.len(), line.give().len()), (1, 0), "given once");
        let other = Answer { id: "another".into(), found: Err("no".into()) };
        let answer = Answer { id: given[0].id.clone(), found: Ok(Finding::Preflight { checks: vec![] }) };
        line.take(vec![other, answer.clone(), answer]);
        assert_eq!(asked.await.unwrap().unwrap(), Finding::Preflight { checks: vec![] });
        assert!(line.give().is_empty());
    }

    #[tokio::test]
    async fn a_question_that_may_have_got_lost_is_given_again_until_nobody_waits_for_it() {
        let (line, _held, asked) = asked(&hub(LONG, Duration::ZERO)).await;
        assert_eq!((line.give().len(), line.give().len()), (1, 1));
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        assert!(line.give().is_empty());
    }

    #[tokio::test]
    async fn who_is_away_or_silent_or_unable_costs_a_sentence() {
        let near = hub(LONG, LONG);
        assert!(sentence(near.ask("h", log(), LONG).await.unwrap_err()).contains("not connected"), "it never asked");
        drop(near.line("h").hold());
        let error = sentence(near.ask("h", log(), Duration::from_millis(1)).await.unwrap_err());
        assert!(error.contains("did not answer within"), "between two requests: {error}");
        let far = hub(Duration::ZERO, LONG);
        drop(far.line("h").hold());
        assert!(sentence(far.ask("h", log(), LONG).await.unwrap_err()).contains("not connected"), "too long ago");
        let (line, _held, asked) = asked(&near).await;
        line.take(vec![Answer { id: line.give()[0].id.clone(), found: Err("there is no such log".into()) }]);
        assert_eq!(sentence(asked.await.unwrap().unwrap_err()), "there is no such log");
    }

    #[test]
    fn an_agent_that_is_started_again_is_no_clone_and_two_machines_that_take_turns_are() {
        let line = Line::default();
        for (run, machine, found) in [
            ("r1", Some("m1"), false),
            ("r1", None, false),
            ("r2", Some("m1"), false),
            ("r1", None, false),
            ("r3", Some("m2"), false),
            ("r1", None, true),
            ("r3", None, false),
        ] {
            assert_eq!(line.note_run(run, machine, 7), found, "{run} {machine:?}");
        }
        assert_eq!(lock(&line.state).twin, Some(Twin { at_ms: 7 }));
    }
}

//! A machine to try the engine on: it does one thing or several, may be told to stop, and counts what came back.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::db::Db;
use crate::engine::machine::{EffectContext, Machine, Next, Outcome, Perform, Refused, Status};
use crate::engine::{Engine, NewFlow, Settings};

pub struct Toy;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Waits for this many jobs.
    Working {
        left: usize,
    },
    /// Waits for a person.
    Paused,
    Finished,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    JobDone {
        job: String,
    },
    Pause,
    Stop,
    Resume {
        jobs: Vec<Job>,
    },
    /// A fault of the machine: ends and still wants something done.
    EndAndGoOn,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub name: String,
    pub target: String,
}

pub fn job(name: &str, target: &str) -> Job {
    Job { name: name.to_owned(), target: target.to_owned() }
}

impl Machine for Toy {
    const KIND: &'static str = "toy";
    type State = State;
    type Command = Command;
    type Effect = Job;

    fn step(state: &State, command: &Command) -> Result<Next<State, Job>, Refused> {
        let next = |state, effects| Ok(Next { state, effects });
        match (state, command) {
            (State::Working { left: 0 | 1 }, Command::JobDone { .. }) => next(State::Finished, vec![]),
            (State::Working { left }, Command::JobDone { .. }) => next(State::Working { left: left - 1 }, vec![]),
            (State::Working { .. }, Command::Pause) => next(State::Paused, vec![]),
            (State::Paused, Command::Resume { jobs }) => next(State::Working { left: jobs.len() }, jobs.clone()),
            (State::Working { .. } | State::Paused, Command::Stop) => next(State::Stopped, vec![]),
            (State::Working { .. }, Command::EndAndGoOn) => next(State::Finished, vec![job("late", "t")]),
            (State::Working { .. }, Command::Resume { .. }) => Err(Refused::because(|m| m.engine_moving().to_owned())),
            _ => Err(Refused::Stale),
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Working { .. } => Status::Running,
            State::Paused => Status::Waiting,
            State::Finished => Status::Done,
            State::Stopped => Status::Cancelled,
        }
    }

    fn effect_name(_: &Job) -> &'static str {
        "do_job"
    }

    fn target(job: &Job) -> String {
        job.target.clone()
    }

    fn wanted(state: &State, job: &Job) -> bool {
        !matches!(state, State::Paused) || job.name.starts_with("keep")
    }
}

/// What the performer does with a job; by the part of its name before the `:`.
#[derive(Default)]
pub struct Hands {
    /// Jobs that were begun, with their contexts, in order.
    pub begun: Mutex<Vec<(String, EffectContext)>>,
    /// Now, and most at once, by target.
    pub busy: Mutex<HashMap<String, (usize, usize)>>,
    /// Jobs named `gate` or `keep-gate` pass only with a permit.
    pub gate: Gate,
    /// Jobs named `fail` or `again` do so this many times each, then succeed.
    pub troubles: AtomicUsize,
}

pub struct Gate(pub Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Hands {
    pub fn times(&self, name: &str) -> usize {
        self.begun.lock().unwrap().iter().filter(|(begun, _)| begun == name).count()
    }

    pub fn most(&self, target: &str) -> usize {
        self.busy.lock().unwrap().get(target).map_or(0, |(_, most)| *most)
    }
}

/// Counts a job as under way until it is dropped, however it ends.
struct Busy<'a>(&'a Hands, String);

impl<'a> Busy<'a> {
    fn at(hands: &'a Hands, target: &str) -> Self {
        let mut busy = hands.busy.lock().unwrap();
        let (now, most) = busy.entry(target.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
        Self(hands, target.to_owned())
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some((now, _)) = self.0.busy.lock().unwrap().get_mut(&self.1) {
            *now -= 1;
        }
    }
}

impl Perform<Toy> for Hands {
    async fn perform(&self, context: &EffectContext, job: &Job) -> Outcome<Command> {
        let _busy = Busy::at(self, &job.target);
        self.begun.lock().unwrap().push((job.name.clone(), context.clone()));
        let trouble = || self.troubles.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        match job.name.split(':').next().unwrap_or_default() {
            "gate" | "keep-gate" => self.gate.0.acquire().await.unwrap().forget(),
            "hang" => std::future::pending().await,
            "fail" if trouble() => return Outcome::Failed("the toy broke".to_owned()),
            "again" if trouble() => return Outcome::Again { after_ms: 1, why: "the glue dries".to_owned() },
            "panic" if trouble() => panic!("the toy {} exploded", job.name),
            _ => {}
        }
        Outcome::Done(Command::JobDone { job: job.name.clone() })
    }
}

/// Short waits; a lease that does not end within a test unless the test says so.
pub fn quick() -> Settings {
    Settings {
        poll: Duration::from_millis(20),
        back_off_first: Duration::from_millis(20),
        back_off_most: Duration::from_millis(100),
        last_words: Duration::from_secs(5),
        ..Settings::default()
    }
}

/// One portal's engine over `db`, and what it performed.
pub struct Portal {
    pub engine: Engine,
    pub hands: Arc<Hands>,
    pub worker: tokio::task::JoinHandle<()>,
    pub stop: watch::Sender<bool>,
}

impl Portal {
    pub fn run(db: &Db, settings: Settings) -> Self {
        let engine = Engine::with(db.clone(), settings);
        let hands = Arc::new(Hands::default());
        engine.register::<Toy>(hands.clone());
        let (stop, stopped) = watch::channel(false);
        let worker = tokio::spawn({
            let engine = engine.clone();
            async move { engine.run(stopped).await }
        });
        Self { engine, hands, worker, stop }
    }

    /// Ends it as a crash does: nothing is saved any more.
    pub async fn kill(self) {
        self.worker.abort();
        assert!(self.worker.await.unwrap_err().is_cancelled());
    }

    pub async fn done(&self, flow_id: &str) {
        self.status(flow_id, Status::Done).await;
    }

    pub async fn status(&self, flow_id: &str, wanted: Status) {
        until("the flow's status", async || {
            let flow = self.engine.view(flow_id).await.unwrap();
            if flow.status == wanted { Ok(()) } else { Err(format!("{flow:#?}")) }
        })
        .await;
    }
}

pub async fn start(engine: &Engine, db: &Db, subject: &str, jobs: Vec<Job>) -> String {
    let mut tx = db.begin().await.unwrap();
    let id = engine.start::<Toy>(&mut tx, flow(subject, None, jobs)).await.unwrap();
    tx.commit().await.unwrap();
    engine.wake();
    id
}

pub fn flow<'a>(subject: &'a str, lock: Option<&'a str>, jobs: Vec<Job>) -> NewFlow<'a, Toy> {
    NewFlow {
        environment_id: None,
        subject,
        lock,
        state: State::Working { left: jobs.len() },
        effects: jobs,
        by: "ada",
        now_ms: crate::app::now_ms(),
    }
}

/// Asks until it is so; says what was missing after 20 s.
pub async fn until<F: Future<Output = Result<(), String>>>(what: &str, mut ask: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match ask().await {
            Ok(()) => return,
            Err(missing) if Instant::now() > end => panic!("waited for {what}: {missing}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
